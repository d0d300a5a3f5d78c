//! Good clients send steady mail while others hold connections and do as little as they can with them, and others again
//! send hostile messages: first to a listener with room for all of them, then to one that they fill.

mod hostile;
mod tricklers;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mailweir_testkit::certificates::Authority;
use mailweir_testkit::dns::ZoneServer;
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use mailweir_testkit::sink::Sink;

use self::hostile::Hostile;
use self::tricklers::Tricklers;
use super::claim::Claims;
use super::good::{Good, Habits, Measured};
use super::process::Process;
use super::stage::{self, Addresses, MEMORY_BUDGET};
use super::traffic::{KEPT_DESCRIPTORS, Peak, SLACK, complaints, memory_within, settle};
use super::{Outcome, Setting, scaled};

const FILTERS: [&str; 3] = ["auth", "surbl", "dlp"];
/// A new connection every few messages: who has one already is not kept out by a listener that is full.
const HABITS: Habits = Habits { messages: 5, pause: Duration::from_secs(1) };
/// Ways in which hostile and trickling connections may end, at most, that are shown.
const SHOWN: usize = 60;

/// Where clients connect.
#[derive(Debug, Clone, Copy)]
struct Listeners {
    /// For everybody.
    inbound: SocketAddr,
    /// Behind a load balancer that speaks the PROXY protocol.
    balanced: SocketAddr,
    /// TLS from the first byte.
    implicit: SocketAddr,
}

impl Default for Listeners {
    fn default() -> Self {
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { inbound: none, balanced: none, implicit: none }
    }
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Size {
    tricklers: u32,
    hostile: u32,
    good: u32,
    calm: Duration,
    storm: Duration,
}

/// What a listener is configured with.
#[derive(Debug, Clone, Copy)]
struct Room {
    name: &'static str,
    connections: u32,
    /// The longest wait while there is room, and while there is none.
    timeout: Duration,
    stress: Duration,
}

/// Everything that runs.
struct Stage {
    proxy: Mailweir,
    process: Process,
    sink: Sink,
    listeners: Listeners,
    _authority: Authority,
    _zone: ZoneServer,
}

pub(super) async fn run(setting: &Setting) -> Result<Vec<Outcome>> {
    let seconds = |full, least| Duration::from_secs(scaled(full, setting.scale, least).into());
    let size = Size {
        tricklers: scaled(10_000, setting.scale, 100),
        hostile: scaled(500, setting.scale, 20),
        good: scaled(200, setting.scale, 5),
        calm: seconds(20, 2),
        storm: seconds(90, 6),
    };
    let rooms = [
        Room {
            name: "a listener with room",
            connections: size.tricklers * 3 / 2,
            timeout: size.storm / 3,
            stress: Duration::from_secs(10),
        },
        Room {
            name: "a listener that they fill",
            connections: size.tricklers,
            timeout: Duration::from_secs(300),
            stress: seconds(10, 2),
        },
    ];
    let mut outcomes = Vec::new();
    for room in rooms {
        outcomes.extend(storm(setting, size, room).await?);
    }
    Ok(outcomes)
}

async fn storm(setting: &Setting, size: Size, room: Room) -> Result<Vec<Outcome>> {
    let Size { tricklers, hostile, good, .. } = size;
    let begin = Instant::now();
    let mut claims = Claims::of("storm");
    let stage = Stage::set(setting, room).await?;
    let process = &stage.process;
    println!("storm: {}, {} s of calm …", room.name, size.calm.as_secs());
    let clients = Good::start(good, stage.listeners.inbound, HABITS);
    tokio::time::sleep(size.calm).await;
    let mut calm = clients.measured();
    let before = (process.own()?, process.descriptors()?, process.cpu_seconds()?);
    let peak = Peak::watch(process);
    println!("storm: {tricklers} tricklers, {hostile} hostile connections a second, {} s …", size.storm.as_secs());
    let storming = Instant::now();
    let trickling = Tricklers::open(tricklers, stage.listeners).await;
    let attacking = Hostile::start(hostile, stage.listeners.inbound);
    let opened = storming.elapsed();
    tokio::time::sleep(size.storm).await;
    let held = trickling.count();
    let metrics = stage.proxy.metrics().await?;
    let mut stormy = clients.measured();
    let attacked = attacking.stop().await;
    let trickled = trickling.hang_up();
    let rest = clients.finish().await;
    let peak = peak.most();
    let cpu = process.cpu_seconds()? - before.2;
    let left = settle(&stage.proxy).await?;
    let after = (memory_within(before.0 + SLACK, process, &stage.proxy).await?, process.descriptors()?);

    let is_full = room.connections <= tricklers;
    claims.check(
        format!("{}: {good} good clients are served while {tricklers} trickle and {hostile}/s attack", room.name),
        calm.failed() + stormy.failed() + rest.failed() == 0
            && stormy.taken() > 0
            && (is_full || stormy.turned_away == 0),
        format!("before: {}\nduring: {}", calm.in_words(), stormy.in_words()),
    );
    claims.explain(failures([&calm, &stormy, &rest]));
    if calm.failed() + stormy.failed() + rest.failed() > 0 {
        claims.explain(complaints(&stage.proxy.log()));
    }
    claims.explain([format!(
        "{held} tricklers had a connection at the end; all opened in {:.1} s; {:.0} s of the proxy's CPU; {:.0} s in all",
        opened.as_secs_f64(),
        cpu,
        begin.elapsed().as_secs_f64()
    )]);
    if is_full {
        let shed = metrics.sum("mailweir_connections_timed_out_total", &["stressed=\"true\""]);
        claims.check("who holds a place and does nothing with it makes room", shed > 0.0, format!("{shed} were shed"));
    } else {
        let count = u64::from(tricklers);
        claims.check("the tricklers are there", held as u64 * 100 >= count * 80, format!("{held} of {count}"));
    }
    claims.check("tricklers are ended by the proxy, whatever they trickle", !trickled.is_empty(), table(&trickled));
    let taken: u64 = attacked.iter().filter(|((_, end), _)| end.starts_with("TAKEN")).map(|(_, count)| count).sum();
    let ended: u64 = attacked.values().sum();
    claims.check(
        "no hostile message gets through",
        taken == 0 && ended > 0,
        format!("{ended} attacks\n{}", table(&attacked)),
    );
    let sent = calm.taken() + stormy.taken() + rest.taken();
    let arrived = stage.sink.stop().await?;
    claims.check("what arrived is what the good clients sent", arrived == sent, format!("{arrived} of {sent}"));
    claims.check(
        format!("memory stays within {MEMORY_BUDGET} MiB of messages and {SLACK} more, and comes back"),
        peak <= before.0 + MEMORY_BUDGET + SLACK && after.0 <= before.0 + SLACK,
        format!("{} MiB before, {peak} at most, {} after", before.0, after.0),
    );
    claims.check(
        "nothing is held afterwards",
        left.is_empty() && after.1 <= before.1 + KEPT_DESCRIPTORS,
        format!("{} descriptors before, {} after", before.1, after.1),
    );
    claims.explain(left);
    Ok(claims.outcomes())
}

fn failures(measured: [&Measured; 3]) -> Vec<String> {
    let all = measured.into_iter().flat_map(|measured| &measured.failures);
    all.take(SHOWN).map(|(why, count)| format!("{count} × {why}")).collect()
}

/// What ended how, and how often; a line for each of the first.
fn table<K: std::fmt::Debug>(ended: &BTreeMap<(K, impl Display), u64>) -> String {
    let mut rows: Vec<String> = Vec::new();
    for ((what, how), count) in ended.iter().take(SHOWN) {
        rows.push(format!("{:18} {how:28} {count}", format!("{what:?}").trim_matches('"')));
    }
    rows.join("\n")
}

impl Stage {
    async fn set(setting: &Setting, room: Room) -> Result<Self> {
        let sink = Sink::start(&setting.binary, ports::free()?, None).await?;
        let zone = ZoneServer::start(stage::zone_of("127.0.0.0/8")?, "127.0.0.1:0".parse()?).await?;
        let mut authority = Authority::new()?;
        let certificate = authority.issue(&["mx.example.com"])?;
        let admin = ports::free()?;
        let listeners = Listeners { inbound: ports::free()?, balanced: ports::free()?, implicit: ports::free()? };
        let addresses = Addresses {
            inbound: listeners.inbound,
            admin,
            dns: zone.addr(),
            upstream: sink.address(),
            clamd: None,
            plugins: &setting.plugins,
        };
        let Room { connections, timeout, stress, .. } = room;
        let limits = format!(
            "connections = {connections}\nconnections_per_ip = 100\nmessage_size = \"{}B\"\n\
             command_timeout = \"{}s\"\ndata_timeout = \"{}s\"\nstress_timeout = \"{}s\"\n",
            hostile::OVERSIZE / 2,
            timeout.as_secs().max(1),
            timeout.as_secs().max(1),
            stress.as_secs()
        );
        let tls =
            format!("certificate = \"{}\", key = \"{}\"", certificate.certificate.display(), certificate.key.display());
        let mut config = stage::config_with(&addresses, &FILTERS, stage::MEMORY_BUDGET, &limits).replace(
            "[listener.inbound]\n",
            &format!("[listener.inbound]\ntls = {{ mode = \"opportunistic\", {tls} }}\n"),
        );
        for (name, address, key) in [
            ("balanced", listeners.balanced, "proxy_protocol = [\"127.0.0.0/8\"]".to_owned()),
            ("implicit", listeners.implicit, format!("tls = {{ mode = \"implicit\", {tls} }}")),
        ] {
            config += &format!(
                "\n[listener.{name}]\nlisten = [\"{address}\"]\nchain = \"inbound\"\nroute = \"exchange\"\n\
                 relay_domains = [\"example.com\"]\n{key}\n[listener.{name}.limits]\n{limits}"
            );
        }
        let proxy = Mailweir::start(&setting.binary, &config, admin).await?;
        let process = Process::new(proxy.id().context("mailweir has ended")?);
        Ok(Self { proxy, process, sink, listeners, _authority: authority, _zone: zone })
    }
}
