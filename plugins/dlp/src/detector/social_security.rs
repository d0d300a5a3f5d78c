//! United States social security numbers, and the taxpayer numbers (ITIN) of those who have none.
//!
//! They have no check digit. Without separators nine digits are anything, so that they count only after a word that
//! says what they are.

use super::Finding;
use super::digits::{Group, groups, only_digits};

/// Groups of digits with one separator between them, whole; then nine digits after a telling word.
pub(super) fn candidate_patterns() -> Vec<String> {
    vec![grouped(), after(r"(?-u:\b)ssn|social[\s-]{1,3}security")]
}

/// The same for taxpayer numbers.
pub(super) fn itin_patterns() -> Vec<String> {
    vec![grouped(), after(r"(?-u:\b)itin(?-u:\b)|taxpayer[\s-]{1,3}identification")]
}

fn grouped() -> String {
    r"[0-9]{1,20}(?:[-. \x{a0}\x{2010}-\x{2014}][0-9]{1,20}){2,9}".to_owned()
}

fn after(words: &str) -> String {
    format!(r"(?i:{words})[^0-9\r\n]{{0,32}}[0-9]{{9}}(?-u:\b)")
}

/// Three, two and four digits between equal separators, not part of a longer row of the same separators.
pub(super) fn check(text: &str) -> Vec<Finding> {
    numbers(text).into_iter().filter(|number| is_assigned(number)).map(Finding::secret).collect()
}

/// As social security numbers, with area 900 to 999 and a group from 50 to 65, 70 to 88, 90 to 92 or 94 to 99 (IRS
/// publication 4757).
pub(super) fn check_itin(text: &str) -> Vec<Finding> {
    let is_taxpayer = |number: &String| {
        let group = number.get(3..5).and_then(|group| group.parse().ok()).unwrap_or(0);
        number.starts_with('9') && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
    };
    numbers(text).into_iter().filter(is_taxpayer).map(Finding::secret).collect()
}

/// Nine digits, in the right groups or after a word.
fn numbers(text: &str) -> Vec<String> {
    if text.starts_with(|character: char| character.is_ascii_alphabetic()) {
        return vec![only_digits(text)];
    }
    let groups = groups(text);
    let before = |index: usize| index.checked_sub(1).and_then(|previous| groups[previous].separator);
    let windows = groups.windows(3).enumerate().filter(|(index, window)| {
        let inner = window[0].separator;
        has_shape(window) && inner == window[1].separator && before(*index) != inner && window[2].separator != inner
    });
    windows.map(|(_, window)| window.iter().map(|group| group.digits.as_str()).collect()).collect()
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
    fn taxpayer_numbers() {
        for text in ["911-70-1234", "911-53-1234", "ITIN 911701234"] {
            assert_eq!(check_itin(text).len(), 1, "{text}");
        }
        for text in ["911-89-1234", "811-70-1234", "911-70-1234-5"] {
            assert_eq!(check_itin(text).len(), 0, "{text}");
        }
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
