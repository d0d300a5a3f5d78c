//! The result of a measurement: what is shown as a table and as HTML, and what is written as JSON.
//!
//! The JSON's names are these fields' names; they are stable, and documented in docs/performance.md. Latencies are in
//! microseconds, sizes in bytes, times in seconds. A field that does not apply is absent, and new ones may be added.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::proof::Verdict;

/// The name and version of the format, in each file.
pub(crate) const FORMAT: &str = "mailweir-load/1";

/// Everything that was measured together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// [`FORMAT`].
    pub(crate) format: String,
    /// What was run, such as a scenario's name.
    pub(crate) title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// What runs it again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) command: String,
    /// When it began, in RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) began: String,
    /// From the beginning to the end, all runs.
    pub(crate) seconds: f64,
    /// One for each group of sessions, or for each step.
    pub(crate) runs: Vec<Run>,
    /// The server, the sink, the load generator itself: as far as they could be watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) processes: Vec<Process>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sink: Option<SinkCounts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) claims: Vec<Claim>,
}

/// What one group of sessions did, or one step of a series.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) name: String,
    /// How it sent, in words: "closed loop", "open loop, 500/s".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) load: String,
    /// When it began, after everything did.
    #[serde(default)]
    pub(crate) start: f64,
    pub(crate) seconds: f64,
    pub(crate) sessions: u64,
    /// Connections that came about.
    pub(crate) connections: u64,
    pub(crate) messages: Messages,
    /// Of messages taken, without dot stuffing.
    pub(crate) bytes: u64,
    /// Messages taken in a second.
    pub(crate) messages_per_second: f64,
    /// Their bytes.
    pub(crate) bytes_per_second: f64,
    /// The messages a second that were to be offered, in an open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offered_per_second: Option<f64>,
    pub(crate) replies: Replies,
    /// By kind, most frequent first.
    #[serde(default)]
    pub(crate) failures: Vec<Failure>,
    /// By phase, of those that there were.
    pub(crate) latency: Vec<Latency>,
    /// Second by second, from this run's beginning.
    #[serde(default)]
    pub(crate) timeline: Vec<Second>,
    /// With TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handshakes: Option<Handshakes>,
    /// Of a load that only holds connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<Held>,
    /// What was sent against what the sink saw, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Verdict>,
    /// What the servers used meanwhile, if they could be watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) servers: Vec<ServerUse>,
}

/// What a process used during a run, with its descendants.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct ServerUse {
    pub(crate) name: String,
    /// Processor time, kernel's included.
    pub(crate) cpu_seconds: f64,
    /// That for each message taken meanwhile, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_per_message: Option<f64>,
    /// The most memory (resident), in bytes.
    pub(crate) peak_memory: u64,
    /// The most descriptors, of one process.
    pub(crate) peak_descriptors: u64,
}

/// TLS handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Handshakes {
    pub(crate) full: u64,
    pub(crate) resumed: u64,
}

/// Connections that were held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    /// To be opened.
    pub(crate) wanted: u64,
    /// That came as far as EHLO.
    pub(crate) opened: u64,
    /// Still open at the end.
    pub(crate) stayed: u64,
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Messages {
    /// To be sent; in runs that last for a time, those that were begun.
    pub(crate) requested: u64,
    /// Taken, for every recipient.
    pub(crate) sent: u64,
    /// Refused, or a recipient of theirs.
    pub(crate) refused: u64,
    /// Without an answer, because the connection failed or did not come about.
    pub(crate) lost: u64,
    /// Given up at the end of the run: still waiting for a connection in an open loop, or trickling.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) abandoned: u64,
}

/// Replies by the first digit of their code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Replies {
    #[serde(rename = "2xx")]
    pub(crate) positive: u64,
    #[serde(rename = "3xx")]
    pub(crate) intermediate: u64,
    #[serde(rename = "4xx")]
    pub(crate) transient: u64,
    #[serde(rename = "5xx")]
    pub(crate) permanent: u64,
}

/// What a latency, a reply or a failure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// In an open loop: from when a message was to be sent to when the generator came to it. That is the generator's own stalling,
    /// or its machine's, and never the server's; it is a part of [`Self::Wait`], [`Self::Intended`] and [`Self::Refused`].
    Late,
    /// In an open loop: from when a message was to be sent to when a connection was free for it.
    Wait,
    /// From the first SYN to the established connection.
    Connect,
    /// From there, or with implicit TLS from the end of the handshake, to the greeting.
    Greeting,
    /// STARTTLS to its reply.
    StartTls,
    /// The TLS handshake; with STARTTLS, from the reply to that.
    Tls,
    /// EHLO to its reply.
    Hello,
    /// MAIL to its reply. As for RCPT and DATA, pipelined or not: from the write that carried the command.
    Mail,
    /// RCPT to its reply; one for each recipient.
    Rcpt,
    /// DATA to its reply.
    Data,
    /// From the write that carried the final dot, or the end of the BDAT chunk, to the reply.
    EndOfData,
    /// RSET to its reply.
    Reset,
    /// QUIT to its reply.
    Quit,
    /// A whole message that was taken: from MAIL to the last reply.
    Message,
    /// The same in an open loop, from when it was to be sent: a wait for a connection counts, and so does a server that stalls.
    Intended,
    /// Of a message refused: from when it was begun, or in an open loop from when it was to be sent, to the last reply.
    Refused,
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Where it happened, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<Phase>,
    /// The reply's code, when it was a 4xx or 5xx reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    /// What happened to the connection, when it was no reply: "timed out".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) count: u64,
    /// The first of them in full: what the server said, or the error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) example: String,
}

impl Failure {
    /// The example, unless it says no more than the kind.
    pub(crate) fn more(&self) -> Option<&str> {
        let says_more = !self.example.is_empty() && self.error.as_ref() != Some(&self.example);
        says_more.then_some(&*self.example)
    }
}

/// The latencies of one phase, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) phase: Phase,
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Pairs of a percentile and the latency up to which it lies, closer and closer to 100.
    pub(crate) percentiles: Vec<(f64, f64)>,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Second {
    /// The second's beginning, from the run's.
    pub(crate) second: f64,
    /// Messages taken.
    pub(crate) sent: u64,
    /// Messages refused or lost.
    pub(crate) failed: u64,
    /// Of messages taken.
    pub(crate) bytes: u64,
    /// Open at its end.
    pub(crate) connections: u64,
    /// Of the messages taken in it (see [`Phase::Message`]), in microseconds; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p50: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
}

/// A process that was watched, with its descendants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// "server", or what it is called.
    pub(crate) name: String,
    /// Processor time, kernel's included.
    pub(crate) cpu_seconds: f64,
    /// That for each message that it took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_per_message: Option<f64>,
    /// The most memory (resident) that was seen.
    pub(crate) peak_memory: u64,
    pub(crate) samples: Vec<ProcessSample>,
}

/// A look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct ProcessSample {
    /// When, from the beginning of everything.
    pub(crate) second: f64,
    /// Cores busy since the last look.
    pub(crate) cpu: f64,
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
}

/// What a sink saw. Only messages that it answered 250 count.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SinkCounts {
    pub(crate) seconds: f64,
    pub(crate) connections: u64,
    /// Open now.
    pub(crate) open_connections: u64,
    /// Connections that went on within TLS.
    pub(crate) tls: u64,
    /// Messages taken.
    pub(crate) messages: u64,
    /// Of these, without dot stuffing.
    pub(crate) bytes: u64,
    /// Commands and messages that were answered 4xx as the sink was told to.
    pub(crate) tempfailed: u64,
    /// The same with 5xx.
    pub(crate) rejected: u64,
    /// Connections that were dropped as the sink was told to.
    pub(crate) dropped: u64,
    /// Replies that were held back.
    pub(crate) delayed: u64,
    /// Commands that the sink could not make sense of.
    pub(crate) errors: u64,
    /// Handshakes that failed, and messages that could not be stored.
    pub(crate) failures: u64,
    /// Different messages, by their proofs.
    pub(crate) distinct: u64,
    /// Of these, those that came more than once.
    pub(crate) doubled: u64,
    /// Of these, those whose content is not what their proof says.
    pub(crate) altered: u64,
}

/// Something that was to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// What is claimed: "no message is lost".
    pub(crate) claim: String,
    pub(crate) passed: bool,
    /// What was found: "0 of 50,000".
    pub(crate) found: String,
}

impl Results {
    /// Without anything in it yet.
    pub(crate) fn new(title: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            title: title.to_owned(),
            description: String::new(),
            command: String::new(),
            began: String::new(),
            seconds: 0.0,
            runs: Vec::new(),
            processes: Vec::new(),
            sink: None,
            claims: Vec::new(),
        }
    }

    /// Whether every claim holds; without claims, whether every message of every run was taken, every connection stayed
    /// that was to be held, and no proof failed.
    pub(crate) fn passed(&self) -> bool {
        if self.claims.is_empty() {
            self.runs.iter().all(Run::passed)
        } else {
            self.claims.iter().all(|claim| claim.passed)
        }
    }
}

impl Run {
    fn passed(&self) -> bool {
        self.messages.all_sent()
            && self.held.is_none_or(|held| held.stayed == held.wanted)
            && self.proof.is_none_or(|proof| proof.holds())
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Messages {
    /// Whether every message was taken.
    pub(crate) fn all_sent(self) -> bool {
        self.sent == self.requested
    }
}

impl Replies {
    /// Counts replies of one code.
    pub(crate) fn add(&mut self, code: u16, count: u64) {
        let class = match code {
            ..300 => &mut self.positive,
            300..400 => &mut self.intermediate,
            400..500 => &mut self.transient,
            500.. => &mut self.permanent,
        };
        *class += count;
    }
}

impl Phase {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 16] = [
        Self::Late,
        Self::Wait,
        Self::Connect,
        Self::Greeting,
        Self::StartTls,
        Self::Tls,
        Self::Hello,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::EndOfData,
        Self::Reset,
        Self::Quit,
        Self::Message,
        Self::Intended,
        Self::Refused,
    ];

    /// For people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Wait => "wait",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::StartTls => "STARTTLS",
            Self::Tls => "TLS",
            Self::Hello => "EHLO",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::EndOfData => "end of data",
            Self::Reset => "RSET",
            Self::Quit => "QUIT",
            Self::Message => "message",
            Self::Intended => "intended",
            Self::Refused => "refused",
        }
    }
}

impl Latency {
    /// What a histogram of nanoseconds holds.
    pub(crate) fn new(phase: Phase, histogram: &Histogram<u64>) -> Self {
        let percentile = |percentile| microseconds(histogram.value_at_percentile(percentile) as f64);
        Self {
            phase,
            count: histogram.len(),
            min: microseconds(histogram.min() as f64),
            mean: microseconds(histogram.mean()),
            p50: percentile(50.0),
            p90: percentile(90.0),
            p99: percentile(99.0),
            p999: percentile(99.9),
            max: microseconds(histogram.max() as f64),
            percentiles: percentiles(histogram.len()).map(|at| (at, percentile(at))).collect(),
        }
    }
}

/// The percentiles worth telling of so many values: ten for each digit of nines, until there is less than one value beyond.
fn percentiles(count: u64) -> impl Iterator<Item = f64> {
    let mut beyond = 100.0_f64;
    let steps = std::iter::from_fn(move || {
        beyond /= 10.0;
        Some(beyond)
    });
    let tail = steps.take_while(move |beyond| count as f64 * beyond >= 50.0).take(6);
    let tail =
        tail.flat_map(|beyond| (0..9).map(move |step| rounded(100.0 - beyond + beyond * f64::from(step) / 10.0)));
    (0..18).map(|step| f64::from(step) * 5.0).chain(tail).chain([100.0])
}

/// Without the last digits, which are the arithmetic's and not the percentile's.
fn rounded(percentile: f64) -> f64 {
    (percentile * 1e8).round() / 1e8
}

/// From nanoseconds, to one place: the histogram knows three digits.
pub(crate) fn microseconds(nanoseconds: f64) -> f64 {
    (nanoseconds / 100.0).round() / 10.0
}
