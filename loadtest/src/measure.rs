//! What a run measured: latencies by phase, replies by phase and code, what became of the messages.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::connection::Failure;
use crate::proof::Sent;
pub(crate) use crate::report::model::Phase;
use crate::report::model::{self, Handshakes, Messages, Run, Second, microseconds};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken, for every recipient.
    Sent,
    /// The server refused it, or a recipient.
    Refused,
}

/// Where a message stood with the server, for the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its end was not sent, or was refused.
    NotTaken,
    /// Its end was sent, and not answered yet.
    InDoubt,
    /// Its end was answered 250.
    Acknowledged,
}

/// A server that answers with ever new codes is not worth more memory.
const MOST_EXAMPLES: usize = 100;

/// Counts and latencies. Each thread has its own, which are added up.
#[derive(Debug, Default)]
pub(crate) struct Measurements {
    /// By phase.
    latencies: [Option<Latency>; Phase::ALL.len()],
    /// By phase and code; there are few.
    replies: Vec<((Phase, u16), u64)>,
    /// Of replies that refuse something, what the server said first.
    examples: BTreeMap<(Phase, u16), String>,
    /// By what the failure says of itself.
    errors: BTreeMap<String, Errors>,
    /// Messages begun: taken from the plan.
    pub(crate) begun: u64,
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    /// Not answered.
    pub(crate) lost: u64,
    pub(crate) abandoned: u64,
    /// Bytes of messages taken.
    pub(crate) bytes: u64,
    pub(crate) connections: u64,
    /// Of these, still open.
    pub(crate) open: u64,
    pub(crate) handshakes: Handshakes,
    pub(crate) numbers: Sent,
    /// Messages taken since this was last asked for, in an open loop from when they were to be sent.
    recent: Latency,
    before: Totals,
}

/// Failures of one kind.
#[derive(Debug)]
struct Errors {
    count: u64,
    /// The first of them in full.
    example: String,
}

/// The latencies of one phase, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

/// Counts at the last look.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    sent: u64,
    failed: u64,
    bytes: u64,
}

/// What happened on one thread since the last look.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    sent: u64,
    failed: u64,
    bytes: u64,
    connections: u64,
    latency: Latency,
}

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

    fn add(&mut self, other: &Self) {
        // The histogram grows as needed.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Measurements {
    /// A step took so long.
    pub(crate) fn took(&mut self, phase: Phase, duration: Duration) {
        self.latencies[phase as usize].get_or_insert_default().record(duration);
    }

    /// A step took so long and was answered with this code.
    pub(crate) fn replied(&mut self, phase: Phase, duration: Duration, code: u16) {
        self.took(phase, duration);
        self.count_replies((phase, code), 1);
    }

    /// What a reply said that refused something.
    pub(crate) fn example(&mut self, phase: Phase, code: u16, text: impl FnOnce() -> String) {
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.entry((phase, code)).or_insert_with(text);
        }
    }

    fn count_replies(&mut self, kind: (Phase, u16), count: u64) {
        match self.replies.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known += count,
            None => self.replies.push((kind, count)),
        }
    }

    /// A message was taken. `latency` is what the timeline shows of it.
    pub(crate) fn taken(&mut self, bytes: u64, latency: Duration) {
        self.sent += 1;
        self.bytes += bytes;
        self.recent.record(latency);
    }

    /// What the sink may be asked about a message.
    pub(crate) fn account(&mut self, number: u64, standing: Standing) {
        let numbers = match standing {
            Standing::NotTaken => &mut self.numbers.refused,
            Standing::InDoubt => &mut self.numbers.in_doubt,
            Standing::Acknowledged => &mut self.numbers.acknowledged,
        };
        numbers.insert(number);
    }

    /// A connection failed.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.count_errors(failure.to_string(), 1, || failure.in_full());
    }

    /// A connection failed on which nothing was going on.
    pub(crate) fn failure_between_messages(&mut self, failure: &Failure) {
        self.count_errors(format!("between messages: {failure}"), 1, || failure.in_full());
    }

    fn count_errors(&mut self, kind: String, count: u64, example: impl FnOnce() -> String) {
        self.errors.entry(kind).or_insert_with(|| Errors { count: 0, example: example() }).count += count;
    }

    /// Adds those of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            if let Some(theirs) = theirs {
                ours.get_or_insert_default().add(theirs);
            }
        }
        for (kind, count) in &other.replies {
            self.count_replies(*kind, *count);
        }
        for (&(phase, code), text) in &other.examples {
            self.example(phase, code, || text.clone());
        }
        for (kind, Errors { count, example }) in &other.errors {
            self.count_errors(kind.clone(), *count, || example.clone());
        }
        self.begun += other.begun;
        self.sent += other.sent;
        self.refused += other.refused;
        self.lost += other.lost;
        self.abandoned += other.abandoned;
        self.bytes += other.bytes;
        self.connections += other.connections;
        self.open += other.open;
        self.handshakes.full += other.handshakes.full;
        self.handshakes.resumed += other.handshakes.resumed;
        self.numbers.acknowledged.extend(&other.numbers.acknowledged);
        self.numbers.in_doubt.extend(&other.numbers.in_doubt);
        self.numbers.refused.extend(&other.numbers.refused);
    }

    /// What happened since this was last asked.
    pub(crate) fn since_last(&mut self) -> Recent {
        let now = Totals { sent: self.sent, failed: self.refused + self.lost, bytes: self.bytes };
        let before = std::mem::replace(&mut self.before, now);
        let recent = Recent {
            sent: now.sent - before.sent,
            failed: now.failed - before.failed,
            bytes: now.bytes - before.bytes,
            connections: self.open,
            latency: Latency(self.recent.0.clone()),
        };
        self.recent.0.reset();
        recent
    }

    /// All of it, for a report.
    pub(crate) fn run(&self, name: &str, requested: u64, sessions: u64, duration: Duration) -> Run {
        let seconds = duration.as_secs_f64();
        let Self { sent, refused, lost, abandoned, .. } = *self;
        let mut replies = self.replies.clone();
        replies.sort_unstable();
        let refusals = replies.iter().filter(|((_, code), _)| *code >= 400);
        let refusals = refusals.map(|&((phase, code), count)| model::Failure {
            phase: Some(phase),
            code: Some(code),
            error: None,
            count,
            example: self.examples.get(&(phase, code)).cloned().unwrap_or_default(),
        });
        let errors = self.errors.iter().map(|(kind, Errors { count, example })| model::Failure {
            phase: None,
            code: None,
            error: Some(kind.clone()),
            count: *count,
            example: example.clone(),
        });
        let latencies = Phase::ALL.iter().zip(&self.latencies);
        let latencies = latencies.filter_map(|(phase, latency)| Some((*phase, latency.as_ref()?)));
        let mut run = Run {
            name: name.to_owned(),
            seconds,
            sessions,
            connections: self.connections,
            messages: Messages { requested, sent, refused, lost, abandoned },
            bytes: self.bytes,
            messages_per_second: sent as f64 / seconds,
            bytes_per_second: self.bytes as f64 / seconds,
            failures: refusals.chain(errors).collect(),
            latency: latencies.map(|(phase, latency)| model::Latency::new(phase, latency.histogram())).collect(),
            handshakes: (self.handshakes != Handshakes::default()).then_some(self.handshakes),
            ..Run::default()
        };
        for ((_, code), count) in &replies {
            run.replies.add(*code, *count);
        }
        run
    }
}

impl Recent {
    /// Adds that of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.connections += other.connections;
        self.latency.add(&other.latency);
    }

    /// For the timeline; it began `start` seconds after the load.
    pub(crate) fn second(&self, start: f64) -> Second {
        let histogram = self.latency.histogram();
        let latency = |value: u64| (!histogram.is_empty()).then(|| microseconds(value as f64));
        Second {
            second: start,
            sent: self.sent,
            failed: self.failed,
            bytes: self.bytes,
            connections: self.connections,
            p50: latency(histogram.value_at_quantile(0.5)),
            p99: latency(histogram.value_at_quantile(0.99)),
            max: latency(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use mailweir_smtp::reply::Reply;

    use super::*;

    #[test]
    fn the_example_of_each_kind_is_the_first_of_it_in_full() {
        let (mut ours, mut theirs) = (Measurements::default(), Measurements::default());
        let closing = |text: &str| Failure::TurnedAway(Reply::new(421, "4.3.2", text));
        ours.failure_between_messages(&closing("Maintenance"));
        ours.failure_between_messages(&closing("Maintenance still"));
        theirs.failure_between_messages(&closing("Elsewhere"));
        theirs.failure(&Failure::Io(io::Error::from_raw_os_error(libc::ECONNRESET)));
        theirs.failure(&Failure::Closed);
        ours.add(&theirs);
        let run = ours.run("", 0, 0, Duration::from_secs(1));
        let failures = run.failures.iter();
        let failures: Vec<_> =
            failures.map(|failure| (failure.error.as_deref().unwrap(), failure.count, &*failure.example)).collect();
        let expected = [
            ("between messages: turned away with 421", 3, "421 4.3.2 Maintenance"),
            ("closed by the server", 1, "closed by the server"),
            ("connection: connection reset", 1, "Connection reset by peer (os error 104)"),
        ];
        assert_eq!(failures, expected);
    }
}
