//! How large messages are: always the same, or drawn from a log-normal distribution, as real mail roughly is.

use std::fmt;
use std::str::FromStr;

use crate::units::Size;

/// A distribution of sizes. On the command line and in scenarios: `4KiB`, or
/// `lognormal:median=20KB,sigma=1.5,max=30MB` with `p99=SIZE` in place of `sigma` where that is what is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sizes {
    Fixed(u64),
    LogNormal { median: u64, sigma: f64, max: u64 },
}

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

impl Sizes {
    /// The size of a message: the same for the same seed and number, whichever thread sends it.
    pub(crate) fn of(&self, seed: u64, number: u64) -> u64 {
        match *self {
            Self::Fixed(size) => size,
            Self::LogNormal { median, sigma, max } => {
                let size = median as f64 * (sigma * normal(uniform(seed, number))).exp();
                (three_digits(size)).min(max as f64) as u64
            }
        }
    }

    /// The largest that can come.
    pub(crate) fn largest(&self) -> u64 {
        match *self {
            Self::Fixed(size) => size,
            Self::LogNormal { max, .. } => max,
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(parameters) = text.strip_prefix("lognormal:") else {
            let size: Size = text.parse()?;
            return Ok(Self::Fixed(size.0));
        };
        let (mut median, mut sigma, mut p99, mut max) = (None, None, None, None);
        for parameter in parameters.split(',') {
            let (key, value) = parameter.split_once('=').ok_or_else(|| format!("{parameter:?} is not KEY=VALUE"))?;
            match key.trim() {
                "median" => median = Some(value.parse::<Size>()?.0),
                "p99" => p99 = Some(value.parse::<Size>()?.0),
                "max" => max = Some(value.parse::<Size>()?.0),
                "sigma" => sigma = Some(value.parse::<f64>().map_err(|_| format!("sigma: {value:?} is no number"))?),
                other => return Err(format!("{other:?} is none of median, sigma, p99, max")),
            }
        }
        let median = median.filter(|median| *median > 0).ok_or("lognormal needs a median above 0")?;
        let max = max.filter(|max| *max >= median).ok_or("lognormal needs a max, not below the median")?;
        let sigma = match (sigma, p99) {
            (Some(sigma), None) => sigma,
            (None, Some(p99)) => (p99 as f64 / median as f64).ln() / NORMAL_P99,
            _ => return Err("lognormal needs one of sigma and p99".to_owned()),
        };
        if !(0.0..=5.0).contains(&sigma) {
            return Err(format!("lognormal: sigma is {sigma}, not between 0 and 5"));
        }
        Ok(Self::LogNormal { median, sigma, max })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fixed(size) => Size(size).fmt(formatter),
            Self::LogNormal { median, sigma, max } => {
                write!(formatter, "lognormal:median={},sigma={sigma:.2},max={}", Size(median), Size(max))
            }
        }
    }
}

/// Three significant digits: so there are some thousand sizes at most, and each is hashed once.
fn three_digits(size: f64) -> f64 {
    let unit = 10_f64.powf(size.max(100.0).log10().floor() - 2.0);
    (size / unit).round() * unit
}

/// Evenly spread over the numbers strictly between 0 and 1 (splitmix64).
fn uniform(seed: u64, number: u64) -> f64 {
    let mut bits = (seed ^ 0x6a09_e667_f3bc_c908).wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// The quantile function of the standard normal distribution (Acklam's approximation, relative error below 1.2e-9).
fn normal(probability: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |probability: f64| {
        let q = (-2.0 * probability.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    const LOW: f64 = 0.02425;
    if probability < LOW {
        tail(probability)
    } else if probability > 1.0 - LOW {
        -tail(1.0 - probability)
    } else {
        let q = probability - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_read() {
        assert_eq!("4KiB".parse(), Ok(Sizes::Fixed(4096)));
        let drawn = Sizes::LogNormal { median: 20_000, sigma: 1.5, max: 30_000_000 };
        assert_eq!("lognormal:median=20KB,sigma=1.5,max=30MB".parse(), Ok(drawn));
        let Ok(Sizes::LogNormal { sigma, .. }) = "lognormal:median=1KB,p99=10KB,max=1MB".parse() else { panic!() };
        assert!((sigma - 10_f64.ln() / NORMAL_P99).abs() < 1e-12);
        for text in [
            "",
            "lognormal:",
            "lognormal:median=20KB,sigma=1",
            "lognormal:median=20KB,max=1MB",
            "lognormal:median=20KB,sigma=1,p99=1MB,max=1MB",
            "lognormal:median=20KB,sigma=9,max=1MB",
            "lognormal:median=20KB,sigma=1,max=1KB",
            "lognormal:mean=20KB,sigma=1,max=1MB",
        ] {
            text.parse::<Sizes>().unwrap_err();
        }
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (probability, expected) in
            [(0.5, 0.0), (0.99, NORMAL_P99), (0.001, -3.090_232_306), (0.158_655_253_931, -1.0), (0.975, 1.959_963_985)]
        {
            assert!((normal(probability) - expected).abs() < 1e-6, "{probability}");
        }
    }

    #[test]
    fn samples_have_the_quantiles_asked_for() {
        let sizes: Sizes = "lognormal:median=20KB,p99=800KB,max=30MB".parse().unwrap();
        let mut drawn: Vec<u64> = (0..100_000).map(|number| sizes.of(1, number)).collect();
        drawn.sort_unstable();
        let near = |found: u64, expected: f64| (found as f64 / expected - 1.0).abs() < 0.05;
        assert!(near(drawn[50_000], 20e3), "median {}", drawn[50_000]);
        assert!(near(drawn[99_000], 800e3), "p99 {}", drawn[99_000]);
        assert!(drawn[99_999] <= 30_000_000 && drawn[99_999] > 4_000_000, "max {}", drawn[99_999]);
        drawn.dedup();
        assert!(drawn.len() < 5000, "few sizes, each hashed once: {}", drawn.len());
    }

    #[test]
    fn the_seed_decides() {
        let sizes: Sizes = "lognormal:median=20KB,sigma=1.5,max=30MB".parse().unwrap();
        let draw = |seed| (0..50).map(|number| sizes.of(seed, number)).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
