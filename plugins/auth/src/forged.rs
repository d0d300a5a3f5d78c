//! Recognising Authentication-Results fields that somebody behind us could take for ours (RFC 8601 section 5).
//!
//! Readers differ: some skip comments, some do not; some know quoted strings, some take the first word. A field is
//! removed when under any of these readings the part before the results names us, or names nobody: a reader may give
//! a field without a name the benefit of the doubt. Fields of others stay: their readers know whom to trust.

use crate::punycode;

/// Our names in each way that they can be written: with A-labels and with what those stand for.
pub fn names(names: impl Iterator<Item = String>) -> Vec<String> {
    names.flat_map(|name| [punycode::u_labels(&name), Some(name)]).flatten().collect()
}

/// Whether the field with this value (raw, folding kept) could be read as one by one of `names` (lower case).
pub fn claims(value: &[u8], names: &[String]) -> bool {
    let text = unfolded(value);
    let head = head(&text);
    let without_comments = without_comments(head);
    let unquoted = unquoted(&without_comments);
    let joined: String = unquoted.split_whitespace().collect();
    let dotted = around_dots(&unquoted);
    let readings = [head, &unquoted_with_comments(head), &without_comments, &unquoted, &joined, &dotted];
    is_nameless(&unquoted) || names.iter().any(|name| readings.iter().any(|reading| names_host(reading, name)))
}

/// On one line, lower case, as text: control characters other than tabs go, bytes that are not UTF-8 become marks.
fn unfolded(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let kept = text.chars().filter(|character| *character == '\t' || !character.is_control());
    // IDNA knows further full stops (RFC 3490 section 3.1).
    let is_dot = |character: char| matches!(character, '\u{3002}' | '\u{ff0e}' | '\u{ff61}');
    kept.map(|character| if is_dot(character) { '.' } else { character }).flat_map(char::to_lowercase).collect()
}

/// What stands before the results: up to the first semicolon outside comments and quoted strings. With an unclosed
/// comment or string that is everything, which covers the readers that do not care.
fn head(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut in_quotes = false;
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' if in_quotes || depth > 0 => {
                characters.next();
            }
            '"' if depth == 0 => in_quotes = !in_quotes,
            '(' if !in_quotes => depth += 1,
            ')' if !in_quotes => depth = depth.saturating_sub(1),
            ';' if !in_quotes && depth == 0 => return &text[..position],
            _ => {}
        }
    }
    text
}

/// Comments, nested ones too, become nothing (RFC 5322 section 3.2.2).
fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let mut in_quotes = false;
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_quotes || depth > 0 => {
                let escaped = characters.next();
                if depth == 0 {
                    kept.push(character);
                    kept.extend(escaped);
                }
                continue;
            }
            '"' if depth == 0 => in_quotes = !in_quotes,
            '(' if !in_quotes => {
                depth += 1;
                continue;
            }
            ')' if !in_quotes && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(character);
        }
    }
    kept
}

/// Quotation marks and backslashes go.
fn unquoted(text: &str) -> String {
    text.chars().filter(|character| !matches!(character, '"' | '\\')).collect()
}

/// For a reader that lets white space stand around the dots of a name.
fn around_dots(text: &str) -> String {
    text.split('.').map(str::trim).collect::<Vec<_>>().join(".")
}

/// For a reader that takes marks of comments and quoting for white space.
fn unquoted_with_comments(text: &str) -> String {
    text.chars().map(|character| if matches!(character, '"' | '\\' | '(' | ')') { ' ' } else { character }).collect()
}

/// Whether the name stands in the text as a whole host name.
fn names_host(text: &str, name: &str) -> bool {
    let is_inner = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
    text.match_indices(name).any(|(begin, _)| {
        let before = text[..begin].chars().next_back();
        let mut after = text[begin + name.len()..].chars();
        let next = after.next();
        // "mx.example.com." with its final dot is the same host, "mx.example.com.evil" is not.
        let is_longer = next.is_some_and(is_inner) || (next == Some('.') && after.next().is_some_and(is_inner));
        !before.is_some_and(|character| is_inner(character) || character == '.') && !is_longer
    })
}

/// Whether there is no authserv-id: nothing before the results, or a result in its place.
fn is_nameless(head: &str) -> bool {
    head.split_whitespace().next().is_none_or(|word| word.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_claimed(value: &str) -> bool {
        claims(value.as_bytes(), &["mx.example.com".to_owned()])
    }

    #[test]
    fn ours_in_every_disguise() {
        for value in [
            "mx.example.com; spf=pass",
            " mx.example.com;spf=pass",
            "MX.Example.COM; none",
            "mx.example.com 1; spf=pass",
            "mx.example.com/1; spf=pass",
            "mx.example.com.; spf=pass",
            "mx.example.com",
            "mx.example.com (comment) 1 (another); dkim=pass",
            "(comment; with a semicolon) mx.example.com; spf=pass",
            "(nested (comment)) mx.example.com; spf=pass",
            "(escaped \\) ) mx.example.com; spf=pass",
            "(unclosed mx.example.com; spf=pass",
            "\"mx.example.com\"; spf=pass",
            "\"mx.example\\.com\" 1; spf=pass",
            "\"mx.example.com; spf=pass",
            "\r\n\tmx.example.com;\r\n\tspf=pass",
            "mx.\r\n example.com; spf=pass",
            "mx.example(x).com; spf=pass",
            "mx.exam\0ple.com; spf=pass",
            "x mx.example.com; spf=pass",
            "mx . example . com 1; spf=pass",
            "mx.example.com\u{3002}; spf=pass",
            "mx\u{ff0e}example\u{ff61}com; spf=pass",
            "(\"quoted) mx.example.com; spf=pass",
            "\tmx.example.com\t(a (b) \\) c)\r\n 1 ; dkim=pass",
            "mx.example.com=1; spf=pass",
            "=?utf-8?q?x?= mx.example.com; spf=pass",
            "",
            " ; spf=pass",
            "spf=pass smtp.mailfrom=bank.example; dkim=pass",
            "(c) dkim=pass header.d=bank.example",
        ] {
            assert!(is_claimed(value), "{value:?}");
        }
    }

    #[test]
    fn international_names_are_ours_in_both_forms() {
        let names = names(["mx.xn--bcher-kva.example".to_owned()].into_iter());
        for (value, expected) in [
            ("mx.xn--bcher-kva.example; spf=pass", true),
            ("MX.XN--BCHER-KVA.EXAMPLE.; spf=pass", true),
            ("mx.b\u{fc}cher.example; spf=pass", true),
            ("MX.B\u{dc}CHER.Example 1; spf=pass", true),
            ("mx.b\u{fc}cher\u{3002}example; spf=pass", true),
            ("mx.bucher.example; spf=pass", false),
            ("mx.b\u{fc}cher.example.org; spf=pass", false),
        ] {
            assert_eq!(claims(value.as_bytes(), &names), expected, "{value}");
        }
    }

    #[test]
    fn those_of_others_stay() {
        for value in [
            "mx.example.org; spf=pass",
            "mx.example.com.evil.example; spf=pass",
            "notmx.example.com; spf=pass",
            "a.mx.example.com; spf=pass",
            "mx.example.community; spf=pass",
            "mail.example.org; spf=pass smtp.helo=mx.example.com",
            "mail.example.org 1; none",
        ] {
            assert!(!is_claimed(value), "{value:?}");
        }
    }
}
