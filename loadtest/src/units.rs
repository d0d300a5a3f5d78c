//! Sizes, spans of time and rates as people write them, on the command line and in scenario files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// Octets: `4096`, `4KiB`, `20KB`, `30MB`, `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A span of time: seconds without a unit, or `250ms`, `10s`, `2m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span(pub(crate) Duration);

/// Events a second: a number, or a multiple of what an earlier step took: `3x`, or `3x capacity` of the step named so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rate {
    PerSecond(f64),
    /// Of the messages taken in a second by an earlier step's first group.
    Times {
        factor: f64,
        step: Option<String>,
    },
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [
            ("KiB", 1024.0),
            ("MiB", 1024.0 * 1024.0),
            ("GiB", 1024.0 * 1024.0 * 1024.0),
            ("KB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("B", 1.0),
        ];
        let bytes = with_unit(text, &units, 1.0).filter(|bytes| *bytes <= 1e15);
        bytes.map(|bytes| Self(bytes as u64)).ok_or_else(|| format!("{text:?} is no size: 4096, 4KiB, 20KB, 30MB"))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
        // A millennium is as good as forever, and can be added to any clock.
        let seconds = with_unit(text, &units, 1.0).filter(|seconds| *seconds <= 3e10);
        let span = seconds.map(|seconds| Self(Duration::from_secs_f64(seconds)));
        span.ok_or_else(|| format!("{text:?} is no span of time: 10 or 10s, 250ms, 2m, 1h"))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate: 500, or in a scenario 3x or \"3x STEP\"");
        let positive = |number: &str| number.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
        let (number, step) = match text.split_once(' ') {
            Some((number, step)) => (number, Some(step.trim().to_owned())),
            None => (text, None),
        };
        match number.strip_suffix('x') {
            Some(factor) => Ok(Self::Times { factor: positive(factor).ok_or_else(wrong)?, step }),
            None if step.is_none() => positive(number).map(Self::PerSecond).ok_or_else(wrong),
            None => Err(wrong()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1024;
        match self.0 {
            bytes if bytes >= KIB * KIB && bytes % (KIB * KIB) == 0 => write!(formatter, "{}MiB", bytes / KIB / KIB),
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(formatter, "{}KiB", bytes / KIB),
            bytes => write!(formatter, "{bytes}"),
        }
    }
}

/// A number, not negative, with one of the units, or none.
fn with_unit(text: &str, units: &[(&str, f64)], without: f64) -> Option<f64> {
    let text = text.trim();
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, without));
    let number: f64 = number.trim_end().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * factor)
}

/// Reads a value that is a string in TOML, or a bare number where it needs no unit.
pub(crate) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string or a number")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Text)?.parse().map_err(de::Error::custom)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        for (text, bytes) in [("4096", 4096), ("4KiB", 4096), ("20 KB", 20_000), ("1.5MB", 1_500_000), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for (text, milliseconds) in [("2", 2000), ("250ms", 250), ("0.5s", 500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(milliseconds))), "{text}");
        }
        for text in ["", "KiB", "-1", "1e99", "NaN", "inf", "4 parsec"] {
            text.parse::<Size>().unwrap_err();
            text.parse::<Span>().unwrap_err();
        }
    }

    #[test]
    fn rates_are_numbers_or_multiples() {
        assert_eq!("500".parse(), Ok(Rate::PerSecond(500.0)));
        assert_eq!("3x".parse(), Ok(Rate::Times { factor: 3.0, step: None }));
        assert_eq!("0.5x capacity".parse(), Ok(Rate::Times { factor: 0.5, step: Some("capacity".to_owned()) }));
        for text in ["", "x", "0", "-1", "500 capacity", "inf", "3 x"] {
            text.parse::<Rate>().unwrap_err();
        }
    }
}
