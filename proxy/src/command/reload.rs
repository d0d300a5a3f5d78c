//! `mailweir reload`: SIGHUP to the process that holds the state directory. Its log says how the reload went.

use anyhow::Context;
use rustix::process::{Signal, kill_process};

use super::{PidFile, print};
use crate::config::Config;

/// Signals the running process.
///
/// # Errors
///
/// When none runs with this configuration's state directory, or it may not be signalled.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let process = PidFile::running(&config.server.state_dir)?;
    kill_process(process, Signal::HUP)
        .with_context(|| format!("process {} cannot be signalled", process.as_raw_nonzero()))?;
    print(format!("process {} was told to reload; its log says how that went\n", process.as_raw_nonzero()).as_bytes())?;
    Ok(())
}
