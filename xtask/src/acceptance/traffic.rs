//! Messages from smtp-source through the proxy to smtp-sink, and what they left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mailweir_testkit::mailweir::{Mailweir, Samples};
use mailweir_testkit::programs::{self, Program};
use tokio::task::JoinSet;

use super::process::Process;
use super::stage::{MEMORY_BUDGET, Stage};

/// The longest a run may take.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long after the last message everything must be given back.
const SETTLE: Duration = Duration::from_secs(10);
/// What may be held beyond the start and the message budget, in MiB: buffers of a hundred sessions, the memory of their
/// sandboxes, which is kept for the next ones, and what the allocator holds on to for a moment.
pub(super) const SLACK: u64 = 96;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Descriptors that may remain: idle connections to the upstream, and to resolvers.
pub(super) const KEPT_DESCRIPTORS: usize = 32;
/// What must be back at 0 when no message is under way.
const GAUGES: [&str; 4] = [
    "mailweir_message_bytes_in_memory",
    "mailweir_message_bytes_spilled",
    "mailweir_sandboxes",
    "mailweir_connections",
];

/// Messages to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) messages: u32,
    pub(super) sessions: u32,
    /// Bytes of the payload.
    pub(super) length: u32,
}

/// Traffic under way.
pub(super) struct Running {
    traffic: Traffic,
    source: Program,
    process: Process,
    before: Snapshot,
    begin: Instant,
    peak: Peak,
}

/// The most memory that was seen, in MiB; nobody looks any more once it is dropped.
pub(super) struct Peak {
    most: Arc<AtomicU64>,
    _looking: JoinSet<()>,
}

/// How it went.
pub(super) struct Done {
    /// What is wrong.
    pub(super) wrong: Vec<String>,
    /// What was measured.
    pub(super) figures: Vec<String>,
}

/// How things stood at one moment.
struct Snapshot {
    delivered: u64,
    samples: Samples,
    memory: u64,
    descriptors: usize,
    cpu: f64,
}

impl Traffic {
    fn options(self) -> Vec<String> {
        let Self { messages, sessions, length } = self;
        format!("-c -m {messages} -s {sessions} -l {length}").split(' ').map(str::to_owned).collect()
    }

    /// The command, without the names and addresses that only this machine has.
    pub(super) fn command(self) -> String {
        format!("smtp-source {}", self.options().join(" "))
    }

    /// Starts it; none when smtp-source is not installed.
    pub(super) async fn start(self, stage: &Stage) -> Result<Option<Running>> {
        let process = Process::new(stage.proxy.id().context("mailweir has ended")?);
        let before = Snapshot::take(stage, &process).await?;
        let mut options = self.options();
        let names = ["-f", "load@sender.test", "-t", "user@example.com", "-M", "mx.sender.test"];
        options.extend(names.map(str::to_owned));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let begin = Instant::now();
        let source = programs::smtp_source(&options, stage.inbound);
        Ok(source.map(|source| Running { traffic: self, source, peak: Peak::watch(&process), process, before, begin }))
    }
}

impl Running {
    /// Messages that arrived behind the proxy.
    pub(super) fn delivered(&self, stage: &Stage) -> u64 {
        stage.delivered().saturating_sub(self.before.delivered)
    }

    /// Waits for the end, and for everything to be given back.
    pub(super) async fn finish(self, stage: &Stage) -> Result<Done> {
        let Self { traffic, source, process, before, begin, peak } = self;
        let report = source.finish(LIMIT).await.with_context(|| tail(&stage.proxy.log()))?;
        let seconds = begin.elapsed().as_secs_f64();
        let mut wrong = settle(&stage.proxy).await?;
        let after = Snapshot::take(stage, &process).await?;
        let expected = u64::from(traffic.messages);
        let sent = last_count(&report.text);
        if !report.success || sent != expected {
            wrong.push(format!("smtp-source counted {sent}: {}", tail(&report.text)));
        }
        let delivered = after.delivered - before.delivered;
        if delivered != expected {
            wrong.push(format!("smtp-sink counted {delivered}"));
        }
        for verdict in ["reject", "tempfail", "discard", "quarantine", "upstream_refused", "aborted"] {
            let label = format!("verdict=\"{verdict}\"");
            let count = |snapshot: &Snapshot| snapshot.samples.sum("mailweir_messages_total", &[&label]);
            if count(&after) > count(&before) {
                wrong.push(format!("{} messages with verdict {verdict}", count(&after) - count(&before)));
            }
        }
        let peak = peak.most();
        if peak > before.memory + MEMORY_BUDGET + SLACK {
            wrong.push(format!("memory grew to {peak} MiB"));
        }
        if after.descriptors > before.descriptors + KEPT_DESCRIPTORS {
            wrong.push(format!("{} descriptors are open, {} before", after.descriptors, before.descriptors));
        }
        if !wrong.is_empty() {
            wrong.extend(complaints(&stage.proxy.log()));
        }
        let errors = expected.saturating_sub(sent);
        let rate = f64::from(traffic.messages) / seconds;
        let figures = vec![
            format!("{delivered} delivered, {errors} errors, {seconds:.1} s, {rate:.1} messages/s"),
            format!(
                "mailweir: {:.1} s CPU; memory {} MiB before, {peak} at most, {} after; descriptors {} before, {} after",
                after.cpu - before.cpu,
                before.memory,
                after.memory,
                before.descriptors,
                after.descriptors
            ),
        ];
        Ok(Done { wrong, figures })
    }
}

impl Peak {
    pub(super) fn watch(process: &Process) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let (process, seen) = (process.clone(), Arc::clone(&most));
        let mut looking = JoinSet::new();
        looking.spawn(async move {
            while let Ok(memory) = process.own() {
                seen.fetch_max(memory, Ordering::Relaxed);
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { most, _looking: looking }
    }

    /// In MiB.
    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Snapshot {
    async fn take(stage: &Stage, process: &Process) -> Result<Self> {
        Ok(Self {
            delivered: stage.delivered(),
            samples: stage.proxy.metrics().await?,
            memory: process.own()?,
            descriptors: process.descriptors()?,
            cpu: process.cpu_seconds()?,
        })
    }
}

/// Waits until nothing is held any more; what still is.
pub(super) async fn settle(proxy: &Mailweir) -> Result<Vec<String>> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let samples = proxy.metrics().await?;
        let held = GAUGES.map(|gauge| (gauge, samples.sum(gauge, &[])));
        if held.iter().all(|(_, value)| *value == 0.0) {
            return Ok(Vec::new());
        }
        if Instant::now() > deadline {
            return Ok(held
                .iter()
                .filter(|(_, value)| *value != 0.0)
                .map(|(name, value)| format!("{name} is {value}"))
                .collect());
        }
        // The metrics have no event to wait for.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Memory in MiB once it is within the limit, or as it still is after a while. Workers give back what they have no use
/// for when they come to rest, and each question wakes them.
pub(super) async fn memory_within(limit: u64, process: &Process, proxy: &Mailweir) -> Result<u64> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let memory = process.own()?;
        if memory <= limit || Instant::now() > deadline {
            return Ok(memory);
        }
        proxy.metrics().await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The last number of smtp-source's running count, which is written over and over on one line.
fn last_count(text: &str) -> u64 {
    text.split(['\r', '\n']).filter_map(|count| count.trim().parse().ok()).next_back().unwrap_or(0)
}

/// The end of a text, in which the reason usually stands.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.split(['\r', '\n']).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}

/// The first lines of the log that are no delivered message.
pub(super) fn complaints(log: &str) -> Vec<String> {
    let is_complaint = |line: &&str| !line.contains("\"verdict\":\"deliver\"") && !line.contains("\"level\":\"INFO\"");
    let complaints =
        log.lines().filter(is_complaint).chain(log.lines().filter(|line| line.contains("\"verdict\":\"tempfail\"")));
    complaints.take(5).map(|line| line.chars().take(900).collect()).collect()
}
