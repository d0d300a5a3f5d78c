//! SIGTERM: nothing new, nothing lost, and an exit status of 0.

use mailweir_testkit::certificates::Authority;
use tokio::net::TcpStream;

use crate::client::{Client, expect};
use crate::filter::{Say, saying};
use crate::stage::{PATIENCE, Setup, sink};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "none"
route = "main"
relay_domains = ["example.com"]

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

#[tokio::test]
async fn a_drain_ends_idle_connections_and_lets_messages_end() {
    let main = sink().await;
    let mut stage = Setup::new(CONFIG).address("main", main.address()).start().await;
    let mut idle = stage.client("inbound").await;
    let mut sending = stage.client("inbound").await;
    sending.begin_data("alice@sender.test", &["bob@example.com"]).await;
    sending.send("Subject: first half\r\n").await;
    let mut before_data = stage.client("inbound").await;
    expect(&before_data.say("MAIL FROM:<alice@sender.test>").await, "250");

    stage.proxy.signal("TERM").await.unwrap();
    expect(&idle.reply().await, "421 4.3.2");
    assert_eq!(idle.next_reply().await, None);
    assert!(TcpStream::connect(stage.listener("inbound")).await.is_err(), "it still accepts connections");

    sending.send("\r\nsecond half\r\n.\r\n").await;
    expect(&sending.reply().await, "250 2.0.0 Ok: message");
    expect(&sending.reply().await, "421 4.3.2");
    // Nothing of a message was sent here: the client sends it all to another edge.
    expect(&before_data.reply().await, "421 4.3.2");

    let status = stage.proxy.terminate(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", stage.proxy.log());
    assert_eq!(main.count(), 1);
    assert!(stage.proxy.log().contains("\"drained\""), "{}", stage.proxy.log());
}

#[tokio::test]
async fn who_stalls_is_cut_off_after_the_grace() {
    let main = sink().await;
    let setup = Setup::new(CONFIG).server("shutdown_grace = \"1s\"");
    let mut stage = setup.address("main", main.address()).start().await;
    let mut stalling = stage.client("inbound").await;
    stalling.begin_data("alice@sender.test", &["bob@example.com"]).await;
    stalling.send("Subject: never whole\r\n").await;

    let status = stage.proxy.terminate(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(stalling.next_reply().await, None);
    assert_eq!(main.count(), 0);
    assert!(stage.proxy.log().contains("cut off"), "{}", stage.proxy.log());
}

/// Who has not been greeted yet has nothing to lose, and who is held up by a filter need not be any longer: neither makes
/// a drain wait, though the one could stay for 30 seconds and the other for as long.
#[tokio::test]
async fn a_drain_waits_neither_for_handshakes_nor_for_tarpits() {
    const MORE: &str = r#"
[listener.tarpit]
listen = ["@tarpit"]
chain = "tarpit"
route = "main"
relay_domains = ["example.com"]

[chain.tarpit]
plugins = ["tarpit"]

[plugin.tarpit]

[listener.balanced]
listen = ["@balanced"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
proxy_protocol = ["127.0.0.0/8"]

[listener.implicit]
listen = ["@implicit"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
tls = { mode = "implicit", certificate = "mx.pem", key = "mx.key" }
"#;
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let setup = Setup::new(&(CONFIG.to_owned() + MORE)).server("shutdown_grace = \"1h\"");
    let (certificate, key) = (setup.directory().join("mx.pem"), setup.directory().join("mx.key"));
    authority.issue_into(&["mx.example.com"], &certificate, &key).unwrap();
    let slow = saying(&[("mail", Say::Tarpit(30_000))]);
    let mut stage = setup.address("main", main.address()).filter("tarpit", &slow).start().await;
    let mut balanced = Client::connect(stage.listener("balanced")).await;
    let mut implicit = Client::connect(stage.listener("implicit")).await;
    stage.wait_for_metric("mailweir_connections", &["listener=\"implicit\""], 1.0).await;
    let mut held = stage.client("tarpit").await;
    held.send("MAIL FROM:<alice@sender.test>\r\n").await;
    stage.wait_for_metric("mailweir_sandboxes", &[], 1.0).await;

    stage.proxy.signal("TERM").await.unwrap();
    expect(&held.reply().await, "250 2.1.0");
    expect(&held.reply().await, "421 4.3.2");
    assert_eq!((balanced.next_reply().await, implicit.next_reply().await), (None, None));
    let status = stage.proxy.terminate(PATIENCE / 4).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", stage.proxy.log());
    assert!(stage.proxy.log().contains("\"drained\""), "{}", stage.proxy.log());
}
