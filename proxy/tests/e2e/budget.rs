//! Message bytes beyond the memory budget: spilled, then waited for, then 452; and never changed on the way.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use crate::client::{Client, expect};
use crate::dialogs::without_received;
use crate::guests;
use crate::stage::{Setup, Stage, sink};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
limits = { message_size = "MESSAGE_SIZE" }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

async fn held(stage: &Stage) -> f64 {
    let metrics = stage.metrics().await;
    metrics.sum("mailweir_message_bytes_in_memory", &[]) + metrics.sum("mailweir_message_bytes_spilled", &[])
}

/// A message of about this size that no compression or mixing up of pieces leaves as it is.
fn large_message(number: usize, size: usize) -> Vec<u8> {
    let mut content = format!("Subject: {number}\r\n\r\n").into_bytes();
    let mut state = number as u64 + 1;
    while content.len() < size {
        for _ in 0..70 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            content.push(b'.' + (state >> 33) as u8 % 64);
        }
        content.extend_from_slice(b"\r\n");
    }
    content
}

#[tokio::test]
async fn messages_beyond_the_budget_are_spilled_and_arrive_unchanged() {
    let main = sink().await;
    // Without a filter nothing is kept of large messages.
    let filter = "[chain.none]\nplugins = [\"pass\"]\n[plugin.pass]";
    let config = CONFIG.replace("MESSAGE_SIZE", "50MiB").replace("[chain.none]", filter);
    let setup = Setup::new(&config).server("memory_budget = \"2MiB\"").filter("pass", &guests::component("pass"));
    let stage = setup.address("main", main.address()).start().await;
    stage.wait_for_route("main").await;
    let messages: Vec<Vec<u8>> = (0..6).map(|number| large_message(number, 5_000_000)).collect();

    // One that waits half sent shows that the bytes are on disk.
    let mut waiting = stage.client("inbound").await;
    waiting.begin_data("alice@sender.test", &["bob@example.com"]).await;
    let wire = crate::client::stuffed(&messages[0]);
    waiting.send(&wire[..4_000_000]).await;
    stage.wait_for_metric("mailweir_message_bytes_spilled", &[], 1_500_000.0).await;
    assert!(stage.metrics().await.sum("mailweir_message_bytes_in_memory", &[]) <= f64::from(2 << 20));

    let deliveries = messages[1..].iter().enumerate().map(|(index, content)| {
        let server = stage.listener("inbound");
        async move {
            let mut client = Client::greeted(server).await;
            if index % 2 == 0 {
                return client.deliver("alice@sender.test", &["bob@example.com"], content).await;
            }
            expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
            expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
            for chunk in content.chunks(1_000_000) {
                client.send(format!("BDAT {}\r\n", chunk.len())).await;
                client.send(chunk).await;
                expect(&client.reply().await, "250");
            }
            client.say("BDAT 0 LAST").await
        }
    });
    for reply in join_all(deliveries).await {
        expect(&reply, "250 2.0.0 Ok: message");
    }
    waiting.send(&wire[4_000_000..]).await;
    waiting.send(".\r\n").await;
    expect(&waiting.reply().await, "250 2.0.0 Ok: message");

    let mut received: Vec<Vec<u8>> =
        main.messages().iter().map(|message| without_received(&message.content).to_vec()).collect();
    received.sort();
    assert!(received == messages, "{:?} bytes came", received.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(held(&stage).await, 0.0);
}

/// A proxy with little memory and disk, for messages of 400 KiB at most.
async fn short_of_memory(main: SocketAddr, limit: &str) -> Stage {
    let setup = Setup::new(&CONFIG.replace("\"MESSAGE_SIZE\"", &format!("\"400KiB\", {limit}")))
        .server("memory_budget = \"200KiB\"\nspill_budget = \"400KiB\"");
    let stage = setup.address("main", main).start().await;
    stage.wait_for_route("main").await;
    stage
}

/// A client in the middle of a message that takes most of both.
async fn holder(stage: &Stage, wire: &[u8]) -> Client {
    let mut client = stage.client("inbound").await;
    client.begin_data("alice@sender.test", &["bob@example.com"]).await;
    client.send(wire).await;
    stage.wait_for_metric("mailweir_message_bytes_spilled", &[], 50_000.0).await;
    client
}

#[tokio::test]
async fn when_disk_and_memory_are_full_senders_wait_and_are_then_told() {
    let main = sink().await;
    let stage = short_of_memory(main.address(), "stress_timeout = \"3m\"").await;
    let content = large_message(1, 300_000);
    let wire = crate::client::stuffed(&content);
    let holding = holder(&stage, &wire).await;

    // Told after half a minute, its message read to the end, and what it holds given back.
    let mut second = stage.client("inbound").await;
    expect(&second.deliver("alice@sender.test", &["bob@example.com"], &content).await, "452 4.3.1");
    expect(&second.say("RCPT TO:<bob@example.com>").await, "503");
    assert_eq!(main.count(), 0);

    // The next one waits, and goes on as soon as there is room.
    let mut third = stage.client("inbound").await;
    third.begin_data("alice@sender.test", &["bob@example.com"]).await;
    // More than the sockets hold on the way: what is not read cannot be sent, either.
    let mut sent = pin!(async {
        third.send([wire.as_slice(), b".\r\n"].concat()).await;
        third.reply().await
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut sent).await;
    assert!(early.is_err(), "{early:?}");
    drop(holding);
    expect(&sent.await, "250");
    assert_eq!(main.count(), 1);
    assert!(main.messages().iter().all(|message| without_received(&message.content) == content));
    assert_eq!(held(&stage).await, 0.0);
}

#[tokio::test]
async fn who_holds_room_that_others_wait_for_is_not_waited_for_long() {
    let main = sink().await;
    let stage = short_of_memory(main.address(), "stress_timeout = \"300ms\"").await;
    let content = large_message(1, 300_000);
    let wire = crate::client::stuffed(&content);
    let mut slow = holder(&stage, &wire).await;
    let mut other = stage.client("inbound").await;
    other.begin_data("alice@sender.test", &["bob@example.com"]).await;
    let delivered = async {
        other.send([wire.as_slice(), b".\r\n"].concat()).await;
        other.reply().await
    };
    let (delivered, slow) = tokio::join!(delivered, slow.reply());
    expect(&slow, "421 4.4.2");
    expect(&delivered, "250");
    assert_eq!(main.count(), 1);
}

#[tokio::test]
async fn when_many_wait_for_room_nobody_else_begins() {
    let main = sink().await;
    let stage = short_of_memory(main.address(), "connections_per_ip = 300").await;
    let mut first = stage.client("inbound").await;
    let wire = crate::client::stuffed(&large_message(1, 64_000));
    let mut arriving = Vec::new();
    for _ in 0..160 {
        let mut client = stage.client("inbound").await;
        if client.say("MAIL FROM:<alice@sender.test>").await.starts_with("452 4.3.1") {
            break;
        }
        expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
        expect(&client.say("DATA").await, "354");
        client.send(&wire).await;
        arriving.push(client);
    }
    stage.wait_for_metric("mailweir_memory_waiting", &[], 128.0).await;
    expect(&first.say("MAIL FROM:<alice@sender.test>").await, "452 4.3.1");
    drop(arriving);
    // What nobody goes on sending is given up, the later the sooner.
    loop {
        let begun = first.say("MAIL FROM:<alice@sender.test>").await;
        if begun.starts_with("452 4.3.1") {
            continue;
        }
        expect(&first.say("RCPT TO:<bob@example.com>").await, "250");
        expect(&first.say("DATA").await, "354");
        first.send(&wire).await;
        let reply = first.say(".").await;
        if reply.starts_with("250") {
            break;
        }
        expect(&reply, "452 4.3.1");
    }
    assert_eq!(main.count(), 1);
}

/// Runs all at once.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in running.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *result = Some(output);
            }
        }
        if results.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}
