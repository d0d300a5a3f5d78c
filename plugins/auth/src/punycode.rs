//! Internationalized names as readers show them: A-labels back to U-labels (RFC 3492). Nothing is checked beyond that: it
//! serves to recognise our own name.

/// A name with each A-label as the text it stands for; `None` when it has none, or one that stands for nothing.
pub fn u_labels(name: &str) -> Option<String> {
    let labels: Option<Vec<String>> = name
        .split('.')
        .map(|label| match label.strip_prefix("xn--") {
            Some(encoded) => decode(encoded),
            None => Some(label.to_owned()),
        })
        .collect();
    Some(labels?.join(".")).filter(|shown| shown != name)
}

/// RFC 3492 section 6.2, with the parameters of section 5.
fn decode(encoded: &str) -> Option<String> {
    let (basic, digits) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    let mut decoded: Vec<char> = basic.chars().collect();
    let (mut code, mut index, mut bias) = (128_u32, 0_u32, 72_u32);
    let mut digits = digits.bytes();
    while digits.len() > 0 {
        let (begin, mut weight, mut base) = (index, 1_u32, 36_u32);
        loop {
            let digit = match digits.next()? {
                letter @ b'a'..=b'z' => u32::from(letter - b'a'),
                figure @ b'0'..=b'9' => u32::from(figure - b'0') + 26,
                _ => return None,
            };
            index = index.checked_add(digit.checked_mul(weight)?)?;
            let threshold = base.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(36 - threshold)?;
            base += 36;
        }
        let length = u32::try_from(decoded.len()).ok()? + 1;
        bias = adapt(index - begin, length, begin == 0);
        code = code.checked_add(index / length)?;
        index %= length;
        decoded.insert(usize::try_from(index).ok()?, char::from_u32(code)?);
        index += 1;
    }
    Some(decoded.into_iter().collect())
}

fn adapt(delta: u32, length: u32, is_first: bool) -> u32 {
    let mut delta = delta / if is_first { 700 } else { 2 };
    delta += delta / length;
    let mut steps = 0;
    while delta > 455 {
        delta /= 35;
        steps += 36;
    }
    steps + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown() {
        for (name, expected) in [
            ("mx.xn--bcher-kva.example", Some("mx.b\u{fc}cher.example")),
            ("xn--80a1acny.xn--p1ai", Some("\u{43f}\u{43e}\u{447}\u{442}\u{430}.\u{440}\u{444}")),
            ("xn--mgba3a4f16a.example", Some("\u{627}\u{6cc}\u{631}\u{627}\u{646}.example")),
            ("mx.example.com", None),
            ("xn--!.example", None),
            ("xn--99999999.example", None),
        ] {
            assert_eq!(u_labels(name).as_deref(), expected, "{name}");
        }
    }
}
