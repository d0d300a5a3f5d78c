//! A host with a filter to call, and what a transaction hands it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailweir::chain::{Chain, Envelope};
use mailweir::config::{self, Effect, OnError};
use mailweir::host::{Host, MailView, Plugin, Services, TransactionFacts};
use mailweir::services::authentication::{Authentication, Evaluation};
use mailweir::services::dns::Dns;
use mailweir::services::state::StateStore;
use tempfile::TempDir;

use crate::sample;

/// A host, and the `hello` filter loaded into it under several names.
pub struct Stage {
    plugins: Vec<Plugin>,
    facts: Arc<TransactionFacts>,
    authentication: Authentication,
    /// The host's cache of compiled filters.
    _state: TempDir,
}

impl Stage {
    /// A host with so many `hello` filters; `None` when the filter has not been built, which is said on standard error.
    ///
    /// # Panics
    ///
    /// When the host cannot be set up, or the filter not be loaded.
    pub async fn set_up(filters: usize) -> Option<Self> {
        let component = component()?;
        let state = tempfile::tempdir().expect("a temporary folder");
        // Nothing is looked up: no server is asked.
        let dns = Dns::new(&config::Dns {
            resolvers: vec![([127, 0, 0, 1], 1).into()],
            dnssec: config::Dnssec::Off,
            timeout: Duration::from_secs(1),
            cache_size: 100,
        })
        .expect("a resolver");
        let services = Services { dns: Some(dns.clone()), clamd: None, state: StateStore::default() };
        let host = Host::new(&server(state.path()), services).expect("a host");
        let mut plugins = Vec::new();
        for number in 0..filters {
            let loaded = host.load(&format!("hello-{number}"), &hello(&component)).await;
            plugins.push(loaded.expect("target/plugins/hello.wasm is of this checkout; run `cargo xtask plugins`"));
        }
        Some(Self {
            plugins,
            facts: facts(),
            authentication: Authentication::new(dns, "mx.example.com"),
            _state: state,
        })
    }

    /// The first filter.
    pub fn plugin(&self) -> &Plugin {
        &self.plugins[0]
    }

    /// A chain of the first `length` filters.
    pub fn chain(&self, length: usize) -> Arc<Chain> {
        Chain::new("bench", self.plugins.iter().take(length).cloned(), None)
    }

    /// The session that transactions belong to.
    pub fn facts(&self) -> &Arc<TransactionFacts> {
        &self.facts
    }

    /// A transaction's sender authentication, nothing checked yet.
    pub fn evaluation(&self) -> Arc<Evaluation> {
        self.authentication.evaluation(self.facts.client.ip())
    }

    /// What filters see of this message.
    pub fn view(&self, message: &Bytes) -> Arc<MailView> {
        let Envelope { sender, recipients } = envelope();
        Arc::new(MailView {
            message: sample::message(message),
            sender,
            recipients,
            tags: Vec::new(),
            facts: Arc::clone(&self.facts),
            evaluation: self.evaluation(),
            scan: None,
        })
    }
}

/// The envelope of sample transactions.
pub fn envelope() -> Envelope {
    Envelope { sender: "alice@sender.example".to_owned(), recipients: vec!["bob@receiver.example".to_owned()] }
}

/// Where `cargo xtask plugins` puts the filter, or where the environment says.
fn component() -> Option<PathBuf> {
    let folder = std::env::var_os("MAILWEIR_BENCH_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins"), PathBuf::from);
    let path = folder.join("hello.wasm");
    if path.exists() {
        return Some(path);
    }
    #[expect(clippy::print_stderr, reason = "whoever runs the benches has to know what was left out")]
    {
        eprintln!("skipped: {} is not there; `cargo xtask plugins` builds it", path.display());
    }
    None
}

fn hello(component: &Path) -> config::Plugin {
    config::Plugin {
        source: component.to_owned(),
        grants: Vec::new(),
        on_error: OnError {
            trap: Effect::TempFail,
            timeout: Effect::TempFail,
            memory: Effect::TempFail,
            unavailable: Effect::TempFail,
        },
        // Long, so that a machine busy with other things does not end a bench.
        timeout: Duration::from_secs(60),
        cpu: Duration::from_secs(10),
        memory: 16 << 20,
        host_calls: 10_000,
        config: serde_json::json!({ "greeting": "Good day" }),
        place: "bench:1".to_owned(),
    }
}

fn server(state: &Path) -> config::Server {
    config::Server {
        hostname: "mx.example.com".to_owned(),
        state_dir: state.to_owned(),
        plugin_dir: state.to_owned(),
        memory_budget: 1 << 30,
        spill_budget: 1 << 30,
        workers: 1,
        shutdown_grace: Duration::from_secs(1),
    }
}

fn facts() -> Arc<TransactionFacts> {
    Arc::new(TransactionFacts {
        id: "4XyZ0f1K2Lz9".to_owned(),
        listener: "inbound".to_owned(),
        hostname: "mx.example.com".to_owned(),
        client: ([192, 0, 2, 25], 40_123).into(),
        helo: b"mx1.sender.example".to_vec(),
        tls: None,
        trusted: false,
    })
}
