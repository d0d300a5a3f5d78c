//! The demo's messages, and what should become of each.

use std::net::SocketAddr;

use anyhow::Result;

use super::stage::Stage;

/// One message.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) server: SocketAddr,
    pub(super) sender: &'static str,
    pub(super) recipient: &'static str,
    /// What is sent after DATA, without the final dot.
    pub(super) content: Vec<u8>,
    pub(super) expected: Expected,
    pub(super) needs_clamd: bool,
}

/// What should become of it.
pub(super) enum Expected {
    /// Delivered to the mail server, with Authentication-Results that say pass three times.
    Authenticated,
    /// Delivered to the encryption gateway.
    Encrypted,
    /// Refused with a reply that begins so.
    Refused(&'static str),
}

/// The test file of the antivirus industry, in two halves so that no scanner takes this source for it.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// `<a href="http://surbl-org-permanent-test-point.com/prize">Your prize</a>` in base64.
const LISTED_LINK: &str = "PGEgaHJlZj0iaHR0cDovL3N1cmJsLW9yZy1wZXJtYW5lbnQtdGVzdC1wb2lu\r\n\
    dC5jb20vcHJpemUiPllvdXIgcHJpemU8L2E+\r\n";

pub(super) fn all(stage: &Stage) -> Result<Vec<Case>> {
    let inbound = |what, content, expected| Case {
        what,
        server: stage.inbound,
        sender: "alice@sender.test",
        recipient: "bob@example.com",
        content,
        expected,
        needs_clamd: false,
    };
    let outbound = |what, content, expected| Case {
        server: stage.outbound,
        sender: "bob@example.com",
        recipient: "alice@sender.test",
        ..inbound(what, content, expected)
    };
    let from_alice = |rest: &str| stage.key.sign(&message("alice@sender.test", "bob@example.com", rest));
    let from_bob = |rest: &str| message("bob@example.com", "alice@sender.test", rest);
    Ok(vec![
        inbound("a clean, signed message", from_alice("Subject: lunch\r\n\r\nAt noon?\r\n")?, Expected::Authenticated),
        Case {
            needs_clamd: true,
            ..inbound(
                "a virus (EICAR)",
                from_alice(&format!("Subject: invoice\r\n\r\n{}\r\n", EICAR.concat()))?,
                Expected::Refused("554 5.7.0"),
            )
        },
        inbound(
            "a SURBL-listed link in base64 HTML",
            from_alice(&format!(
                "Subject: you have won\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{LISTED_LINK}"
            ))?,
            Expected::Refused("550 5.7.1"),
        ),
        inbound(
            "a From field forged (p=reject)",
            message("chief@bank.test", "bob@example.com", "Subject: urgent transfer\r\n\r\nPay at once.\r\n"),
            Expected::Refused("550 5.7.1"),
        ),
        outbound(
            "outbound: two card numbers",
            from_bob("Subject: cards\r\n\r\n4111 1111 1111 1111 and 5500-0000-0000-0004\r\n"),
            Expected::Refused("550 5.7.1"),
        ),
        outbound(
            "outbound: marked confidential",
            from_bob("Subject: plans\r\n\r\nThis is confidential.\r\n"),
            Expected::Encrypted,
        ),
        Case {
            server: stage.faulty,
            ..inbound(
                "a message at which a filter traps",
                message("alice@sender.test", "bob@example.com", "X-Fault: trap\r\nSubject: boom\r\n\r\nBoom.\r\n"),
                Expected::Refused("451 4.7.1"),
            )
        },
        inbound(
            "a message smuggled behind LF.LF",
            message(
                "alice@sender.test",
                "bob@example.com",
                "Subject: two in one\r\n\r\nfirst\n.\nMAIL FROM:<chief@bank.test>\r\nRCPT TO:<bob@example.com>\r\n\
                 DATA\r\nFrom: chief@bank.test\r\n\r\nsecond\r\n",
            ),
            Expected::Refused("550 5.6.11"),
        ),
    ])
}

fn message(from: &str, to: &str, rest: &str) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nDate: Thu, 05 Nov 2026 12:00:00 +0000\r\nMessage-ID: <demo@sender.test>\r\n{rest}"
    )
    .into_bytes()
}
