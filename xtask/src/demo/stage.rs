//! What the demo plays on: a DNS zone, clamd, two sinks that stand for mail servers, and the proxy between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mailweir_testkit::clamd::Clamd;
use mailweir_testkit::dkim::Signer;
use mailweir_testkit::dns::{Zone, ZoneServer};
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Everything that runs for the demo; it all ends when this is dropped.
pub(super) struct Stage {
    pub(super) inbound: SocketAddr,
    pub(super) outbound: SocketAddr,
    pub(super) faulty: SocketAddr,
    pub(super) key: Signer,
    sinks: [Sink; 2],
    clamd: Option<Clamd>,
    proxy: Mailweir,
    _zone: ZoneServer,
}

/// A `mailweir sink` process with what it stored.
struct Sink {
    address: SocketAddr,
    store: TempDir,
    _process: Child,
}

impl Stage {
    /// Starts everything.
    pub(super) async fn set(binary: &Path) -> Result<Self> {
        let key = Signer::generate("sender.test", "demo")?;
        let zone = ZoneServer::start(zone(&key)?, "127.0.0.1:0".parse()?).await?;
        let clamd = Clamd::start().await;
        if clamd.is_none() {
            println!("clamd is not installed: the antivirus filter is left out (apt-get install clamav-daemon).");
        }
        let sinks = [Sink::start(binary).await?, Sink::start(binary).await?];
        let [inbound, outbound, faulty, admin] = [ports::free()?, ports::free()?, ports::free()?, ports::free()?];
        let config = config(&Addresses {
            inbound,
            outbound,
            faulty,
            admin,
            dns: zone.addr(),
            exchange: sinks[0].address,
            encryption: sinks[1].address,
            clamd: clamd.as_ref().map(|clamd| clamd.socket().to_owned()),
            plugins: crate::workspace_root().join("target/plugins"),
        });
        let proxy = Mailweir::start(binary, &config, admin).await?;
        Ok(Self { inbound, outbound, faulty, key, sinks, clamd, proxy, _zone: zone })
    }

    pub(super) fn has_clamd(&self) -> bool {
        self.clamd.is_some()
    }

    /// The messages that each sink has stored.
    pub(super) fn delivered(&self) -> Result<[Vec<String>; 2]> {
        Ok([self.sinks[0].messages()?, self.sinks[1].messages()?])
    }

    pub(super) fn log(&self) -> String {
        self.proxy.log()
    }
}

impl Sink {
    async fn start(binary: &Path) -> Result<Self> {
        let address = ports::free()?;
        let store = tempfile::tempdir()?;
        let process = Command::new(binary)
            .args(["sink", "--listen", &address.to_string(), "--store"])
            .arg(store.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start the sink")?;
        ports::wait_until_open(address, Duration::from_secs(10)).await?;
        Ok(Self { address, store, _process: process })
    }

    fn messages(&self) -> Result<Vec<String>> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.store.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
        files.sort();
        files.iter().map(|file| Ok(String::from_utf8_lossy(&std::fs::read(file)?).into_owned())).collect()
    }
}

/// The binary, built in the profile of the tests.
pub(crate) fn build_mailweir() -> Result<PathBuf> {
    println!("building mailweir (the first time takes some minutes) …");
    // With a test of the whole workspace beside it, dependencies get the features that `cargo xtask test` gives them, and
    // are not compiled twice.
    let status = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--bin", "mailweir", "--test", "dialogs"])
        .current_dir(crate::workspace_root())
        .status()?;
    ensure!(status.success(), "mailweir does not build");
    Mailweir::binary().context("the mailweir binary is not where cargo puts it")
}

fn zone(key: &Signer) -> Result<Zone> {
    let (record_name, record) = key.record();
    Zone::from_json(&json!({
        "sender.test": { "TXT": [["v=spf1 ip4:127.0.0.1 -all"]] },
        "mx.sender.test": { "A": ["127.0.0.1"] },
        record_name: { "TXT": [[record]] },
        "_dmarc.sender.test": { "TXT": [["v=DMARC1; p=reject"]] },
        "bank.test": { "TXT": [["v=spf1 -all"]] },
        "_dmarc.bank.test": { "TXT": [["v=DMARC1; p=reject"]] },
        "surbl-org-permanent-test-point.com.multi.surbl.test": { "A": ["127.0.0.254"] },
    }))
    .context("the demo's zone")
}

struct Addresses {
    inbound: SocketAddr,
    outbound: SocketAddr,
    faulty: SocketAddr,
    admin: SocketAddr,
    dns: SocketAddr,
    exchange: SocketAddr,
    encryption: SocketAddr,
    clamd: Option<PathBuf>,
    plugins: PathBuf,
}

/// The example configuration with the demo's addresses, and one more listener whose filter fails.
fn config(addresses: &Addresses) -> String {
    let Addresses { inbound, outbound, faulty, admin, dns, exchange, encryption, clamd, plugins } = addresses;
    let plugins = plugins.display();
    let (antivirus, last) = match clamd {
        Some(socket) => (
            format!(
                "[plugin.antivirus]\nsource = \"antivirus.wasm\"\ngrants = [\"antivirus\"]\n\
                 [antivirus]\nclamd = \"unix:{}\"\n",
                socket.display()
            ),
            ", \"antivirus\"",
        ),
        None => (String::new(), ""),
    };
    format!(
        r#"
[server]
hostname = "mx.example.com"
state_dir = "state"
plugin_dir = "{plugins}"

[dns]
resolvers = ["{dns}"]

[admin]
listen = "{admin}"

[listener.inbound]
listen = ["{inbound}"]
chain = "inbound"
route = "exchange"
relay_domains = ["example.com"]

[listener.outbound]
listen = ["{outbound}"]
chain = "outbound"
route = "exchange"
trusted_networks = ["127.0.0.0/8"]
relay_domains = ["*"]

[listener.faulty]
listen = ["{faulty}"]
chain = "faulty"
route = "exchange"
relay_domains = ["example.com"]

[chain.inbound]
plugins = ["auth", "surbl"{last}]

[chain.outbound]
plugins = ["dlp"{last}]

[chain.faulty]
plugins = ["faulty"]

[plugin.auth]
source = "auth.wasm"
grants = ["dns", "authentication"]
[plugin.auth.config]
dmarc = "enforce"

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
[[plugin.dlp.config.rules]]
name = "confidential goes through the encryption gateway"
keywords = ["confidential", "vertraulich", "confidentiel"]
action = {{ route = "encryption" }}

[plugin.faulty]
source = "faulty.wasm"

{antivirus}
[route.exchange]
upstreams = ["{exchange}"]
tls = "off"

[route.encryption]
upstreams = ["{encryption}"]
tls = "off"
"#
    )
}
