//! A configuration at work: filters in chains, and the DNS that they ask.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mailweir::admin::metrics::Metrics;
use mailweir::chain::{Chain, Envelope, Run};
use mailweir::clock::Clock;
use mailweir::config;
use mailweir::generation::{Generation, Surroundings};
use mailweir::host::{MailView, Plugin, TransactionFacts};
use mailweir::signing::Occasion;
use mailweir_testkit::dns::{Zone, ZoneServer};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{harness, sample};

/// The DKIM key of sender.example, which serves nothing else, and what stands in the DNS for it.
const KEY: &str = include_str!("../keys/rsa-2048.pem");
const RECORD: &str = include_str!("../keys/rsa-2048.txt");

/// A generation, and the one session in it.
pub struct Stage {
    /// Where everything here happens.
    pub runtime: Runtime,
    generation: Generation,
    facts: Arc<TransactionFacts>,
    /// Every name is asked for once, and then known.
    _dns: ZoneServer,
    /// The host's cache of compiled filters, unless the environment names a folder that stays.
    _state: TempDir,
}

impl Stage {
    /// Chains `hello-0`, `hello-1`, … of so many `hello` filters, as the numbers say; and `three` of auth, surbl and dlp.
    /// `None` when the filters have not been built, which is said on standard error.
    ///
    /// # Panics
    ///
    /// When the filters cannot be loaded, or the machine refuses something.
    pub fn set_up(lengths: &[usize]) -> Option<Self> {
        let plugins = plugins()?;
        let runtime = harness::runtime();
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let state = std::env::var_os("MAILWEIR_BENCH_STATE").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
        std::fs::create_dir_all(&state).expect("a folder");
        std::fs::write(state.join("key.pem"), KEY).expect("room for a key");
        let dns = runtime.block_on(ZoneServer::start(zone(), (Ipv4Addr::LOCALHOST, 0).into())).expect("a DNS server");
        let text = configuration(&plugins, &format!("{}", dns.addr()), lengths);
        let config = config::parse(&text, Path::new("bench.toml"), &state).unwrap_or_else(|errors| panic!("{errors}"));
        let surroundings =
            Surroundings { clock: Clock::Stopped(1_767_225_600), ..Surroundings::serving(&Metrics::new()) };
        let generation = runtime
            .block_on(Generation::build(config, None, &surroundings))
            .unwrap_or_else(|errors| panic!("filters of this checkout? run `cargo xtask plugins`: {}", errors[0]));
        Some(Self { runtime, generation, facts: facts(), _dns: dns, _state: temporary })
    }

    /// A chain by its name.
    ///
    /// # Panics
    ///
    /// When there is no such chain.
    pub fn chain(&self, name: &str) -> Arc<Chain> {
        Arc::clone(self.generation.chain(name).expect("a chain of the configuration"))
    }

    /// A filter by its name.
    ///
    /// # Panics
    ///
    /// When there is no such filter.
    pub fn plugin(&self, name: &str) -> Plugin {
        let plugin = self.generation.host().load(name, &self.generation.config.plugins[name]);
        self.runtime.block_on(plugin).expect("a filter that was loaded before")
    }

    /// The session that transactions belong to.
    pub fn facts(&self) -> &Arc<TransactionFacts> {
        &self.facts
    }

    /// A transaction at its beginning.
    pub fn run(&self, chain: &Arc<Chain>) -> Run {
        let evaluation = self.generation.evaluation(self.facts.client.ip());
        Run::new(Arc::clone(chain), Arc::clone(&self.facts), evaluation)
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
            evaluation: self.generation.evaluation(self.facts.client.ip()),
            scan: None,
        })
    }

    /// The message with a DKIM signature of sender.example.
    ///
    /// # Panics
    ///
    /// When it cannot be signed.
    pub fn signed(&self, message: &Bytes) -> Bytes {
        let message = sample::message(message);
        let evaluation = self.generation.evaluation(self.facts.client.ip());
        let sender = envelope().sender;
        let occasion = Occasion { received: &message, evaluation: &evaluation, sender: &sender, is_trusted: true };
        let signing = self.generation.signing("signing").expect("a chain that signs");
        let signed = self.runtime.block_on(signing.apply(message.clone(), &occasion)).expect("a signature");
        let pieces = signed.chunks().map(|chunk| chunk.expect("in memory"));
        pieces.fold(Vec::new(), |all, piece| [&all, &*piece].concat()).into()
    }
}

/// The envelope of sample transactions.
pub fn envelope() -> Envelope {
    Envelope { sender: "alice@sender.example".to_owned(), recipients: vec!["bob@receiver.example".to_owned()] }
}

/// Where `cargo xtask plugins` puts filters, or where the environment says.
fn plugins() -> Option<PathBuf> {
    let folder = std::env::var_os("MAILWEIR_BENCH_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins"), PathBuf::from);
    if ["hello", "access", "auth", "surbl", "dlp"].iter().all(|name| folder.join(name).with_extension("wasm").exists())
    {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "whoever runs the benches has to know what was left out")]
    {
        eprintln!("skipped: filters are missing in {}; `cargo xtask plugins` builds them", folder.display());
    }
    None
}

/// What the sender's domain has in the DNS. No domain is on a block list.
fn zone() -> Zone {
    Zone::new()
        .txt("sender.example", "v=spf1 ip4:192.0.2.0/24 -all")
        .txt("_dmarc.sender.example", "v=DMARC1; p=reject")
        .txt("bench._domainkey.sender.example", RECORD.trim())
}

/// Filters have so much time that a machine busy with other things, or valgrind, does not end one.
fn configuration(plugins: &Path, resolver: &str, lengths: &[usize]) -> String {
    let mut text = format!(
        r#"
[server]
hostname = "mx.receiver.example"
state_dir = "."
plugin_dir = "{}"
workers = 1

[dns]
resolvers = ["{resolver}"]

[listener.inbound]
listen = ["127.0.0.1:0"]
chain = "three"
route = "nowhere"
relay_domains = ["receiver.example"]

[route.nowhere]
upstreams = ["127.0.0.1:1"]

[dkim.bench]
key = "key.pem"
selector = "bench"
domains = ["sender.example"]

[chain.signing]
plugins = []
sign = ["bench"]

[chain.three]
plugins = ["auth", "surbl", "dlp"]

[plugin.access]
source = "access.wasm"
timeout = "60s"
cpu = "10s"
[plugin.access.config]
senders = ["spam.example", "joe@other.example"]
recipients = ["list@receiver.example"]
subjects = ["you have won"]

[plugin.auth]
source = "auth.wasm"
grants = ["authentication"]
timeout = "60s"
cpu = "10s"
[plugin.auth.config]
dmarc = "enforce"

[plugin.surbl]
source = "surbl.wasm"
grants = ["dns"]
timeout = "60s"
cpu = "10s"
[plugin.surbl.config]
zones = [{{ zone = "multi.surbl.test", reject_bits = [2, 4, 8, 16, 64, 128] }}]

[plugin.dlp]
source = "dlp.wasm"
grants = ["scan"]
timeout = "60s"
cpu = "10s"
[[plugin.dlp.config.rules]]
name = "payment cards"
detect = ["credit-card"]
minimum = 2
action = {{ reject = "5.7.1 payment card data may not leave unencrypted" }}
[[plugin.dlp.config.rules]]
name = "confidential"
keywords = ["confidential", "vertraulich", "confidentiel"]
action = {{ reject = "5.7.1 confidential" }}
"#,
        plugins.display()
    );
    for number in 0..lengths.iter().copied().max().unwrap_or_default() {
        text += &format!(
            "[plugin.hello-{number}]\nsource = \"hello.wasm\"\ntimeout = \"60s\"\ncpu = \"10s\"\n\
             config = {{ greeting = \"Good day\" }}\n"
        );
    }
    for length in lengths {
        let names: Vec<String> = (0..*length).map(|number| format!("\"hello-{number}\"")).collect();
        text += &format!("[chain.hello-{length}]\nplugins = [{}]\n", names.join(", "));
    }
    text
}

fn facts() -> Arc<TransactionFacts> {
    Arc::new(TransactionFacts {
        id: "4XyZ0f1K2Lz9".to_owned(),
        listener: "inbound".to_owned(),
        hostname: "mx.receiver.example".to_owned(),
        client: ([192, 0, 2, 25], 40_123).into(),
        helo: b"mx1.sender.example".to_vec(),
        tls: None,
        trusted: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_signatures_are_good() {
        let Some(stage) = Stage::set_up(&[0]) else { return };
        for size in [4096, 65_536] {
            let message = sample::message(&stage.signed(&sample::multipart(size)));
            let mut run = stage.run(&stage.chain("three"));
            stage.runtime.block_on(async {
                let envelope = envelope();
                run.mail(&envelope.sender).await;
                run.headers(&message, &envelope).await;
                run.end(message, envelope, None).await;
            });
            let tag = |name: &str| run.tags().iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str());
            assert_eq!(["spf", "dkim", "dmarc"].map(tag), [Some("pass"); 3]);
        }
    }
}
