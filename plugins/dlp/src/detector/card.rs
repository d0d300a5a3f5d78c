//! Payment card numbers (ISO/IEC 7812): issuer prefix, length, Luhn check digit, and a layout in which cards are
//! written.

use super::Finding;
use super::digits::{self, Group, SEPARATOR, groups};

/// The shortest and the longest card number (Maestro has both).
const LENGTHS: std::ops::RangeInclusive<usize> = 12..=19;

/// Runs of digits with at most one separator between two of them, whole: where a card begins in such a run is
/// decided by [`check`]. Fifty digits keep a match under 256 bytes; a longer run is cut between two groups
/// where that is possible, and its pieces are joined again by the caller.
pub(super) fn candidate_patterns() -> Vec<String> {
    // A mail program may have wrapped, and another quoted, the line in the middle of a number.
    let s = format!(r"(?:{SEPARATOR}|\r?\n(?:> ?)?)");
    vec![format!(
        r"[0-9](?:{s}?[0-9]){{36,49}}(?-u:\b)|[0-9](?:{s}?[0-9]){{11,49}}|[\x{{ff10}}-\x{{ff19}}](?:{s}?[\x{{ff10}}-\x{{ff19}}]){{11,35}}"
    )]
}

/// The cards in a run of digit groups. A card begins and ends with a group: never inside a longer number.
pub(super) fn check(text: &str) -> Vec<Finding> {
    let groups = groups(text);
    let mut findings = Vec::new();
    let mut start = 0;
    while start < groups.len() {
        match card_at(&groups[start..]) {
            Some((number, used)) => {
                findings.push(Finding { masked: Some(mask(&number)), value: number });
                start += used;
            }
            None => start += 1,
        }
    }
    findings
}

/// The card that begins with the first group, and how many groups it takes.
fn card_at(groups: &[Group]) -> Option<(String, usize)> {
    let singles = groups.iter().take_while(|group| group.digits.len() == 1).count();
    if LENGTHS.contains(&singles) && is_one_number(&groups[..singles]) {
        return join(&groups[..singles]).map(|number| (number, singles));
    }
    (1..=groups.len().min(5))
        .filter(|&count| is_layout(&groups[..count]) && is_one_number(&groups[..count]))
        .find_map(|count| join(&groups[..count]).map(|number| (number, count)))
}

/// Whether at most one line break is within the groups, and other separators as well: numbers in a column are numbers of
/// their own.
fn is_one_number(groups: &[Group]) -> bool {
    let inner = &groups[..groups.len().saturating_sub(1)];
    let breaks = inner.iter().filter(|group| group.separator == Some('\n')).count();
    breaks == 0 || (breaks == 1 && inner.len() > 1)
}

/// Whether cards are printed in groups of these lengths. Without this, any row of small numbers would be searched
/// for sums that happen to fit.
fn is_layout(groups: &[Group]) -> bool {
    let lengths: Vec<usize> = groups.iter().map(|group| group.digits.len()).collect();
    match lengths.as_slice() {
        [only] => LENGTHS.contains(only),
        [4, 6, 4 | 5] | [4, 5, 6] | [6, 13] => true,
        // Fours, some of them joined where an invisible character stands between them.
        [fours @ .., last] => fours.iter().all(|length| length.is_multiple_of(4)) && (1..=12).contains(last),
        [] => false,
    }
}

/// The number that the groups make, when it is a card's.
fn join(groups: &[Group]) -> Option<String> {
    let number: String = groups.iter().map(|group| group.digits.as_str()).collect();
    (is_issued(&number) && luhn(number.as_bytes())).then_some(number)
}

/// Whether an issuer uses the prefix with this length.
fn is_issued(number: &str) -> bool {
    let prefix = |digits: usize| number.get(..digits).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let length = number.len();
    match (prefix(1), prefix(2), prefix(3), prefix(4)) {
        // UATP, the airlines' card.
        (1, ..) => length == 15,
        // Mastercard 2221-2720, Mir 2200-2204.
        (2, _, _, 2221..=2720) => length == 16,
        (2, _, _, 2200..=2204) => (16..=19).contains(&length),
        // American Express, Diners Club, JCB.
        (3, 34 | 37, ..) => length == 15,
        (3, 36, ..) => (14..=19).contains(&length),
        (3, 30 | 38 | 39, ..) => length == 14 || length == 16,
        (3, _, _, 3528..=3589) => (16..=19).contains(&length),
        // Visa; the short ones are as long as the numbers of goods, which begin with a 4 in Germany.
        (4, ..) => matches!(length, 16 | 19) || (length == 13 && !is_article(number)),
        // Mastercard, then Maestro, Dankort, RuPay and Verve.
        (5, 51..=55, ..) => length == 16,
        (5, _, _, 5018 | 5020 | 5038 | 5893) => LENGTHS.contains(&length),
        (5, _, _, 5019) | (5, _, 508, _) => length == 16,
        (5, _, 506, _) => matches!(length, 16 | 18 | 19),
        // Maestro, then Discover, UnionPay, RuPay, InterPayment and InstaPayment.
        (6, _, _, 6304 | 6759 | 6761..=6763) => LENGTHS.contains(&length),
        (6, 60 | 62 | 64 | 65, ..) => (16..=19).contains(&length),
        (6, _, 636, _) => (16..=19).contains(&length),
        (6, _, 637..=639, _) => length == 16,
        // RuPay, UnionPay; Troy.
        (8, 81 | 82, ..) => (16..=19).contains(&length),
        (9, _, _, 9792) => length == 16,
        _ => false,
    }
}

/// Whether thirteen digits have the check digit of an EAN-13.
fn is_article(number: &str) -> bool {
    let weights = [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1];
    digits::weighted(number, &weights).is_some_and(|sum| sum.is_multiple_of(10))
}

/// ISO/IEC 7812-1 annex B: every second digit from the right is doubled, and the sum of all digits ends in 0.
fn luhn(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(position, &digit)| match (position % 2, digits::value(digit)) {
            (0, value) => value,
            (_, value) => value * 2 / 10 + value * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// All but the last four digits hidden, as on a receipt (PCI DSS 3.4).
fn mask(number: &str) -> String {
    let last = number.get(number.len().saturating_sub(4)..).unwrap_or_default();
    format!("{}{last}", "*".repeat(number.len().saturating_sub(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(text).into_iter().map(|finding| finding.value).collect()
    }

    #[test]
    fn each_brand_in_its_layout() {
        for text in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111\u{a0}1111\u{2013}1111\u{200b}1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "4111 1111\r\n1111 1111",
            "3714\n> 496353 98431",
            "４１１１１１１１１１１１１１１１",
            "3714 496353 98431",
            "3056 930902 5904",
            "5555555555554444",
            "2221000000000009",
            "6011000400000000",
            "3528000700000000",
            "5019717010103742",
            "6759649826438453",
            "122000000000003",
            "4222222222222",
            "6200000000000005",
        ] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_card() {
        for text in [
            "4111111111111112",
            "94111111111111111",
            "41111111111111111111",
            "1748503543012",
            "36168002586008",
            "0000000000000000",
            "41 11 11 11 11 11 11 11",
            "9999999999999995",
            "351111111111111",
            "4006381333931",
            "411111111111111116",
            "41111111\n11111111",
            "4111\n1111\n1111\n1111",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn cards_in_one_run_are_told_apart() {
        assert_eq!(found("4012888888881881 4012-8888-8888-1881 4012 8888 8888 1881").len(), 3);
        assert_eq!(found("0925 4111 1111 1111 1111 123"), ["4111111111111111"]);
        assert_eq!(found("371449635398431 4111111111111111"), ["371449635398431", "4111111111111111"]);
    }

    #[test]
    fn only_the_last_four_digits_are_shown() {
        assert_eq!(check("4111111111111111")[0].masked.as_deref(), Some("************1111"));
    }
}
