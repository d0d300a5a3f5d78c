//! From the JSON that the host hands over to a configured filter, with errors that name the key.

use core::fmt::Write as _;

use crate::{Filter, Plan};

/// Read the configuration and let the filter check it.
pub(crate) fn configure<F: Filter>(json: &str) -> Result<(F, Plan), String> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let config = serde_json::from_str(json).map_err(|error| describe(json, &error))?;
    F::configure(config)
}

/// The operator writes TOML and never sees this JSON, so its line and column are turned into the path of the key.
fn describe(json: &str, error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(position) = text.rfind(" at line ") {
        text.truncate(position);
    }
    let before: usize = json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    match path_at(json.as_bytes(), before + error.column()) {
        path if path.is_empty() => text,
        path => format!("{path}: {text}"),
    }
}

/// One enclosing table or list.
enum Level {
    Table(Option<String>),
    List(usize),
}

/// The path, such as `rules[1].minimum`, of what stands before this byte.
fn path_at(json: &[u8], end: usize) -> String {
    let mut levels = Vec::new();
    let mut last_string = String::new();
    let mut at = 0;
    // A value ends before the comma or bracket that serde_json has read when it reports it.
    let end = end.min(json.len());
    while at < end {
        match json[at] {
            b'"' => last_string = string_at(json, &mut at),
            b'{' => levels.push(Level::Table(None)),
            b'[' => levels.push(Level::List(0)),
            b'}' | b']' if at + 1 < end => drop(levels.pop()),
            b':' => {
                if let Some(Level::Table(key)) = levels.last_mut() {
                    *key = Some(core::mem::take(&mut last_string));
                }
            }
            b',' if at + 1 < end => match levels.last_mut() {
                Some(Level::Table(key)) => *key = None,
                Some(Level::List(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    // At a table's own end the error concerns the table (a missing key), not the last key in it.
    if json.get(end.wrapping_sub(1)) == Some(&b'}')
        && let Some(Level::Table(key)) = levels.last_mut()
    {
        *key = None;
    }
    render(&levels)
}

/// The string that begins here; leaves `at` on its closing quote. Escapes stay as written, as keys have none.
fn string_at(json: &[u8], at: &mut usize) -> String {
    let start = *at + 1;
    *at = start;
    while *at < json.len() && json[*at] != b'"' {
        *at += if json[*at] == b'\\' { 2 } else { 1 };
    }
    String::from_utf8_lossy(&json[start..(*at).min(json.len())]).into_owned()
}

fn render(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Table(Some(key)) if path.is_empty() => path.push_str(key),
            Level::Table(Some(key)) => _ = write!(path, ".{key}"),
            Level::Table(None) => {}
            Level::List(index) => _ = write!(path, "[{index}]"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the derive")]
    struct Config {
        rules: Vec<Rule>,
        #[serde(default)]
        limit: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the derive")]
    struct Rule {
        name: String,
        minimum: Option<u32>,
    }

    fn error(json: &str) -> String {
        describe(json, &serde_json::from_str::<Config>(json).expect_err("an invalid configuration"))
    }

    #[test]
    fn errors_name_the_key() {
        for (json, expected) in [
            (r#"{}"#, "missing field `rules`"),
            (r#"{"rules":[],"limit":"x"}"#, "limit: invalid type: string \"x\", expected u32"),
            (r#"{"limit":-1,"rules":[]}"#, "limit: invalid value: integer `-1`, expected u32"),
            (r#"{"rules":[{"minimum":1}]}"#, "rules[0]: missing field `name`"),
            (
                r#"{"rules":[{"name":"a"},{"name":"b","minimum":"two"}]}"#,
                "rules[1].minimum: invalid type: string \"two\", expected u32",
            ),
            (
                r#"{"rules":[{"name":"a,}{"},{"nam":"b"}]}"#,
                "rules[1]: unknown field `nam`, expected `name` or `minimum`",
            ),
            (r#"{"rules":7}"#, "rules: invalid type: integer `7`, expected a sequence"),
            ("{\n \"rules\": [],\n \"limit\": true\n}", "limit: invalid type: boolean `true`, expected u32"),
        ] {
            assert_eq!(error(json), expected, "{json}");
        }
    }
}
