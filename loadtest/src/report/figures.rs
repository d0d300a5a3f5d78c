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
            (span(3.14), "3.14 s"),
            (span(3599.9), "59 min 59 s"),
            (span(7260.0), "2 h 1 min"),
        ] {
            assert_eq!(figure, text);
        }
    }
}
