//! The result of a run, as it is printed in JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::arguments::SendArguments;
use crate::measure::{Latency, Measurements, Phase};

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) sessions: u32,
    pub(crate) connections: u64,
    pub(crate) messages: Messages,
    pub(crate) seconds: f64,
    /// Messages taken in a second.
    pub(crate) messages_per_second: f64,
    /// Their bytes, without stuffing.
    pub(crate) bytes_per_second: f64,
    /// By the first digit of the code.
    pub(crate) replies: BTreeMap<&'static str, u64>,
    /// Replies of 4xx and 5xx.
    pub(crate) refusals: Vec<Refusals>,
    /// Failures of connections, by what they say.
    pub(crate) errors: BTreeMap<String, u64>,
    /// In microseconds, by phase.
    pub(crate) latency: Vec<Latencies>,
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Messages {
    pub(crate) requested: u64,
    /// Taken, for every recipient.
    pub(crate) sent: u64,
    /// Refused, or a recipient of theirs.
    pub(crate) refused: u64,
    /// Without an answer, because the connection failed or did not come about.
    pub(crate) lost: u64,
}

/// Replies of one code to one kind of command.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Refusals {
    pub(crate) phase: Phase,
    pub(crate) code: u16,
    pub(crate) count: u64,
}

/// The latencies of one phase, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latencies {
    pub(crate) phase: Phase,
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Report {
    pub(crate) fn new(arguments: &SendArguments, measured: &Measurements, duration: Duration) -> Self {
        let seconds = duration.as_secs_f64();
        let mut replies = BTreeMap::from([("2xx", 0), ("3xx", 0), ("4xx", 0), ("5xx", 0)]);
        for ((_, code), count) in &measured.replies {
            *replies.entry(class(*code)).or_default() += count;
        }
        let refusals = measured.replies.iter().filter(|((_, code), _)| *code >= 400);
        Self {
            sessions: arguments.sessions.into(),
            connections: measured.connections,
            messages: Messages {
                requested: arguments.messages.into(),
                sent: measured.sent,
                refused: measured.refused,
                lost: measured.lost,
            },
            seconds,
            messages_per_second: measured.sent as f64 / seconds,
            bytes_per_second: measured.bytes as f64 / seconds,
            replies,
            refusals: refusals.map(|(&(phase, code), &count)| Refusals { phase, code, count }).collect(),
            errors: measured.errors.clone(),
            latency: measured.latencies().map(|(phase, latency)| Latencies::new(phase, latency)).collect(),
        }
    }
}

impl Messages {
    /// Whether every message was taken.
    pub(crate) fn all_sent(self) -> bool {
        self.sent == self.requested
    }
}

impl Latencies {
    fn new(phase: Phase, latency: &Latency) -> Self {
        let histogram = latency.histogram();
        let quantile = |quantile| microseconds(histogram.value_at_quantile(quantile) as f64);
        Self {
            phase,
            count: histogram.len(),
            min: microseconds(histogram.min() as f64),
            mean: microseconds(histogram.mean()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: microseconds(histogram.max() as f64),
        }
    }
}

/// From nanoseconds, to one place: the histogram knows three digits.
fn microseconds(nanoseconds: f64) -> f64 {
    (nanoseconds / 100.0).round() / 10.0
}

fn class(code: u16) -> &'static str {
    match code {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}
