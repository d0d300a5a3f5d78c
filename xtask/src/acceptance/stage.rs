//! What load runs on: a DNS zone, clamd, smtp-sink as the mail server behind, and the proxy between.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mailweir_testkit::clamd::{self, Clamd};
use mailweir_testkit::dns::{Zone, ZoneServer};
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use mailweir_testkit::programs::{self, Program};
use serde_json::json;

use super::Setting;

/// The largest message that the stage takes: 30 MB of payload and room for the header section.
const MESSAGE_SIZE: u64 = 32 * 1024 * 1024;
/// Message bytes that the proxy may hold in memory, in MiB: less than 20 messages of 30 MB, so that the disk has its share.
pub(super) const MEMORY_BUDGET: u64 = 256;
/// How many streams clamd scans at once.
pub(super) const CLAMD_THREADS: u32 = 4;

/// Everything that runs; it all ends when this is dropped.
pub(super) struct Stage {
    pub(super) inbound: SocketAddr,
    pub(super) proxy: Mailweir,
    sink: Program,
    _zone: ZoneServer,
    _clamd: Option<Clamd>,
}

/// What the proxy's configuration is made of.
pub(super) struct Addresses<'a> {
    pub(super) inbound: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) dns: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) clamd: Option<&'a Path>,
    pub(super) plugins: &'a Path,
}

impl Stage {
    /// Starts everything, with a chain of these filters. None when a program that it needs is not installed, with its name.
    pub(super) async fn set(setting: &Setting, filters: &[&str]) -> Result<Result<Self, &'static str>> {
        let clamd = match filters.contains(&"antivirus") {
            false => None,
            true => match start_clamd().await {
                Some(clamd) => Some(clamd),
                None => return Ok(Err("clamd")),
            },
        };
        let upstream = ports::free()?;
        let Some(sink) = programs::smtp_sink(&["-c"], upstream, 1024) else {
            return Ok(Err("smtp-sink (Postfix)"));
        };
        ports::wait_until_open(upstream, Duration::from_secs(10)).await?;
        let zone = ZoneServer::start(zone()?, "127.0.0.1:0".parse()?).await?;
        let (inbound, admin) = (ports::free()?, ports::free()?);
        let addresses = Addresses {
            inbound,
            admin,
            dns: zone.addr(),
            upstream,
            clamd: clamd.as_ref().map(Clamd::socket),
            plugins: &setting.plugins,
        };
        let proxy = Mailweir::start(&setting.binary, &config(&addresses, filters, MEMORY_BUDGET), admin).await?;
        Ok(Ok(Self { inbound, proxy, sink, _zone: zone, _clamd: clamd }))
    }

    /// Messages that smtp-sink has taken.
    pub(super) fn delivered(&self) -> u64 {
        // It writes "sess=3 quit=2 mesg=2\r" again and again.
        let text = self.sink.text();
        let last = text.rsplit("mesg=").next().filter(|_| text.contains("mesg="));
        let digits: String = last.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }
}

/// clamd for messages as large as the stage takes.
pub(super) async fn start_clamd() -> Option<Clamd> {
    Clamd::start_with(clamd::Options { stream_limit: MESSAGE_SIZE, threads: CLAMD_THREADS }).await
}

/// A zone in which the sender that `smtp-source` is given passes SPF and DMARC.
pub(super) fn zone() -> Result<Zone> {
    zone_of("127.0.0.1")
}

/// As `zone`, for senders in a network.
pub(super) fn zone_of(network: &str) -> Result<Zone> {
    let spf = format!("v=spf1 ip4:{network} -all");
    Zone::from_json(&json!({
        "sender.test": { "TXT": [[&spf]] },
        "mx.sender.test": { "A": ["127.0.0.1"], "TXT": [[&spf]] },
        "1.0.0.127.in-addr.arpa": { "PTR": ["mx.sender.test"] },
        "_dmarc.sender.test": { "TXT": [["v=DMARC1; p=reject"]] },
    }))
    .context("the zone")
}

/// A configuration with one chain of these filters, of "auth", "surbl", "antivirus" and "dlp", and so many MiB for
/// message bytes.
pub(super) fn config(addresses: &Addresses<'_>, filters: &[&str], memory_budget: u64) -> String {
    let limits = format!(
        "connections_per_ip = 1000
message_size = \"{MESSAGE_SIZE}B\"
"
    );
    config_with(addresses, filters, memory_budget, &limits)
}

/// As `config`, with other limits of the listener.
pub(super) fn config_with(addresses: &Addresses<'_>, filters: &[&str], memory_budget: u64, limits: &str) -> String {
    let Addresses { inbound, admin, dns, upstream, clamd, plugins } = addresses;
    let plugins = plugins.display();
    let mut config = format!(
        r#"
[server]
hostname = "mx.example.com"
state_dir = "state"
plugin_dir = "{plugins}"
memory_budget = "{memory_budget}MiB"

[dns]
resolvers = ["{dns}"]

[admin]
listen = "{admin}"

[listener.inbound]
listen = ["{inbound}"]
chain = "inbound"
route = "exchange"
relay_domains = ["example.com"]
[listener.inbound.limits]
{limits}
[chain.inbound]
plugins = {filters:?}

[route.exchange]
upstreams = ["{upstream}"]
tls = "off"

[plugin.auth]
source = "auth.wasm"
grants = ["dns", "authentication"]
[plugin.auth.config]
dmarc = "enforce"
spf_fail = "tag"

[plugin.surbl]
source = "surbl.wasm"
grants = ["dns"]
[plugin.surbl.config]
zones = [{{ zone = "multi.surbl.test", reject_bits = [2, 4, 8, 16, 64, 128] }}]

[plugin.dlp]
source = "dlp.wasm"
grants = ["scan"]
[[plugin.dlp.config.rules]]
name = "payment cards"
detect = ["credit-card"]
minimum = 2
action = {{ reject = "5.7.1 payment card data may not leave unencrypted" }}
"#
    );
    if let Some(socket) = clamd {
        // Writing to a String cannot fail.
        let _ = write!(
            config,
            "\n[plugin.antivirus]\nsource = \"antivirus.wasm\"\ngrants = [\"antivirus\"]\n\
             \n[antivirus]\nclamd = \"unix:{}\"\nmax_scan = \"{MESSAGE_SIZE}B\"\ntimeout = \"60s\"\n",
            socket.display()
        );
    }
    config
}
