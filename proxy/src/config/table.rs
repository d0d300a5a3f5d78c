//! Reading tables key by key: every key asked for is known, every other one is an error when the table is finished.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problem, Report, nearest};

/// A table being read. Values that are wrong are reported and then count as absent.
pub(super) struct Table<'a> {
    report: &'a Report<'a>,
    /// The dotted key of the table; empty for the file itself.
    path: String,
    start: usize,
    entries: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn root(report: &'a Report<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { report, path: String::new(), start: 0, entries, asked: RefCell::default() }
    }

    /// "file:line" of where the table begins.
    pub(super) fn place(&self) -> String {
        let place = self.report.place(self.start);
        format!("{}:{}", place.file.display(), place.line)
    }

    /// "file:line" of a key's value.
    pub(super) fn place_of(&self, key: &str) -> String {
        let place = self.report.place(self.offset_of(key));
        format!("{}:{}", place.file.display(), place.line)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn is_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_array())
    }

    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.entries.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty())
    }

    /// The names of a table's entries, without reading it.
    pub(super) fn names_in(&self, key: &str) -> Vec<String> {
        let entries = self.entries.get(key).and_then(|value| value.get_ref().as_table());
        entries.map(|table| table.keys().map(|name| name.get_ref().to_string()).collect()).unwrap_or_default()
    }

    /// An optional value.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = self.ask(key)?;
        parse(value.get_ref()).map_err(|problem| self.error_at(value, key, problem)).ok()
    }

    /// A value that must be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        remedy: &str,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, Problem>,
    ) -> Option<T> {
        if !self.has(key) {
            self.ask(key);
            self.error(key, Problem::new("required, and missing", remedy));
            return None;
        }
        self.optional(key, parse)
    }

    /// A list; items that are wrong are reported, each at its place, and left out.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        example: &str,
        mut parse: impl FnMut(&'a DeValue<'a>) -> Result<T, Problem>,
    ) -> Option<Vec<T>> {
        let value = self.ask(key)?;
        let Some(items) = value.get_ref().as_array() else {
            let what = format!("must be a list, not {}", described(value.get_ref()));
            self.error_at(value, key, Problem::new(what, format!("write {key} = {example}")));
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for item in items.iter() {
            match parse(item.get_ref()) {
                Ok(parsed) => list.push(parsed),
                Err(problem) => self.error_at(item, key, problem),
            }
        }
        Some(list)
    }

    /// A table inside this one.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        let value = self.ask(key)?;
        let table = self.inner(key, value);
        if table.is_none() {
            let what = format!("must be a table, not {}", described(value.get_ref()));
            self.error_at(value, key, Problem::new(what, format!("write it as [{}]", self.dotted(key))));
        }
        table
    }

    /// `key` as a table if it is written as one; nothing is reported when it is something else.
    pub(super) fn table_form(&self, key: &'static str) -> Option<Self> {
        self.ask(key).and_then(|value| self.inner(key, value))
    }

    /// The named tables inside a table: `[key.NAME]`.
    pub(super) fn named_tables(&self, key: &'static str) -> Vec<(String, Self)> {
        let Some(group) = self.table(key) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, value) in group.entries.iter() {
            let name: &str = name.get_ref();
            match group.inner(name, value) {
                Some(table) => {
                    if !is_name(name) {
                        let remedy = "names are 1 to 64 letters, digits, hyphens and underscores";
                        group.error_at(value, name, Problem::new(format!("{name:?} is not a name"), remedy));
                    }
                    tables.push((name.to_owned(), table));
                }
                None => {
                    let what = format!("must be a table, not {}", described(value.get_ref()));
                    let remedy = format!("each {key} has a table of its own: [{key}.NAME]");
                    group.error_at(value, name, Problem::new(what, remedy));
                }
            }
        }
        tables
    }

    /// Reports an error about a key of this table, at its value, or at the table when the key is absent.
    pub(super) fn error(&self, key: &str, problem: Problem) {
        self.report.add(self.offset_of(key), &self.dotted(key), problem);
    }

    /// Reports each key that was not asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (name, _) in self.entries.iter() {
            let written: &str = name.get_ref();
            if asked.contains(&written) {
                continue;
            }
            let remedy = match nearest(written, asked.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("keys here: {}", asked.join(", ")),
            };
            self.report.add(name.span().start, &self.dotted(written), Problem::new("unknown key", remedy));
        }
    }

    fn ask(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.entries.get(key)
    }

    fn inner(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let entries = value.get_ref().as_table()?;
        let start = value.span().start;
        Some(Self { report: self.report, path: self.dotted(key), start, entries, asked: RefCell::default() })
    }

    fn error_at(&self, value: &Spanned<DeValue<'_>>, key: &str, problem: Problem) {
        self.report.add(value.span().start, &self.dotted(key), problem);
    }

    fn offset_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.start, |value| value.span().start)
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A value's type, as it is called in messages.
pub(super) fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Names end up in logs, metric labels and replies.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
