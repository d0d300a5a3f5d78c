//! A host in a folder of its own, plugins from guests, and what they are called with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailweir::config::{self, Effect, Grant, OnError};
use mailweir::host::{Cause, Failure, Host, LoadError, MailView, Options, Plugin, Sandbox, Services, TransactionFacts};
use mailweir::message::{DecodingLimits, Message, MessageLimits};
use mailweir::services::antivirus::Clamd;
use mailweir::services::authentication::{Authentication, Evaluation};
use mailweir::services::dns::Dns;
use mailweir::services::state::StateStore;
use tempfile::TempDir;

use crate::guests;

/// A host with few slots, so that many can run at once.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) folder: TempDir,
    pub(crate) dns: Dns,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Options { slots: Some(64), ..Options::default() })
    }

    pub(crate) fn with(options: Options) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), options, "127.0.0.1:1".parse().unwrap())
    }

    /// A host whose state is in this folder and whose resolver is there.
    pub(crate) fn in_folder(folder: TempDir, options: Options, resolver: SocketAddr) -> Self {
        Self::make(folder, options, resolver, None)
    }

    /// A host with this virus scanner.
    pub(crate) fn scanning(clamd: Clamd) -> Self {
        let options = Options { slots: Some(16), ..Options::default() };
        Self::make(tempfile::tempdir().unwrap(), options, "127.0.0.1:1".parse().unwrap(), Some(clamd))
    }

    fn make(folder: TempDir, options: Options, resolver: SocketAddr, clamd: Option<Clamd>) -> Self {
        let dns = Dns::new(&config::Dns {
            resolvers: vec![resolver],
            dnssec: config::Dnssec::Off,
            timeout: Duration::from_secs(60),
            cache_size: 100,
        });
        let dns = dns.unwrap();
        let services = Services { dns: Some(dns.clone()), clamd, state: StateStore::default() };
        let host = Host::with_options(&server(folder.path().join("state")), services, options).unwrap();
        Self { host, folder, dns }
    }

    /// The configuration of a plugin made from this guest.
    pub(crate) fn guest(&self, name: &str) -> config::Plugin {
        self.file(name, &guests::component(name))
    }

    /// The configuration of a plugin whose file has this content.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> config::Plugin {
        let source = self.folder.path().join(format!("{name}.wasm"));
        std::fs::write(&source, content).unwrap();
        config::Plugin {
            source,
            grants: Vec::new(),
            on_error: OnError {
                trap: Effect::TempFail,
                timeout: Effect::TempFail,
                memory: Effect::TempFail,
                unavailable: Effect::TempFail,
            },
            // Long, so that a loaded machine does not fail a test that is about something else.
            timeout: Duration::from_secs(30),
            cpu: Duration::from_secs(5),
            memory: 32 << 20,
            host_calls: 10_000,
            config: serde_json::json!({}),
            place: "mailweir.toml:7".to_owned(),
        }
    }

    pub(crate) async fn load(&self, name: &str) -> Plugin {
        self.host.load(name, &self.guest(name)).await.unwrap()
    }

    pub(crate) async fn load_error(&self, name: &str, plugin: &config::Plugin) -> LoadError {
        self.host.load(name, plugin).await.unwrap_err()
    }

    pub(crate) async fn sandbox(&self, plugin: &Plugin) -> Result<Sandbox, Failure> {
        plugin.sandbox(&facts(), &self.evaluation()).await
    }

    /// A sandbox of this guest, with all defaults.
    pub(crate) async fn ready(&self, name: &str) -> Sandbox {
        self.sandbox(&self.load(name).await).await.unwrap()
    }

    pub(crate) fn evaluation(&self) -> Arc<Evaluation> {
        Authentication::new(self.dns.clone(), "mx.example.com").evaluation(facts().client.ip())
    }

    /// A view of this message.
    pub(crate) fn view(&self, message: &[u8]) -> Arc<MailView> {
        let limits = MessageLimits {
            header_size: 1 << 20,
            header_fields: 1000,
            mime_parts: 100,
            mime_depth: 10,
            decoding: DecodingLimits::DEFAULT,
        };
        Arc::new(MailView {
            message: Message::from_bytes(Bytes::copy_from_slice(message), limits).unwrap(),
            sender: "alice@example.com".to_owned(),
            recipients: vec!["bob@example.net".to_owned()],
            tags: Vec::new(),
            facts: facts(),
            evaluation: self.evaluation(),
            scan: None,
        })
    }
}

pub(crate) fn facts() -> Arc<TransactionFacts> {
    Arc::new(TransactionFacts {
        id: "1A2B".to_owned(),
        listener: "inbound".to_owned(),
        hostname: "mx.example.com".to_owned(),
        client: "192.0.2.7:40123".parse().unwrap(),
        helo: b"client.example.org".to_vec(),
        tls: None,
        trusted: false,
    })
}

/// The cause of a failure that is not the message's.
pub(crate) fn cause(failure: &Failure) -> Cause {
    match failure {
        Failure::Plugin { cause, .. } => *cause,
        Failure::Message(fault) => panic!("the message's fault: {fault}"),
    }
}

pub(crate) fn with_grants(plugin: config::Plugin, grants: &[Grant]) -> config::Plugin {
    config::Plugin { grants: grants.to_vec(), ..plugin }
}

fn server(state_dir: PathBuf) -> config::Server {
    config::Server {
        hostname: "mx.example.com".to_owned(),
        plugin_dir: state_dir.clone(),
        state_dir,
        memory_budget: 1 << 30,
        spill_budget: 1 << 30,
        workers: 1,
        shutdown_grace: Duration::from_secs(1),
    }
}
