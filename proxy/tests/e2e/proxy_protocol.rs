//! Clients behind a load balancer, and those that only pretend to be.

use std::net::SocketAddr;

use crate::client::{Client, expect};
use crate::stage::{Setup, Stage, sink};

const CONFIG: &str = r#"
[listener.balanced]
listen = ["@balanced"]
chain = "none"
route = "main"
relay_domains = ["*", "example.com"]
trusted_networks = ["127.0.0.0/8"]
proxy_protocol = ["127.0.0.0/8"]
limits = { connections_per_ip = 1 }

[listener.elsewhere]
listen = ["@elsewhere"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
proxy_protocol = ["192.0.2.1"]

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

const V1: &str = "PROXY TCP4 198.51.100.7 192.0.2.2 4025 25\r\n";

fn version_2(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&client);
    header.extend_from_slice(&[192, 0, 2, 2, 0x0f, 0xb9, 0, 25]);
    header
}

async fn behind(stage: &Stage, header: impl AsRef<[u8]>) -> Client {
    let mut client = Client::connect(stage.listener("balanced")).await;
    client.send(header).await;
    expect(&client.reply().await, "220");
    expect(&client.say("EHLO client.example").await, "250");
    client
}

#[tokio::test]
async fn the_header_of_a_trusted_peer_names_the_client() {
    let main = sink().await;
    let stage = Setup::new(CONFIG).address("main", main.address()).start().await;
    let mut clients = Vec::new();
    for (header, address) in [
        (V1.as_bytes().to_vec(), "198.51.100.7:4025"),
        (version_2([198, 51, 100, 8]), "198.51.100.8:4025"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4025 25\r\n".to_vec(), "[2001:db8::7]:4025"),
    ] {
        let mut client = behind(&stage, header).await;
        expect(&client.deliver_to_bob("x").await, "250");
        let ip = address.parse::<SocketAddr>().unwrap().ip();
        let content = main.messages().last().unwrap().content.clone();
        let named = if ip.is_ipv6() { format!("([IPv6:{ip}])") } else { format!("([{ip}])") };
        assert!(content.starts_with(format!("Received: from client.example {named}").as_bytes()), "{content:?}");
        assert_eq!(stage.message_lines().last().unwrap()["client"], address);
        // The load balancer is trusted with the header, and its clients are not trusted with anything.
        expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
        expect(&client.say("RCPT TO:<bob@elsewhere.test>").await, "550 5.7.1");
        clients.push(client);
    }
    // The cap counts clients, not load balancers.
    let mut second = Client::connect(stage.listener("balanced")).await;
    second.send(V1).await;
    expect(&second.reply().await, "421 4.7.0");
    // A health check speaks for the load balancer, and has none of its rights.
    let mut check = behind(&stage, "PROXY UNKNOWN\r\n").await;
    expect(&check.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&check.say("RCPT TO:<bob@elsewhere.test>").await, "550 5.7.1");
}

#[tokio::test]
async fn a_trusted_peer_has_to_send_one() {
    let main = sink().await;
    let stage = Setup::new(CONFIG).address("main", main.address()).start().await;
    for bytes in ["EHLO client.example\r\n", "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 999.1.1.1 1.1.1.1 1 1\r\nEHLO x\r\n"]
    {
        let mut client = Client::connect(stage.listener("balanced")).await;
        client.send(bytes).await;
        assert_eq!(client.next_reply().await, None);
    }
    let refused = stage.metrics().await.sum("mailweir_connections_refused_total", &["reason=\"proxy_protocol\""]);
    assert_eq!(refused, 3.0);
}

#[tokio::test]
async fn the_header_of_anybody_else_is_a_bad_command() {
    let main = sink().await;
    let stage = Setup::new(CONFIG).address("main", main.address()).start().await;
    let mut client = Client::connect(stage.listener("elsewhere")).await;
    expect(&client.reply().await, "220");
    client.send(V1).await;
    expect(&client.reply().await, "500");
    expect(&client.say("EHLO client.example").await, "250");
    expect(&client.deliver_to_bob("x").await, "250");
    let content = main.messages()[0].content.clone();
    assert!(content.starts_with(b"Received: from client.example ([127.0.0.1])"), "{content:?}");
}
