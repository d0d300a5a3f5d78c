//! What is wrong with a configuration file, and where.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::logging::Printable;

/// Errors reported of one file. To find the place of one takes a look at all of the file before it.
pub(super) const REPORTED: usize = 100;

/// A place in the configuration file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One error of the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}{}; {}", labelled(key), Printable(what.as_bytes()), Printable(remedy.as_bytes()))]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// The dotted key it is about, such as `listener.inbound.listen`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

fn labelled(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{}: ", Printable(key.as_bytes())) }
}

/// The errors found in a configuration file, in the order of the file, a hundred at most; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// How many there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong with one value and how to mend it; whoever knows the place makes a [`ConfigError`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// Collects the errors of one file while it is converted.
pub(super) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, errors: RefCell::default() }
    }

    /// The place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        Place {
            file: self.file.to_owned(),
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            // The offset may lie inside a character when the parser says so; then lossy counting is near enough.
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }

    pub(super) fn add(&self, offset: usize, key: &str, problem: Problem) {
        if self.errors.borrow().len() >= REPORTED {
            return;
        }
        self.errors.borrow_mut().push(ConfigError {
            place: self.place(offset),
            key: key.to_owned(),
            what: problem.what,
            remedy: problem.remedy,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    pub(super) fn into_errors(self) -> ConfigErrors {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| (error.place.line, error.place.column));
        ConfigErrors(errors)
    }
}

/// The candidate that `written` most likely stands for, if one is near.
pub(super) fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(written, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that make one text of the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (row, &from) in left.iter().enumerate() {
        let mut costs = vec![row + 1];
        for (column, &to) in right.iter().enumerate() {
            let replaced = rows[row][column] + usize::from(from != to);
            let mut cost = replaced.min(rows[row][column + 1] + 1).min(costs[column] + 1);
            let swapped = row > 0 && column > 0 && from == right[column - 1] && left[row - 1] == to;
            if swapped {
                cost = cost.min(rows[row - 1][column - 1] + 1);
            }
            costs.push(cost);
        }
        rows.push(costs);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let text = "a = 1\nb = \"é\" # x\n";
        let report = Report::new(Path::new("f"), text);
        let place = report.place(text.find('#').unwrap());
        assert_eq!((place.line, place.column), (2, 9));
        assert_eq!(report.place(0).to_string(), "f:1:1");
        assert_eq!(report.place(1000).line, 3);
    }

    #[test]
    fn near_misses_are_found() {
        let keys = ["hostname", "state_dir", "workers"];
        assert_eq!(nearest("hostnmae", keys), Some("hostname"));
        assert_eq!(nearest("statedir", keys), Some("state_dir"));
        assert_eq!(nearest("threads", keys), None);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
