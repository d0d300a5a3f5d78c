//! Digits and the characters that people and programs put between them.

/// One of the separators seen inside numbers, as a regular expression: spaces, dashes, and the invisible characters
/// that hide a number from a naive search. No line break: numbers in a column are numbers of their own.
pub(super) const SEPARATOR: &str =
    r"[ \x{a0}\x{ad}\x{2007}\x{2009}-\x{2014}\x{200b}-\x{200d}\x{202f}\x{2060}\x{2212}\x{feff}-]";

/// A run of digits, and the separator after it when there is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) digits: String,
    pub(super) separator: Option<char>,
}

/// The digit groups of a text. Invisible characters join the digits on both sides; full-width digits become ASCII;
/// any other character separates.
pub(super) fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut in_group = false;
    for character in text.chars() {
        if let Some(digit) = ascii_digit(character) {
            if !in_group {
                groups.push(Group { digits: String::new(), separator: None });
                in_group = true;
            }
            if let Some(group) = groups.last_mut() {
                group.digits.push(digit);
            }
        } else if !is_invisible(character) {
            // Of several, such as a line break and the mark of a quoted line, the line break counts.
            let is_telling = in_group || character == '\n';
            if is_telling && let Some(group) = groups.last_mut() {
                group.separator = Some(character);
            }
            in_group = false;
        }
    }
    groups
}

/// All digits of a text as one ASCII string.
pub(super) fn only_digits(text: &str) -> String {
    text.chars().filter_map(ascii_digit).collect()
}

/// The value of an ASCII digit; 0 for anything else, which the callers have excluded.
pub(super) fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0')) % 10
}

/// The sum of the digits, each times its weight; `None` unless there are as many digits as weights.
pub(super) fn weighted(number: &str, weights: &[u32]) -> Option<u32> {
    let digits = number.bytes().zip(weights).map(|(digit, weight)| value(digit) * weight);
    (number.len() == weights.len()).then(|| digits.sum())
}

/// The remainder of a number, however long, by a small one.
pub(super) fn remainder(number: &str, modulus: u32) -> u32 {
    number.bytes().fold(0, |rest, digit| (rest * 10 + value(digit)) % modulus)
}

/// An ASCII digit for an ASCII or full-width digit.
fn ascii_digit(character: char) -> Option<char> {
    match character {
        '0'..='9' => Some(character),
        '\u{ff10}'..='\u{ff19}' => char::from_digit(u32::from(character) - 0xff10, 10),
        _ => None,
    }
}

pub(super) fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_split_at_visible_separators_only() {
        let lengths = |text: &str| groups(text).iter().map(|group| group.digits.len()).collect::<Vec<_>>();
        assert_eq!(lengths("4111 1111-22"), [4, 4, 2]);
        assert_eq!(lengths("41\u{200b}11\u{ad}1111"), [8]);
        assert_eq!(lengths("１２ 34"), [2, 2]);
        assert_eq!(lengths("no digits"), [0; 0]);
        assert_eq!(groups("12 34")[0].separator, Some(' '));
    }
}
