//! Axes: from values to places on a plot, and where the ticks are.

use super::super::figures::trimmed;

/// A value and what it is called.
pub(super) type Tick = (f64, String);

/// How values are spread along an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Linear { end: f64 },
    /// From 0, in a power of 1024.
    Binary { end: f64, unit: f64 },
    /// By powers of ten.
    Logarithmic { begin: f64, end: f64 },
    /// Percentiles: as much room for each further nine.
    Nines { end: f64 },
}

/// Ticks of an axis from 0, about so many.
const TICKS: f64 = 5.0;

impl Scale {
    /// From 0 to at least the largest value.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let largest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let step = step(largest);
        Self::Linear { end: (largest / step).ceil() * step }
    }

    /// Octets, from 0 to at least the largest value.
    pub(super) fn binary(largest: f64) -> Self {
        let unit = 1024_f64.powf(largest.max(1.0).log(1024.0).floor());
        let largest = (largest / unit).max(1.0);
        let step = step(largest);
        Self::Binary { end: (largest / step).ceil() * step, unit }
    }

    /// From 0 to exactly that.
    pub(super) fn span(end: f64) -> Self {
        Self::Linear { end: if end > 0.0 { end } else { 1.0 } }
    }

    /// Whole powers of ten around the values, at least one.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let bounds = values.filter(|value| *value > 0.0 && value.is_finite());
        let (least, largest) =
            bounds.fold((f64::MAX, 0.0), |(least, largest), value| (f64::min(least, value), f64::max(largest, value)));
        if largest == 0.0 {
            return Self::Logarithmic { begin: 1.0, end: 10.0 };
        }
        let begin = 10_f64.powf(least.log10().floor());
        Self::Logarithmic { begin, end: 10_f64.powf(largest.log10().ceil()).max(begin * 10.0) }
    }

    /// Up to the last percentile below 100, and some room for that.
    pub(super) fn nines(percentiles: impl Iterator<Item = f64>) -> Self {
        let last = percentiles.filter(|percentile| *percentile < 100.0).fold(0.0, f64::max);
        Self::Nines { end: nines(last).max(1.0) + 0.25 }
    }

    /// Where a value is, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { end } => value / end,
            Self::Binary { end, unit } => value / unit / end,
            Self::Logarithmic { begin, end } => (value.max(*begin) / begin).ln() / (end / begin).ln(),
            Self::Nines { end } => nines(value) / end,
        };
        place.clamp(0.0, 1.0)
    }

    pub(super) fn ticks(&self, name: fn(f64) -> String) -> Vec<Tick> {
        match self {
            Self::Linear { end } => even(*end, 1.0, name),
            Self::Binary { end, unit } => even(*end, *unit, name),
            Self::Logarithmic { begin, end } => {
                let decades = (end / begin).log10().round() as i32;
                (0..=decades)
                    .map(|power| begin * 10_f64.powi(power))
                    .map(|value| (value, trimmed(&name(value))))
                    .collect()
            }
            Self::Nines { end } => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999]
                .into_iter()
                .filter(|percentile| nines(*percentile) <= *end)
                .chain([100.0])
                .map(|percentile| (percentile, percentile.to_string()))
                .collect(),
        }
    }
}

fn even(end: f64, unit: f64, name: fn(f64) -> String) -> Vec<Tick> {
    let step = step(end);
    let count = (end / step + 1e-9).floor() as u32;
    (0..=count).map(|index| f64::from(index) * step * unit).map(|value| (value, trimmed(&name(value)))).collect()
}

/// How many nines: 90 is one, 99 two.
fn nines(percentile: f64) -> f64 {
    let beyond = (100.0 - percentile) / 100.0;
    if beyond > 0.0 { -beyond.log10() } else { f64::MAX }
}

/// 1, 2 or 5 times a power of ten.
fn step(largest: f64) -> f64 {
    let rough = largest / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = match rough / power {
        ..1.0001 => 1.0,
        ..2.0001 => 2.0,
        ..5.0001 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(scale: &Scale) -> Vec<f64> {
        scale.ticks(|value| value.to_string()).into_iter().map(|(value, _)| value).collect()
    }

    #[test]
    fn ticks_are_round() {
        for (scale, ticks) in [
            (Scale::linear([3.0, 9.7].into_iter()), vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
            (Scale::linear([11_600.0].into_iter()), vec![0.0, 5000.0, 10_000.0, 15_000.0]),
            (Scale::linear([0.0, f64::NAN].into_iter()), vec![0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]),
            (Scale::binary(3.0 * 1_048_576.0), vec![0.0, 1_048_576.0, 2_097_152.0, 3_145_728.0]),
            (Scale::span(7.0), vec![0.0, 2.0, 4.0, 6.0]),
            (Scale::logarithmic([70.0, 1500.0].into_iter()), vec![10.0, 100.0, 1000.0, 10_000.0]),
            (Scale::logarithmic([100.0].into_iter()), vec![100.0, 1000.0]),
            (Scale::logarithmic([0.0].into_iter()), vec![1.0, 10.0]),
            (Scale::nines([0.0, 99.5, 100.0].into_iter()), vec![0.0, 50.0, 90.0, 99.0, 100.0]),
        ] {
            assert_eq!(values(&scale), ticks, "{scale:?}");
        }
    }

    #[test]
    fn places_are_on_the_plot() {
        let near = |place: f64, expected: f64| assert!((place - expected).abs() < 1e-9, "{place} {expected}");
        near(Scale::Linear { end: 10.0 }.place(2.5), 0.25);
        near(Scale::Logarithmic { begin: 10.0, end: 1000.0 }.place(100.0), 0.5);
        near(Scale::Logarithmic { begin: 10.0, end: 1000.0 }.place(0.0), 0.0);
        near(Scale::Nines { end: 4.0 }.place(99.0), 0.5);
        near(Scale::Nines { end: 4.0 }.place(100.0), 1.0);
    }
}
