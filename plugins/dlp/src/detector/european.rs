//! National numbers of European countries, with their check digits: Spain, Italy, Poland, the United Kingdom, the
//! Netherlands, Belgium.

use super::Finding;
use super::digits::{SEPARATOR, only_digits, remainder, value, weighted};

/// The letter of a Spanish number, by the remainder of its digits by 23 (Orden INT/2058/2008).
const NIF_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// DNI: seven or eight digits and a letter; NIE: X, Y or Z, seven digits and a letter.
pub(super) fn nif_patterns() -> Vec<String> {
    let s = SEPARATOR;
    vec![format!(r"(?-u:\b)(?i:[0-9]{{7,8}}{s}?[A-Z]|[XYZ]{s}?[0-9]{{7}}{s}?[A-Z])(?-u:\b)")]
}

pub(super) fn check_nif(text: &str) -> Option<Finding> {
    let number: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let (body, letter) = number.split_at_checked(number.len().checked_sub(1)?)?;
    // A foreigner's first letter stands for a digit.
    let digits = match body.as_bytes().first()? {
        b'X' => body.replacen('X', "0", 1),
        b'Y' => body.replacen('Y', "1", 1),
        b'Z' => body.replacen('Z', "2", 1),
        _ => body.to_owned(),
    };
    let number_of_digits: usize = digits.parse().ok()?;
    let expected = NIF_LETTERS.get(number_of_digits % 23)?;
    (number_of_digits > 0 && letter.as_bytes() == [*expected]).then(|| Finding::secret(number))
}

/// Surname, given name, birth, place, check letter; digits may be letters where two people would share a code.
pub(super) fn codice_fiscale_patterns() -> Vec<String> {
    let d = "[0-9LMNPQRSTUV]";
    vec![format!(r"(?-u:\b)(?i:[A-Z]{{6}}{d}{{2}}[ABCDEHLMPRST]{d}{{2}}[A-Z]{d}{{3}}[A-Z])(?-u:\b)")]
}

/// The check letter: characters in odd places count by a table, the others by their order, modulo 26 (DM 23 December 1976).
pub(super) fn check_codice_fiscale(text: &str) -> Option<Finding> {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let code = text.to_ascii_uppercase();
    let order = |byte: u8| match byte {
        b'0'..=b'9' => usize::from(byte - b'0'),
        _ => usize::from(byte.wrapping_sub(b'A')),
    };
    let (body, check) = code.as_bytes().split_last_chunk::<1>().map(|(body, [check])| (body, *check))?;
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(place, &byte)| match (place % 2, order(byte)) {
            (0, order) => ODD.get(order).copied().unwrap_or(0),
            (_, order) => u32::try_from(order).unwrap_or(0),
        })
        .sum();
    let is_real = code.len() == 16 && usize::try_from(sum % 26) == Ok(order(check));
    is_real.then(|| Finding::secret(code))
}

/// Eleven digits without separators.
pub(super) fn pesel_patterns() -> Vec<String> {
    vec![r"(?-u:\b)[0-9]{11}(?-u:\b)".to_owned()]
}

/// A date of birth, whose month also tells the century, and a check digit with the weights 1, 3, 7, 9.
pub(super) fn check_pesel(text: &str) -> Option<Finding> {
    let number = only_digits(text);
    let month = number.get(2..4)?.parse::<u32>().ok()? % 20;
    let day: u32 = number.get(4..6)?.parse().ok()?;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    let sum = weighted(&number, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1])?;
    (is_date && sum.is_multiple_of(10)).then(|| Finding::secret(number))
}

/// Ten digits, written 3 3 4 with spaces; in any other way only after a telling word, because every eleventh number has a
/// right check digit, and telephone numbers have as many digits.
pub(super) fn nhs_patterns() -> Vec<String> {
    let s = SEPARATOR;
    vec![
        r"(?:\+[0-9]{1,3}[ .\x{a0}-]?)?(?-u:\b)[0-9]{3}[ \x{a0}][0-9]{3}[ \x{a0}][0-9]{4}(?-u:\b)".to_owned(),
        format!(
            r"(?i:(?-u:\b)nhs(?-u:\b)|national[\s-]health)[^0-9\r\n]{{0,32}}[0-9]{{3}}{s}?[0-9]{{3}}{s}?[0-9]{{4}}(?-u:\b)"
        ),
    ]
}

/// Weights 10 to 2, modulo 11 (NHS Data Model and Dictionary, NHS number).
pub(super) fn check_nhs(text: &str) -> Option<Finding> {
    if text.starts_with('+') {
        return None;
    }
    let number = only_digits(text);
    let is_plain = number.bytes().any(|digit| Some(digit) != number.bytes().next());
    let sum = weighted(&number, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1])?;
    (is_plain && sum.is_multiple_of(11)).then(|| Finding::secret(number))
}

/// Two letters, six digits, a letter from A to D; without a check digit, but with letters that are never used.
pub(super) fn nino_patterns() -> Vec<String> {
    let s = SEPARATOR;
    let digits = format!(r"{s}?[0-9]{{2}}{s}?[0-9]{{2}}{s}?[0-9]{{2}}{s}?");
    vec![format!(r"(?-u:\b)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]{digits}[A-D](?-u:\b)")]
}

/// HMRC, National Insurance Manual NIM39110.
pub(super) fn check_nino(text: &str) -> Option<Finding> {
    let number: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let prefix = number.get(..2)?;
    let is_used = !matches!(prefix, "BG" | "GB" | "KN" | "NK" | "NT" | "TN" | "ZZ");
    (is_used && number.len() == 9).then(|| Finding::secret(number))
}

/// Nine digits after a telling word: every eleventh number passes the test of eleven.
pub(super) fn bsn_patterns() -> Vec<String> {
    let s = SEPARATOR;
    vec![format!(
        r"(?i:(?-u:\b)bsn(?-u:\b)|burgerservicenummer|sofi-?nummer)[^0-9\r\n]{{0,32}}[0-9](?:{s}|\.)?[0-9]{{3}}(?:{s}|\.)?[0-9]{{2}}(?:{s}|\.)?[0-9]{{3}}(?-u:\b)"
    )]
}

/// Weights 9 to 2 and then -1, modulo 11.
pub(super) fn check_bsn(text: &str) -> Option<Finding> {
    let number = only_digits(text);
    // -1 is 10 modulo 11.
    let sum = weighted(&number, &[9, 8, 7, 6, 5, 4, 3, 2, 10])?;
    (sum.is_multiple_of(11) && number.bytes().any(|digit| digit != b'0')).then(|| Finding::secret(number))
}

/// 85.07.30-033.28, the points and dashes optional.
pub(super) fn rijksregister_patterns() -> Vec<String> {
    let s = format!(r"(?:\.|{SEPARATOR})?");
    vec![format!(r"(?-u:\b)[0-9]{{2}}{s}[0-9]{{2}}{s}[0-9]{{2}}{s}[0-9]{{3}}{s}[0-9]{{2}}(?-u:\b)")]
}

/// A date of birth, and 97 less the remainder of the first nine digits by 97; who is born after 1999 has a 2 before them.
pub(super) fn check_rijksregister(text: &str) -> Option<Finding> {
    let number = only_digits(text);
    let (body, key) = number.split_at_checked(9)?;
    let key: u32 = key.parse().ok().filter(|_| number.len() == 11)?;
    let month: u32 = body[2..4].parse().ok()?;
    let day: u32 = body[4..6].parse().ok()?;
    // Numbers of people without a known date have months above 12, up to 52, and may have zeros.
    let is_date = month % 20 <= 12 && day <= 31;
    let has_key = |digits: &str| 97 - remainder(digits, 97) == key;
    let is_real = is_date && &body[6..9] != "000" && (has_key(body) || has_key(&format!("2{body}")));
    (is_real && value(body.as_bytes()[0]) < 10).then(|| Finding::secret(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spanish() {
        for text in ["12345678Z", "12345678-z", "1111111G", "01111111G", "X1234567L", "Y-1234567-X", "Z1234567R"] {
            assert!(check_nif(text).is_some(), "{text}");
        }
        for text in ["12345678A", "X1234567A", "00000000T", "Z", ""] {
            assert!(check_nif(text).is_none(), "{text}");
        }
    }

    #[test]
    fn italian() {
        for text in ["RSSMRA85T10A562S", "rssmra85t10a562s", "AAAAAA00B11C333Y"] {
            assert!(check_codice_fiscale(text).is_some(), "{text}");
        }
        for text in ["RSSMRA85T10A562T", "AAAAAA00B11C333N", "RSSMRA85T10A562", ""] {
            assert!(check_codice_fiscale(text).is_none(), "{text}");
        }
    }

    #[test]
    fn polish() {
        for text in ["44051401458", "02070803628", "02270803624"] {
            assert!(check_pesel(text).is_some(), "{text}");
        }
        for text in ["44051401459", "85040812345", "44001401453", "44053201456", "4405140145"] {
            assert!(check_pesel(text).is_none(), "{text}");
        }
    }

    #[test]
    fn british() {
        for text in ["401-023-2137", "221 395 1837", "NHS no. 0032698674"] {
            assert!(check_nhs(text).is_some(), "{text}");
        }
        for text in ["401-023-2138", "000 000 0000", "401-023-213", "+44 401 023 2137"] {
            assert!(check_nhs(text).is_none(), "{text}");
        }
        for text in ["AB123456C", "AB 12 34 56 C"] {
            assert!(check_nino(text).is_some(), "{text}");
        }
        for text in ["GB123456C", "AB12345C"] {
            assert!(check_nino(text).is_none(), "{text}");
        }
    }

    #[test]
    fn of_the_low_countries() {
        for text in ["BSN: 111222333", "BSN 1234.56.782"] {
            assert!(check_bsn(text).is_some(), "{text}");
        }
        for text in ["BSN: 111222334", "BSN 000000000"] {
            assert!(check_bsn(text).is_none(), "{text}");
        }
        for text in ["85.07.30-033.28", "85073003328", "17.07.30-033.84"] {
            assert!(check_rijksregister(text).is_some(), "{text}");
        }
        for text in ["85.07.30-033.29", "85.13.30-033.28", "85.07.30-000.61", "85.07.30-033"] {
            assert!(check_rijksregister(text).is_none(), "{text}");
        }
    }
}
