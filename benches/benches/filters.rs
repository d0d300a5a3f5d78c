//! Whole messages in memory through the filters auth, surbl and dlp, as a session takes them through: received in chunks,
//! the body hashed on the way, every phase, every edit. The DNS is a server of this process, its answers cached.
//!
//! What is measured is the CPU time of the process, in rounds over all kinds of messages in turn; the figures are
//! medians, and beside them the least. `-- KIND…` takes some kinds only, `--rounds N` and `--millis N` (of each round and
//! kind) change the length. Under callgrind, one kind and `--iterations N` (a single round of so many messages) give
//! numbers of instructions to compare; `--toggle-collect='filters::messages'` leaves out what comes before.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its result goes to the terminal")]

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::DkimSigner;
use mailweir::admin::metrics::Metrics;
use mailweir::chain::{Disposition, Run};
use mailweir::config;
use mailweir::generation::{Generation, Surroundings};
use mailweir::host::TransactionFacts;
use mailweir::message::{Budget, Framing, Incoming};
use mailweir_benches::{sample, stage};
use mailweir_testkit::dkim::KeyFile;
use mailweir_testkit::dns::{Zone, ZoneServer};
use tokio::runtime::{Builder, Runtime};

/// What a read from a busy connection brings.
const CHUNK: usize = 64 * 1024;

const CONFIG: &str = r#"
[server]
hostname = "mx.receiver.example"
state_dir = "STATE"
plugin_dir = "PLUGINS"
workers = 1

[dns]
resolvers = ["RESOLVER"]

[listener.inbound]
listen = ["127.0.0.1:0"]
chain = "three"
route = "nowhere"
relay_domains = ["receiver.example"]

[route.nowhere]
upstreams = ["127.0.0.1:1"]

[chain.none]
plugins = []
[chain.auth]
plugins = ["auth"]
[chain.surbl]
plugins = ["surbl"]
[chain.dlp]
plugins = ["dlp"]
[chain.three]
plugins = ["auth", "surbl", "dlp"]

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
zones = [{ zone = "multi.surbl.test", reject_bits = [2, 4, 8, 16, 64, 128] }]
max_domains = 20

[plugin.dlp]
source = "dlp.wasm"
grants = ["scan"]
[[plugin.dlp.config.rules]]
name = "payment cards"
detect = ["credit-card"]
minimum = 2
action = { reject = "5.7.1 payment card data may not leave unencrypted" }
[[plugin.dlp.config.rules]]
name = "confidential goes through the encryption gateway"
keywords = ["confidential", "vertraulich", "confidentiel"]
action = { route = "nowhere" }
"#;

struct Bench {
    generation: Generation,
    facts: Arc<TransactionFacts>,
    budget: Budget,
    _server: ZoneServer,
    _state: tempfile::TempDir,
}

struct Kind {
    name: String,
    chain: &'static str,
    /// As DATA brings it, without the final dot's line.
    wire: Bytes,
}

impl Bench {
    async fn set_up(key: &KeyFile) -> Self {
        let zone = Zone::new()
            .txt("sender.example", "v=spf1 include:_spf.sender.example mx -all")
            .txt("_spf.sender.example", "v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 -all")
            .txt("_dmarc.sender.example", "v=DMARC1; p=reject; adkim=s")
            .txt("s1._domainkey.sender.example", &key.record)
            .mx("sender.example", 10, "mx1.sender.example")
            .a("mx1.sender.example", [192, 0, 2, 25])
            .a("2.0.0.127.multi.surbl.test", [127, 0, 0, 254]);
        let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.expect("a server");
        let state = tempfile::tempdir().expect("a temporary folder");
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
        let text = CONFIG
            .replace("STATE", &state.path().display().to_string())
            .replace("PLUGINS", &plugins.display().to_string())
            .replace("RESOLVER", &server.addr().to_string());
        let config = config::parse(&text, Path::new("bench.toml"), state.path()).expect("the configuration is right");
        let surroundings = Surroundings::serving(&Metrics::new());
        let generation = Generation::build(config, None, &surroundings).await;
        let generation = generation.expect("target/plugins is of this checkout; run `cargo xtask plugins`");
        let facts = Arc::new(TransactionFacts {
            id: "4XyZ0f1K2Lz9".to_owned(),
            listener: "inbound".to_owned(),
            hostname: "mx.receiver.example".to_owned(),
            client: ([192, 0, 2, 25], 40_123).into(),
            helo: b"mx1.sender.example".to_vec(),
            tls: None,
            trusted: false,
        });
        let budget = Budget::new(1 << 30, 0, state.path());
        Self { generation, facts, budget, _server: server, _state: state }
    }

    /// From MAIL to the verdict.
    async fn message(&self, kind: &Kind) {
        let chain = self.generation.chain(kind.chain).expect("a chain of the configuration");
        let evaluation = self.generation.evaluation(self.facts.client.ip());
        let mut run = Run::new(Arc::clone(chain), Arc::clone(&self.facts), evaluation);
        let envelope = stage::envelope();
        run.helo(Arc::clone(&self.facts)).await;
        run.mail(&envelope.sender).await;
        run.rcpt(&envelope.recipients[0]).await;
        let mut incoming = Incoming::new(&self.budget, Framing::DotStuffed, sample::limits());
        for at in (0..kind.wire.len()).step_by(CHUNK) {
            let chunk = kind.wire.slice(at..kind.wire.len().min(at + CHUNK));
            incoming.push(chunk).await.expect("there is room");
        }
        let headers = incoming.headers().expect("the header section is whole").expect("and within its caps");
        run.headers(&headers, &envelope).await;
        let message = incoming.finish().expect("samples are within the caps");
        if kind.chain != "none"
            && let Some(mut hasher) = run.evaluation().hasher(headers.headers())
        {
            let mut skip = usize::try_from(message.body_offset()).expect("samples are small");
            for at in (0..kind.wire.len()).step_by(CHUNK) {
                let chunk = kind.wire.slice(at..kind.wire.len().min(at + CHUNK));
                let head = skip.min(chunk.len());
                skip -= head;
                hasher.update(&chunk[head..]);
            }
            run.evaluation().hashed(hasher.finish());
        }
        let conclusion = run.end(message, envelope, None).await;
        let tags = run.tags();
        let tag = |name: &str| tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str());
        let signed = if kind.name.starts_with("signed") { "pass" } else { "none" };
        let (auth, all) = (kind.chain == "auth", kind.chain == "three");
        assert!(matches!(conclusion.disposition, Disposition::Deliver { route: None }), "{:?}", run.records());
        if auth || all {
            assert_eq!([tag("spf"), tag("dkim"), tag("dmarc")], [Some("pass"), Some(signed), Some("pass")]);
        }
        if kind.chain == "surbl" || all {
            assert_eq!(tag("surbl"), Some("clean"));
        }
    }
}

fn kinds(key: &KeyFile) -> Vec<Kind> {
    #[expect(deprecated, reason = "what takes its place wants a type of another crate")]
    let key = RsaKey::<Sha256>::from_pkcs8_pem(&key.pem).expect("the testkit makes keys that can be read");
    let fields = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];
    let signer = DkimSigner::from_key(key).domain("sender.example").selector("s1").headers(fields);
    let sign = |message: Bytes| {
        let signature = signer.sign(&message).expect("samples have the fields that are signed");
        Bytes::from([signature.to_header().as_bytes(), &message].concat())
    };
    let samples = [
        ("plain-4KiB", sample::plain(4096)),
        ("signed-4KiB", sign(sample::multipart(4096 - 600))),
        ("signed-64KiB", sign(sample::multipart(65_536 - 600))),
        ("signed-text-64KiB", sign(texts(65_536 - 600))),
        ("plain-1MiB", sample::plain(1 << 20)),
        ("attachment-1MiB", attachment(1 << 20)),
        ("signed-1MiB", sign(attachment((1 << 20) - 600))),
    ];
    let chains = ["none", "auth", "surbl", "dlp", "three"];
    let kinds = samples.into_iter().flat_map(|(name, wire)| {
        chains.map(|chain| Kind { name: format!("{name}/{chain}"), chain, wire: wire.clone() })
    });
    kinds.collect()
}

/// A multipart message of text and HTML with 16 links to 8 domains between them, and so much text around them that it has
/// about `size` bytes.
fn texts(size: usize) -> Bytes {
    const HEADER: &str = "Message-ID: <20260101000001.4711@sender.example>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
        From: Alice Sender <alice@sender.example>\r\nTo: Bob Receiver <bob@receiver.example>\r\n\
        Subject: News of the week\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n";
    const LINE: &str = "The figures of the quarter are in, and they are better than we had hoped.\r\n";
    let mut message = HEADER.to_owned();
    message.push_str("--inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    let paragraph = LINE.repeat(size / 16 / LINE.len());
    // Writing to a string cannot fail.
    for domain in 0..8 {
        let _ =
            write!(message, "{paragraph}See http://www{domain}.shop{domain}.example/offer?id={domain} for more.\r\n");
    }
    message.push_str("--inner\r\nContent-Type: text/html; charset=utf-8\r\n");
    message.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>\r\n");
    for domain in 0..8 {
        let link = format!("<a href=3D\"https://shop{domain}.example/basket/{domain}\">here</a>");
        let _ = write!(message, "<p>{paragraph}Gr=C3=BC=C3=9Fe, {link}</p>\r\n");
    }
    message.push_str("</body></html>\r\n--inner--\r\n");
    message.into()
}

/// The texts in about 8 KiB, and a file of random bytes, as compressed ones look, that brings it to about `size` bytes.
fn attachment(size: usize) -> Bytes {
    let texts = texts(8192);
    let split = texts.windows(4).position(|end| end == b"\r\n\r\n").expect("a header section") + 4;
    let header = String::from_utf8_lossy(&texts[..split]);
    let header = header.replace(
        "Content-Type: multipart/alternative; boundary=inner",
        "Content-Type: multipart/mixed; boundary=outer",
    );
    let mut message = header.into_bytes();
    message.extend_from_slice(b"--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n");
    message.extend_from_slice(&texts[split..]);
    message.extend_from_slice(b"--outer\r\nContent-Type: application/pdf; name=\"figures.pdf\"\r\n");
    message.extend_from_slice(b"Content-Disposition: attachment; filename=\"figures.pdf\"\r\n");
    message.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
    let mut state = 1_u64;
    while message.len() < size {
        let line = (0..76).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ALPHABET[(state >> 58) as usize]
        });
        message.extend(line);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"--outer--\r\n");
    message.into()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Microseconds of the process's CPU time, all threads.
fn cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of ours that lives on.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(read, 0, "Linux has this clock");
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// What the command line asks for.
struct Arguments {
    kinds: Vec<String>,
    rounds: usize,
    micros: f64,
    iterations: Option<usize>,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self { kinds: Vec::new(), rounds: 15, micros: 30_000.0, iterations: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok()).expect("a number");
            match argument.as_str() {
                "--rounds" => read.rounds = number() as usize,
                "--millis" => read.micros = f64::from(number()) * 1e3,
                "--iterations" => read.iterations = Some(number() as usize),
                "--bench" => {}
                kind => read.kinds.push(kind.to_owned()),
            }
        }
        // `cargo test` runs benches without an argument, to see that they run.
        if !std::env::args().any(|argument| argument == "--bench") {
            read.iterations.get_or_insert(1);
        }
        read
    }

    fn takes(&self, kind: &Kind) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| kind.name.contains(wanted.as_str()))
    }
}

fn main() {
    let arguments = Arguments::read();
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/dlp.wasm").exists() {
        eprintln!("skipped: target/plugins is empty; `cargo xtask plugins` fills it");
        return;
    }
    let key = KeyFile::rsa().expect("a key");
    let mut kinds = kinds(&key);
    kinds.retain(|kind| arguments.takes(kind));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bench = runtime.block_on(Bench::set_up(&key));
    for kind in &kinds {
        runtime.block_on(bench.message(kind));
    }
    if let Some(iterations) = arguments.iterations {
        for kind in &kinds {
            messages(&runtime, &bench, kind, iterations);
        }
        return;
    }
    let mut figures = vec![Vec::new(); kinds.len()];
    for _ in 0..arguments.rounds {
        for (kind, figures) in kinds.iter().zip(&mut figures) {
            let (start, mut count) = (cpu(), 0.0);
            let mut now = start;
            while now - start < arguments.micros {
                messages(&runtime, &bench, kind, 1);
                count += 1.0;
                now = cpu();
            }
            figures.push((now - start) / count);
        }
    }
    println!("{:<28} {:>10} {:>10}", "µs of CPU a message", "median", "least");
    for (kind, figures) in kinds.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        println!("{:<28} {:>10.1} {:>10.1}", kind.name, figures[figures.len() / 2], figures[0]);
    }
}

/// What is measured. A function with a name that callgrind can be told to begin at (`--toggle-collect='filters::messages'`).
#[inline(never)]
fn messages(runtime: &Runtime, bench: &Bench, kind: &Kind, count: usize) {
    runtime.block_on(async {
        for _ in 0..count {
            bench.message(kind).await;
        }
    });
}
