//! The configuration, checked: what the rest of the proxy reads. [`load`] makes it from a file, and reports every error
//! at its place; nothing in [`Config`] refers to the file any more.
//!
//! The file is read into a table that knows where each value stands, and converted once, section by section. A section
//! asks its table for each key it knows; whatever was not asked for is an unknown key.

mod types;
mod error;
mod table;
mod value;
mod sections;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use error::{ConfigError, ConfigErrors, Place};
pub use types::*;
pub use value::domain_to_ascii;

use error::{Problem, Report};

/// Bytes of a configuration file. Thousands of listed domains or keywords stay far below.
const FILE_LIMIT: u64 = 16 << 20;

/// Reads and checks a configuration file. Relative paths in it are taken from the directory it is in.
///
/// # Errors
///
/// Every error found in the file, each with its place, its key, what is wrong and how to mend it.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let unreadable = |what: String, remedy: &str| {
        let report = Report::new(file, "");
        report.add(0, "", Problem::new(what, remedy));
        report
    };
    let bytes = match read_regular(file, FILE_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) => {
            let report = unreadable(format!("cannot be read: {error}"), "name the configuration with --config FILE");
            return Err(report.into_errors());
        }
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let report = Report::new(file, &text);
            report.add(offset, "", Problem::new("is not UTF-8", "save the file as UTF-8"));
            return Err(report.into_errors());
        }
    };
    // Without a current directory a relative path stays relative, which still leads where the operator meant.
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    parse(&text, file, absolute.parent().unwrap_or_else(|| Path::new("/")))
}

/// A file's content. What is no file, such as a pipe that nobody writes to, is not waited for: the server that reads it
/// has other work.
///
/// # Errors
///
/// The system's, or that it is no file or has more than `limit` bytes.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Before it is opened, which alone would wait for the other end of a pipe.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let too_large = |size: u64| io::Error::other(format!("{size} bytes or more; at most {limit} are read"));
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    // It may have grown since.
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit { Err(too_large(limit + 1)) } else { Ok(content) }
}

/// As [`load`], for a text at hand: `file` is named in errors, `directory` is where relative paths begin.
///
/// # Errors
///
/// As [`load`].
pub fn parse(text: &str, file: &Path, directory: &Path) -> Result<Config, ConfigErrors> {
    let report = Report::new(file, text);
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    if !syntax_errors.is_empty() {
        report_syntax(&report, text, &syntax_errors);
        return Err(report.into_errors());
    }
    let config = sections::config(table::Table::root(&report, table.get_ref()), directory);
    match config {
        Some(config) if report.is_empty() => Ok(config),
        _ => Err(report.into_errors()),
    }
}

/// One error a line: what follows on the same line is mostly a consequence of the first.
fn report_syntax(report: &Report<'_>, text: &str, errors: &[toml::de::Error]) {
    let mut last_line = None;
    for error in errors.iter().take(error::REPORTED) {
        let offset = error.span().map_or(0, |span| span.start);
        let line = report.place(offset).line;
        if last_line.replace(line) == Some(line) {
            continue;
        }
        let remedy = match error.message() {
            message if message.starts_with("duplicate key") => "remove one of the two",
            _ => "strings, durations, sizes and addresses are written in double quotes; https://toml.io has the rules",
        };
        report.add(offset, &enclosing_key(text, line), Problem::new(error.message(), remedy));
    }
}

/// The dotted key a line is about, judged from the text alone, since the line could not be parsed.
fn enclosing_key(text: &str, line: usize) -> String {
    let mut header = "";
    let mut key = "";
    for content in text.lines().take(line) {
        let content = content.trim_start();
        key = "";
        if let Some(rest) = content.strip_prefix('[') {
            header = rest.trim_start_matches('[').split(']').next().unwrap_or_default().trim();
        } else if let Some((before, _)) = content.split_once('=') {
            key = before.trim();
        }
    }
    [header, key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// Where a path in the file leads.
fn resolve(directory: &Path, path: &str) -> PathBuf {
    directory.join(path)
}
