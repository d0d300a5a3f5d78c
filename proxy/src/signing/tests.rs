//! What we sign is verified by others: our own verifier, mail-auth's, and dkimpy where Python has it. The published suite
//! of ARC seals is run to the last byte.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use mailweir_testkit::dkim::KeyFile;
use mailweir_testkit::dns::{Zone, ZoneServer};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::admin::metrics::Metrics;
use crate::config::Config;
use crate::message::{Budget, Framing, Incoming, MessageLimits};
use crate::services::authentication::{Authentication, Outcome};
use crate::services::dns::Dns;

const NOW: u64 = 1_800_000_000;

/// RFC 8032 section 7.1, test 1: as RFC 8463 appendix A.2 writes it.
const RAW_SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const RAW_PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn limits() -> MessageLimits {
    MessageLimits::from(&config::Limits::default())
}

fn say(text: &str) {
    eprintln!("{text}");
}

fn message(text: impl AsRef<[u8]>) -> Message {
    let text = String::from_utf8_lossy(text.as_ref()).replace("\r\n", "\n").replace('\n', "\r\n");
    Message::from_bytes(text.into_bytes().into(), limits()).unwrap()
}

fn bytes(message: &Message) -> Vec<u8> {
    message.chunks().flat_map(|chunk| chunk.unwrap().to_vec()).collect()
}

/// A configuration, its keys in files, and a DNS that has their records.
struct Bench {
    config: Config,
    authentication: Authentication,
    server: ZoneServer,
    clock: Clock,
    _directory: TempDir,
}

impl Bench {
    /// `files`: a key's file, then its content; `tables`: everything but `[server]`.
    async fn new(files: &[(&str, &str)], tables: &str, zone: Zone) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (file, content) in files {
            std::fs::write(directory.path().join(file), content).unwrap();
        }
        let text = format!("[server]\nhostname = \"mx.example.net\"\nworkers = 2\n{tables}");
        let config = config::parse(&text, std::path::Path::new("test.toml"), directory.path());
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let dns = Dns::new(&config::Dns {
            resolvers: vec![server.addr()],
            dnssec: config::Dnssec::Off,
            timeout: Duration::from_millis(500),
            cache_size: 1000,
        });
        let clock = Clock::Stopped(NOW);
        let authentication = Authentication::new(dns.unwrap(), "mx.example.net").with_clock(clock);
        Self { config, authentication, server, clock, _directory: directory }
    }

    /// Keys of every kind for example.com in the chain "c".
    async fn with_all_keys(keys: &str) -> Self {
        let (rsa, ed) = (KeyFile::rsa().unwrap(), KeyFile::ed25519().unwrap());
        let zone = Zone::new()
            .txt("rsa._domainkey.example.com", &rsa.record)
            .txt("ed._domainkey.example.com", &ed.record)
            .txt("raw._domainkey.example.com", &format!("v=DKIM1; k=ed25519; p={RAW_PUBLIC}"))
            .txt("rsa._domainkey.example.net", &rsa.record)
            .txt("ed._domainkey.example.org", &ed.record);
        let mut tables = String::new();
        for name in ["rsa", "ed", "raw"] {
            tables += &format!(
                "[dkim.{name}]\nkey = \"{name}.pem\"\nselector = \"{name}\"\ndomains = [\"example.com\"]\n{keys}\n"
            );
        }
        tables += "[dkim.net]\nkey = \"rsa.pem\"\nselector = \"rsa\"\ndomains = [\"example.net\"]\n\
                   [dkim.org]\nkey = \"ed.pem\"\nselector = \"ed\"\ndomains = [\"example.org\"]\n\
                   [chain.c]\nsign = [\"rsa\", \"ed\", \"raw\"]\n\
                   [chain.one]\nsign = [\"ed\"]\n\
                   [chain.net]\nseal = \"net\"\n[chain.org]\nseal = \"org\"\nsign = [\"ed\"]\n";
        Self::new(&[("rsa.pem", &rsa.pem), ("ed.pem", &ed.pem), ("raw.pem", RAW_SEED)], &tables, zone).await
    }

    async fn apply(&self, chain: &str, message: &Message, is_trusted: bool) -> Result<Message, SigningFault> {
        let metrics = Metrics::new();
        let signing = Signing::new(&self.config.chains[chain], &self.config, self.clock, || metrics.signing(chain));
        let evaluation = self.authentication.evaluation(Ipv4Addr::LOCALHOST.into());
        evaluation.helo("client.example.com");
        evaluation.mail("joe@example.com");
        evaluation.received(message);
        let occasion = Occasion { received: message, evaluation: &evaluation, sender: "joe@example.com", is_trusted };
        signing.unwrap().apply(message.clone(), &occasion).await
    }

    async fn signed(&self, chain: &str, text: impl AsRef<[u8]>) -> Vec<u8> {
        bytes(&self.apply(chain, &message(text), true).await.unwrap())
    }

    /// What our own verifier says of each signature, from the top.
    async fn dkim(&self, text: impl AsRef<[u8]>) -> Vec<Outcome> {
        let message = message(text);
        let evaluation = self.authentication.evaluation(Ipv4Addr::LOCALHOST.into());
        evaluation.dkim(&message).await.unwrap().iter().map(|result| result.outcome).collect()
    }

    async fn arc(&self, text: impl AsRef<[u8]>) -> (Outcome, String) {
        let result = self.authentication.evaluation(Ipv4Addr::LOCALHOST.into()).arc(&message(text)).await.unwrap();
        (result.outcome, result.reason.clone())
    }

    /// A verifier that is not ours, over the same DNS.
    fn other(&self) -> MessageAuthenticator {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (self.server.addr().port(), self.server.addr().port());
        let server = NameServerConfig::new(self.server.addr().ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        MessageAuthenticator::new(config, ResolverOpts::default()).unwrap()
    }
}

const MESSAGE: &str = "Received: from a\r\n\tby b\r\nFrom: Joe <joe@example.com>\r\nTo: a@b.example,\r\n c@d.example\r\n\
                       Subject:  two  words \r\nDate: Fri, 1 Jan 2027 00:00:00 +0000\r\n\r\nHello,  you\r\n.\r\n\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_key_and_form_verifies_here_and_elsewhere() {
    for forms in ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] {
        let bench = Bench::with_all_keys(&format!("canonicalization = \"{forms}\"\nexpiry = \"7d\"")).await;
        let other = bench.other();
        // RFC 6376 section 3.4.4: a body of nothing but blank lines is an empty one. mail-auth keeps a line of it.
        let blank = "\r\n\r\n \t\r\n";
        let header = &MESSAGE[..MESSAGE.find("\r\n\r\n").unwrap() + 2];
        for text in
            [MESSAGE, header, &format!("{header}\r\n"), &format!("{header}\r\nno end"), &format!("{header}\r\n{blank}")]
        {
            let signed = bench.signed("c", text).await;
            assert!(signed.ends_with(text.as_bytes()), "{}", signed.escape_ascii());
            assert_eq!(bench.dkim(&signed).await, [Outcome::Pass; 3], "{forms} {text:?}");
            let parsed = AuthenticatedMessage::parse(&signed).unwrap();
            let is_read_alike = !text.ends_with(blank) || forms.ends_with("/simple");
            for output in other.verify_dkim(&parsed).await.iter().filter(|_| is_read_alike) {
                assert_eq!(output.result(), &DkimResult::Pass, "{forms} {text:?}");
            }
            if !signed.ends_with(b"\n") {
                // As it goes upstream by DATA, where the last line has an end.
                assert_eq!(bench.dkim([&*signed, b"\r\n"].concat()).await, [Outcome::Pass; 3], "{forms} {text:?}");
            }
            let changed = String::from_utf8(signed).unwrap().replace("Joe", "Jim");
            assert_eq!(bench.dkim(&changed).await, [Outcome::Fail; 3], "{forms} {text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_later_breaks_the_signature() {
    let bench = Bench::with_all_keys("").await;
    let signed = String::from_utf8(bench.signed("one", MESSAGE).await).unwrap();
    let other = bench.other();
    for (added, is_noticed) in [
        ("From: ceo@example.com\r\n", true),
        ("Subject: another\r\n", true),
        ("Reply-To: thief@example.org\r\n", true),
        ("Content-Type: text/html\r\n", true),
        ("MIME-Version: 1.0\r\n", true),
        ("Cc: more@example.org\r\n", true),
        ("Received: from elsewhere\r\n", false),
        ("X-Spam: no\r\n", false),
    ] {
        // Above, as readers that show the first one see it, and below, for those that show the last.
        let (head, body) = signed.split_once("\r\n\r\n").unwrap();
        for changed in [format!("{added}{signed}"), format!("{head}\r\n{added}\r\n{body}")] {
            let verdict = bench.dkim(&changed).await[0];
            assert_eq!(verdict != Outcome::Pass, is_noticed, "{added}: {verdict:?}");
            let parsed = AuthenticatedMessage::parse(changed.as_bytes()).unwrap();
            let outputs = other.verify_dkim(&parsed).await;
            let passes = outputs.iter().all(|output| output.result() == &DkimResult::Pass);
            // Without the rule of our own verifier: the signature itself is broken.
            assert_eq!(passes, !is_noticed, "{added}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_signed_for() {
    let key = KeyFile::ed25519().unwrap();
    let table = |name: &str, keys: &str| {
        format!(
            "[dkim.{name}]\nkey = \"k.pem\"\nselector = \"s\"\ndomains = [\"example.com\", \"b.example.com\", \"xn--bcher-kva.example\"]\n{keys}\n[chain.{name}]\nsign = [\"{name}\"]\n"
        )
    };
    let tables = table("exact", "") + &table("below", "subdomains = true") + &table("required", "required = true");
    let bench = Bench::new(&[("k.pem", &key.pem)], &tables, Zone::new()).await;
    let domain = async |chain: &str, from: &str| {
        let signed = bench.signed(chain, format!("{from}Subject: x\r\n\r\n")).await;
        let signed = spaced(&String::from_utf8(signed).unwrap());
        signed.split_once(" d=").and_then(|(_, rest)| rest.split_once(';')).map(|(domain, _)| domain.to_owned())
    };
    for (from, exact, below) in [
        ("From: a@EXAMPLE.com\r\n", Some("example.com"), Some("example.com")),
        ("From: a@x.example.com\r\n", None, Some("example.com")),
        ("From: a@x.b.example.com\r\n", None, Some("b.example.com")),
        ("From: a@b.example.com\r\n", Some("b.example.com"), Some("b.example.com")),
        ("From: a@b\u{fc}cher.example\r\n", Some("xn--bcher-kva.example"), Some("xn--bcher-kva.example")),
        ("From: a@notexample.com\r\n", None, None),
        ("From: a@example.com.evil.example\r\n", None, None),
        ("From: \"a@example.com\" <b@evil.example>\r\n", None, None),
        ("From: a@example.com, b@evil.example\r\n", None, None),
        ("From: a@example.com, b@b.example.com\r\n", None, None),
        ("From: a@example.com, b@example.com\r\n", Some("example.com"), Some("example.com")),
        ("From: a@example.com\r\nFrom: b@evil.example\r\n", None, None),
        ("From: a@[192.0.2.1]\r\n", None, None),
        ("From: \r\n", None, None),
        ("", None, None),
    ] {
        assert_eq!(domain("exact", from).await.as_deref(), exact, "{from}");
        assert_eq!(domain("below", from).await.as_deref(), below, "{from}");
        let required = bench.apply("required", &message(format!("{from}\r\n")), true).await;
        assert_eq!(required.err().map(|fault| fault.reply().code()), exact.is_none().then_some(550), "{from}");
    }
    // A client that anybody could be is not believed.
    let mail = message("From: a@example.com\r\n\r\n");
    assert_eq!(bytes(&bench.apply("exact", &mail, false).await.unwrap()), bytes(&mail));
    assert_eq!(bench.apply("required", &mail, false).await.err().map(|fault| fault.reply().code()), Some(550));
    // More fields than any verifier would look at.
    let many = message("To: x\r\n".repeat(500) + "From: a@example.com\r\n\r\n");
    assert_eq!(bytes(&bench.apply("exact", &many, true).await.unwrap()), bytes(&many));
    assert_eq!(bench.apply("required", &many, true).await.err().map(|fault| fault.reply().code()), Some(550));
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_expire_by_the_clock_that_is_given() {
    let mut bench = Bench::with_all_keys("expiry = \"2h\"").await;
    let signed = bench.signed("one", MESSAGE).await;
    let shown = spaced(&String::from_utf8_lossy(&signed));
    assert!(shown.contains(&format!(" t={NOW}; x={};", NOW + 7200)), "{shown}");
    for (later, expected) in [(7200, Outcome::Pass), (7201, Outcome::Fail)] {
        bench.authentication = bench.authentication.with_clock(Clock::Stopped(NOW + later));
        assert_eq!(bench.dkim(&signed).await, [expected], "{later}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_disk_and_dot_stuffed_is_signed_the_same() {
    let bench = Bench::with_all_keys("").await;
    let body = "..a line that began with a dot\r\n".repeat(20_000);
    let text = format!("{}\r\n{body}", &MESSAGE[..MESSAGE.find("\r\n\r\n").unwrap() + 2]);
    let directory = tempfile::tempdir().unwrap();
    let budget = Budget::new(1 << 16, 1 << 30, directory.path());
    let mut incoming = Incoming::new(&budget, Framing::DotStuffed, limits());
    for chunk in text.as_bytes().chunks(1 << 14) {
        incoming.push(bytes::Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let stuffed = incoming.finish().unwrap();
    assert!(stuffed.is_spilled() && stuffed.framing() == Framing::DotStuffed);
    let signed = bench.apply("one", &stuffed, true).await.unwrap();
    let plain = bench.signed("one", text.replace("\r\n..", "\r\n.")).await;
    assert_eq!(bytes(&signed), plain);
    assert_eq!(bench.dkim(plain).await, [Outcome::Pass]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_seals_holds_and_ends_when_it_breaks() {
    let bench = Bench::with_all_keys("").await;
    let other = bench.other();
    let mut text = MESSAGE.as_bytes().to_vec();
    for (number, chain) in ["net", "org", "net"].into_iter().enumerate() {
        text = bench.signed(chain, &text).await;
        assert_eq!(bench.arc(&text).await, (Outcome::Pass, String::new()));
        let parsed = AuthenticatedMessage::parse(&text).unwrap();
        assert_eq!(other.verify_arc(&parsed).await.result(), &DkimResult::Pass, "{number}");
        let shown = String::from_utf8_lossy(&text).into_owned();
        assert!(shown.starts_with("ARC-Seal: a="), "{shown}");
        assert!(
            shown.contains(&format!("ARC-Authentication-Results: i={}; mx.example.net; arc=", number + 1)),
            "{shown}"
        );
        // Something is changed on the way, as the next sealer may.
        if number == 0 {
            text = [b"X-List: hello\r\n", &*text].concat();
        }
    }
    // The signature that the second hop made is covered by its seal.
    assert_eq!(bench.dkim(&text).await, [Outcome::Pass]);
    let mut broken = String::from_utf8(text).unwrap().replace("Hello", "Hullo");
    assert_eq!(bench.arc(&broken).await.0, Outcome::Fail);
    broken = String::from_utf8(bench.signed("net", &broken).await).unwrap();
    assert!(broken.contains("cv=fail") && broken.contains("i=4; mx.example.net; arc=fail"), "{broken}");
    // Once is enough.
    assert_eq!(bench.signed("net", &broken).await, broken.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_that_get_no_further_set() {
    let bench = Bench::with_all_keys("").await;
    let mut text = "From: a@example.com\r\n\r\nx\r\n".as_bytes().to_vec();
    for _ in 0..50 {
        text = bench.signed("net", &text).await;
    }
    assert_eq!(bench.arc(&text).await.0, Outcome::Pass);
    assert_eq!(bench.signed("net", &text).await, text, "50 are the most");
    let without = "ARC-Seal: i=zero; cv=none\r\nFrom: a@example.com\r\n\r\n";
    assert_eq!(bench.signed("net", without).await, without.as_bytes(), "nothing to count on from");
    // A filter took the seals away: what is left says nothing of what was received.
    let (sealed, stripped) = (message(&text), message("From: a@example.com\r\n\r\nx\r\n"));
    let signing = Signing::new(&bench.config.chains["net"], &bench.config, bench.clock, Arc::default).unwrap();
    let evaluation = bench.authentication.evaluation(Ipv4Addr::LOCALHOST.into());
    let occasion = Occasion { received: &sealed, evaluation: &evaluation, sender: "", is_trusted: false };
    assert_eq!(bytes(&signing.apply(stripped.clone(), &occasion).await.unwrap()), bytes(&stripped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_cannot_be_validated_now() {
    let key = KeyFile::ed25519().unwrap();
    let tables = "[dkim.s]\nkey = \"k.pem\"\nselector = \"s\"\ndomains = [\"example.net\"]\n[chain.s]\nseal = \"s\"\n\
                  [dkim.r]\nkey = \"k.pem\"\nselector = \"s\"\ndomains = [\"example.net\"]\nrequired = true\n\
                  [chain.r]\nseal = \"r\"\n";
    let bench = Bench::new(&[("k.pem", &key.pem)], tables, Zone::new().servfail("s._domainkey.example.net")).await;
    // The first set needs no key to be looked up.
    let sealed = bench.signed("s", MESSAGE).await;
    assert_ne!(sealed, MESSAGE.as_bytes());
    assert_eq!(bench.signed("s", &sealed).await, sealed, "it goes on as it is");
    let fault = bench.apply("r", &message(&sealed), false).await.unwrap_err();
    assert_eq!((fault.reply().code(), fault.reply().lines()[0].starts_with("4.4.3")), (451, true), "{fault}");
}

/// `a=b; c=d` as pairs in order, without white space in the values.
fn tags(value: &str) -> Vec<(String, String)> {
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let mut tags: Vec<_> = value
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(name, value)| (plain(name), plain(value)))
        .collect();
    tags.sort();
    tags
}

/// Each white space as one space.
fn spaced(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn arc_sign_suite() {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/testdata/arc_valimail/arc_sign.json"));
    let Ok(cases) = std::fs::read(&file) else { return say(&format!("{} is absent: skipped", file.display())) };
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    let cases = cases.as_array().unwrap();
    let mut disagreements = Vec::new();
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let headers: Vec<&str> = text("sig-headers").split(':').collect();
        let tables = format!(
            "[dkim.s]\nkey = \"k.pem\"\nselector = \"{}\"\ndomains = [\"{}\"]\nheaders = {headers:?}\noversign = []\n\
             [chain.c]\nseal = \"s\"\nseal_results = \"fields\"\n",
            text("sel"),
            text("domain")
        );
        let zone = Zone::from_json(&case["zone"]).unwrap();
        let mut bench = Bench::new(&[("k.pem", text("privatekey"))], &tables, zone).await;
        let seconds = case["t"].as_u64().or_else(|| text("t").parse().ok()).unwrap();
        bench.clock = Clock::Stopped(seconds);
        bench.config.server.hostname = text("srv-id").to_owned();
        let before = message(text("message"));
        let after = bench.apply("c", &before, false).await.unwrap();
        let count = after.headers().fields().count() - before.headers().fields().count();
        for (key, name) in [("AS", "ARC-Seal"), ("AMS", "ARC-Message-Signature"), ("AAR", "ARC-Authentication-Results")]
        {
            let found =
                if count == 0 { "" } else { &*String::from_utf8_lossy(after.headers().values(name).next().unwrap()) };
            let agrees = if key == "AAR" { spaced(found) == spaced(text(key)) } else { tags(found) == tags(text(key)) };
            if !agrees {
                disagreements.push(format!("{}: {key}: {found:?} instead of {:?}", text("id"), text(key)));
            }
        }
        if count > 0 && !text("AMS").contains("cv=fail") && !text("AS").contains("cv=fail") {
            assert_eq!(bench.arc(bytes(&after)).await.0, Outcome::Pass, "{}", text("id"));
        }
    }
    say(&format!("ARC sign: {} of {} agree", cases.len() - disagreements.len(), cases.len()));
    assert!(disagreements.is_empty() && cases.len() == 10, "{disagreements:#?}");
}

/// Python's dkimpy, when it is installed.
#[tokio::test(flavor = "multi_thread")]
async fn dkimpy_verifies_what_we_sign() {
    const SCRIPT: &str = "
import sys, dkim
message = sys.stdin.buffer.read()
records = dict(line.split(' ', 1) for line in sys.argv[1].splitlines())
def lookup(name, timeout=5):
    return records[name.decode().rstrip('.').lower()].encode()
signatures = [name for name, value in dkim.DKIM(message).headers if name.lower() == b'dkim-signature']
assert len(signatures) == 6
for index in range(6):
    assert dkim.DKIM(message).verify(idx=index, dnsfunc=lookup), index
cv, results, reason = dkim.arc_verify(message, dnsfunc=lookup)
assert cv == dkim.CV_Pass, reason
";
    let has_dkimpy = Command::new("python3").args(["-c", "import dkim, nacl"]).stderr(Stdio::null()).status();
    if !has_dkimpy.is_ok_and(|status| status.success()) {
        return say("Python has no dkimpy with PyNaCl: skipped");
    }
    let rsa = KeyFile::rsa().unwrap();
    let ed = KeyFile::ed25519().unwrap();
    let tables = "[dkim.rsa]\nkey = \"rsa.pem\"\nselector = \"rsa\"\ndomains = [\"example.com\"]\n\
                  [dkim.ed]\nkey = \"ed.pem\"\nselector = \"ed\"\ndomains = [\"example.com\"]\n\
                  canonicalization = \"simple/simple\"\n\
                  [chain.c]\nsign = [\"rsa\", \"ed\"]\nseal = \"rsa\"\n";
    let names = [("rsa._domainkey.example.com", &rsa.record), ("ed._domainkey.example.com", &ed.record)];
    let zone = names.iter().fold(Zone::new(), |zone, (name, record)| zone.txt(name, record));
    let mut bench = Bench::new(&[("rsa.pem", &rsa.pem), ("ed.pem", &ed.pem)], tables, zone).await;
    bench.clock = Clock::System;
    let mut text = MESSAGE.as_bytes().to_vec();
    for _ in 0..3 {
        text = bench.signed("c", &text).await;
    }
    let records: String = names.iter().map(|(name, record)| format!("{name} {record}\n")).collect();
    let mut python = Command::new("python3").args(["-c", SCRIPT, &records]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), &text).unwrap();
    assert!(python.wait().unwrap().success(), "{}", String::from_utf8_lossy(&text));
}
