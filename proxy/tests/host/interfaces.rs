//! The interfaces as a guest sees them: what is granted works, and is bounded.

use std::fmt::Write as _;
use std::time::Duration;

use mailweir::config::{self, Grant};
use mailweir::host::{Failure, MailView, Options, Sandbox};
use mailweir::message::MessageFault;
use mailweir::services::antivirus::Clamd;
use mailweir_testkit::dns::{Zone, ZoneServer};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Bench, cause, facts, with_grants};

/// A sandbox of this guest, granted these.
async fn granted(bench: &Bench, name: &str, grants: &[Grant]) -> Sandbox {
    let plugin = bench.host.load(name, &with_grants(bench.guest(name), grants)).await.unwrap();
    bench.sandbox(&plugin).await.unwrap()
}

/// A bench whose resolver is this server.
fn resolving(server: &ZoneServer) -> Bench {
    let options = Options { slots: Some(16), ..Options::default() };
    Bench::in_folder(tempfile::tempdir().unwrap(), options, server.addr())
}

async fn zone(zone: Zone) -> ZoneServer {
    ZoneServer::start(zone, "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn scan_finds_patterns() {
    let bench = Bench::new();
    let mut sandbox = granted(&bench, "finds", &[Grant::Scan]).await;
    let view = bench.view(b"Subject: Hello\r\n\r\nHELLO, and =\r\nhello again\r\n");
    let decision = sandbox.end(&view).await.unwrap().0;
    assert_eq!((decision.score, decision.reason.as_str()), (Some(3.0), "hello"));
    let config = with_grants(bench.guest("compile-error"), &[Grant::Scan]);
    let error = bench.load_error("guest", &config).await.to_string();
    assert!(error.contains("config: ") && error.contains("unclosed"), "{error}");
}

#[tokio::test]
async fn scan_digests_messages_small_and_large() {
    let bench = Bench::new();
    for size in [10, 1 << 20] {
        let mut message = b"Subject: x\r\n\r\n".to_vec();
        message.extend(b"0123456789abcde\r\n".repeat(size / 17 + 1));
        let mut sandbox = granted(&bench, "digests", &[Grant::Scan]).await;
        let score = sandbox.end(&bench.view(&message)).await.unwrap().0.score;
        assert_eq!(score, Some(f32::from(Sha256::digest(&message)[0])));
    }
}

#[tokio::test]
async fn state_outlives_transactions_and_is_each_plugins_own() {
    let bench = Bench::new();
    let config = with_grants(bench.guest("counts-in-state"), &[Grant::State]);
    let one = bench.host.load("one", &config).await.unwrap();
    let other = bench.host.load("other", &config).await.unwrap();
    for (plugin, expected) in [(&one, 1.0), (&one, 2.0), (&other, 1.0), (&one, 3.0)] {
        let mut sandbox = bench.sandbox(plugin).await.unwrap();
        assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(expected));
    }
    let failure = granted(&bench, "hoards-in-state", &[Grant::State]).await.mail(b"").await.unwrap_err();
    assert_eq!(failure.to_string(), "trap: state.set: the value is larger than 65536 bytes");
}

#[tokio::test]
async fn dns_is_looked_up_and_a_list_counts_as_many_calls() {
    let server = zone(Zone::new().a("2.0.0.127.bl.test", [127, 0, 0, 2])).await;
    let bench = resolving(&server);
    let mut sandbox = granted(&bench, "looks-up", &[Grant::Dns]).await;
    assert!(sandbox.mail(b"").await.is_ok(), "a name that does not exist is an answer");
    let mut sandbox = granted(&bench, "looks-up-many", &[Grant::Dns]).await;
    assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(300.0));
    assert_eq!(sandbox.cost().host_calls, 256, "the rest is not asked for");
    let few = config::Plugin { host_calls: 100, ..with_grants(bench.guest("looks-up-many"), &[Grant::Dns]) };
    let few = bench.host.load("few", &few).await.unwrap();
    let failure = bench.sandbox(&few).await.unwrap().mail(b"").await.unwrap_err();
    assert_eq!(failure.to_string(), "timeout: more than 100 host calls in a transaction");
}

#[tokio::test]
async fn authentication_checks_the_client() {
    let server = zone(Zone::new().txt("example.com", "v=spf1 ip4:192.0.2.0/24 -all")).await;
    let bench = resolving(&server);
    let config = with_grants(bench.guest("spf"), &[Grant::Authentication]);
    let plugin = bench.host.load("spf", &config).await.unwrap();
    let evaluation = bench.evaluation();
    evaluation.mail("alice@example.com");
    let mut sandbox = plugin.sandbox(&facts(), &evaluation).await.unwrap();
    let decision = sandbox.mail(b"alice@example.com").await.unwrap();
    assert_eq!((decision.score, decision.reason.as_str()), (Some(0.0), "example.com"), "pass is the first outcome");
    let early = with_grants(bench.guest("spf-too-early"), &[Grant::Authentication]);
    let error = bench.load_error("guest", &early).await.to_string();
    assert!(error.contains("trap: sender authentication outside of a transaction"), "{error}");
}

#[tokio::test]
async fn authentication_knows_the_authors() {
    let bench = Bench::new();
    for (message, reason, fault) in [
        (&b"From: Alice <alice@example.com>\r\n\r\n"[..], "alice@example.com", None),
        (b"Subject: x\r\n\r\n", "", Some(1.0)),
        (b"From: a@example.com\r\nFrom: b@example.com\r\n\r\n", "", Some(2.0)),
    ] {
        let mut sandbox = granted(&bench, "authors", &[Grant::Authentication]).await;
        let decision = sandbox.end(&bench.view(message)).await.unwrap().0;
        assert_eq!((decision.reason.as_str(), decision.score), (reason, fault));
    }
}

#[tokio::test]
async fn antivirus_hands_on_what_the_daemon_says() {
    let daemon = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = daemon.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in ["1: stream: OK\0", "1: stream: Eicar-Test-Signature FOUND\0", ""] {
            let (mut connection, _) = daemon.accept().await.unwrap();
            let mut received = Vec::new();
            while !received.ends_with(&[0; 4]) {
                assert!(connection.read_buf(&mut received).await.unwrap() > 0);
            }
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let clamd = Clamd::new(&config::Antivirus {
        clamd: config::ClamdAddress::Tcp(address.to_string()),
        max_scan: 1 << 20,
        connections: 4,
        timeout: Duration::from_secs(30),
    });
    let bench = Bench::scanning(clamd.clone());
    let view = bench.view(b"Subject: x\r\n\r\nHello\r\n");
    let mut sandbox = granted(&bench, "scans", &[Grant::Antivirus]).await;
    let clean = sandbox.end(&view).await.unwrap().0;
    assert_eq!((clean.score, clean.reason.as_str()), (Some(0.0), ""));
    let infected = sandbox.end(&view).await.unwrap().0;
    assert_eq!((infected.score, infected.reason.as_str()), (Some(1.0), "Eicar-Test-Signature"));
    // A scan that is under way is waited for, not begun again; here it fails.
    let scan = Some(clamd.begin().finish(&view.message));
    let streamed = Arc::new(MailView { scan, ..MailView::clone(&view) });
    for _ in 0..2 {
        let failed = sandbox.end(&streamed).await.unwrap().0;
        assert_eq!(failed.score, Some(2.0));
        assert!(!failed.reason.is_empty());
    }
}

#[tokio::test]
async fn reads_are_clamped() {
    let bench = Bench::new();
    let mut message = b"Subject: x\r\n\r\n".to_vec();
    message.extend(b"0123456789abcd\r\n".repeat(200_000));
    let mut sandbox = bench.ready("reads-it-all").await;
    assert_eq!(sandbox.end(&bench.view(&message)).await.unwrap().0.score, Some(1_048_576.0));
}

#[tokio::test]
async fn a_fault_of_the_message_is_not_the_filters() {
    let bench = Bench::new();
    let of_parts = |count: usize| {
        let mut message = String::from("Content-Type: multipart/mixed; boundary=b\r\n\r\n");
        for number in 0..count {
            write!(message, "--b\r\n\r\npart {number}\r\n").unwrap();
        }
        message + "--b--\r\n"
    };
    let mut sandbox = bench.ready("counts-parts").await;
    assert_eq!(sandbox.end(&bench.view(of_parts(3).as_bytes())).await.unwrap().0.score, Some(4.0));
    let failure = sandbox.end(&bench.view(of_parts(200).as_bytes())).await.unwrap_err();
    assert!(matches!(failure, Failure::Message(MessageFault::TooManyParts(100))), "{failure}");
    assert_eq!(bench.host.counters().live, 0);
    // Nor is it when the filter is one that fails.
    let failure = bench.ready("trap").await.mail(b"").await.unwrap_err();
    assert_eq!(cause(&failure), mailweir::host::Cause::Trap);
}
