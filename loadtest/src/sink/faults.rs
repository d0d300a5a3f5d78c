//! What a sink does wrong on purpose, and how often.

use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;
use serde::Deserialize;

use crate::units::Span;

/// The longest that a reply is held back.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    /// DATA, or the first BDAT.
    Data,
    /// The final dot, or the last BDAT.
    End,
}

const PHASES: [(Phase, &str); 6] = [
    (Phase::Greeting, "greeting"),
    (Phase::Hello, "hello"),
    (Phase::Mail, "mail"),
    (Phase::Rcpt, "rcpt"),
    (Phase::Data, "data"),
    (Phase::End, "end"),
];

/// How often something happens in a phase, of one: `rcpt=0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PhaseRate {
    phase: Phase,
    rate: f64,
}

/// How long replies of a phase are held back, and how often: `end=5ms`, log-normal `end=20ms~0.5`, each with a rate as in
/// `mail=2s@0.01`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PhaseDelay {
    phase: Phase,
    /// Of a log-normal distribution, the median.
    duration: Duration,
    /// Of the logarithm; with 0 all are the same.
    deviation: f64,
    rate: f64,
}

/// What happens to something that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    Tempfailed,
    Rejected,
    /// The connection goes away without a word.
    Dropped,
}

/// All faults, by phase.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Faults {
    rates: [Rates; PHASES.len()],
    delays: [Option<PhaseDelay>; PHASES.len()],
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rates {
    dropped: f64,
    rejected: f64,
    tempfailed: f64,
}

impl Faults {
    /// # Errors
    ///
    /// When something is given twice for a phase, or the rates of a phase add up to more than 1.
    pub(crate) fn new(
        tempfailed: &[PhaseRate],
        rejected: &[PhaseRate],
        dropped: &[PhaseRate],
        delays: &[PhaseDelay],
    ) -> Result<Self, String> {
        let mut faults = Self::default();
        let mut set = |given: &[PhaseRate], place: fn(&mut Rates) -> &mut f64| {
            for PhaseRate { phase, rate } in given {
                let rates = &mut faults.rates[*phase as usize];
                if *place(rates) > 0.0 {
                    return Err(format!("{} is given twice", phase.name()));
                }
                *place(rates) = *rate;
                if rates.dropped + rates.rejected + rates.tempfailed > 1.0 {
                    return Err(format!("the rates of {} add up to more than 1", phase.name()));
                }
            }
            Ok(())
        };
        set(tempfailed, |rates| &mut rates.tempfailed)?;
        set(rejected, |rates| &mut rates.rejected)?;
        set(dropped, |rates| &mut rates.dropped)?;
        for delay in delays {
            if faults.delays[delay.phase as usize].replace(*delay).is_some() {
                return Err(format!("{} is given twice", delay.phase.name()));
            }
        }
        Ok(faults)
    }

    /// Throws the dice for something that is asked for.
    pub(super) fn fate(&self, phase: Phase, random: &mut Rng) -> Fate {
        let Rates { dropped, rejected, tempfailed } = self.rates[phase as usize];
        if dropped + rejected + tempfailed == 0.0 {
            return Fate::Accepted;
        }
        let thrown = random.f64();
        if thrown < dropped {
            Fate::Dropped
        } else if thrown < dropped + rejected {
            Fate::Rejected
        } else if thrown < dropped + rejected + tempfailed {
            Fate::Tempfailed
        } else {
            Fate::Accepted
        }
    }

    /// How long the reply is held back, if it is.
    pub(super) fn delay(&self, phase: Phase, random: &mut Rng) -> Option<Duration> {
        let PhaseDelay { duration, deviation, rate, .. } = self.delays[phase as usize]?;
        if rate < 1.0 && random.f64() >= rate {
            return None;
        }
        let seconds = duration.as_secs_f64() * (deviation * normal(random)).exp();
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_DELAY).min(LONGEST_DELAY))
    }
}

/// Of the standard normal distribution (Box and Muller).
fn normal(random: &mut Rng) -> f64 {
    let (one, two) = (1.0 - random.f64(), random.f64());
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos()
}

impl Phase {
    fn name(self) -> &'static str {
        PHASES[self as usize].1
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PHASES.iter().find(|(_, name)| *name == text);
        let names = || PHASES.map(|(_, name)| name).join(", ");
        found.map(|(phase, _)| *phase).ok_or_else(|| format!("{text:?} is none of {}", names()))
    }
}

impl FromStr for PhaseRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (phase, rate) = text.split_once('=').ok_or("not of the form PHASE=RATE")?;
        Ok(Self { phase: phase.parse()?, rate: parse_rate(rate)? })
    }
}

impl FromStr for PhaseDelay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (phase, delay) = text.split_once('=').ok_or("not of the form PHASE=DURATION[~SIGMA][@RATE]")?;
        let (delay, rate) = delay.split_once('@').unwrap_or((delay, "1"));
        let (duration, deviation) = delay.split_once('~').unwrap_or((delay, "0"));
        let deviation: f64 = deviation.parse().map_err(|_| format!("{deviation:?} is no number"))?;
        if !(0.0..=5.0).contains(&deviation) {
            return Err(format!("{deviation} is not from 0 to 5"));
        }
        let Span(duration) = duration.parse()?;
        if duration > LONGEST_DELAY {
            return Err(format!("{delay:?} is more than an hour"));
        }
        Ok(Self { phase: phase.parse()?, duration, deviation, rate: parse_rate(rate)? })
    }
}

impl TryFrom<String> for PhaseRate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for PhaseDelay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(format!("{rate} is not from 0 to 1")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str) -> Vec<PhaseRate> {
        text.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn rates_of_0_and_1_are_certain() {
        let mut random = Rng::with_seed(1);
        for (phase, name) in PHASES {
            for (rate, happens) in [("0", false), ("1", true)] {
                let rates = rates(&format!("{name}={rate}"));
                for (faults, fate) in [
                    (Faults::new(&rates, &[], &[], &[]).unwrap(), Fate::Tempfailed),
                    (Faults::new(&[], &rates, &[], &[]).unwrap(), Fate::Rejected),
                    (Faults::new(&[], &[], &rates, &[]).unwrap(), Fate::Dropped),
                ] {
                    let expected = if happens { fate } else { Fate::Accepted };
                    for _ in 0..1000 {
                        assert_eq!(faults.fate(phase, &mut random), expected, "{name}={rate}");
                    }
                    let (other, _) = PHASES[(phase as usize + 1) % PHASES.len()];
                    assert_eq!(faults.fate(other, &mut random), Fate::Accepted);
                }
            }
        }
    }

    #[test]
    fn rates_between_happen_as_often() {
        let faults = Faults::new(&rates("end=0.2"), &rates("end=0.3"), &rates("end=0.1"), &[]).unwrap();
        let count = |seed| {
            let mut random = Rng::with_seed(seed);
            let mut counts = [0; 4];
            for _ in 0..100_000 {
                counts[faults.fate(Phase::End, &mut random) as usize] += 1;
            }
            counts
        };
        for (count, expected) in count(5).into_iter().zip([40_000_i32, 20_000, 30_000, 10_000]) {
            assert!((count - expected).abs() < 600, "{count} instead of {expected}");
        }
        assert_eq!(count(5), count(5), "the seed decides");
        assert_ne!(count(5), count(6));
    }

    #[test]
    fn delays_are_fixed_or_spread() {
        let mut random = Rng::with_seed(1);
        let faults = |text: &str| Faults::new(&[], &[], &[], &[text.parse().unwrap()]).unwrap();
        let fixed = faults("end=5ms");
        assert_eq!(fixed.delay(Phase::End, &mut random), Some(Duration::from_millis(5)));
        assert_eq!(fixed.delay(Phase::Mail, &mut random), None);
        let spread = faults("mail=20ms~0.5");
        let mut delays: Vec<Duration> = (0..10_001).map(|_| spread.delay(Phase::Mail, &mut random).unwrap()).collect();
        delays.sort();
        // The median of a log-normal distribution, and its 84th percentile: one standard deviation above.
        for (position, milliseconds) in [(5000, 20.0), (8413, 20.0 * 0.5_f64.exp())] {
            let found = delays[position].as_secs_f64() * 1000.0;
            assert!((found / milliseconds - 1.0).abs() < 0.05, "{found} instead of {milliseconds}");
        }
        let seldom = faults("rcpt=1s@0.1");
        let happened = (0..10_000).filter(|_| seldom.delay(Phase::Rcpt, &mut random).is_some()).count();
        assert!((900..1100).contains(&happened), "{happened}");
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["rcpt", "rcpt=", "rcpt=2", "rcpt=-0.1", "rcpt=NaN", "nowhere=0.1"] {
            text.parse::<PhaseRate>().unwrap_err();
        }
        for text in ["end", "end=", "end=ms", "end=-1s", "end=5ms@2", "end=5ms~x", "end=2000m", "end=5ms~9"] {
            text.parse::<PhaseDelay>().unwrap_err();
        }
        let error = Faults::new(&rates("end=0.6"), &rates("end=0.6"), &[], &[]).unwrap_err();
        assert_eq!(error, "the rates of end add up to more than 1");
        assert_eq!(Faults::new(&rates("end=0.1 end=0.2"), &[], &[], &[]).unwrap_err(), "end is given twice");
        let delay = "mail=1s".parse().unwrap();
        assert_eq!(Faults::new(&[], &[], &[], &[delay, delay]).unwrap_err(), "mail is given twice");
    }
}
