//! When the messages of an open loop are to be sent: at times that do not depend on the server.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::options;

/// The times at which messages are to be sent, from the beginning of the load, in order.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    kind: options::Arrivals,
    profile: Profile,
    random: fastrand::Rng,
    /// Messages expected up to the last arrival, the profile's integral.
    expected: f64,
    end: Option<Duration>,
}

/// The rate over time: from one to another evenly, and then the same for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    /// Messages a second.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Seconds.
    pub(crate) ramp: f64,
}

/// What wakes whoever waits for a time.
pub(crate) trait Alarm: Send {
    /// Returns as soon as it is `time`, or at once when it was already.
    fn until(&mut self, time: Instant) -> impl Future<Output = ()> + Send;
}

impl Arrivals {
    /// Up to `end`, or for ever.
    pub(crate) fn new(kind: options::Arrivals, profile: Profile, seed: u64, end: Option<Duration>) -> Self {
        Self { kind, profile, random: fastrand::Rng::with_seed(seed), expected: 0.0, end }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.expected += match self.kind {
            options::Arrivals::Uniform => 1.0,
            // Exponentially distributed; the logarithm's argument is never 0.
            options::Arrivals::Poisson => -(1.0 - self.random.f64()).ln(),
        };
        let time = Duration::try_from_secs_f64(self.profile.time(self.expected)).ok()?;
        self.end.is_none_or(|end| time < end).then_some(time)
    }
}

impl Profile {
    /// When so many messages are expected to have been sent.
    fn time(&self, expected: f64) -> f64 {
        let Self { from, to, ramp } = *self;
        let ramped = (from + to) / 2.0 * ramp;
        if expected >= ramped {
            return ramp + (expected - ramped) / to;
        }
        // The root of from·t + (to − from)/(2·ramp)·t² = expected, in the form that loses no digits.
        let root = (from * from + 2.0 * (to - from) / ramp * expected).max(0.0).sqrt();
        2.0 * expected / (from + root)
    }
}

/// Calls `send` with the number of each message when it is due, the time at which it was to be sent, and the time now.
///
/// When it comes too late, it goes on at once: by the time intended the delay is measured. Ends
/// with the last arrival, or when `send` says false.
pub(crate) async fn dispatch(
    arrivals: impl Iterator<Item = (u64, Duration)>,
    start: Instant,
    alarm: &mut impl Alarm,
    mut send: impl FnMut(u64, Instant, Instant) -> bool,
) {
    // The clock is read once for all that is due at once; whoever sends has to get a turn in between.
    let mut now = Instant::now();
    for (number, time) in arrivals {
        let time = start + time;
        if time > now {
            now = Instant::now();
            if time > now {
                alarm.until(time).await;
            } else {
                tokio::task::yield_now().await;
            }
            now = Instant::now();
        }
        if !send(number, time, now) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paused clock of the runtime, which leaps to the next time that somebody waits for.
    struct Clock;

    impl Alarm for Clock {
        async fn until(&mut self, time: Instant) {
            tokio::time::sleep_until(time).await;
        }
    }

    const CONSTANT: Profile = Profile { from: 0.0, to: 1000.0, ramp: 0.0 };

    fn arrivals(kind: options::Arrivals, profile: Profile, seed: u64, seconds: u64) -> Vec<f64> {
        let arrivals = Arrivals::new(kind, profile, seed, Some(Duration::from_secs(seconds)));
        arrivals.map(|time| time.as_secs_f64()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn poisson_arrivals_come_when_they_are_due() {
        let start = Instant::now();
        let arrivals =
            Arrivals::new(options::Arrivals::Poisson, CONSTANT, 1, Some(Duration::from_secs(100))).enumerate();
        let mut sent: Vec<(u64, f64)> = Vec::new();
        dispatch(arrivals.map(|(number, time)| (number as u64, time)), start, &mut Clock, |number, time, now| {
            let late = now.duration_since(time);
            assert!(late < Duration::from_millis(2), "the runtime's timer knows milliseconds: {late:?}");
            sent.push((number, (time - start).as_secs_f64()));
            true
        })
        .await;
        assert!(sent.len().abs_diff(100_000) < 1000, "within 3 standard deviations: {}", sent.len());
        assert!(sent.iter().enumerate().all(|(index, (number, _))| index as u64 == *number));
        let gaps: Vec<f64> = sent.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!((variation - 1.0).abs() < 0.02, "gaps of a Poisson process vary as much as their mean: {variation}");
        let longer = gaps.iter().filter(|gap| **gap > 0.002).count() as f64 / gaps.len() as f64;
        assert!((longer - (-2.0_f64).exp()).abs() < 0.01, "{longer} of the gaps are twice the mean");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_late_sends_at_once_with_the_time_intended() {
        let start = Instant::now();
        let times = [0, 10, 11, 12, 30].map(Duration::from_millis);
        let mut sent = Vec::new();
        struct Stalled(bool);
        impl Alarm for Stalled {
            async fn until(&mut self, time: Instant) {
                let stall = if std::mem::replace(&mut self.0, false) { 15 } else { 0 };
                tokio::time::sleep_until(time + Duration::from_millis(stall)).await;
            }
        }
        dispatch((0..).zip(times), start, &mut Stalled(true), |_, intended, now| {
            sent.push((intended - start, now - start));
            true
        })
        .await;
        let milliseconds: Vec<[u128; 2]> = sent.iter().map(|(a, b)| [a.as_millis(), b.as_millis()]).collect();
        assert_eq!(milliseconds, [[0, 0], [10, 25], [11, 25], [12, 25], [30, 30]]);
    }

    #[test]
    fn the_seed_decides() {
        let poisson = |seed| arrivals(options::Arrivals::Poisson, CONSTANT, seed, 1);
        assert_eq!(poisson(7), poisson(7));
        assert_ne!(poisson(7), poisson(8));
    }

    #[test]
    fn even_arrivals_are_even() {
        let times = arrivals(options::Arrivals::Uniform, Profile { to: 4.0, ..CONSTANT }, 1, 1);
        assert_eq!(times, [0.25, 0.5, 0.75]);
    }

    #[test]
    fn a_ramp_reaches_its_rate() {
        for (from, to) in [(0.0, 1000.0), (100.0, 1000.0), (1000.0, 100.0)] {
            let times = arrivals(options::Arrivals::Uniform, Profile { from, to, ramp: 10.0 }, 1, 20);
            let between = |begin: f64, end: f64| times.iter().filter(|time| (begin..end).contains(*time)).count();
            let rate = |time: f64| from + (to - from) * (time / 10.0).min(1.0);
            for second in 0..20 {
                let begin = f64::from(second);
                let expected = (rate(begin) + rate(begin + 1.0)) / 2.0;
                let found = between(begin, begin + 1.0) as f64;
                assert!((found - expected).abs() <= 2.0, "{from} to {to}, second {second}: {found} for {expected}");
            }
        }
    }
}
