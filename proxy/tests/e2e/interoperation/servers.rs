//! Exim, OpenSMTPD and Postfix: behind us, and relaying to us. Postfix behind us is in `postfix.rs`.

use mailweir_testkit::certificates::Authority;
use mailweir_testkit::peers::{Peer, Role, Software};
use mailweir_testkit::ports;
use mailweir_testkit::postfix::{Delivery, Options, Postfix};
use mailweir_testkit::programs::run;

use super::{body, certificate, message, skipped, stage};
use crate::client::{Client, expect};
use crate::stage::{PATIENCE, sink};

/// Sends the message by DATA and by BDAT.
async fn send(client: &mut Client, recipient: &str) {
    let message = message();
    for framing in ["DATA", "BDAT"] {
        expect(&client.say("MAIL FROM:<alice@sender.test> BODY=8BITMIME").await, "250");
        expect(&client.say(&format!("RCPT TO:<{recipient}>")).await, "250");
        if framing == "DATA" {
            expect(&client.say("DATA").await, "354");
            let stuffed = String::from_utf8(message.clone()).unwrap().replace("\r\n.", "\r\n..");
            client.send(stuffed + ".\r\n").await;
        } else {
            client.send(format!("BDAT {} LAST\r\n", message.len())).await;
            client.send(&message).await;
        }
        expect(&client.reply().await, "250");
    }
}

async fn behind_us(software: Software, protocol: &str) {
    let mut authority = Authority::new().unwrap();
    let certificate = certificate(&mut authority);
    let Some(peer) = Peer::start(software, Role::Mailbox, &certificate).await.unwrap() else {
        return skipped("target/peers, or not root");
    };
    let stage = stage(&authority, peer.address()).await;
    send(&mut stage.client("inbound").await, "bob@example.com").await;
    let stored = peer.wait_for_messages(2, PATIENCE).await.unwrap();
    for message in &stored {
        let text = String::from_utf8_lossy(message);
        let received = format!(" with {protocol}");
        assert!(text.contains("by mx.example.com with ESMTP"), "{}", &text[..600]);
        assert!(text.contains(&received), "{}\n{}\n{}", &text[..600], stage.proxy.log(), peer.log());
        assert_eq!(body(message), body(&super::message()));
    }
}

#[tokio::test]
async fn exim_behind_us() {
    behind_us(Software::Exim, "esmtps").await;
}

/// Debian 12's offers STARTTLS and then fails every handshake, OpenSSL's own client's too: mail goes on in the clear.
#[tokio::test]
async fn opensmtpd_behind_us() {
    behind_us(Software::OpenSmtpd, "ESMTP id").await;
}

/// Whatever relays to us says STARTTLS, since we offer it.
async fn relayed_to_us(software: Option<Software>) {
    let (main, mut authority) = (sink().await, Authority::new().unwrap());
    let certificate = certificate(&mut authority);
    let stage = stage(&authority, main.address()).await;
    let to = stage.listener("inbound");
    let (address, log): (_, Box<dyn Fn() -> String>) = match software {
        Some(software) => match Peer::start(software, Role::Relay(to), &certificate).await.unwrap() {
            Some(peer) => (peer.address(), Box::new(move || peer.log())),
            None => return skipped("target/peers, or not root"),
        },
        None => {
            let options = Options { delivery: Delivery::Relay(to), ..Options::default() };
            match Postfix::start(&options).await.unwrap() {
                Some(postfix) => (postfix.address(), Box::new(move || postfix.log())),
                None => return skipped("Postfix, or not root"),
            }
        }
    };
    let mut client = Client::greeted(address).await;
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    expect(&client.say("DATA").await, "354");
    let stuffed = String::from_utf8(message()).unwrap().replace("\r\n.", "\r\n..");
    client.send(stuffed + ".\r\n").await;
    expect(&client.reply().await, "250");
    let wait = async {
        while main.messages().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("nothing was relayed\n{}\n{}", log(), stage.proxy.log());
    }
    let message = main.messages()[0].content.clone();
    assert_eq!(body(&message), body(&super::message()));
    let text = String::from_utf8_lossy(&message);
    assert!(text.starts_with("Received: from ") && text.contains("(using TLSv1.3"), "{}", &text[..400]);
    assert_eq!(main.messages().len(), 1);
}

#[tokio::test]
async fn exim_relays_to_us() {
    relayed_to_us(Some(Software::Exim)).await;
}

#[tokio::test]
async fn opensmtpd_relays_to_us() {
    relayed_to_us(Some(Software::OpenSmtpd)).await;
}

#[tokio::test]
async fn postfix_relays_to_us() {
    relayed_to_us(None).await;
}

/// A sink in a dozen lines of Python.
const AIOSMTPD: &str = r#"
import asyncio, sys
from aiosmtpd.controller import Controller

class Handler:
    async def handle_DATA(self, server, session, envelope):
        open(sys.argv[3], "ab").write(envelope.original_content)
        return "250 2.0.0 aiosmtpd has it"

controller = Controller(Handler(), hostname=sys.argv[1], port=int(sys.argv[2]), data_size_limit=10**8)
controller.start()
asyncio.new_event_loop().run_forever()
"#;

#[tokio::test]
async fn aiosmtpd_behind_us() {
    let directory = tempfile::tempdir().unwrap();
    let stored = directory.path().join("stored");
    let address = ports::free().unwrap();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let arguments = ["-c", AIOSMTPD, &host, &port, stored.to_str().unwrap()];
    // The system's, which is the one that Debian's packages are for.
    let Some(server) = run("/usr/bin/python3", &arguments, b"") else {
        return skipped("/usr/bin/python3");
    };
    if ports::wait_until_open(address, PATIENCE).await.is_err() {
        assert!(server.text().contains("ModuleNotFoundError"), "{}", server.text());
        return skipped("aiosmtpd");
    }
    let stage = stage(&Authority::new().unwrap(), address).await;
    let mut client = stage.client("inbound").await;
    expect(&client.say("MAIL FROM:<alice@sender.test> BODY=8BITMIME").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    expect(&client.say("DATA").await, "354");
    client.send(String::from_utf8(message()).unwrap().replace("\r\n.", "\r\n..") + ".\r\n").await;
    assert_eq!(client.reply().await, "250 2.0.0 aiosmtpd has it");
    assert_eq!(body(&std::fs::read(stored).unwrap()), body(&message()));
}
