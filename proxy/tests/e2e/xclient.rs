//! Proxies in front of us that say whom they speak for, and we in front of others.

use std::time::Duration;

use mailweir_testkit::postfix::{Options, Postfix};

use crate::client::{Client, expect};
use crate::stage::{Setup, Stage, sink};

/// A proxy that knows nothing of clients but what it sees.
const FRONT: &str = r#"
[listener.front]
listen = ["@front"]
chain = "none"
route = "back"
relay_domains = ["example.com"]

[chain.none]

[route.back]
upstreams = ["@back"]
tls = "off"
"#;

/// One that believes what a proxy says of its clients.
const BACK: &str = r#"
[listener.back]
listen = ["@back"]
chain = "none"
route = "main"
relay_domains = ["*", "example.com"]
trusted_networks = ["127.0.0.0/8"]
xclient = ["127.0.0.0/8"]
limits = { connections_per_ip = 1 }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

#[tokio::test]
async fn two_proxies_know_the_client() {
    let main = sink().await;
    let back = Setup::new(BACK).address("main", main.address()).start().await;
    let front = Setup::new(FRONT).address("back", back.listener("back")).start().await;
    // More of them than one address may have: the proxy in between is not counted as a client.
    let mut clients = vec![front.client("front").await, front.client("front").await];
    for client in &mut clients {
        expect(&client.deliver_to_bob("x").await, "250");
    }
    for (message, client) in main.messages().iter().zip(&clients) {
        let content = String::from_utf8(message.content.to_vec()).unwrap();
        let by_back = content.find("Received: from client.example ([127.0.0.1])").expect("the client's name");
        assert!(content[by_back + 1..].contains("Received: from client.example ([127.0.0.1])"), "{content}");
        let address = client.local_address().to_string();
        for stage in [&front, &back] {
            let lines = stage.message_lines();
            assert!(lines.iter().any(|line| line["client"] == address.as_str()), "{address}: {lines:?}");
        }
    }
}

async fn introduced(stage: &Stage, said: &str) -> Client {
    let mut client = Client::connect(stage.listener("back")).await;
    expect(&client.reply().await, "220");
    expect(&client.say("EHLO proxy.example").await, "250");
    expect(&client.say(said).await, "220");
    expect(&client.say("EHLO proxy.example").await, "250");
    client
}

#[tokio::test]
async fn what_is_said_replaces_all_that_was_known() {
    let main = sink().await;
    let stage = Setup::new(BACK).address("main", main.address()).start().await;
    let mut client = introduced(&stage, "XCLIENT ADDR=198.51.100.7 PORT=4025 HELO=far.example").await;
    // The proxy's own rights are not the client's.
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@elsewhere.test>").await, "550 5.7.1");
    expect(&client.say("RSET").await, "250");
    expect(&client.deliver_to_bob("x").await, "250");
    let content = main.messages().last().unwrap().content.clone();
    assert!(content.starts_with(b"Received: from far.example ([198.51.100.7])"), "{content:?}");
    assert_eq!(stage.message_lines().last().unwrap()["client"], "198.51.100.7:4025");

    for said in ["XCLIENT ADDR=[UNAVAILABLE]", "XCLIENT HELO=far.example"] {
        let mut client = introduced(&stage, said).await;
        expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
        expect(&client.say("RCPT TO:<bob@elsewhere.test>").await, "550 5.7.1");
    }
}

#[tokio::test]
async fn nobody_else_may_say_so() {
    let main = sink().await;
    let stage = Setup::new(FRONT).address("back", main.address()).start().await;
    let mut client = stage.client("front").await;
    expect(&client.say("XCLIENT ADDR=198.51.100.7").await, "500 5.5.1");
    expect(&client.deliver_to_bob("x").await, "250");
    assert_eq!(stage.message_lines().last().unwrap()["client"], client.local_address().to_string());
}

#[tokio::test]
async fn a_real_postfix_sees_the_client() {
    let parameters = [
        "smtpd_authorized_xclient_hosts = 127.0.0.0/8",
        "smtpd_relay_restrictions = reject_unauth_destination",
        "inet_protocols = all",
    ];
    let parameters = parameters.map(str::to_owned).to_vec();
    let Some(postfix) = Postfix::start(&Options { parameters, ..Options::default() }).await.unwrap() else {
        eprintln!("skipped: no Postfix, or not root");
        return;
    };
    let stage = Setup::new(BACK).address("main", postfix.address()).start().await;
    for address in ["198.51.100.7", "IPV6:2001:db8::7"] {
        let said = format!("XCLIENT ADDR={address} NAME=far.example HELO=far.example");
        let mut client = introduced(&stage, &said).await;
        expect(&client.deliver_to_bob("x").await, "250");
    }
    let stored = postfix.wait_for_messages(2, Duration::from_secs(30)).await.unwrap();
    for address in ["(far.example [198.51.100.7])", "(far.example [IPv6:2001:db8::7])"] {
        let seen = format!("Received: from far.example {address}");
        assert!(stored.iter().any(|message| String::from_utf8_lossy(message).contains(&seen)), "{}", postfix.log());
    }
}
