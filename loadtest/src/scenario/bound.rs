//! A bound that a claim puts on a value, and whether what was found in one or several rounds keeps to it.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::report;
use crate::units::{Size, Span};

/// From and to where a value may lie. A bare value is the most that it may be.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) at_least: Option<String>,
    pub(super) at_most: Option<String>,
    /// The bounds are multiples of what this step has.
    times: Option<String>,
    /// The bounds are for how much more it is than what this step has.
    beyond: Option<String>,
}

/// A value found in one round, and that of the step which it is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) found: f64,
    pub(super) reference: Option<f64>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    /// Messages in a second, which `--scale` scales.
    Rate,
    /// In a second.
    Octets,
    /// In microseconds.
    Latency,
    Memory,
    Share,
}

impl Bound {
    /// That there is none.
    pub(super) fn nothing() -> Self {
        Self { at_most: Some("0".to_owned()), ..Self::default() }
    }

    /// The step whose values these are compared with.
    pub(super) fn reference(&self) -> Option<&str> {
        self.times.as_deref().or(self.beyond.as_deref())
    }

    /// # Errors
    ///
    /// When it bounds nothing, or a value is none.
    pub(super) fn check(&self, unit: Unit) -> anyhow::Result<()> {
        ensure!(self.times.is_none() || self.beyond.is_none(), "times and beyond: it is one or the other");
        ensure!(self.at_least.is_some() || self.at_most.is_some(), "at_least or at_most is missing");
        [&self.at_least, &self.at_most].into_iter().flatten().try_for_each(|text| self.value(text, unit).map(drop))
    }

    /// What is to be reached by a scenario of another size.
    pub(super) fn scale_least(&mut self, scale: f64) {
        if let (None, Some(value)) = (self.times.as_ref().or(self.beyond.as_ref()), &mut self.at_least)
            && let Ok(number) = value.parse::<f64>()
        {
            *value = (number * scale).to_string();
        }
    }

    /// Whether the bounds are kept: by the median of all rounds where chance plays a part, or else in each round.
    pub(super) fn holds(&self, rounds: &[Round], unit: Unit) -> bool {
        // What does not parse was refused before the start.
        let limit = |text: &Option<String>| text.as_ref().and_then(|text| self.value(text, unit).ok());
        let keeps = |limit: f64, sign: f64| {
            let excess = rounds.iter().map(|round| sign * (round.found - self.limit(limit, round)));
            let excess: Vec<f64> = excess.collect();
            if unit.is_by_chance() { median(&excess) <= 0.0 } else { excess.iter().all(|excess| *excess <= 0.0) }
        };
        limit(&self.at_least).is_none_or(|least| keeps(least, -1.0))
            && limit(&self.at_most).is_none_or(|most| keeps(most, 1.0))
    }

    /// A bound in the unit of what was found.
    fn limit(&self, bound: f64, round: &Round) -> f64 {
        match round.reference {
            None => bound,
            Some(reference) if self.beyond.is_some() => reference + bound,
            Some(reference) => reference * bound,
        }
    }

    /// What was found, in words.
    pub(super) fn show(&self, rounds: &[Round], unit: Unit) -> String {
        let shown = |value: f64| if self.times.is_some() { format!("{value:.2} ×") } else { unit.show(value) };
        let more = if self.beyond.is_some() { " more" } else { "" };
        if let [Round { found, reference }] = rounds {
            return match reference {
                Some(reference) if self.beyond.is_some() || *reference > 0.0 => {
                    let than = if self.beyond.is_some() { " more than" } else { "" };
                    format!(
                        "{} is {}{than} {}",
                        unit.show(*found),
                        shown(self.compared(&rounds[0])),
                        unit.show(*reference)
                    )
                }
                _ => unit.show(*found),
            };
        }
        let values: Vec<f64> = rounds.iter().map(|round| self.compared(round)).collect();
        let [least, most] =
            [values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(f64::MIN, f64::max)];
        let [median, least, most] = [median(&values), least, most].map(shown);
        if !unit.is_by_chance() {
            return format!("from {least} to {most}{more} in {} rounds", rounds.len());
        }
        format!("{median}{more}, the median of {} rounds: from {least} to {most}", rounds.len())
    }

    /// What is bound: the value, or how it compares.
    fn compared(&self, round: &Round) -> f64 {
        match round.reference {
            None => round.found,
            Some(reference) if self.beyond.is_some() => round.found - reference,
            Some(reference) => round.found / reference,
        }
    }

    fn value(&self, text: &str, unit: Unit) -> anyhow::Result<f64> {
        if self.times.is_some() || matches!(unit, Unit::Count | Unit::Rate | Unit::Share) {
            return text
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .with_context(|| format!("{text:?} is no number"));
        }
        match unit {
            Unit::Latency => {
                let span: Span = text.parse().map_err(anyhow::Error::msg)?;
                Ok(span.0.as_secs_f64() * 1e6)
            }
            Unit::Memory | Unit::Octets => {
                let size: Size = text.parse().map_err(anyhow::Error::msg)?;
                Ok(size.0 as f64)
            }
            Unit::Count | Unit::Rate | Unit::Share => bail!("{text:?} is no number"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.times.as_ref().map(|step| format!(" × that of {step}"));
        let times =
            times.or_else(|| self.beyond.as_ref().map(|step| format!(" more than {step}'s"))).unwrap_or_default();
        let bounds = [("at least", &self.at_least), ("at most", &self.at_most)];
        let bounds = bounds.into_iter().filter_map(|(word, value)| Some(format!("{word} {}{times}", value.as_ref()?)));
        formatter.write_str(&bounds.collect::<Vec<_>>().join(", "))
    }
}

impl Unit {
    /// Whether it differs from run to run on the same machine, and one stall of that machine says nothing.
    fn is_by_chance(self) -> bool {
        matches!(self, Self::Rate | Self::Octets | Self::Latency)
    }

    fn show(self, value: f64) -> String {
        if value < 0.0 {
            return format!("−{}", self.show(-value));
        }
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Rate => format!("{value:.0}/s"),
            Self::Octets => format!("{:.2} MB/s", value / 1e6),
            Self::Latency => report::latency(value),
            Self::Memory => format!("{:.1} MiB", value / 1024.0 / 1024.0),
            Self::Share => format!("{value:.4}"),
        }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            at_least: Option<Value>,
            at_most: Option<Value>,
            times: Option<String>,
            beyond: Option<String>,
        }
        struct AnyBound;
        impl AnyBound {
            fn at_most<E>(value: impl ToString) -> Result<Bound, E> {
                Ok(Bound { at_most: Some(value.to_string()), ..Bound::default() })
            }
        }
        impl<'de> Visitor<'de> for AnyBound {
            type Value = Bound;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value, or a table of at_least, at_most, and times or beyond")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bound, E> {
                Self::at_most(text)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bound, E> {
                Self::at_most(number)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Bound, E> {
                Self::at_most(number)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Bound, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let Table { at_least, at_most, times, beyond } = table;
                let [at_least, at_most] = [at_least, at_most].map(|value| value.map(|Value(text)| text));
                Ok(Bound { at_least, at_most, times, beyond })
            }
        }
        deserializer.deserialize_any(AnyBound)
    }
}

/// A string or a number.
struct Value(String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::units::from_text(deserializer).map(Self)
    }
}

/// The middle one, or what is between the two in the middle. Of at least one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let [low, high] = [sorted.len().saturating_sub(1) / 2, sorted.len() / 2];
    (sorted[low] + sorted[high]) / 2.0
}
