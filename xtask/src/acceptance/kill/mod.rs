//! The proxy and the mail server behind it are killed again and again at random moments, and started again as a
//! supervisor would. What a client was told was taken must be there, once, as it was sent.

mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use mailweir_testkit::sink::Sink;
use tempfile::TempDir;

use self::load::{Load, Log};
use super::claim::Claims;
use super::{Outcome, Setting, scaled};

const CLIENTS: u8 = 20;
/// Between two kills, once everything is up again.
const PAUSE: std::ops::Range<u64> = 50..700;
/// How long a supervisor takes, at most.
const SUPERVISOR: u64 = 100;
/// How long into a reload, or a start, the process is killed, at most.
const INTO: u64 = 250;

/// What is done to the processes at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Proxy,
    Upstream,
    Both,
    ProxyDuringReload,
    ProxyDuringStart,
    Drain,
}

/// Of ten kills.
const KILLS: [Blow; 10] = [
    Blow::Proxy,
    Blow::Upstream,
    Blow::Proxy,
    Blow::Upstream,
    Blow::Proxy,
    Blow::Both,
    Blow::Upstream,
    Blow::ProxyDuringReload,
    Blow::Proxy,
    Blow::ProxyDuringStart,
];

/// Everything that runs.
struct Stage {
    proxy: Mailweir,
    sink: Sink,
    server: SocketAddr,
    store: TempDir,
    config: String,
    reloads: u32,
}

/// What is where in the end.
struct Found {
    /// Copies, by id.
    delivered: BTreeMap<String, u64>,
    kept: BTreeMap<String, u64>,
    /// Files that hold no whole message.
    broken: Vec<String>,
    /// Messages of which the proxy said that their delivery was in doubt, and how often, by id.
    doubted: BTreeMap<String, u64>,
}

pub(super) async fn run(setting: &Setting) -> Result<Vec<Outcome>> {
    let kills = scaled(200, setting.scale, 5);
    let drains = scaled(50, setting.scale, 2);
    let mut outcomes = scenario(setting, "kill -9", &KILLS, kills).await?;
    outcomes.extend(scenario(setting, "SIGTERM", &[Blow::Drain], drains).await?);
    Ok(outcomes)
}

async fn scenario(setting: &Setting, name: &str, blows: &[Blow], count: u32) -> Result<Vec<Outcome>> {
    let seed = setting.seed;
    println!("kill: {count} × {name}, seed {seed} …");
    let begin = Instant::now();
    let mut rng = Rng::with_seed(seed);
    let mut stage = Stage::set(setting).await?;
    let load = Load::start(CLIENTS, seed, stage.server);
    let mut struck: BTreeMap<Blow, u32> = BTreeMap::new();
    for number in 0..count as usize {
        tokio::time::sleep(Duration::from_millis(rng.u64(PAUSE))).await;
        let blow = blows[number % blows.len()];
        stage.strike(blow, &mut rng).await.with_context(|| format!("{blow:?}, {number}"))?;
        *struck.entry(blow).or_default() += 1;
    }
    let log = load.finish().await;
    let found = stage.found()?;
    let mut claims = Claims::of("kill");
    judge(&mut claims, name, &log, &found);
    claims.explain([format!(
        "{struck:?}; seed {seed}: --seed {seed} does the same again; {:.0} s",
        begin.elapsed().as_secs_f64()
    )]);
    if blows == [Blow::Drain] {
        let in_doubt: u64 = log.values().map(|attempts| attempts.in_doubt).sum();
        let doubted: u64 = found.doubted.values().sum();
        claims.check("a drain leaves nobody in doubt", in_doubt + doubted == 0, format!("{in_doubt} in doubt"));
    }
    let left = stage.spilled()?;
    claims.check("no spill file is left behind", left.is_empty(), left.join("\n"));
    Ok(claims.outcomes())
}

fn judge(claims: &mut Claims, name: &str, log: &Log, found: &Found) {
    let sum = |count: fn(&load::Attempts) -> u64| log.values().map(count).sum::<u64>();
    let acknowledged = log.values().filter(|attempts| attempts.acknowledged).count();
    let kept = log.values().filter(|attempts| attempts.is_kept).count();
    let is_there =
        |id: &String, is_kept| if is_kept { found.kept.contains_key(id) } else { found.delivered.contains_key(id) };
    let missing: Vec<&String> = log
        .iter()
        .filter(|(id, attempts)| attempts.acknowledged && !is_there(id, attempts.is_kept))
        .map(|(id, _)| id)
        .collect();
    claims.check(
        format!("{name}: every message that was acknowledged is there"),
        missing.is_empty() && acknowledged > 0 && kept > 0,
        format!(
            "{acknowledged} acknowledged, {kept} of them into the quarantine; {} missing {missing:?}\nattempts that ended \
             otherwise: {} in doubt, {} lost before the end, {} answered 4xx",
            missing.len(),
            sum(|attempts| attempts.in_doubt),
            sum(|attempts| attempts.lost),
            sum(|attempts| attempts.deferred)
        ),
    );
    let refused: Vec<&String> = log.values().filter_map(|attempts| attempts.refused.as_ref()).collect();
    claims.check("none is altered, truncated or refused", found.broken.is_empty() && refused.is_empty(), {
        let all = found.broken.iter().chain(refused);
        all.map(String::as_str).collect::<Vec<_>>().join("\n")
    });
    let (mut doubles, mut unexplained) = (0, Vec::new());
    for (id, copies) in found.delivered.iter().chain(&found.kept) {
        let doubts = log.get(id).map_or(0, |attempts| attempts.in_doubt) + found.doubted.get(id).unwrap_or(&0);
        doubles += copies - 1;
        if copies - 1 > doubts {
            unexplained.push(format!("{id}: {copies} copies, {doubts} attempts in doubt"));
        }
    }
    claims.check(
        "doubles only where an answer was in doubt",
        unexplained.is_empty(),
        format!(
            "{doubles} doubles; {} attempts in doubt for the client, {} for the proxy",
            sum(|attempts| attempts.in_doubt),
            found.doubted.values().sum::<u64>()
        ),
    );
    claims.explain(unexplained);
}

impl Stage {
    async fn set(setting: &Setting) -> Result<Self> {
        // Addresses of their own: while nobody listens there, an outgoing connection could take a port of 127.0.0.1.
        let at = |last| Ok::<_, anyhow::Error>(SocketAddr::from(([127, 6, 0, last], ports::free()?.port())));
        let (server, upstream, admin) = (at(1)?, at(2)?, at(3)?);
        let store = tempfile::Builder::new().prefix("mailweir-store-").tempdir()?;
        let sink = Sink::start(&setting.binary, upstream, Some(store.path())).await?;
        let plugins = setting.plugins.display();
        let config = format!(
            r#"
[server]
hostname = "mx.example.com"
state_dir = "state"
plugin_dir = "{plugins}"
memory_budget = "2MiB"

[admin]
listen = "{admin}"

[listener.inbound]
listen = ["{server}"]
chain = "inbound"
route = "exchange"
relay_domains = ["example.com"]

[chain.inbound]
plugins = ["dlp"]

[plugin.dlp]
grants = ["scan"]
cpu = "5s"
[[plugin.dlp.config.rules]]
name = "kept"
keywords = ["{}"]
action = {{ quarantine = "generation 0" }}

[route.exchange]
upstreams = ["{upstream}"]
tls = "off"
"#,
            load::MARK
        );
        let proxy = Mailweir::start(&setting.binary, &config, admin).await?;
        Ok(Self { proxy, sink, server, store, config, reloads: 0 })
    }

    /// Kills or drains, waits as a supervisor does, starts again, and waits until everything is up.
    async fn strike(&mut self, blow: Blow, rng: &mut Rng) -> Result<()> {
        let supervisor = Duration::from_millis(rng.u64(..SUPERVISOR));
        let into = Duration::from_millis(rng.u64(..INTO));
        match blow {
            Blow::Upstream => self.sink.kill().await?,
            Blow::Proxy | Blow::ProxyDuringStart => self.proxy.kill().await?,
            Blow::Both => {
                self.proxy.kill().await?;
                self.sink.kill().await?;
            }
            Blow::ProxyDuringReload => {
                self.reloads += 1;
                let changed = self.config.replace("generation 0", &format!("generation {}", self.reloads));
                self.proxy.write_config(&changed)?;
                self.proxy.signal("HUP").await?;
                tokio::time::sleep(into).await;
                self.proxy.kill().await?;
            }
            Blow::Drain => {
                let status = self.proxy.terminate(Duration::from_secs(60)).await?;
                anyhow::ensure!(status.success(), "{status} after SIGTERM");
            }
        }
        tokio::time::sleep(supervisor).await;
        if matches!(blow, Blow::Upstream | Blow::Both) {
            self.sink.start_again().await?;
        }
        if blow == Blow::ProxyDuringStart {
            self.proxy.start_again()?;
            tokio::time::sleep(into).await;
            self.proxy.kill().await?;
        }
        if blow != Blow::Upstream {
            self.proxy.start_again()?;
            self.proxy.wait_until_ready().await?;
        }
        Ok(())
    }

    fn found(&self) -> Result<Found> {
        let mut found =
            Found { delivered: BTreeMap::new(), kept: BTreeMap::new(), broken: Vec::new(), doubted: BTreeMap::new() };
        // What has no record beside it was not finished, and nobody was told of it.
        for (record, message) in pairs(self.store.path())? {
            let id = read(&record, &message, &mut found.broken);
            *found.delivered.entry(id).or_default() += 1;
        }
        for (record, message) in pairs(&self.proxy.directory().join("state/quarantine"))? {
            let id = read(&record, &message, &mut found.broken);
            *found.kept.entry(id).or_default() += 1;
        }
        for line in self.proxy.log().lines().filter(|line| line.contains("is in doubt")) {
            // The message's line, which names its recipient.
            let id = line.split("\"m").skip(1).find_map(|rest| rest.split_once("@example.com\"").map(|(id, _)| id));
            if let Some(id) = id {
                *found.doubted.entry(id.to_owned()).or_default() += 1;
            }
        }
        Ok(found)
    }

    /// Files in the spool, once nothing is under way.
    fn spilled(&self) -> Result<Vec<String>> {
        let spool = self.proxy.directory().join("state/spool");
        std::fs::read_dir(spool)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// Records (.json) and their messages (.eml).
fn pairs(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let names = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let paths = names.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let records = paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    Ok(records.map(|record| (record.clone(), record.with_extension("eml"))).collect())
}

/// The id of a message; what is wrong with it goes to `broken`.
fn read(record: &Path, message: &Path, broken: &mut Vec<String>) -> String {
    let content = std::fs::read(message).unwrap_or_default();
    let envelope = std::fs::read_to_string(record).unwrap_or_default();
    match load::id_of(&content) {
        Some(id) if envelope.contains(&format!("\"m{id}@example.com\"")) => id,
        other => {
            broken.push(format!("{}: {} bytes, id {other:?}", message.display(), content.len()));
            other.unwrap_or_default()
        }
    }
}
