//! What a run measured: latencies by phase, replies by phase and code, what became of the messages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::connection::Failure;
pub(crate) use crate::report::model::Phase;
use crate::report::model::{self, Messages, Run};
use hdrhistogram::Histogram;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken, for every recipient.
    Sent,
    /// The server refused it, or a recipient.
    Refused,
}

/// One latency, and the reply that it ended with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) phase: Phase,
    pub(crate) duration: Duration,
    /// None: no single reply ended it.
    pub(crate) code: Option<u16>,
}

/// Counts and latencies.
#[derive(Debug, Default)]
pub(crate) struct Measurements {
    latencies: BTreeMap<Phase, Latency>,
    /// By phase and code.
    pub(crate) replies: BTreeMap<(Phase, u16), u64>,
    /// By what the failure says of itself.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    /// Not answered.
    pub(crate) lost: u64,
    /// Bytes of messages taken.
    pub(crate) bytes: u64,
    pub(crate) connections: u64,
}

/// The latencies of one phase, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new(3).expect("3 digits are a valid precision"))
    }
}

impl Latency {
    fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // The histogram grows with what it is given; it cannot do that beyond a century.
        let _ = self.0.record(nanoseconds);
    }

    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Measurements {
    /// A message was answered.
    pub(crate) fn answered(&mut self, outcome: Outcome, bytes: usize, samples: &mut Vec<Sample>) {
        self.absorb(samples);
        match outcome {
            Outcome::Sent => {
                self.sent += 1;
                self.bytes += bytes as u64;
            }
            Outcome::Refused => self.refused += 1,
        }
    }

    /// A message was not answered.
    pub(crate) fn lost(&mut self, failure: &Failure, samples: &mut Vec<Sample>) {
        self.absorb(samples);
        self.lost += 1;
        self.failure(failure);
    }

    /// A connection failed.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        *self.errors.entry(failure.to_string()).or_default() += 1;
    }

    /// The latencies of the phases that there were, in order.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = (Phase, &Latency)> {
        self.latencies.iter().map(|(phase, latency)| (*phase, latency))
    }

    /// All of it, for a report. `requested`: messages that were to be sent.
    pub(crate) fn run(&self, name: &str, requested: u64, sessions: u64, duration: Duration) -> Run {
        let seconds = duration.as_secs_f64();
        let messages = Messages { requested, sent: self.sent, refused: self.refused, lost: self.lost };
        let refusals = self.replies.iter().filter(|((_, code), _)| *code >= 400);
        let refusals = refusals.map(|(&(phase, code), &count)| model::Failure {
            phase: Some(phase),
            code: Some(code),
            error: None,
            count,
            example: String::new(),
        });
        let errors = self.errors.iter().map(|(error, &count)| model::Failure {
            phase: None,
            code: None,
            error: Some(error.clone()),
            count,
            example: String::new(),
        });
        let mut run = Run {
            name: name.to_owned(),
            seconds,
            sessions,
            connections: self.connections,
            messages,
            bytes: self.bytes,
            messages_per_second: self.sent as f64 / seconds,
            bytes_per_second: self.bytes as f64 / seconds,
            failures: refusals.chain(errors).collect(),
            latency: self.latencies().map(|(phase, latency)| model::Latency::new(phase, latency.histogram())).collect(),
            ..Run::default()
        };
        for ((_, code), count) in &self.replies {
            run.replies.add(*code, *count);
        }
        run
    }

    /// Adds what happened in one session since the last time, and empties it.
    pub(crate) fn absorb(&mut self, samples: &mut Vec<Sample>) {
        for sample in samples.drain(..) {
            self.latencies.entry(sample.phase).or_default().record(sample.duration);
            if let Some(code) = sample.code {
                *self.replies.entry((sample.phase, code)).or_default() += 1;
            }
        }
    }
}
