//! Signatures on what leaves: made over what the upstream gets, with keys that a SIGHUP changes; and `replay`, which
//! shows them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use mailweir::config::{self, Dnssec};
use mailweir::message::{Message, MessageLimits};
use mailweir::services::authentication::{Authentication, Outcome};
use mailweir::services::dns::Dns;
use mailweir_testkit::dkim::KeyFile;
use mailweir_testkit::dns::{Zone, ZoneServer};
use serde_json::Value;

use crate::client::expect;
use crate::filter::{Say, saying};
use crate::stage::{PATIENCE, Setup, command, sink};

const CONFIG: &str = r#"
[listener.outbound]
listen = ["@outbound"]
chain = "outbound"
route = "main"
relay_domains = ["*"]
trusted_networks = ["127.0.0.0/8"]

[listener.submission]
listen = ["@submission"]
chain = "outbound"
route = "main"
relay_domains = ["example.com"]
trusted_networks = ["192.0.2.0/24"]

[listener.strict]
listen = ["@strict"]
chain = "strict"
route = "main"
relay_domains = ["*"]
trusted_networks = ["127.0.0.0/8"]

[chain.outbound]
plugins = ["body"]
sign = ["rsa", "ed"]

[chain.strict]
sign = ["strict"]
seal = "strict"

[plugin.body]

[dkim.rsa]
key = "rsa.pem"
selector = "SELECTOR"
domains = ["sender.test"]

[dkim.ed]
key = "ed.pem"
selector = "ed"
domains = ["sender.test"]
canonicalization = "simple/simple"

[dkim.strict]
key = "ed.pem"
selector = "ed"
domains = ["sender.test"]
required = true

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

/// A DNS with these records, and our verifier over it.
async fn verifier(records: &[(&str, &str)]) -> (ZoneServer, Authentication) {
    let zone = records
        .iter()
        .fold(Zone::new(), |zone, (selector, record)| zone.txt(&format!("{selector}._domainkey.sender.test"), record));
    let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let dns = Dns::new(&config::Dns {
        resolvers: vec![server.addr()],
        dnssec: Dnssec::Off,
        timeout: Duration::from_secs(5),
        cache_size: 100,
    });
    (server, Authentication::new(dns.unwrap(), "verifier.test"))
}

/// The selector and the outcome of each signature, from the top.
async fn signatures(verifier: &Authentication, content: &[u8]) -> Vec<(String, Outcome)> {
    let limits = MessageLimits::from(&config::Limits::default());
    let message = Message::from_bytes(Bytes::copy_from_slice(content), limits).unwrap();
    let results = verifier.evaluation(Ipv4Addr::LOCALHOST.into()).dkim(&message).await.unwrap();
    results.iter().map(|result| (result.selector.clone(), result.outcome)).collect()
}

const MAIL: &[u8] = b"From: alice@sender.test\r\nSubject: x\r\n\r\nas it was\r\n";

#[tokio::test]
async fn what_leaves_is_signed_and_a_reload_changes_the_key() {
    let (old, new, ed) = (KeyFile::rsa().unwrap(), KeyFile::rsa().unwrap(), KeyFile::ed25519().unwrap());
    let (_dns, verifier) = verifier(&[("old", &old.record), ("new", &new.record), ("ed", &ed.record)]).await;
    let main = sink().await;
    let config = |selector: &str| CONFIG.replace("SELECTOR", selector);
    let edits = saying(&[("end-of-message", Say::ReplaceBody("..replaced\r\n.\r\n"))]);
    let setup = Setup::new(&config("old")).address("main", main.address()).filter("body", &edits);
    let directory = setup.directory().to_owned();
    let write = |name: &str, content: &str| std::fs::write(directory.join(name), content).unwrap();
    write("rsa.pem", &old.pem);
    write("ed.pem", &ed.pem);
    let stage = setup.start().await;
    let to = ["bob@example.com"];
    let mut client = stage.client("outbound").await;

    expect(&client.deliver("alice@sender.test", &to, MAIL).await, "250 2.0.0 Ok");
    let content = main.messages().last().unwrap().content.clone();
    assert!(content.starts_with(b"DKIM-Signature: v=1; a=rsa-sha256;"), "{}", content.escape_ascii());
    assert!(content.ends_with(b"\r\n\r\n..replaced\r\n.\r\n"), "{}", content.escape_ascii());
    let passes = |selector: &str| vec![(selector.to_owned(), Outcome::Pass), ("ed".to_owned(), Outcome::Pass)];
    assert_eq!(signatures(&verifier, &content).await, passes("old"));

    // A key that is no good leaves the one that is at work.
    write("rsa.pem", "no key\n");
    stage.reload(&config("new")).await;
    stage.wait_for_metric("mailweir_reloads_total", &["result=\"failure\""], 1.0).await;
    stage.proxy.wait_for_log("the reload failed", PATIENCE).await.unwrap();
    let log = stage.proxy.log();
    let line = 1 + std::fs::read_to_string(directory.join("mailweir.toml"))
        .unwrap()
        .lines()
        .position(|line| line == "key = \"rsa.pem\"")
        .unwrap();
    for words in [&format!("mailweir.toml:{line}:"), "dkim.rsa.key: ", "holds no private key", "openssl genpkey"] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    expect(&client.deliver("alice@sender.test", &to, MAIL).await, "250");
    assert_eq!(signatures(&verifier, &main.messages().last().unwrap().content).await, passes("old"));

    write("rsa.pem", &new.pem);
    stage.reload(&config("new")).await;
    stage.wait_for_metric("mailweir_reloads_total", &["result=\"success\""], 1.0).await;
    expect(&client.deliver("alice@sender.test", &to, MAIL).await, "250");
    assert_eq!(signatures(&verifier, &main.messages().last().unwrap().content).await, passes("new"));
    let chain = "chain=\"outbound\"";
    assert_eq!(stage.metrics().await.sum("mailweir_signatures_total", &[chain, "result=\"signed\""]), 6.0);
}

#[tokio::test]
async fn who_is_not_known_is_not_signed_for() {
    let (rsa, ed) = (KeyFile::rsa().unwrap(), KeyFile::ed25519().unwrap());
    let main = sink().await;
    let pass = saying(&[("end-of-message", Say::Accept)]);
    let setup = Setup::new(&CONFIG.replace("SELECTOR", "s")).address("main", main.address()).filter("body", &pass);
    std::fs::write(setup.directory().join("rsa.pem"), &rsa.pem).unwrap();
    std::fs::write(setup.directory().join("ed.pem"), &ed.pem).unwrap();
    let stage = setup.start().await;
    let to = ["bob@example.com"];
    let forged = b"From: ceo@elsewhere.test\r\nSubject: x\r\n\r\n";

    // Not from the trusted networks of this listener, whatever From says; and not for another's domain.
    for (listener, mail) in [("submission", MAIL), ("outbound", &forged[..])] {
        let mut client = stage.client(listener).await;
        expect(&client.deliver("alice@sender.test", &to, mail).await, "250 2.0.0 Ok");
        let content = main.messages().last().unwrap().content.clone();
        assert!(content.starts_with(b"Received: "), "{}", content.escape_ascii());
    }
    let unsigned = ["chain=\"outbound\"", "result=\"unsigned\""];
    assert_eq!(stage.metrics().await.sum("mailweir_signatures_total", &unsigned), 4.0);

    let count = main.count();
    let mut client = stage.client("strict").await;
    expect(&client.deliver("alice@sender.test", &to, forged).await, "550 5.7.1");
    assert_eq!(main.count(), count);
    let refused = ["chain=\"strict\"", "result=\"refused\""];
    assert_eq!(stage.metrics().await.sum("mailweir_signatures_total", &refused), 1.0);
    let line = stage.wait_for_message_lines(3).await.pop().unwrap();
    assert!(line["reason"].as_str().unwrap().contains("[dkim.strict] is required"), "{line}");
    expect(&client.deliver("alice@sender.test", &to, MAIL).await, "250 2.0.0 Ok");
    let content = String::from_utf8(main.messages().last().unwrap().content.to_vec()).unwrap();
    let fields: Vec<&str> =
        content.lines().filter(|line| !line.starts_with('\t')).filter_map(|line| line.split(':').next()).collect();
    let expected =
        ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results", "DKIM-Signature", "Received", "From"];
    assert_eq!(fields[..6], expected, "{content}");
}

/// `a=b; c=d` as pairs in order, without white space in the values.
fn tags(value: &str) -> Vec<String> {
    let mut tags: Vec<String> = value.split(';').map(|tag| tag.split_whitespace().collect::<String>()).collect();
    tags.sort();
    tags
}

/// The first field of that name, without its name.
fn first(message: &str, name: &str) -> String {
    let unfolded = message.replace("\r\n\t", " ");
    unfolded.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned)).unwrap_or_default()
}

#[tokio::test]
async fn replay_writes_what_would_leave_at_a_time_that_is_given() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testdata/arc_valimail/arc_sign.json");
    let Ok(suite) = std::fs::read(&suite) else { return println!("skipped: there is no {}", suite.display()) };
    let suite: Value = serde_json::from_slice(&suite).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut agreed = 0;
    for case in suite.as_array().unwrap() {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let zone = Zone::from_json(&case["zone"]).unwrap();
        let dns = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let headers: Vec<&str> = text("sig-headers").split(':').collect();
        let file = |name: &str| directory.path().join(name);
        let config = format!(
            "[server]\nhostname = \"{}\"\n[dns]\nresolvers = [\"{}\"]\n[chain.c]\nseal = \"k\"\nseal_results = \
             \"fields\"\n[dkim.k]\nkey = \"k.pem\"\nselector = \"{}\"\ndomains = [\"{}\"]\nheaders = {headers:?}\n\
             oversign = []\n",
            text("srv-id"),
            dns.addr(),
            text("sel"),
            text("domain")
        );
        std::fs::write(file("mailweir.toml"), config).unwrap();
        std::fs::write(file("k.pem"), text("privatekey")).unwrap();
        std::fs::write(file("case.eml"), text("message")).unwrap();
        let time = case["t"].as_str().map_or_else(|| case["t"].to_string(), str::to_owned);
        let (eml, out) = (file("case.eml").display().to_string(), file("out").display().to_string());
        let arguments = ["replay", "--chain", "c", "--json", "--time", &time, "--write", &out, &eml];
        let said = command(&file("mailweir.toml"), &arguments).await.unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((said["verdict"].as_str(), said["edits"].as_array().map(Vec::len)), (Some("accept"), Some(0)));
        let written = std::fs::read_to_string(said["written"].as_str().unwrap()).unwrap();
        let before = text("message").replace("\r\n", "\n").replace('\n', "\r\n");
        let added = written.strip_suffix(&before).unwrap_or_else(|| panic!("{written}"));
        let agrees = tags(&first(added, "ARC-Seal")) == tags(text("AS"))
            && tags(&first(added, "ARC-Message-Signature")) == tags(text("AMS"))
            && tags(&first(added, "ARC-Authentication-Results")) == tags(text("AAR"));
        assert!(agrees, "{}: {added}", text("id"));
        agreed += 1;
    }
    println!("ARC sign through replay: {agreed} of 10 agree");
    assert_eq!(agreed, 10);

    // Two messages of one name would be one file.
    let out = directory.path().join("out").display().to_string();
    let config = directory.path().join("mailweir.toml");
    let refused =
        command(&config, &["replay", "--chain", "c", "--write", &out, "a/x.eml", "b/x.eml"]).await.unwrap_err();
    assert!(refused.contains("two messages are called x.eml"), "{refused}");
}
