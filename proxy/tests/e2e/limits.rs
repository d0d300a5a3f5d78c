//! Caps on connections, and timeouts.

use std::time::Duration;

use crate::client::{Client, expect};
use crate::stage::{PATIENCE, Setup, Stage, sink};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
limits = { LIMITS }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

async fn with_limits(limits: &str, main: std::net::SocketAddr) -> Stage {
    Setup::new(&CONFIG.replace("LIMITS", limits)).address("main", main).start().await
}

#[tokio::test]
async fn connections_beyond_the_caps_are_turned_away_and_places_are_given_back() {
    let main = sink().await;
    for (limits, reason) in [("connections = 2", "connections"), ("connections_per_ip = 2", "connections_per_ip")] {
        let stage = with_limits(limits, main.address()).await;
        let (first, mut second) = (stage.client("inbound").await, stage.client("inbound").await);
        let mut third = Client::connect(stage.listener("inbound")).await;
        expect(&third.reply().await, "421 4.7.0");
        assert_eq!(third.next_reply().await, None);
        let reason = format!("reason=\"{reason}\"");
        let refused = stage.metrics().await.sum("mailweir_connections_refused_total", &[&reason]);
        assert_eq!(refused, 1.0);
        drop(first);
        let active = async {
            while stage.metrics().await.sum("mailweir_connections", &[]) > 1.0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), active).await.unwrap();
        expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250");
        expect(&second.deliver_to_bob("x").await, "250");
    }
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let main = sink().await;
    let stage = with_limits("command_timeout = \"300ms\", data_timeout = \"300ms\"", main.address()).await;
    let mut silent = stage.client("inbound").await;
    expect(&silent.reply().await, "421 4.4.2");
    assert_eq!(silent.next_reply().await, None);
    let mut halfway = stage.client("inbound").await;
    halfway.begin_data("alice@sender.test", &["bob@example.com"]).await;
    halfway.send("Subject: x\r\n").await;
    expect(&halfway.reply().await, "421 4.4.2");
    assert_eq!(halfway.next_reply().await, None);
    assert_eq!(stage.wait_for_message_lines(1).await[0]["verdict"], "aborted");
    assert_eq!(main.count(), 0);
}

/// Neither does a byte now and then keep one alive, nor a command: each of these comes in time, by itself.
#[tokio::test]
async fn slowness_ends_a_connection() {
    let main = sink().await;
    let stage = with_limits("command_timeout = \"400ms\", data_timeout = \"400ms\"", main.address()).await;
    let envelope = ["EHLO client.example\r\n", "MAIL FROM:<alice@sender.test>\r\n", "RCPT TO:<bob@example.com>\r\n"];
    // What is said at once, and then over and over.
    for (name, at_once, trickle) in [
        ("the bytes of a command", &envelope[..0], "x"),
        ("commands that are accepted", &envelope[..2], envelope[2]),
        ("commands that lead nowhere", &envelope[..1], "NOOP\r\n"),
        ("the bytes of a message", &[envelope[0], envelope[1], envelope[2], "DATA\r\n"], "x"),
        ("tiny chunks", &envelope[..3], "BDAT 1\r\nx"),
        ("empty chunks", &envelope[..3], "BDAT 0\r\n"),
    ] {
        let mut client = Client::connect(stage.listener("inbound")).await;
        let mut expected = at_once.len() + 1;
        client.send(at_once.concat()).await;
        while expected > 0 {
            expected -= 1;
            expect(&client.reply().await, if at_once.len() == 4 && expected == 0 { "354" } else { "2" });
        }
        let mut said = 0;
        let end = loop {
            // The slowness is the attack. On a busy machine the end only comes earlier.
            tokio::time::sleep(Duration::from_millis(100)).await;
            said += 1;
            assert!(said < 100, "{name}: it goes on and on");
            if client.try_send(trickle).await.is_err() {
                break None;
            }
            if trickle.ends_with('\n') || trickle.starts_with("BDAT") {
                match client.next_reply().await {
                    Some(reply) if reply.starts_with("250") => {}
                    end => break end,
                }
            }
        };
        // A reset, sent for what came after the end, may have overtaken the last reply.
        assert!(end.as_ref().is_none_or(|end| end.starts_with("421 4.4.2")), "{name}: {end:?}");
    }
    assert_eq!(main.count(), 0);
}

/// The longest waits begin while there is room. When there is none any more they are over at once.
#[tokio::test]
async fn a_listener_that_is_nearly_full_waits_less_long() {
    let main = sink().await;
    let stage = with_limits("connections = 10, stress_timeout = \"300ms\"", main.address()).await;
    let mut waiting = Vec::new();
    for _ in 0..7 {
        waiting.push(stage.client("inbound").await);
    }
    let mut halfway = stage.client("inbound").await;
    halfway.begin_data("alice@sender.test", &["bob@example.com"]).await;
    halfway.send("Subject: x\r\n").await;
    assert_eq!(stage.metrics().await.sum("mailweir_listener_stressed", &[]), 0.0);
    // The ninth of ten.
    waiting.push(stage.client("inbound").await);
    for client in &mut waiting {
        expect(&client.reply().await, "421 4.4.2");
    }
    expect(&halfway.reply().await, "421 4.4.2");
    stage.wait_for_metric("mailweir_connections_timed_out_total", &["stressed=\"true\""], 1.0).await;
    assert_eq!(stage.metrics().await.sum("mailweir_connections_timed_out_total", &["stressed=\"false\""]), 0.0);
    stage.proxy.wait_for_log("there is room for connections again", PATIENCE).await.unwrap();
    expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250");
}

/// A client that leaves in the middle has sent nothing.
#[tokio::test]
async fn half_a_message_is_no_message() {
    let main = sink().await;
    let stage = with_limits("", main.address()).await;
    for end in
        ["Subject: x\r\n\r\nhalf", "Subject: x\r\n\r\nhalf\r\n", "Subject: x\r\n\r\nhalf\r\n.", "Subject: x\r\n\r\n.\r"]
    {
        let mut client = stage.client("inbound").await;
        client.begin_data("alice@sender.test", &["bob@example.com"]).await;
        client.send(end).await;
    }
    let mut client = stage.client("inbound").await;
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    client.send("BDAT 100 LAST\r\nSubject: x\r\n\r\n").await;
    drop(client);
    let lines = stage.wait_for_message_lines(5).await;
    assert!(lines.iter().all(|line| line["verdict"] == "aborted"), "{lines:?}");
    assert_eq!(main.count(), 0);
    let metrics = stage.metrics().await;
    assert_eq!(metrics.sum("mailweir_message_bytes_in_memory", &[]), 0.0);
}
