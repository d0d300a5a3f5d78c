//! TLS with clients: STARTTLS, TLS from the first byte, certificates that change, tickets.

use std::sync::Arc;

use mailweir_testkit::certificates::{Authority, client_config};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, expect};
use crate::stage::{PATIENCE, Setup, Stage, sink};

const CONFIG: &str = r#"
[listener.opportunistic]
listen = ["@opportunistic"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
tls = { mode = "opportunistic", certificate = "mx.pem", key = "mx.key" }

[listener.implicit]
listen = ["@implicit"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
tls = { mode = "implicit", certificate = "mx.pem", key = "mx.key" }

[listener.other]
listen = ["@other-listener"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
tls = { mode = "implicit", certificate = "mx.pem", key = "mx.key" }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

const NAME: &str = "mx.example.com";

async fn stage(authority: &Authority, main: std::net::SocketAddr) -> Stage {
    let setup = Setup::new(CONFIG).address("main", main);
    write_certificate(authority, setup.directory());
    setup.start().await
}

fn write_certificate(authority: &Authority, directory: &std::path::Path) {
    authority.issue_into(&[NAME], &directory.join("mx.pem"), &directory.join("mx.key")).unwrap();
}

#[tokio::test]
async fn messages_over_tls_and_the_field_that_says_so() {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let stage = stage(&authority, main.address()).await;
    let ca = authority.ca_file();
    let mut plain = stage.client("opportunistic").await;
    expect(&plain.deliver_to_bob("x").await, "250");
    let mut client = plain.start_tls(&ca, NAME).await;
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "503");
    let offered = client.say("EHLO client.example").await;
    assert!(!offered.contains("STARTTLS"), "{offered}");
    expect(&client.deliver_to_bob("x").await, "250");
    let mut implicit = Client::connect_tls(stage.listener("implicit"), &ca, NAME).await;
    expect(&implicit.reply().await, "220");
    expect(&implicit.say("EHLO client.example").await, "250");
    expect(&implicit.say("STARTTLS").await, "503");
    expect(&implicit.deliver_to_bob("x").await, "250");
    let protocols: Vec<bool> = main
        .messages()
        .iter()
        .map(|message| {
            let content = String::from_utf8_lossy(&message.content);
            content.contains("with ESMTPS id") && content.contains("(using TLSv1.3 with cipher ")
        })
        .collect();
    assert_eq!(protocols, [false, true, true]);
    let established = stage.metrics().await.sum("mailweir_tls_handshakes_total", &["result=\"established\""]);
    assert_eq!(established, 2.0);
}

/// CVE-2011-0411: what came in the clear is not from within TLS.
#[tokio::test]
async fn what_is_pipelined_behind_starttls_is_dropped() {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let stage = stage(&authority, main.address()).await;
    let mut client = stage.client("opportunistic").await;
    let injected = "STARTTLS\r\nEHLO eve.example\r\nMAIL FROM:<eve@sender.test>\r\nRCPT TO:<bob@example.com>\r\n";
    client.send(injected).await;
    expect(&client.reply().await, "220");
    let mut client = client.shake_hands(&authority.ca_file(), NAME).await;
    // Were anything of it left, its replies would come first.
    expect(&client.say("NOOP").await, "250 2.0.0");
    expect(&client.say("DATA").await, "503");
    expect(&client.say("EHLO client.example").await, "250-mx.example.com");
    expect(&client.deliver_to_bob("x").await, "250");
    assert_eq!(main.messages()[0].sender, "alice@sender.test");
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_stay() {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let stage = stage(&authority, main.address()).await;
    let ca = authority.ca_file();
    let mut old = Client::connect_tls(stage.listener("implicit"), &ca, NAME).await;
    expect(&old.reply().await, "220");
    expect(&old.say("EHLO client.example").await, "250");
    write_certificate(&authority, stage.proxy.directory());
    stage.proxy.wait_for_log("certificate reloaded", PATIENCE).await.unwrap();
    let new = Client::connect_tls(stage.listener("implicit"), &ca, NAME).await;
    assert_ne!(old.certificate, new.certificate);
    expect(&old.deliver_to_bob("x").await, "250");
    // Nonsense in the files leaves the last good one.
    std::fs::write(stage.proxy.directory().join("mx.pem"), "nonsense").unwrap();
    stage.proxy.wait_for_log("the old one stays", PATIENCE).await.unwrap();
    let last = Client::connect_tls(stage.listener("implicit"), &ca, NAME).await;
    assert_eq!(last.certificate, new.certificate);
}

/// A session of one listener does not resume on another.
#[tokio::test]
async fn tickets_are_good_for_their_listener_only() {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let stage = stage(&authority, main.address()).await;
    let config = client_config(&authority.ca_file()).unwrap();
    let (implicit, other) = (stage.listener("implicit"), stage.listener("other"));
    assert_eq!(handshake(&config, implicit).await, HandshakeKind::Full);
    assert_eq!(handshake(&config, implicit).await, HandshakeKind::Resumed);
    assert_eq!(handshake(&config, other).await, HandshakeKind::Full);
}

/// Nor under another certificate, which the client has not seen, whether a reload brought it or the files changed. Each
/// version of TLS has its own way to resume.
#[tokio::test]
async fn tickets_are_good_for_their_certificate_only() {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let stage = stage(&authority, main.address()).await;
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let configs = versions.map(|version| client_config_with(&authority.ca_file(), version));
    let implicit = stage.listener("implicit");
    for round in ["at first", "after a reload", "after the files changed"] {
        for (config, version) in configs.iter().zip(versions) {
            assert_eq!(handshake(config, implicit).await, HandshakeKind::Full, "{round}, {version:?}");
            assert_eq!(handshake(config, implicit).await, HandshakeKind::Resumed, "{round}, {version:?}");
        }
        let logged = || stage.proxy.log().matches("certificate reloaded").count();
        let before = logged();
        write_certificate(&authority, stage.proxy.directory());
        if round == "at first" {
            stage.reload(CONFIG).await;
            stage.wait_for_metric("mailweir_reloads_total", &["result=\"success\""], 1.0).await;
        }
        while round != "after the files changed" && logged() == before {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn client_config_with(ca: &std::path::Path, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn handshake(config: &Arc<ClientConfig>, server: std::net::SocketAddr) -> HandshakeKind {
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TcpStream::connect(server).await.unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
    stream.write_all(b"QUIT\r\n").await.unwrap();
    // Tickets come behind the handshake.
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("221"), "{said}");
    stream.get_ref().1.handshake_kind().unwrap()
}
