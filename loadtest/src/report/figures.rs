//! Figures for people.

/// A latency with three digits, from microseconds.
pub(crate) fn latency(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        ..1e3 => (microseconds, "µs"),
        ..1e6 => (microseconds / 1e3, "ms"),
        _ => (microseconds / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Octets, with three digits.
pub(super) fn size(octets: f64) -> String {
    let (value, unit) = match octets {
        ..1e3 => return format!("{octets:.0} B"),
        ..1e6 => (octets / 1e3, "KB"),
        ..1e9 => (octets / 1e6, "MB"),
        _ => (octets / 1e9, "GB"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Memory, in binary units.
pub(super) fn memory(octets: f64) -> String {
    let (value, unit) = match octets {
        ..1_048_576.0 => (octets / 1024.0, "KiB"),
        ..1_073_741_824.0 => (octets / 1_048_576.0, "MiB"),
        _ => (octets / 1_073_741_824.0, "GiB"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Something a second: with three digits when it is small, whole when it is not.
pub(super) fn rate(value: f64) -> String {
    if value < 99.5 { three_digits(value) } else { count(value.round() as u64) }
}

/// A count, its thousands apart.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time, from seconds.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{} s", three_digits(seconds)),
        ..7200.0 => format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor()),
        _ => format!("{:.0} h {:.0} min", (seconds / 3600.0).floor(), (seconds % 3600.0 / 60.0).floor()),
    }
}

/// Text from elsewhere, for a terminal: nothing in it moves the cursor or turns the text around.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if is_harmless(letter) { letter } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Whether a letter is no control character, visible or not.
pub(super) fn is_harmless(letter: char) -> bool {
    let is_invisible = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(letter, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    !letter.is_control() && !is_invisible
}

/// Without zeros that say nothing, for ticks: `1.00 ms` is `1 ms`.
pub(super) fn trimmed(figure: &str) -> String {
    let (number, unit) = figure.split_once(' ').map_or((figure, None), |(number, unit)| (number, Some(unit)));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    unit.map_or_else(|| number.to_owned(), |unit| format!("{number} {unit}"))
}

fn three_digits(value: f64) -> String {
    let places = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (figure, text) in [
            (latency(0.0), "0.00 µs"),
            (latency(73.25), "73.2 µs"),
            (latency(999.0), "999 µs"),
            (latency(1234.0), "1.23 ms"),
            (latency(45_670.0), "45.7 ms"),
            (latency(2_500_000.0), "2.50 s"),
            (size(0.0), "0 B"),
            (size(4096.0), "4.10 KB"),
            (size(31_400_000.0), "31.4 MB"),
            (memory(134_217_728.0), "128 MiB"),
            (rate(0.5), "0.50"),
            (rate(11_600.4), "11,600"),
            (count(0), "0"),
            (count(999), "999"),
            (count(1_000_000), "1,000,000"),
            (span(3.25), "3.25 s"),
            (span(3599.9), "59 min 59 s"),
            (span(7260.0), "2 h 1 min"),
            (trimmed("1.00 ms"), "1 ms"),
            (trimmed("10.5 MiB"), "10.5 MiB"),
            (trimmed("1,000"), "1,000"),
            (trimmed("0.00"), "0"),
            (printable("a\u{1b}[2Jb\u{202e}ä"), "a\u{fffd}[2Jb\u{fffd}ä"),
        ] {
            assert_eq!(figure, text);
        }
    }
}
