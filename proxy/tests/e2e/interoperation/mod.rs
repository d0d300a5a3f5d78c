//! Servers and clients that others wrote, on either side of the proxy.

mod clients;
mod servers;

use mailweir_testkit::certificates::{Authority, ServerCertificate};

use crate::stage::{Setup, Stage};

/// STARTTLS on both sides, where the other end can.
const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
tls = { mode = "opportunistic", certificate = "mx.pem", key = "mx.key" }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "opportunistic"
"#;

/// A message with what goes wrong easily: dots, a long line, a line of 998 octets, bytes beyond ASCII, trailing spaces.
fn message() -> Vec<u8> {
    let mut message = b"From: alice@sender.test\r\nTo: bob@example.com\r\nSubject: interoperation\r\n\
        Message-ID: <1@sender.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        .to_vec();
    message.extend_from_slice(".\r\n..\r\n.dot \r\nFrom here\r\nGr\u{fc}\u{df}e\r\n\t\r\n".as_bytes());
    message.extend_from_slice(&[b'x'; 998]);
    message.extend_from_slice(b"\r\n");
    message.extend(b"a line of a long text, said again and again\r\n".repeat(2000));
    message
}

/// What follows the header section, with newlines as a mailbox has them. mbox quoting is undone.
fn body(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).replace("\r\n", "\n").replace("\n>From ", "\nFrom ");
    text.split_once("\n\n").unwrap_or_default().1.trim_end_matches('\n').to_owned()
}

/// A proxy in front of `main`, with a certificate.
async fn stage(authority: &Authority, main: std::net::SocketAddr) -> Stage {
    let setup = Setup::new(CONFIG).address("main", main);
    let directory = setup.directory().to_owned();
    authority.issue_into(&["mx.example.com"], &directory.join("mx.pem"), &directory.join("mx.key")).unwrap();
    let stage = setup.start().await;
    stage.wait_for_route("main").await;
    stage
}

fn certificate(authority: &mut Authority) -> ServerCertificate {
    authority.issue(&["peer.example.test", "127.0.0.1"]).unwrap()
}

#[expect(clippy::print_stdout, reason = "a test says that it is skipped")]
fn skipped(missing: &str) {
    println!("skipped: no {missing}");
}
