//! United States social security numbers.
//!
//! They have no check digit. Without separators nine digits are anything, so that they count only after a word that
//! says what they are.

use super::Finding;
use super::digits::{Group, groups, only_digits};

/// Groups of digits with one separator between them, whole; then nine digits after a telling word.
pub(super) fn candidate_patterns() -> Vec<String> {
    vec![
        r"[0-9]{1,20}(?:[-. \x{a0}\x{2010}-\x{2014}][0-9]{1,20}){2,9}".to_owned(),
        r"(?i:(?-u:\b)ssn|social[\s-]{1,3}security)[^0-9\r\n]{0,32}[0-9]{9}(?-u:\b)".to_owned(),
    ]
}

/// Three, two and four digits between equal separators, not part of a longer row of the same separators.
pub(super) fn check(text: &str) -> Vec<Finding> {
    if text.starts_with(|character: char| character.is_ascii_alphabetic()) {
        let number = only_digits(text);
        return if is_assigned(&number) { vec![Finding::secret(number)] } else { Vec::new() };
    }
    let groups = groups(text);
    let before = |index: usize| index.checked_sub(1).and_then(|previous| groups[previous].separator);
    groups
        .windows(3)
        .enumerate()
        .filter(|(index, window)| {
            let inner = window[0].separator;
            has_shape(window) && inner == window[1].separator && before(*index) != inner && window[2].separator != inner
        })
        .map(|(_, window)| window.iter().map(|group| group.digits.as_str()).collect::<String>())
        .filter(|number| is_assigned(number))
        .map(Finding::secret)
        .collect()
}

fn has_shape(window: &[Group]) -> bool {
    window.iter().map(|group| group.digits.len()).eq([3, 2, 4])
}

/// Numbers that the Social Security Administration never gives out: area 000, 666 and 900 to 999, group 00, serial
/// 0000, and the two that became known from advertisements.
fn is_assigned(number: &str) -> bool {
    let (Some(area), Some(group), Some(serial)) = (number.get(..3), number.get(3..5), number.get(5..9)) else {
        return false;
    };
    number.len() == 9
        && area != "000"
        && area != "666"
        && !area.starts_with('9')
        && group != "00"
        && serial != "0000"
        && !matches!(number, "078051120" | "219099999")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(text).into_iter().map(|finding| finding.value).collect()
    }

    #[test]
    fn with_separators_or_a_telling_word() {
        for text in
            ["078-05-1123", "078 05 1123", "078.05.1123", "SSN: 078051123", "social security number is 078051123"]
        {
            assert_eq!(found(text), ["078051123"], "{text}");
        }
        assert_eq!(found("078-05-1123 536-90-4399").len(), 2);
    }

    #[test]
    fn never_assigned_or_part_of_something_else() {
        for text in [
            "000-12-3456",
            "666-12-3456",
            "912-12-3456",
            "123-00-3456",
            "123-45-0000",
            "078-05-1120",
            "693-09.4444",
            "1-078-05-1123",
            "078-05-1123-1",
            "1078-05-1123",
            "078-05-11234",
            "SSN: 000123456",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
