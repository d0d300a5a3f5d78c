//! National numbers with a check digit: French NIR, German Steuer-ID, Swiss AHV.

use super::Finding;
use super::digits::{SEPARATOR, only_digits, value};

/// Sex, year, month, department, commune, order, key.
pub(super) fn nir_patterns() -> Vec<String> {
    let s = SEPARATOR;
    vec![format!(
        r"(?-u:\b)[1-478]{s}?[0-9]{{2}}{s}?[0-9]{{2}}{s}?(?:[0-9]{{2}}|2[ABab]){s}?[0-9]{{3}}{s}?[0-9]{{3}}{s}?[0-9]{{2}}(?-u:\b)"
    )]
}

/// Eleven digits, often written 2-3-3-3.
pub(super) fn steuer_id_patterns() -> Vec<String> {
    let s = SEPARATOR;
    vec![format!(r"(?-u:\b)[1-9][0-9](?:{s}?[0-9]{{3}}){{3}}(?-u:\b)")]
}

/// 756.1234.5678.97
pub(super) fn ahv_patterns() -> Vec<String> {
    let s = format!(r"(?:\.|{SEPARATOR})");
    vec![format!(r"(?-u:\b)756{s}?[0-9]{{4}}{s}?[0-9]{{4}}{s}?[0-9]{{2}}(?-u:\b)")]
}

/// The key is 97 less the remainder of the first thirteen digits by 97; for Corsica 2A counts as 19 and 2B as 18
/// (INSEE, décret 82-103).
pub(super) fn check_nir(text: &str) -> Option<Finding> {
    let number: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    if number.len() != 15 {
        return None;
    }
    let (body, key) = number.split_at(13);
    let key: u64 = key.parse().ok()?;
    let month: u32 = body[3..5].parse().ok()?;
    let department = &body[5..7];
    let digits = match department {
        "2A" => body.replacen("2A", "19", 1),
        "2B" => body.replacen("2B", "18", 1),
        "00" => return None,
        _ => body.to_owned(),
    };
    let is_month = matches!(month, 1..=12 | 20..=42 | 50..=99);
    let is_real = is_month && &body[7..10] != "000" && &body[10..13] != "000";
    let remainder = digits.parse::<u64>().ok()? % 97;
    (is_real && 97 - remainder == key).then(|| Finding::secret(number))
}

/// ISO 7064 mod 11,10 over ten digits, in which one digit value stands twice or three times (not three times in a row)
/// and every other at most once (Bundeszentralamt für Steuern). Ten different digits are never issued.
pub(super) fn check_steuer_id(text: &str) -> Option<Finding> {
    let number = only_digits(text);
    let bytes = number.as_bytes();
    if bytes.len() != 11 || bytes[0] == b'0' {
        return None;
    }
    let (body, check) = bytes.split_at(10);
    let count = |digit: u8| body.iter().filter(|&&other| other == digit).count();
    let repeated: Vec<usize> = (b'0'..=b'9').map(count).filter(|&count| count > 1).collect();
    let in_a_row = body.windows(3).any(|window| window[0] == window[1] && window[1] == window[2]);
    if !matches!(repeated.as_slice(), [2 | 3]) || in_a_row {
        return None;
    }
    let product = body.iter().fold(10, |product, &digit| {
        let sum = match (value(digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    ((11 - product) % 10 == value(check[0])).then(|| Finding::secret(number))
}

/// Thirteen digits with the check digit of an EAN-13.
pub(super) fn check_ahv(text: &str) -> Option<Finding> {
    let number = only_digits(text);
    if number.len() != 13 || !number.starts_with("756") {
        return None;
    }
    let sum: u32 =
        number.bytes().enumerate().map(|(position, digit)| value(digit) * if position % 2 == 0 { 1 } else { 3 }).sum();
    sum.is_multiple_of(10).then(|| Finding::secret(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nir_with_its_key() {
        for text in ["255081416802538", "2 55 08 14 168 025 38", "184127645108946"] {
            assert!(check_nir(text).is_some(), "{text}");
        }
        for text in ["255081416802539", "955081416802538", "255131416802538", "25508141680253", "255081400002538"] {
            assert!(check_nir(text).is_none(), "{text}");
        }
        for body in ["155022A123456", "155022B123456"] {
            assert!(check_nir(&format!("{body}{:02}", key_of(body))).is_some(), "{body}");
        }
    }

    fn key_of(body: &str) -> u64 {
        let digits = body.replace("2A", "19").replace("2B", "18");
        97 - digits.parse::<u64>().expect("digits") % 97
    }

    #[test]
    fn steuer_id_with_its_repetition() {
        for text in ["86095742719", "47036892816", "65929970489", "57549285017", "25 768 131 411", "36574261809"] {
            assert!(check_steuer_id(text).is_some(), "{text}");
        }
        // 12345678903 has a right check digit, but no digit twice.
        for text in
            ["86095742710", "06095742719", "11111111111", "11112345678", "8609574271", "11123456786", "12345678903"]
        {
            assert!(check_steuer_id(text).is_none(), "{text}");
        }
    }

    #[test]
    fn ahv_with_its_check_digit() {
        for text in ["756.9217.0769.85", "7569217076985", "756 9217 0769 85"] {
            assert!(check_ahv(text).is_some(), "{text}");
        }
        for text in ["756.9217.0769.84", "757.9217.0769.85", "756.9217.0769.8"] {
            assert!(check_ahv(text).is_none(), "{text}");
        }
    }
}
