//! Configuration files and command lines with places to fill in: `@name@` stands for a value, and a line that begins with
//! `@tls ` or `@filters ` is there only when the scenario has it.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// What a template is filled in with.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// By name, without the at signs.
    pub(super) names: BTreeMap<&'static str, String>,
    /// The kinds of lines that are there.
    pub(super) lines: Vec<&'static str>,
}

/// The kinds of lines that depend on the scenario.
pub(super) const KINDS: [&str; 2] = ["tls", "filters"];

impl Values {
    /// The text with everything filled in.
    ///
    /// # Errors
    /// When a place has a name that is not known.
    pub(super) fn fill(&self, template: &str) -> Result<String> {
        let mut text = String::with_capacity(template.len() * 2);
        for line in template.split_inclusive('\n') {
            let Some(line) = self.chosen(line) else { continue };
            let mut rest = line;
            while let Some((before, name, after)) = place(rest) {
                let Some(value) = self.names.get(name) else { bail!("@{name}@ in {:?}", line.trim_end()) };
                text.push_str(before);
                text.push_str(value);
                rest = after;
            }
            text.push_str(rest);
        }
        Ok(text)
    }

    /// The line without its condition; none when that does not hold.
    fn chosen<'a>(&self, line: &'a str) -> Option<&'a str> {
        let condition = KINDS.iter().find_map(|kind| {
            let rest = line.strip_prefix('@')?.strip_prefix(kind)?.strip_prefix(' ')?;
            Some((*kind, rest))
        });
        match condition {
            Some((kind, rest)) => self.lines.contains(&kind).then_some(rest),
            None => Some(line),
        }
    }
}

/// The first place: what is before it, its name, what is after it. At signs of addresses are none.
fn place(text: &str) -> Option<(&str, &str, &str)> {
    for (begin, _) in text.match_indices('@') {
        let inner = &text[begin + 1..];
        if let Some(length) = inner.find('@') {
            let name = &inner[..length];
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return Some((&text[..begin], name, &inner[length + 1..]));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(lines: &[&'static str]) -> Values {
        Values {
            names: [("listen", "127.0.0.1:25".to_owned()), ("host", "a".to_owned())].into(),
            lines: lines.to_vec(),
        }
    }

    #[test]
    fn places_are_filled_in() {
        for (template, expected) in [
            ("bind @listen@\n", "bind 127.0.0.1:25\n"),
            ("@host@@listen@ @host@", "a127.0.0.1:25 a"),
            ("mail user@example.com and b@example.com", "mail user@example.com and b@example.com"),
            ("@ @ @@ @host@", "@ @ @@ a"),
            ("", ""),
        ] {
            assert_eq!(values(&[]).fill(template).unwrap(), expected, "{template:?}");
        }
        values(&[]).fill("@unknown@").unwrap_err();
    }

    #[test]
    fn lines_depend_on_the_scenario() {
        let template = "a\n@tls key @host@\n@filters spf\nb\n";
        for (lines, expected) in [
            (&[][..], "a\nb\n"),
            (&["tls"], "a\nkey a\nb\n"),
            (&["filters"], "a\nspf\nb\n"),
            (&["tls", "filters"], "a\nkey a\nspf\nb\n"),
        ] {
            assert_eq!(values(lines).fill(template).unwrap(), expected);
        }
    }
}
