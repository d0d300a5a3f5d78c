//! `mailweir-load verify`: what was sent here against what a sink elsewhere received.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use crate::arguments::VerifyArguments;
use crate::proof::{Received, SentRun, Verdict};

/// Prints the comparison; true when nothing was lost, doubled or altered.
///
/// # Errors
///
/// When a file cannot be read, or is not what it should be.
pub(crate) fn verify(arguments: &VerifyArguments) -> anyhow::Result<bool> {
    let SentRun { run, sent } = read(&arguments.sent)?;
    let received: Received = read(&arguments.received)?;
    let verdict = Verdict::new(run, &sent, &received);
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&verdict)?).context("writing the result")?;
    Ok(verdict.holds())
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}
