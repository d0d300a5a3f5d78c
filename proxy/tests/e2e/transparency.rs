//! What is promised to a client is what the server behind can keep (RFC 3461, RFC 6152, RFC 6531).

use mailweir::sink::Options;

use crate::client::{Client, expect};
use crate::dialogs::without_received;
use crate::stage::{Setup, Stage, sink_with};

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

async fn stage(without: &[&str]) -> (mailweir::sink::Sink, Stage) {
    let without = without.iter().map(|keyword| (*keyword).to_owned()).collect();
    let main = sink_with(Options { without, ..Options::default() }).await;
    let stage = Setup::new(CONFIG).address("main", main.address()).start().await;
    stage.wait_for_route("main").await;
    (main, stage)
}

async fn offered(stage: &Stage) -> (Client, String) {
    let mut client = Client::connect(stage.listener("inbound")).await;
    expect(&client.reply().await, "220");
    let offer = client.say("EHLO client.example").await;
    (client, offer)
}

#[tokio::test]
async fn what_the_upstream_can_is_offered_and_passed_on() {
    let (main, stage) = stage(&[]).await;
    let (mut client, offer) = offered(&stage).await;
    for keyword in ["DSN", "SMTPUTF8", "8BITMIME"] {
        assert!(offer.contains(keyword), "{offer}");
    }
    let parameters = "SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159";
    expect(&client.say(&format!("MAIL FROM:<al\u{ef}ce@sender.test> {parameters}")).await, "250");
    let recipient = "<bob@example.com> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;b\\x{F6}b@example.com";
    expect(&client.say(&format!("RCPT TO:{recipient}")).await, "250");
    expect(&client.say("DATA").await, "354");
    client.send("Subject: \u{2713}\r\n\r\nna\u{ef}ve\r\n.\r\n").await;
    expect(&client.reply().await, "250");
    let message = &main.messages()[0];
    assert_eq!(message.sender, "al\u{ef}ce@sender.test");
    for parameter in ["BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ314159"] {
        assert!(message.parameters.contains(parameter), "{}", message.parameters);
    }
    assert_eq!(without_received(&message.content), "Subject: \u{2713}\r\n\r\nna\u{ef}ve\r\n".as_bytes());
}

#[tokio::test]
async fn what_it_cannot_is_neither_offered_nor_taken() {
    let (main, stage) = stage(&["DSN", "SMTPUTF8", "8BITMIME"]).await;
    let (mut client, offer) = offered(&stage).await;
    for keyword in ["DSN", "SMTPUTF8", "8BITMIME"] {
        assert!(!offer.contains(keyword), "{offer}");
    }
    // RFC 5321 section 4.1.1.11: parameters that were not offered.
    for refused in ["<a@sender.test> RET=FULL", "<a@sender.test> BODY=8BITMIME", "<a@sender.test> SMTPUTF8"] {
        expect(&client.say(&format!("MAIL FROM:{refused}")).await, "555 5.5.4");
    }
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com> NOTIFY=NEVER").await, "555 5.5.4");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    expect(&client.say("DATA").await, "354");
    client.send("Subject: plain\r\n\r\nascii\r\n.\r\n").await;
    expect(&client.reply().await, "250");
    assert_eq!(main.messages()[0].parameters, "");
}

/// The upstream loses its extensions while a client that was offered them is connected.
#[tokio::test]
async fn what_it_can_no_longer_is_refused_rather_than_altered() {
    let (_first, stage) = stage(&[]).await;
    let (mut client, _) = offered(&stage).await;
    let lesser = sink_with(Options {
        without: ["DSN", "SMTPUTF8", "8BITMIME"].map(str::to_owned).to_vec(),
        ..Options::default()
    });
    let lesser = lesser.await;
    stage.reload(&CONFIG.replace("\"@main\"", &format!("\"{}\"", lesser.address()))).await;
    stage.wait_for_metric("mailweir_generation", &[], 2.0).await;

    // RFC 6531 section 3.5
    expect(&client.say("MAIL FROM:<al\u{ef}ce@sender.test> SMTPUTF8").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "553 5.6.7");
    expect(&client.say("RSET").await, "250");
    // RFC 6152 section 3: content that is 7-bit after all goes on, other content is refused.
    for (body, reply) in [("ascii", "250"), ("na\u{ef}ve", "554 5.6.3")] {
        expect(&client.say("MAIL FROM:<alice@sender.test> BODY=8BITMIME RET=HDRS").await, "250");
        expect(&client.say("RCPT TO:<bob@example.com> NOTIFY=SUCCESS").await, "250");
        expect(&client.say("DATA").await, "354");
        client.send(format!("Subject: x\r\n\r\n{body}\r\n.\r\n")).await;
        expect(&client.reply().await, reply);
    }
    assert_eq!(lesser.messages().len(), 1);
    assert_eq!(lesser.messages()[0].parameters, "");
}
