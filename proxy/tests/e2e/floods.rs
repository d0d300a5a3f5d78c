//! Floods: of commands, errors, recipients, header fields, parts. Each ends where its cap says, with the reply that the cap
//! has, and whoever sends an ordinary message meanwhile gets it through.

use std::fmt::Write as _;

use crate::client::{Client, expect, small_message};
use crate::filter::{Say, saying};
use crate::guests;
use crate::stage::{Setup, Stage, sink};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "none"
route = "main"
relay_domains = ["example.com"]

[listener.few]
listen = ["@few"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
limits = { recipients = 10 }

[listener.refusing]
listen = ["@refusing"]
chain = "refusing"
route = "main"
relay_domains = ["example.com"]

[listener.scanned]
listen = ["@scanned"]
chain = "scanned"
route = "main"
relay_domains = ["example.com"]

[chain.none]

[chain.refusing]
plugins = ["refusing"]

[chain.scanned]
plugins = ["dlp", "text-length", "counts-parts"]

[plugin.refusing]

[plugin.dlp]
grants = ["scan"]
timeout = "60s"
cpu = "30s"
config = { rules = [{ name = "confidential", keywords = ["confidential"], action = { tag = "confidential" } }] }

[plugin.text-length]
grants = ["scan"]
timeout = "60s"
cpu = "30s"

[plugin.counts-parts]
timeout = "60s"
cpu = "30s"

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

async fn stage(main: std::net::SocketAddr) -> Stage {
    let refusing = saying(&[("rcpt", Say::Reject(550, "not you"))]);
    Setup::new(CONFIG)
        .address("main", main)
        .filter("refusing", &refusing)
        .plugin("dlp")
        .filter("text-length", &guests::component("text-length"))
        .filter("counts-parts", &guests::component("counts-parts"))
        .start()
        .await
}

/// All replies until the server closes, to this said as fast as it is taken.
async fn replies_to(stage: &Stage, listener: &str, before: &[&str], flood: &str, count: usize) -> Vec<String> {
    let mut client = stage.client(listener).await;
    for line in before {
        expect(&client.say(line).await, "250");
    }
    let mut replies = Vec::new();
    // A bit at a time, so that neither side waits for the other.
    for _ in 0..count / 10 {
        if client.try_send(flood.repeat(10)).await.is_err() {
            break;
        }
        for _ in 0..10 {
            match client.next_reply().await {
                Some(reply) => replies.push(reply),
                None => return replies,
            }
        }
    }
    panic!("{flood:?}: {} replies and no end; the last {:?}", replies.len(), replies.last());
}

#[tokio::test]
async fn commands_that_lead_nowhere_end_the_connection() {
    let main = sink().await;
    let stage = stage(main.address()).await;
    let mail = "MAIL FROM:<alice@sender.test>";
    // What is said before, what is said over and over, and the most replies to it: 100 commands that lead nowhere, and 20
    // errors.
    for (listener, before, flood, most) in [
        ("inbound", &[][..], "NOOP\r\n", 120),
        ("inbound", &[], "RSET\r\n", 120),
        ("inbound", &[], "VRFY bob\r\n", 120),
        ("inbound", &[], "HELP\r\n", 120),
        ("inbound", &[], "EHLO client.example\r\n", 120),
        ("inbound", &[], "HELO client.example\r\n", 120),
        ("inbound", &[], "MAIL FROM:<alice@sender.test>\r\nRSET\r\n", 240),
        ("inbound", &[], "AUTH PLAIN AGEAYg==\r\n", 20),
        ("inbound", &[], "EXPN list\r\n", 20),
        ("inbound", &[], "STARTTLS\r\n", 20),
        ("inbound", &[], "XCLIENT ADDR=192.0.2.1\r\n", 20),
        ("inbound", &[], "\r\n", 20),
        ("inbound", &[], "\0\u{1}\u{7f}\r\n", 20),
        ("inbound", &[], "DATA\r\n", 20),
        ("inbound", &[], "BDAT 1 LAST\r\nx", 20),
        ("inbound", &[], "RCPT TO:<bob@example.com>\r\n", 20),
        ("inbound", &[mail], "RCPT TO:<bob@elsewhere.test>\r\n", 120),
        ("inbound", &[mail], "RCPT TO:<bob>\r\n", 20),
        ("inbound", &[mail], "MAIL FROM:<alice@sender.test>\r\n", 20),
        ("inbound", &[mail, "RCPT TO:<bob@example.com>"], "BDAT 0\r\n", 120),
        ("refusing", &[mail], "RCPT TO:<bob@example.com>\r\n", 120),
    ] {
        let replies = replies_to(&stage, listener, before, flood, 2000).await;
        let last = replies.last().unwrap();
        assert!(last.starts_with("421 4.7.0"), "{flood:?}: {last}");
        assert!(replies.len() <= most, "{flood:?}: {} replies", replies.len());
    }
    expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250");
    assert_eq!((main.count(), stage.metrics().await.sum("mailweir_message_bytes_in_memory", &[])), (1, 0.0));
}

/// One line without an end costs no more than the buffer it is read into.
#[tokio::test]
async fn a_line_without_end_is_one_error() {
    let main = sink().await;
    let stage = stage(main.address()).await;
    let mut client = stage.client("inbound").await;
    for _ in 0..1000 {
        client.send("x".repeat(10_000)).await;
    }
    client.send("\r\n").await;
    expect(&client.reply().await, "500 5.5.2");
    expect(&client.deliver_to_bob("x").await, "250");
}

/// Recipients beyond the cap wait for another message; those before it get this one. Whoever goes on and on is cut off.
#[tokio::test]
async fn recipients_have_a_cap() {
    let main = sink().await;
    let stage = stage(main.address()).await;
    let mut client = stage.client("few").await;
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    for number in 0..50 {
        let reply = client.say(&format!("RCPT TO:<user{number}@example.com>")).await;
        expect(&reply, if number < 10 { "250" } else { "452 4.5.3" });
    }
    expect(&client.say("DATA").await, "354");
    client.send(small_message("x") + ".\r\n").await;
    expect(&client.reply().await, "250");
    assert_eq!(main.messages()[0].recipients.len(), 10);
    let replies =
        replies_to(&stage, "few", &["MAIL FROM:<alice@sender.test>"], "RCPT TO:<bob@example.com>\r\n", 2000).await;
    expect(replies.last().unwrap(), "421 4.7.0");
    assert!(replies.len() < 300, "{}", replies.len());
}

/// Header sections and MIME trees that cost more to read than to write.
#[tokio::test]
async fn floods_within_a_message_are_refused_or_cost_little() {
    let main = sink().await;
    let stage = stage(main.address()).await;
    let fields = |line: &str, count: usize| format!("{}\r\nbody\r\n", line.repeat(count));
    let multipart = |parts: &str| format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    let nested: String =
        (0..10_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
    let mut continuations = "Content-Disposition: attachment".to_owned();
    (0..10_000).for_each(|n| write!(continuations, ";\r\n filename*{n}*=%41").unwrap());
    let list = |name: &str| format!("{name}: {}\r\n\r\nbody\r\n", vec!["a@b.example"; 60_000].join(",\r\n "));
    let cases = [
        ("many fields", fields("A: b\r\n", 100_000), "552 5.3.4"),
        ("Received fields", fields("Received: from a by b; Thu, 01 Jan 1970 00:00:00 +0000\r\n", 10_000), "55"),
        ("just too many hops", fields("Received: from a by b; Thu, 01 Jan 1970 00:00:00 +0000\r\n", 101), "554 5.4.6"),
        ("one line of 2 MB", format!("Subject: {}\r\n\r\n", "x".repeat(2 << 20)), "552 5.3.4"),
        ("one folded field of 2 MB", format!("Subject: x{}\r\n\r\n", "\r\n x".repeat(500_000)), "552 5.3.4"),
        ("a header section without end", "A: b\r\n".repeat(400_000), "552 5.3.4"),
        (
            "a line without a colon",
            "Subject: x\r\nno colon here\r\nFrom: a@b.example\r\n\r\nbody\r\n".to_owned(),
            "250",
        ),
        ("only colons", fields(":\r\n", 900), "250"),
        ("nested multiparts", nested, "55"),
        ("nested messages", "Content-Type: message/rfc822\r\n\r\n".repeat(10_000), "55"),
        ("a million parts", multipart(&"--b\r\n\r\n".repeat(1_000_000)), "55"),
        ("cyclic boundaries", multipart(&"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".repeat(40)), "250"),
        ("fields of a part", multipart(&format!("--b\r\n{}\r\n", "A: b\r\n".repeat(100_000))), "55"),
        ("nested comments", format!("Content-Type: text/plain {}\r\n\r\nbody\r\n", "(".repeat(500_000)), ""),
        ("parameters", format!("Content-Type: text/plain{}\r\n\r\nbody\r\n", ";a=b".repeat(200_000)), ""),
        ("continued parameters", format!("{continuations}\r\n\r\nbody\r\n"), ""),
        ("encoded words", format!("Subject: {}\r\n\r\nbody\r\n", "=?utf-8?b?QUFB?= ".repeat(60_000)), "250"),
        ("half encoded words", format!("Subject: {}\r\n\r\nbody\r\n", "=?utf-8?q?".repeat(100_000)), "250"),
        ("addresses in To", list("To"), "250"),
        ("addresses in From", list("From"), "250"),
    ];
    for (name, content, expected) in cases {
        let mut client = stage.client("scanned").await;
        client.begin_data("alice@sender.test", &["bob@example.com"]).await;
        client.send(content).await;
        client.send("\r\n.\r\n").await;
        let reply = client.reply().await;
        // A refusal that the message itself is the reason for, or a message that was looked at as a whole.
        let is_verdict = reply.starts_with("250") || reply.starts_with("55");
        assert!(is_verdict && reply.starts_with(expected), "{name}: {reply}");
        expect(&client.deliver_to_bob(name).await, "250");
    }
    assert!(stage.proxy.log().lines().all(|line| !line.contains("mailweir-skipped")), "{}", stage.proxy.log());
    assert_eq!(stage.metrics().await.sum("mailweir_plugin_failures_total", &[]), 0.0);
    assert_eq!(stage.metrics().await.sum("mailweir_message_bytes_in_memory", &[]), 0.0);
}

/// Many connections at once from one client, each with half a command: those beyond the cap are turned away, and another
/// client is served.
#[tokio::test]
async fn connections_of_one_client_have_a_cap() {
    let main = sink().await;
    let stage = stage(main.address()).await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..150 {
        let mut client = Client::connect(stage.listener("inbound")).await;
        match client.next_reply().await {
            Some(reply) if reply.starts_with("220") => {
                client.send("EHLO cli").await;
                held.push(client);
            }
            Some(reply) => {
                expect(&reply, "421 4.7.0");
                refused += 1;
            }
            None => refused += 1,
        }
    }
    assert_eq!((held.len(), refused), (100, 50));
    // From another address of the loopback network.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.77:0".parse().unwrap()).unwrap();
    let mut other = Client::on(socket.connect(stage.listener("inbound")).await.unwrap());
    expect(&other.reply().await, "220");
    expect(&other.say("EHLO client.example").await, "250");
    expect(&other.deliver_to_bob("x").await, "250");
}
