//! A real Postfix behind the proxy, and Postfix's load generator before it.

use mailweir_testkit::postfix::{Options, Postfix};
use mailweir_testkit::programs::smtp_source;

use crate::client::expect;
use crate::stage::{PATIENCE, Setup};

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
async fn postfix_behind() {
    let rules = "smtpd_recipient_restrictions = check_recipient_access inline:{{nobody@example.com = 550 5.1.1 Nobody of that name}}, permit_mynetworks, reject";
    let options = Options { parameters: vec![rules.to_owned()], ..Options::default() };
    let Some(postfix) = Postfix::start(&options).await.unwrap() else {
        return println!("skipped: no Postfix, or not root");
    };
    let stage = Setup::new(CONFIG).address("main", postfix.address()).start().await;
    stage.wait_for_route("main").await;
    let mut client = stage.client("inbound").await;
    expect(&client.say("MAIL FROM:<alice@sender.test> BODY=8BITMIME").await, "250");
    let refused = client.say("RCPT TO:<nobody@example.com>").await;
    assert_eq!(refused, "550 5.1.1 <nobody@example.com>: Recipient address rejected: Nobody of that name");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250 2.1.5 Ok");
    expect(&client.say("DATA").await, "354");
    client.send(b"From: alice@sender.test\r\nSubject: dots\r\n\r\n..\r\n...two\r\n\xe9\r\n.\r\n").await;
    expect(&client.reply().await, "250 2.0.0 Ok: queued as ");
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    client.send("BDAT 35\r\nFrom: alice@sender.test\r\nSubject: c").await;
    expect(&client.reply().await, "250");
    client.send("BDAT 14 LAST\r\nhunks\r\n\r\n.\r\n..").await;
    expect(&client.reply().await, "250 2.0.0 Ok: ");

    let mut expected = 2;
    if let Some(source) = smtp_source(
        &["-m", "100", "-s", "10", "-l", "5000", "-f", "a@sender.test", "-t", "bob@example.com"],
        stage.listener("inbound"),
    ) {
        let report = source.finish(PATIENCE).await.unwrap();
        assert!(report.success, "{}", report.text);
        expected += 100;
    }
    let messages = postfix.wait_for_messages(expected, PATIENCE).await.unwrap();
    assert_eq!(messages.len(), expected);
    let with =
        |words: &[u8]| messages.iter().filter(|message| message.windows(words.len()).any(|part| part == words)).count();
    assert_eq!(with(b"\n\n.\n..two\n\xe9\n"), 1);
    assert_eq!(with(b"\n\n.\n..\n"), 1);
    assert_eq!(with(b"by mx.example.com with "), expected);
}
