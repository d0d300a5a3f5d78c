//! swaks, msmtp, and TLS by OpenSSL and GnuTLS. Python's smtplib is in `python.rs`.

use std::path::Path;

use mailweir_testkit::certificates::Authority;
use mailweir_testkit::programs::{Program, run};

use super::{body, message, skipped, stage};
use crate::stage::{PATIENCE, sink};

/// Runs a client with `{host}`, `{port}`, `{ca}` and `{message}` filled in, and gives the message that arrived.
async fn sent_by(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let stage = stage(&authority, main.address()).await;
    let file = stage.proxy.directory().join("message.eml");
    std::fs::write(&file, message()).unwrap();
    let (inbound, ca) = (stage.listener("inbound"), authority.ca_file());
    let filled = |argument: &&str| {
        argument
            .replace("{host}", &inbound.ip().to_string())
            .replace("{port}", &inbound.port().to_string())
            .replace("{ca}", path(&ca))
            .replace("{message}", path(&file))
    };
    let arguments: Vec<String> = arguments.iter().map(filled).collect();
    let Some(client) = run(program, &arguments, input) else {
        skipped(program);
        return None;
    };
    let report = Program::finish(client, PATIENCE).await.unwrap();
    assert!(report.success, "{}\n{}", report.text, stage.proxy.log());
    let messages = main.messages();
    assert_eq!(messages.len(), 1, "{}\n{}", report.text, stage.proxy.log());
    assert_eq!(messages[0].recipients, ["bob@example.com"]);
    Some(messages[0].content.to_vec())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn check(arrived: Option<Vec<u8>>, tls: &str) {
    let Some(arrived) = arrived else { return };
    assert_eq!(body(&arrived), body(&message()));
    let text = String::from_utf8_lossy(&arrived);
    assert_eq!(text.contains("(using "), !tls.is_empty());
    assert!(text.contains(tls), "{}", &text[..300]);
}

const SWAKS: [&str; 10] = [
    "--server",
    "{host}",
    "--port",
    "{port}",
    "--from",
    "alice@sender.test",
    "--to",
    "bob@example.com",
    "--data",
    "@{message}",
];

#[tokio::test]
async fn swaks_in_the_clear() {
    check(sent_by("swaks", &SWAKS, b"").await, "");
}

#[tokio::test]
async fn swaks_pipelined() {
    check(sent_by("swaks", &[&SWAKS[..], &["--pipeline"]].concat(), b"").await, "");
}

#[tokio::test]
async fn swaks_over_tls_1_2() {
    check(
        sent_by("swaks", &[&SWAKS[..], &["--tls", "--tls-protocol", "tlsv1_2"]].concat(), b"").await,
        "using TLSv1.2",
    );
}

#[tokio::test]
async fn msmtp_over_tls_with_gnutls() {
    let options = [
        "--file=/dev/null",
        "--host={host}",
        "--port={port}",
        "--tls=on",
        "--tls-starttls=on",
        "--tls-trust-file={ca}",
        "--tls-host-override=mx.example.com",
        "--domain=client.example",
        "--from=alice@sender.test",
        "bob@example.com",
    ];
    check(sent_by("msmtp", &options, &message()).await, "using TLSv1.3");
}

/// What is typed into a TLS client that has done STARTTLS by itself.
fn typed() -> Vec<u8> {
    let stuffed = String::from_utf8(message()).unwrap().replace("\r\n.", "\r\n..");
    let commands =
        "EHLO client.example\r\nMAIL FROM:<alice@sender.test> BODY=8BITMIME\r\nrcpt TO:<bob@example.com>\r\nDATA\r\n";
    format!("{commands}{stuffed}.\r\nQUIT\r\n").into_bytes()
}

#[tokio::test]
async fn openssl_s_client() {
    for (version, name) in [("-tls1_2", "using TLSv1.2"), ("-tls1_3", "using TLSv1.3")] {
        let options = [
            "s_client",
            "-starttls",
            "smtp",
            "-connect",
            "{host}:{port}",
            "-CAfile",
            "{ca}",
            "-verify_return_error",
            "-verify_hostname",
            "mx.example.com",
            "-quiet",
            "-ign_eof",
            version,
        ];
        check(sent_by("openssl", &options, &typed()).await, name);
    }
}

#[tokio::test]
async fn gnutls_cli() {
    for (priority, name) in [("NORMAL:-VERS-TLS1.3", "using TLSv1.2"), ("NORMAL", "using TLSv1.3")] {
        let priority = format!("--priority={priority}");
        let options = [
            "--starttls-proto=smtp",
            "--x509cafile={ca}",
            "--verify-hostname=mx.example.com",
            "--sni-hostname=mx.example.com",
            &priority,
            "--port={port}",
            "{host}",
        ];
        check(sent_by("gnutls-cli", &options, &typed()).await, name);
    }
}
