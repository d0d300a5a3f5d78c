//! International bank account numbers (ISO 13616).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Finding;
use super::digits::{SEPARATOR, is_invisible};

/// Country and length, from the SWIFT IBAN registry, with the countries that use the format unregistered.
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("DZ", 26),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IR", 26),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MA", 28),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MG", 27),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("MZ", 25),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SN", 28),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

/// One alternative for each length, so that a match ends where the country's number ends and the words or the next
/// number after it stay outside. At most 33 characters and 31 separators of three bytes: 126 bytes.
pub(super) fn candidate_patterns() -> Vec<String> {
    let mut countries: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (country, length) in LENGTHS {
        countries.entry(*length).or_default().push(country);
    }
    let mut pattern = String::from(r"(?-u:\b)(?i:");
    for (position, (length, countries)) in countries.iter().enumerate() {
        let or = if position == 0 { "" } else { "|" };
        let remaining = length - 4;
        let _ = write!(pattern, "{or}(?:{})[0-9]{{2}}(?:{SEPARATOR}?[A-Z0-9]){{{remaining}}}", countries.join("|"));
    }
    pattern.push_str(r")(?-u:\b)");
    vec![pattern]
}

/// Length by country, letters in one case, and the check digits (ISO 7064 mod 97-10: the remainder is 1).
pub(super) fn check(text: &str) -> Option<Finding> {
    let number: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    if text.chars().any(|character| !character.is_ascii_alphanumeric() && !is_separator(character)) {
        return None;
    }
    let is_one_case = !number.contains(|letter: char| letter.is_ascii_lowercase())
        || !number.contains(|letter: char| letter.is_ascii_uppercase());
    if !is_one_case {
        return None;
    }
    let number = number.to_ascii_uppercase();
    let country = number.get(..2)?;
    let (_, length) = LENGTHS.iter().find(|(known, _)| *known == country)?;
    if number.len() != *length || !number.as_bytes().get(2..4)?.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let remainder = number[4..].chars().chain(number[..4].chars()).try_fold(0, |remainder: u32, character| {
        let value = character.to_digit(36)?;
        Some(if value < 10 { remainder * 10 + value } else { remainder * 100 + value } % 97)
    })?;
    let masked = Some(format!("{country}***"));
    (remainder == 1).then_some(Finding { masked, value: number })
}

fn is_separator(character: char) -> bool {
    matches!(character, ' ' | '-' | '\u{a0}' | '\u{2007}' | '\u{2009}'..='\u{2014}' | '\u{202f}' | '\u{2212}')
        || is_invisible(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_and_length() {
        for text in
            ["DE89 3704 0044 0532 0130 00", "de89370400440532013000", "NO9386011117947", "GB29-NWBK-6016-1331-9268-19"]
        {
            assert!(check(text).is_some(), "{text}");
        }
        for text in [
            "DE89 3704 0044 0532 0130 01",
            "DE8937040044053201300",
            "ZZ89370400440532013000",
            "De89370400440532013000",
            "DE",
            "",
        ] {
            assert!(check(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_the_country_is_shown() {
        assert_eq!(check("DE89 3704 0044 0532 0130 00").and_then(|finding| finding.masked).as_deref(), Some("DE***"));
    }

    #[test]
    fn countries_are_sorted_and_unique() {
        assert!(LENGTHS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
