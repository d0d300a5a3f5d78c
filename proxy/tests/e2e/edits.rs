//! Filters that change the message or its envelope, and what comes out at the other end.

use crate::client::{expect, small_message};
use crate::dialogs::without_received;
use crate::filter::{Line, Say, saying};
use crate::stage::{Setup, Stage, sink};
use crate::upstream::{Answer, Picky, Rule};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "inbound"
route = "main"
relay_domains = ["example.com"]

[chain.inbound]
plugins = PLUGINS

[route.main]
upstreams = ["@main"]
tls = "off"

[route.other]
upstreams = ["@other"]
tls = "off"
"#;

const DLP: &str = r#"
[plugin.dlp]
grants = ["scan"]
[[plugin.dlp.config.rules]]
name = "copies for the auditor"
keywords = ["merger"]
action = { add_recipient = "auditor@example.com" }
[[plugin.dlp.config.rules]]
name = "through the gateway"
keywords = ["confidential"]
action = { route = "other" }
[[plugin.dlp.config.rules]]
name = "cards"
detect = ["credit-card"]
action = { reject = "5.7.1 no cards" }
"#;

async fn with_filters(main: std::net::SocketAddr, filters: &[(&str, &[Line<'_>], &str)]) -> Stage {
    let names: Vec<&str> = filters.iter().map(|(name, ..)| *name).collect();
    let tables: String = filters.iter().map(|(name, _, keys)| format!("[plugin.{name}]\n{keys}\n")).collect();
    let mut setup = Setup::new(&(CONFIG.replace("PLUGINS", &format!("{names:?}")) + &tables));
    for (name, lines, _) in filters {
        setup = setup.filter(name, &saying(lines));
    }
    setup.address("main", main).address("other", main).start().await
}

#[tokio::test]
async fn the_envelope_and_the_body() {
    let main = sink().await;
    let changes: [Line<'_>; 1] = [("end-of-message", Say::AddRecipients(&["carol@elsewhere.test", "bob@example.com"]))];
    let stage = with_filters(
        main.address(),
        &[
            ("adder", &changes, ""),
            ("remover", &[("end-of-message", Say::RemoveRecipient("dave@example.com"))], ""),
            ("sender", &[("end-of-message", Say::ChangeSender("bounces@example.com"))], ""),
            ("body", &[("end-of-message", Say::ReplaceBody(".\r\nreplaced\r\n..\r\n"))], ""),
        ],
    )
    .await;
    let mut client = stage.client("inbound").await;
    let recipients = ["bob@example.com", "dave@example.com"];
    expect(&client.deliver("alice@sender.test", &recipients, b"Subject: x\r\n\r\nas it was\r\n").await, "250 2.0.0 Ok");
    let message = &main.messages()[0];
    assert_eq!(message.sender, "bounces@example.com");
    assert_eq!(message.recipients, ["bob@example.com", "carol@elsewhere.test"]);
    assert_eq!(without_received(&message.content), b"Subject: x\r\n\r\n.\r\nreplaced\r\n..\r\n");
    assert_eq!(main.count(), 1);
    // Nobody learns of the others from our field.
    assert!(!String::from_utf8_lossy(&message.content).contains("for <"), "{}", message.content.escape_ascii());
}

#[tokio::test]
async fn edits_are_made_all_or_none_and_the_operator_chooses_what_follows() {
    // The second filter's edit cannot be applied: there is no such recipient.
    for (keys, expected, delivered) in [
        ("on_error = \"tempfail\"", "451 4.7.1", 0),
        ("on_error = \"reject\"", "554 5.7.1", 0),
        ("on_error = \"skip\"", "250", 1),
    ] {
        let main = sink().await;
        let stage = with_filters(
            main.address(),
            &[
                ("first", &[("end-of-message", Say::ChangeSender("changed@sender.test"))], ""),
                ("second", &[("end-of-message", Say::RemoveRecipient("nobody@example.com"))], keys),
                ("third", &[("end-of-message", Say::AddRecipients(&["carol@example.com"]))], ""),
            ],
        )
        .await;
        expect(&stage.client("inbound").await.deliver_to_bob("x").await, expected);
        assert_eq!(main.count(), delivered, "{keys}");
        let line = stage.wait_for_message_lines(1).await.remove(0);
        assert_eq!(line["plugins"][1]["verdict"], "failed", "{line}");
        if delivered == 1 {
            let message = &main.messages()[0];
            assert_eq!(message.recipients, ["bob@example.com", "carol@example.com"]);
            assert_eq!(message.sender, "changed@sender.test");
            assert_eq!(line["tags"][0]["name"], "mailweir-skipped");
        }
        let failures =
            stage.metrics().await.sum("mailweir_plugin_failures_total", &["plugin=\"second\"", "cause=\"trap\""]);
        assert_eq!(failures, 1.0);
    }
}

#[tokio::test]
async fn dlp_copies_reroutes_and_rejects() {
    let (main, other) = (sink().await, sink().await);
    let stage = Setup::new(&(CONFIG.replace("PLUGINS", "[\"dlp\"]") + DLP))
        .address("main", main.address())
        .address("other", other.address())
        .plugin("dlp")
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("the merger").await, "250 2.0.0 Ok");
    expect(&client.deliver_to_bob("confidential").await, "250 2.0.0 Ok");
    expect(&client.deliver_to_bob("4111 1111 1111 1111").await, "550 5.7.1 no cards");
    expect(&client.deliver_to_bob("the confidential merger").await, "250 2.0.0 Ok");
    let recipients = |sink: &mailweir::sink::Sink| -> Vec<Vec<String>> {
        sink.messages().into_iter().map(|message| message.recipients).collect()
    };
    assert_eq!(recipients(&main), [["bob@example.com", "auditor@example.com"]]);
    assert_eq!(
        recipients(&other),
        [vec!["bob@example.com".to_owned()], vec!["bob@example.com".to_owned(), "auditor@example.com".to_owned()]]
    );
    assert!(!stage.proxy.log().contains("4111 1111"), "{}", stage.proxy.log());
}

/// All or none: a copy that cannot be delivered holds the message back, and does not make it arrive twice.
#[tokio::test]
async fn an_added_recipient_that_is_refused_holds_the_message_back() {
    const RULES: &[Rule] = &[("RCPT TO:<auditor@", Answer::Reply("452 4.2.2 the auditor's mailbox is full"))];
    let picky = Picky::start(RULES).await;
    let stage = Setup::new(&(CONFIG.replace("PLUGINS", "[\"dlp\"]") + DLP))
        .address("main", picky.address())
        .address("other", picky.address())
        .plugin("dlp")
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("the merger").await, "452 4.2.2 the auditor's mailbox is full");
    assert!(picky.heard("DATA").is_empty());
    expect(&client.deliver_to_bob("nothing").await, "250 2.0.0 picky took it");
}

/// Later filters see what earlier ones made of the message.
#[tokio::test]
async fn a_filter_sees_the_edits_of_those_before_it() {
    let (main, other) = (sink().await, sink().await);
    let stage = Setup::new(&(CONFIG.replace("PLUGINS", "[\"writer\", \"dlp\"]") + DLP + "[plugin.writer]\n"))
        .address("main", main.address())
        .address("other", other.address())
        .plugin("dlp")
        .filter("writer", &saying(&[("end-of-message", Say::ReplaceBody("now it is confidential\r\n"))]))
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    let content = small_message("x");
    expect(&client.deliver("alice@sender.test", &["bob@example.com"], content.as_bytes()).await, "250");
    assert_eq!((main.count(), other.count()), (0, 1));
}
