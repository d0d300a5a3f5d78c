//! Counters, gauges and histograms of plain atomics. Additions are relaxed: a page may see one of two additions made
//! together, and the next page sees both.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less; each goes with an earlier [`Self::increment`].
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Another value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets, in microseconds: from a sandbox's first instructions to an upstream's patience.
pub(super) const BOUNDS: [u64; 20] = [
    10,
    30,
    100,
    300,
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    20_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

/// How long something took, how often.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, not cumulative; what is beyond the last bound is in `beyond`.
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| bound * 1000 < nanoseconds);
        self.buckets.get(bucket).unwrap_or(&self.beyond).fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// Cumulative counts for each of [`BOUNDS`], then the count of all.
    pub(super) fn cumulative(&self) -> ([u64; BOUNDS.len()], u64) {
        let mut total = 0;
        let counts = std::array::from_fn(|index| {
            total += self.buckets[index].load(Relaxed);
            total
        });
        (counts, total + self.beyond.load(Relaxed))
    }

    /// The sum of all.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 600_000_000, 600_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (counts, total) = histogram.cumulative();
        assert_eq!(counts[..3], [2, 3, 3]);
        assert_eq!(counts[BOUNDS.len() - 1], 4);
        assert_eq!(total, 5);
    }
}
