//! Filters that misbehave, one after another in chains of their own, in a process in which a thousand sessions go on
//! sending mail through another chain: what they cost the others, and what they leave behind.

#[path = "../../../proxy/tests/guests/mod.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the tests of the host, which use the rest")]
mod text;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use mailweir_testkit::sink::Sink;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::claim::Claims;
use super::client::{Client, Failure};
use super::good::{Good, Habits};
use super::process::Process;
use super::traffic::{KEPT_DESCRIPTORS, Peak, SLACK, memory_within, settle};
use super::{Outcome, Setting, scaled};

/// Those that fail, each in its own way; the names of files in `proxy/tests/guests`.
const FAILING: [&str; 26] = [
    "trap",
    "trap-in-constructor",
    "endless-loop",
    "stack-overflow",
    "memory-hog",
    "host-call-flood",
    "looks-up",
    "forged-handle",
    "keeps-the-message",
    "hoards-in-state",
    "tag-bomb",
    "edit-out-of-range",
    "edit-flood",
    "edits-unplanned",
    "edit-injects-field",
    "edit-injects-command",
    "no-such-verdict",
    "reply-huge",
    "reply-crlf",
    "reply-nul",
    "reply-not-utf8",
    "reply-code-999",
    "reply-out-of-memory",
    "calls-the-host-while-called",
    "calls-the-host-while-answered",
    "calls-the-host-after-its-end",
];
/// Those that are a nuisance and still come to a decision.
const PASSING: [&str; 1] = ["log-flood"];
/// What a failure leads to: the effect as configured, and how the reply begins then.
const EFFECTS: [(&str, &str); 3] = [("tempfail", "451 4.7.1"), ("reject", "554 5.7.1"), ("skip", "250")];
/// Clients at once that send to a guest's listener.
const SENDERS: u32 = 4;
/// A thousand sessions that stay, each with a message now and then.
const HABITS: Habits = Habits { messages: 900, pause: Duration::from_secs(4) };
/// Failures in a row after which the last good version takes over.
const BREAKER: u32 = 10;

/// A guest with one effect, and where its chain is reached.
struct Hostile {
    guest: &'static str,
    effect: &'static str,
    expected: &'static str,
    server: SocketAddr,
}

/// Everything that runs.
struct Stage {
    proxy: Mailweir,
    process: Process,
    _sink: Sink,
    good: SocketAddr,
    replaced: SocketAddr,
    hostile: Vec<Hostile>,
    components: TempDir,
    /// A DNS server that never answers, for the guest that hangs in a call to the host.
    _silent: UdpSocket,
}

pub(super) async fn run(setting: &Setting) -> Result<Vec<Outcome>> {
    let sessions = scaled(1000, setting.scale, 20);
    let messages = scaled(20, setting.scale, 4);
    // At full size each guest is there for a second at least, so that the others' latencies mean something.
    let time = Duration::from_secs(1).mul_f64(setting.scale * setting.scale);
    let begin = Instant::now();
    let mut claims = Claims::of("guests");
    println!(
        "guests: {sessions} sessions, {} chains that misbehave …",
        (FAILING.len() + PASSING.len()) * EFFECTS.len()
    );
    let stage = Stage::set(setting).await?;
    let id = stage.proxy.id();
    let good = Good::start(sessions, stage.good, HABITS);
    warm_up(&stage, sessions).await?;
    let mut before = good.measured();
    let (memory, descriptors) = (stage.process.own()?, stage.process.descriptors()?);
    let peak = Peak::watch(&stage.process);
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for hostile in &stage.hostile {
        let began = Instant::now();
        let answers = harass(hostile.server, messages, time).await;
        let mut others = good.measured();
        if answers.keys().any(|answer| !answer.starts_with(hostile.expected)) || others.failed() > 0 {
            wrong.push(format!("{} with {}: {answers:?}; {}", hostile.guest, hostile.effect, others.in_words()));
        }
        rows.push((hostile, began.elapsed(), others));
    }
    let broken = breaker(&stage).await?;
    let last = good.finish().await;
    let peak = peak.most();
    let left = settle(&stage.proxy).await?;
    let failed = before.failed() + last.failed() + rows.iter().map(|(.., others)| others.failed()).sum::<u64>();
    let taken = before.taken() + last.taken() + rows.iter().map(|(.., others)| others.taken()).sum::<u64>();
    claims.check(
        format!("others' failures are 0 while each guest gets {messages} messages or more"),
        failed == 0 && taken > 0,
        format!("{taken} messages of others taken, {failed} failed; before: {}", before.in_words()),
    );
    claims.explain(rows.iter_mut().map(|(hostile, took, others)| {
        let Hostile { guest, effect, .. } = hostile;
        let (count, p99, max) = (others.taken(), others.message(99), others.message(100));
        format!("{guest:22} {effect:8} {took:7.1?}   others: {count:5} taken, p99 {p99:8.1?}, max {max:8.1?}")
    }));
    claims.check("each guest's messages get the configured effect", wrong.is_empty(), wrong.join("\n"));
    let silent = unseen(&stage, messages).await?;
    claims.check("each failure is counted and logged", silent.is_empty(), silent.join("\n"));
    claims.check(
        format!("after {BREAKER} failures of a replaced plugin its last good version takes over"),
        broken == BREAKER,
        format!("{broken} messages failed"),
    );
    let own = memory_within(memory + SLACK, &stage.process, &stage.proxy).await?;
    let open = stage.process.descriptors()?;
    claims.check(
        format!("memory is back within {SLACK} MiB of what it was"),
        own <= memory + SLACK,
        format!("{memory} MiB before, {peak} at most, {own} after"),
    );
    claims.check(
        "no sandbox, connection or descriptor is left, and the process is the same",
        left.is_empty() && open <= descriptors + KEPT_DESCRIPTORS && stage.proxy.id() == id,
        format!("{descriptors} descriptors with {sessions} sessions, {open} without"),
    );
    claims.explain(left.into_iter().chain([format!("{:.0} s in all", begin.elapsed().as_secs_f64())]));
    Ok(claims.outcomes())
}

/// Waits until all sessions are open.
async fn warm_up(stage: &Stage, sessions: u32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while stage.proxy.metrics().await?.sum("mailweir_connections", &["listener=\"good\""]) < f64::from(sessions) {
        anyhow::ensure!(Instant::now() < deadline, "{sessions} sessions do not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(HABITS.pause).await;
    Ok(())
}

/// Sends so many messages through a guest, and more until the time is over; how often they were answered how.
async fn harass(server: SocketAddr, messages: u32, time: Duration) -> BTreeMap<String, u64> {
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(async move {
            let (begin, mut answers) = (Instant::now(), Vec::new());
            while answers.len() < messages.div_ceil(SENDERS) as usize || begin.elapsed() < time {
                let source = IpAddr::V4(Ipv4Addr::new(127, 4, 0, 1 + u8::try_from(sender).unwrap_or_default()));
                answers.push(one(source, server).await);
            }
            answers
        });
    }
    let mut counts = BTreeMap::new();
    for answer in senders.join_all().await.into_iter().flatten() {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

/// One message over a connection of its own; the reply that it came to.
async fn one(source: IpAddr, server: SocketAddr) -> String {
    let content = b"From: a@sender.test\r\nSubject: x\r\n\r\nbody\r\n";
    let sent = async {
        let mut client = Client::greeted(source, server).await?;
        let reply = client.deliver("user@example.com", content).await?;
        client.quit().await;
        Ok::<_, Failure>(reply)
    };
    match sent.await {
        Ok(reply) | Err(Failure::Refused(reply) | Failure::TurnedAway(reply)) => reply,
        Err(failure) => failure.to_string(),
    }
}

/// Replaces a plugin that works by one that does not; how many messages fail before the old one is back.
async fn breaker(stage: &Stage) -> Result<u32> {
    let source = IpAddr::V4(Ipv4Addr::new(127, 4, 0, 9));
    let first = one(source, stage.replaced).await;
    anyhow::ensure!(first.starts_with("250"), "before it is replaced: {first}");
    std::fs::write(stage.components.path().join("replaced.wasm"), text::component("trap"))?;
    stage.proxy.signal("HUP").await?;
    stage.proxy.wait_for_log("\"reloaded\"", Duration::from_secs(60)).await.context("the reload")?;
    let limit = BREAKER * 10;
    let mut failed = 0;
    while failed < limit && !one(source, stage.replaced).await.starts_with("250") {
        failed += 1;
    }
    stage.proxy.wait_for_log("last good version", Duration::from_secs(5)).await.context("the log")?;
    Ok(failed)
}

/// Guests whose failures are missing in the metrics or the log.
async fn unseen(stage: &Stage, messages: u32) -> Result<Vec<String>> {
    let metrics = stage.proxy.metrics().await?;
    let log = stage.proxy.log();
    let mut unseen = Vec::new();
    let failing = stage.hostile.iter().filter(|hostile| FAILING.contains(&hostile.guest));
    for Hostile { guest, effect, .. } in failing {
        let name = format!("{guest}-{effect}");
        let label = format!("plugin=\"{name}\"");
        let counted = metrics.sum("mailweir_plugin_failures_total", &[&label]);
        let quoted = format!("\"{name}\"");
        let logged = log.lines().filter(|line| line.contains(&quoted) && line.contains("failed")).count();
        if counted < f64::from(messages) || logged < messages as usize {
            unseen.push(format!("{name}: {counted} counted, {logged} logged, of {messages}"));
        }
    }
    let dropped = metrics.sum("mailweir_plugin_log_lines_dropped_total", &[]);
    if dropped == 0.0 {
        unseen.push("log-flood: no line was dropped".to_owned());
    }
    Ok(unseen)
}

impl Stage {
    async fn set(setting: &Setting) -> Result<Self> {
        let sink = Sink::start(&setting.binary, ports::free()?, None).await?;
        let silent = UdpSocket::bind("127.0.0.1:0").await?;
        let components = tempfile::Builder::new().prefix("mailweir-guests-").tempdir()?;
        let (admin, good, replaced) = (ports::free()?, ports::free()?, ports::free()?);
        let port = ports::free()?.port();
        let plugins = setting.plugins.display();
        let mut config = format!(
            "[server]\nhostname = \"mx.example.com\"\nstate_dir = \"state\"\nplugin_dir = \"{plugins}\"\n\
             [dns]\nresolvers = [\"{}\"]\ntimeout = \"30s\"\n[admin]\nlisten = \"{admin}\"\n\
             [route.exchange]\nupstreams = [\"{}\"]\ntls = \"off\"\n\
             [plugin.hello.config]\ngreeting = \"hello\"\n[chain.good]\nplugins = [\"hello\"]\n",
            silent.local_addr()?,
            sink.address()
        );
        config += &listener("good", good, "good");
        write(components.path(), "replaced", &text::component("pass"))?;
        config += &chain("replaced", &components.path().join("replaced.wasm"), replaced, "on_error = \"tempfail\"");
        let mut hostile = Vec::new();
        for guest in FAILING.into_iter().chain(PASSING) {
            write(components.path(), guest, &text::component(guest))?;
            for (effect, expected) in EFFECTS {
                let number = u8::try_from(hostile.len()).context("more guests than addresses")?;
                let server = SocketAddr::from(([127, 5, 0, number + 1], port));
                let keys = format!("on_error = \"{effect}\"\ntimeout = \"2s\"\ngrants = [\"dns\", \"state\"]");
                let file = components.path().join(format!("{guest}.wasm"));
                config += &chain(&format!("{guest}-{effect}"), &file, server, &keys);
                let expected = if PASSING.contains(&guest) { "250" } else { expected };
                hostile.push(Hostile { guest, effect, expected, server });
            }
        }
        let proxy = Mailweir::start(&setting.binary, &config, admin).await?;
        let process = Process::new(proxy.id().context("mailweir has ended")?);
        Ok(Self { proxy, process, _sink: sink, good, replaced, hostile, components, _silent: silent })
    }
}

fn write(directory: &Path, name: &str, component: &[u8]) -> Result<()> {
    let file = directory.join(format!("{name}.wasm"));
    std::fs::write(&file, component).with_context(|| file.display().to_string())
}

/// A plugin, a chain of it alone, and a listener, all of one name.
fn chain(name: &str, file: &Path, address: SocketAddr, keys: &str) -> String {
    format!(
        "[plugin.{name}]\nsource = \"{}\"\n{keys}\n[chain.{name}]\nplugins = [\"{name}\"]\n{}",
        file.display(),
        listener(name, address, name)
    )
}

fn listener(name: &str, address: SocketAddr, chain: &str) -> String {
    format!(
        "[listener.{name}]\nlisten = [\"{address}\"]\nchain = \"{chain}\"\nroute = \"exchange\"\n\
         relay_domains = [\"example.com\"]\nlimits = {{ connections_per_ip = 1000 }}\n"
    )
}
