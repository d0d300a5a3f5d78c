//! Where results go.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::live::Loudness;
use super::model::Results;
use super::table;

/// Where results go, and what is said meanwhile.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Output {
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the result as a page with plots, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Say nothing while it runs.
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Output {
    pub(crate) fn loudness(&self) -> Loudness {
        if self.quiet { Loudness::Quiet } else { Loudness::Usual }
    }

    /// # Errors
    ///
    /// When something cannot be written.
    pub(crate) fn write(&self, results: &Results) -> anyhow::Result<()> {
        if let Some(path) = &self.html {
            std::fs::write(path, super::html(results)).with_context(|| format!("{}", path.display()))?;
        }
        let text = if self.json { serde_json::to_string(results)? + "\n" } else { table(results) };
        std::io::stdout().write_all(text.as_bytes()).context("writing the result")
    }
}
