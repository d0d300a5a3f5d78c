//! What was sent against what arrived.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arrival, Numbers, Run};

/// Runs told apart by one sink; messages of others count as unmarked, so that strangers cannot fill its memory.
const RUNS: usize = 4096;

/// What became of the numbers of one generator, as it was told by the server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// 250 to the end of data.
    pub(crate) acknowledged: Numbers,
    /// The end of the content was sent, and there was no answer.
    pub(crate) in_doubt: Numbers,
    /// 4xx or 5xx to the end of data or before it, or the connection failed before the end of the content was sent.
    pub(crate) refused: Numbers,
}

/// That, and whose it is: what a generator writes for a comparison elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SentRun {
    pub(crate) run: Run,
    pub(crate) sent: Sent,
}

/// What arrived at a sink, by run. In JSON this is what a sink elsewhere writes and a generator here reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    pub(crate) runs: BTreeMap<Run, Seen>,
    /// Messages that carry no proof line.
    pub(crate) unmarked: u64,
}

/// What arrived of one run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Each at least once, altered or not.
    pub(crate) numbers: Numbers,
    /// Arrived more than once.
    pub(crate) doubled: Numbers,
    /// Arrived with another content than was sent, at least once.
    pub(crate) altered: Numbers,
}

/// What the comparison shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Taken by the server.
    pub(crate) acknowledged: u64,
    /// Sent and not answered: these may have arrived or not.
    pub(crate) in_doubt: u64,
    /// Distinct numbers seen by the sink.
    pub(crate) arrived: u64,
    /// Acknowledged, and never seen.
    pub(crate) lost: u64,
    /// Seen more than once.
    pub(crate) doubled: u64,
    /// Seen with another content.
    pub(crate) altered: u64,
    /// In doubt, and seen after all: not a fault, the sender would try again.
    pub(crate) in_doubt_arrived: u64,
    /// Refused, and seen all the same.
    pub(crate) refused_arrived: u64,
    /// Seen, but never sent.
    pub(crate) unknown: u64,
}

impl Received {
    /// Counts a message. A sink calls this before it acknowledges it.
    pub(crate) fn count(&mut self, arrival: Arrival) {
        let (run, number, altered) = match arrival {
            Arrival::Intact { run, number } => (run, number, false),
            Arrival::Altered { run, number } => (run, number, true),
            Arrival::Unmarked => {
                self.unmarked += 1;
                return;
            }
        };
        if self.runs.len() == RUNS && !self.runs.contains_key(&run) {
            self.unmarked += 1;
            return;
        }
        let seen = self.runs.entry(run).or_default();
        if !seen.numbers.insert(number) {
            seen.doubled.insert(number);
        }
        if altered {
            seen.altered.insert(number);
        }
    }

    /// Adds what arrived elsewhere, such as on another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.unmarked += other.unmarked;
        for (run, theirs) in &other.runs {
            let ours = self.runs.entry(*run).or_default();
            let both = theirs.numbers.iter().filter(|number| ours.numbers.contains(*number));
            let both: Numbers = both.collect();
            ours.doubled.extend(&both);
            ours.doubled.extend(&theirs.doubled);
            ours.numbers.extend(&theirs.numbers);
            ours.altered.extend(&theirs.altered);
        }
    }
}

impl Verdict {
    /// Of two runs together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            in_doubt: self.in_doubt + other.in_doubt,
            arrived: self.arrived + other.arrived,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            altered: self.altered + other.altered,
            in_doubt_arrived: self.in_doubt_arrived + other.in_doubt_arrived,
            refused_arrived: self.refused_arrived + other.refused_arrived,
            unknown: self.unknown + other.unknown,
        }
    }

    /// Compares what one run sent with what arrived of it.
    pub(crate) fn new(run: Run, sent: &Sent, received: &Received) -> Self {
        let nothing = Seen::default();
        let seen = received.runs.get(&run).unwrap_or(&nothing);
        let arrived = |numbers: &Numbers| numbers.iter().filter(|number| seen.numbers.contains(*number)).count() as u64;
        let (acknowledged_arrived, in_doubt_arrived, refused_arrived) =
            (arrived(&sent.acknowledged), arrived(&sent.in_doubt), arrived(&sent.refused));
        Self {
            acknowledged: sent.acknowledged.len(),
            in_doubt: sent.in_doubt.len(),
            arrived: seen.numbers.len(),
            lost: sent.acknowledged.len() - acknowledged_arrived,
            doubled: seen.doubled.len(),
            altered: seen.altered.len(),
            in_doubt_arrived,
            refused_arrived,
            unknown: seen.numbers.len() - acknowledged_arrived - in_doubt_arrived - refused_arrived,
        }
    }

    /// Whether nothing was lost, doubled, altered, let through in spite of a refusal, or made up.
    pub(crate) fn holds(&self) -> bool {
        let Self { lost, doubled, altered, refused_arrived, unknown, .. } = self;
        lost + doubled + altered + refused_arrived + unknown == 0
    }
}
