//! `cargo xtask conformance`: other people's test suites against the built binary, through what operators run: `mailweir
//! replay` with the shipped filters, and `mailweir run` behind a socket. It prints a table, and below it every case in
//! which mailweir disagrees, with the reason where there is one.
//!
//! The suites lie in `../shared/testdata` beside the checkout; one that is not there is said to be skipped.

mod report;
mod known;
mod stage;
mod client;
mod server;
mod authentication;
mod mail_auth;
mod dmarc;
mod sealing;
mod public_suffix;
mod mime;
mod urls;
mod lists;
mod ordinary;
mod detectors;
mod dialogs;
mod addresses;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use mailweir_testkit::mailweir::Mailweir;
use serde_json::Value;

use report::Tally;
use stage::Stage;

const TESTDATA: &str = "../shared/testdata";

/// What conformance can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these; all of them when none is named
    #[arg(value_enum, value_name = "SUITE")]
    suites: Vec<Suite>,
    /// Use the binary and the plugins as they are built already
    #[arg(long)]
    no_build: bool,
    /// A suite whose data is not there is a failure
    #[arg(long)]
    require_data: bool,
    /// Cases that run at once; most of their time they wait for a process to start or a query to time out
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
}

/// A suite, by the standard or the part of mailweir that it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// RFC 7208's own test suite
    Spf,
    /// Signatures of dkim_verifier
    Dkim,
    /// The messages and SPF scenarios of mail-auth
    MailAuth,
    /// Validation of the ARC test suite
    Arc,
    /// Sealing of the ARC test suite
    ArcSign,
    /// Alignment and policies of mailauth
    Dmarc,
    /// The public-suffix list's tests, by what the surbl filter looks up
    PublicSuffix,
    /// The messages of mail-parser: what is read in them, and that they are relayed byte by byte
    Mime,
    /// URLs of twitter-text
    Urls,
    /// The detectors of dlp against Presidio's cases, and over ordinary mail
    Detectors,
    /// The test points of SURBL, URIBL and Spamhaus, and of RFC 5782
    Lists,
    /// Dialogs of chasquid and Apache James
    Dialogs,
    /// Addresses of EmailValidator
    Addresses,
}

/// What every suite needs.
struct Setting {
    binary: PathBuf,
    plugins: PathBuf,
    testdata: PathBuf,
    /// Compiled filters are kept here, so that only the first run of each compiles.
    state: tempfile::TempDir,
    /// For the zone servers and daemons; the cases run on threads of their own.
    runtime: tokio::runtime::Runtime,
    jobs: usize,
}

/// Runs the suites; an error when a case disagrees that is not known to.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = if options.no_build {
        Mailweir::binary().context("the mailweir binary is not built")?
    } else {
        crate::plugins::run(&crate::plugins::Options::default())?;
        crate::demo::build_mailweir()?
    };
    let root = crate::workspace_root();
    let setting = Setting {
        binary,
        plugins: root.join("target/plugins"),
        testdata: root.join(TESTDATA),
        state: tempfile::Builder::new().prefix("mailweir-conformance-").tempdir()?,
        runtime: tokio::runtime::Runtime::new()?,
        jobs: options.jobs.into(),
    };
    let begin = Instant::now();
    let suites = match options.suites.as_slice() {
        [] => Suite::value_variants(),
        some => some,
    };
    let mut tallies = Vec::new();
    for suite in suites {
        match suite.run(&setting) {
            Ok(rows) => tallies.extend(rows),
            Err(error) => tallies.push(Tally::failed(&format!("{suite:?}"), &error)),
        }
    }
    report::print(&tallies);
    println!("\n{:.0} s", begin.elapsed().as_secs_f64());
    conclude(&tallies, options.require_data)
}

/// An error when a case disagrees that is not known to, and for data that has to be there and is not.
fn conclude(tallies: &[Tally], require_data: bool) -> Result<()> {
    let skipped = tallies.iter().filter(|tally| tally.is_skipped()).count();
    if require_data && skipped > 0 {
        bail!("{skipped} suites were skipped: their data is not in {TESTDATA}");
    }
    let unknown: usize = tallies.iter().map(|tally| tally.unexpected().count()).sum();
    if unknown > 0 {
        bail!("{unknown} cases disagree and nobody has said why");
    }
    Ok(())
}

impl Suite {
    /// The rows that it makes in the table.
    fn run(self, setting: &Setting) -> Result<Vec<Tally>> {
        match self {
            Self::Spf => authentication::spf(setting),
            Self::Dkim => authentication::dkim(setting),
            Self::MailAuth => mail_auth::run(setting),
            Self::Arc => authentication::arc(setting),
            Self::ArcSign => sealing::run(setting),
            Self::Dmarc => dmarc::run(setting),
            Self::PublicSuffix => public_suffix::run(setting),
            Self::Mime => mime::run(setting),
            Self::Urls => urls::run(setting),
            Self::Detectors => detectors::run(setting),
            Self::Lists => lists::run(setting),
            Self::Dialogs => dialogs::run(setting),
            Self::Addresses => addresses::run(setting),
        }
    }
}

impl Setting {
    /// A file or folder of the suites; none when it is not there.
    fn data(&self, path: &str) -> Option<PathBuf> {
        Some(self.testdata.join(path)).filter(|path| path.exists())
    }

    /// A JSON file of the suites; none when it is not there.
    fn json(&self, path: &str) -> Result<Option<Value>> {
        let Some(file) = self.data(path) else { return Ok(None) };
        let text = std::fs::read(&file).with_context(|| path.to_owned())?;
        Ok(Some(serde_json::from_slice(&text).with_context(|| path.to_owned())?))
    }

    /// The cases of a JSON list; none when it is not there.
    fn cases(&self, path: &str) -> Result<Option<Vec<Value>>> {
        let Some(Value::Array(cases)) = self.json(path)? else { return Ok(None) };
        Ok(Some(cases))
    }
}

/// A text of a case, empty when there is none.
fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// The files of a folder with this extension, sorted; with an empty one, all.
fn files(folder: &std::path::Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| extension.is_empty() || file.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}

/// A share of a whole with three places; of nothing, nothing is missing.
fn ratio(part: usize, whole: usize) -> String {
    let thousandths = (part * 1000 + whole / 2).checked_div(whole).unwrap_or(1000);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_is_not_there_is_a_failure_where_it_is_required() {
        let tallies = Tally::skipped("a suite");
        assert!(conclude(&tallies, false).is_ok());
        assert!(conclude(&tallies, true).is_err_and(|error| error.to_string().contains("1 suites were skipped")));
        assert!(conclude(&[Tally::new("a suite", 1, Vec::new())], true).is_ok());
    }
}
