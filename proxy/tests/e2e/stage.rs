//! A running proxy with its configuration, filters and listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mailweir::sink::{Keep, Options, Sink};
use mailweir_testkit::mailweir::{Mailweir, Samples};
use mailweir_testkit::ports;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// Longer than anything takes on a loaded machine; nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What to start.
///
/// In the configuration `"@NAME"` stands for an address given with [`Setup::address`], and `listen = ["@NAME"]` for a
/// free one where none was given.
pub(crate) struct Setup {
    directory: TempDir,
    config: String,
    server: String,
    addresses: BTreeMap<String, SocketAddr>,
}

/// A running proxy.
pub(crate) struct Stage {
    pub(crate) proxy: Mailweir,
    listeners: BTreeMap<String, SocketAddr>,
    addresses: BTreeMap<String, SocketAddr>,
    admin: SocketAddr,
    head: String,
}

impl Setup {
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("mailweir-e2e-").tempdir().unwrap();
        std::fs::create_dir(directory.path().join("plugins")).unwrap();
        Self { directory, config: config.to_owned(), server: String::new(), addresses: BTreeMap::new() }
    }

    /// More keys for `[server]`, a line each.
    pub(crate) fn server(mut self, keys: &str) -> Self {
        self.server = keys.to_owned();
        self
    }

    pub(crate) fn address(mut self, name: &str, address: SocketAddr) -> Self {
        self.addresses.insert(name.to_owned(), address);
        self
    }

    /// A filter's component as `NAME.wasm` where plugins are looked up.
    pub(crate) fn filter(self, name: &str, component: &[u8]) -> Self {
        std::fs::write(self.directory.path().join("plugins").join(format!("{name}.wasm")), component).unwrap();
        self
    }

    /// One of the filters in `plugins/`.
    pub(crate) fn plugin(self, name: &str) -> Self {
        let component = plugin(name);
        self.filter(name, &component)
    }

    /// The directory of the configuration.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) async fn start(self) -> Stage {
        let admin = ports::free().unwrap();
        let head = format!(
            "[server]\nhostname = \"mx.example.com\"\nplugin_dir = \"plugins\"\n{}\n[admin]\nlisten = \"{admin}\"\n",
            self.server
        );
        let config = head.clone() + &filled(&self.config, &self.addresses);
        let binary = Path::new(env!("CARGO_BIN_EXE_mailweir"));
        let proxy = Mailweir::start_in(self.directory, binary, &config, admin).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("{error:#}"));
        let listeners = listeners(&proxy.log());
        Stage { proxy, listeners, addresses: self.addresses, admin, head }
    }
}

impl Stage {
    /// Where a listener listens.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        *self.listeners.get(name).unwrap_or_else(|| panic!("no listener {name}\n{}", self.proxy.log()))
    }

    /// Where the pages for the operator are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A client that was greeted and has said EHLO.
    pub(crate) async fn client(&self, listener: &str) -> Client {
        Client::greeted(self.listener(listener)).await
    }

    /// Replaces everything but `[server]` and `[admin]` in the configuration file, and has it loaded.
    pub(crate) async fn reload(&self, config: &str) {
        self.rewrite(config);
        self.proxy.signal("HUP").await.unwrap();
    }

    /// Replaces everything but `[server]` and `[admin]` in the configuration file.
    pub(crate) fn rewrite(&self, config: &str) {
        self.proxy.write_config(&(self.head.clone() + &filled(config, &self.addresses))).unwrap();
    }

    pub(crate) async fn metrics(&self) -> Samples {
        self.proxy.metrics().await.unwrap()
    }

    /// Waits until a sum of samples is at least this.
    pub(crate) async fn wait_for_metric(&self, name: &str, labels: &[&str], least: f64) {
        let wait = async {
            while self.metrics().await.sum(name, labels) < least {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{name}{labels:?} is not {least}\n{}", self.proxy.log());
        }
    }

    /// Waits until a route's upstreams have said what they can do.
    pub(crate) async fn wait_for_route(&self, route: &str) {
        let route = format!("route=\"{route}\"");
        self.wait_for_metric("mailweir_upstream_seconds_count", &[&route, "step=\"connect\""], 1.0).await;
    }

    /// The log lines that say what became of a message, in order.
    pub(crate) fn message_lines(&self) -> Vec<Value> {
        lines(&self.proxy.log()).into_iter().filter(|line| line["message"] == "message").collect()
    }

    /// Waits until so many messages have their log lines.
    pub(crate) async fn wait_for_message_lines(&self, count: usize) -> Vec<Value> {
        let wait = async {
            loop {
                let lines = self.message_lines();
                if lines.len() >= count {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(lines) => lines,
            Err(_) => panic!("not {count} messages\n{}", self.proxy.log()),
        }
    }

    /// Runs another `mailweir` command with this configuration; its output when it exits with 0.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        command(&self.proxy.directory().join("mailweir.toml"), arguments).await
    }
}

/// Runs `mailweir ARGUMENTS --config FILE`: standard output when it exits with 0, standard error otherwise.
pub(crate) async fn command(config: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_mailweir"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The component of one of the filters in `plugins/`.
pub(crate) fn plugin(name: &str) -> Vec<u8> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let file = target.join("plugins").join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| {
        panic!("{}: {error}. The filters have to be built first: run `cargo xtask plugins`", file.display())
    })
}

/// A sink that keeps what it gets.
pub(crate) async fn sink() -> Sink {
    sink_with(Options::default()).await
}

/// As `sink`, with these options.
pub(crate) async fn sink_with(options: Options) -> Sink {
    Sink::start(Options { keep: Keep::Messages, ..options }).await.unwrap()
}

/// The lines of a JSON log.
fn lines(log: &str) -> Vec<Value> {
    // The last line may be half written.
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Where each listener listens, as the log says.
fn listeners(log: &str) -> BTreeMap<String, SocketAddr> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines(log)
        .iter()
        .filter(|line| line["message"] == "listening")
        .map(|line| (text(&line["listener"]), text(&line["address"]).parse().unwrap()))
        .collect()
}

/// The configuration with addresses in place of `@NAME`.
fn filled(config: &str, addresses: &BTreeMap<String, SocketAddr>) -> String {
    let mut filled = String::new();
    let mut rest = config;
    let mut unknown = Vec::new();
    while let Some((before, after)) = rest.split_once("\"@") {
        let (name, after) = after.split_once('"').unwrap();
        let address = addresses.get(name).copied().unwrap_or_else(|| {
            // No two listeners may share an address, port 0 included, so each gets a loopback address of its own.
            let number = unknown.iter().position(|known| *known == name).unwrap_or(unknown.len());
            if number == unknown.len() {
                unknown.push(name);
            }
            SocketAddr::from(([127, 0, 0, u8::try_from(number + 1).unwrap()], 0))
        });
        filled.push_str(&format!("{before}\"{address}\""));
        rest = after;
    }
    filled + rest
}
