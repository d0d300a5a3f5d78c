//! What upstreams do, and what the client hears: no message lost, and none twice without need.

use mailweir::sink::{Options, Sink};
use mailweir_testkit::ports;

use crate::client::{expect, small_message};
use crate::filter::{Say, saying};
use crate::stage::{PATIENCE, Setup, sink, sink_with};
use crate::upstream::{Answer, Picky, Rule};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "inbound"
route = "main"
relay_domains = ["example.com"]

[chain.inbound]

[route.main]
upstreams = UPSTREAMS
tls = "off"
"#;

fn config(upstreams: &str) -> String {
    CONFIG.replace("UPSTREAMS", upstreams)
}

#[tokio::test]
async fn the_next_upstream_takes_what_the_first_does_not() {
    const BUSY: &[Rule] = &[("EHLO", Answer::Reply("421 4.3.2 busy"))];
    const HANGS_UP: &[Rule] = &[("MAIL", Answer::HangUp)];
    let main = sink().await;
    let (busy, hangs_up) = (Picky::start(BUSY).await, Picky::start(HANGS_UP).await);
    let stage = Setup::new(&config(r#"["@dead", "@busy", "@hangs-up", "@main"]"#))
        .address("dead", ports::free().unwrap())
        .address("busy", busy.address())
        .address("hangs-up", hangs_up.address())
        .address("main", main.address())
        .start()
        .await;
    for number in 1..=5 {
        expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250 2.0.0 Ok: message");
        assert_eq!(main.count(), number);
    }
    assert!(hangs_up.heard("MAIL").len() <= 2, "it failed, and is asked again at every message");
}

#[tokio::test]
async fn a_lost_answer_is_never_a_success_and_never_sent_elsewhere() {
    const TAKES_AND_DIES: &[Rule] = &[(".", Answer::HangUp)];
    let (main, dying) = (sink().await, Picky::start(TAKES_AND_DIES).await);
    let stage = Setup::new(&config(r#"["@dying", "@main"]"#))
        .address("dying", dying.address())
        .address("main", main.address())
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("x").await, "451 4.4.2");
    assert_eq!((dying.heard(".").len(), main.count()), (1, 0), "it may have been taken");
    let lines = stage.wait_for_message_lines(1).await;
    assert!(lines[0]["reason"].as_str().unwrap().contains("in doubt"), "{}", lines[0]);
    expect(&client.say("RCPT TO:<bob@example.com>").await, "503");
}

#[tokio::test]
async fn a_connection_lost_before_the_message_costs_nothing_but_time() {
    const REFUSES_DATA: &[Rule] = &[("DATA", Answer::HangUp)];
    let dying = Picky::start(REFUSES_DATA).await;
    let stage = Setup::new(&config(r#"["@dying"]"#)).address("dying", dying.address()).start().await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("x").await, "451 4.4.");
    assert!(dying.heard("Subject").is_empty());
}

#[tokio::test]
async fn an_upstream_that_was_restarted_is_found_again() {
    let main = sink().await;
    let address = main.address();
    let stage = Setup::new(&config(r#"["@main"]"#)).address("main", address).start().await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("x").await, "250");
    drop(main);
    let mut other = stage.client("inbound").await;
    expect(&other.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&other.say("RCPT TO:<bob@example.com>").await, "451 4.4.1");
    let main = Sink::start(Options { listen: vec![address], ..Options::default() }).await.unwrap();
    expect(&client.deliver_to_bob("x").await, "250");
    expect(&other.say("RCPT TO:<bob@example.com>").await, "250");
    assert_eq!(main.count(), 1);
}

#[tokio::test]
async fn replies_to_messages_are_handed_on() {
    for (options, expected) in [
        (Options { tempfail: 1.0, ..Options::default() }, "451 4.3.0 Refused as configured, for now"),
        (Options { reject: 1.0, ..Options::default() }, "550 5.7.1 Refused as configured"),
        (Options { drop: 1.0, ..Options::default() }, "451 4.4.2"),
        (Options { message_size: 200, ..Options::default() }, "552 5.3.4"),
    ] {
        let main = sink_with(options).await;
        let stage = Setup::new(&config(r#"["@main"]"#)).address("main", main.address()).start().await;
        stage.wait_for_route("main").await;
        let mut client = stage.client("inbound").await;
        let content = small_message(&"x".repeat(300));
        expect(&client.deliver("alice@sender.test", &["bob@example.com"], content.as_bytes()).await, expected);
        assert_eq!(main.count(), 0);
        expect(&client.say("RCPT TO:<bob@example.com>").await, "503");
    }
}

#[tokio::test]
async fn what_the_upstream_cannot_do_is_not_offered_and_chunks_become_data() {
    let keywords = ["CHUNKING", "SMTPUTF8", "PIPELINING"];
    let main = sink_with(Options { without: keywords.map(str::to_owned).to_vec(), ..Options::default() }).await;
    let stage = Setup::new(&config(r#"["@main"]"#)).address("main", main.address()).start().await;
    stage.wait_for_route("main").await;
    let mut client = stage.client("inbound").await;
    let offered = client.say("EHLO client.example").await;
    assert!(!offered.contains("SMTPUTF8") && offered.contains("8BITMIME"), "{offered}");
    expect(&client.say("MAIL FROM:<alice@sender.test> SMTPUTF8").await, "555");
    if offered.contains("CHUNKING") {
        expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
        expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
        client.send("BDAT 27 LAST\r\nSubject: x\r\n\r\n.\r\n..\r\nno end").await;
        expect(&client.reply().await, "250");
        let content = main.messages()[0].content.clone();
        // DATA ends lines.
        assert!(content.ends_with(b"Subject: x\r\n\r\n.\r\n..\r\nno end\r\n"), "{}", content.escape_ascii());
    }
}

/// The client's upstream has accepted the recipient; the one that a filter chooses afterwards has not.
#[tokio::test]
async fn a_route_chosen_late_may_refuse() {
    const RULES: &[Rule] = &[("RCPT TO:<bob@", Answer::Reply("550 5.1.1 bob is not known at the gateway"))];
    let (main, gateway) = (sink().await, Picky::start(RULES).await);
    let config = config(r#"["@main"]"#)
        .replace("[chain.inbound]", "[chain.inbound]\nplugins = [\"router\"]\n[plugin.router]")
        + "[route.gateway]\nupstreams = [\"@gateway\"]\ntls = \"off\"\n";
    let stage = Setup::new(&config)
        .address("main", main.address())
        .address("gateway", gateway.address())
        .filter("router", &saying(&[("end-of-message", Say::Route("gateway"))]))
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    let reply =
        client.deliver("alice@sender.test", &["carol@example.com", "bob@example.com"], b"Subject: x\r\n\r\n").await;
    // Carol would get it again when the client sends it again for bob, so she does not get it now.
    assert_eq!(reply, "550 5.1.1 bob is not known at the gateway");
    assert_eq!((main.count(), gateway.heard("DATA").len()), (0, 0));
    expect(
        &client.deliver("alice@sender.test", &["carol@example.com"], b"Subject: x\r\n\r\n").await,
        "250 2.0.0 picky",
    );
    assert_eq!(main.count(), 0);
}

/// Who takes long over its message leaves the one upstream connection to others meanwhile.
#[tokio::test]
async fn a_slow_client_keeps_no_upstream_connection() {
    let main = sink().await;
    let stage = Setup::new(&(config(r#"["@main"]"#) + "max_connections = 1\n")).address("main", main.address());
    let stage = stage.start().await;
    let mut slow = stage.client("inbound").await;
    slow.begin_data("alice@sender.test", &["bob@example.com", "carol@example.com"]).await;
    slow.send("Subject: slow\r\n").await;
    let mut slower = stage.client("inbound").await;
    expect(&slower.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&slower.say("RCPT TO:<bob@example.com>").await, "250");
    expect(&stage.client("inbound").await.deliver_to_bob("quick").await, "250");
    slow.send("\r\n.\r\n").await;
    expect(&slow.reply().await, "250 2.0.0 Ok: message");
    expect(&slower.say("RCPT TO:<carol@example.com>").await, "250");
    expect(&slower.say("DATA").await, "354");
    slower.send("Subject: slower\r\n\r\n.\r\n").await;
    expect(&slower.reply().await, "250 2.0.0 Ok: message");
    let both = ["bob@example.com", "carol@example.com"];
    let recipients: Vec<Vec<String>> = main.messages().into_iter().map(|message| message.recipients).collect();
    assert_eq!(recipients, [&["bob@example.com"][..], &both[..], &both[..]]);
}

/// Who does not wait for the answer will send the message again, so that now nobody gets it.
#[tokio::test]
async fn a_message_whose_client_has_left_is_not_delivered() {
    const PLUGIN: &str = "[plugin.slow]\n";
    let main = sink().await;
    let config = config(r#"["@main"]"#).replace("[chain.inbound]", "[chain.inbound]\nplugins = [\"slow\"]\n") + PLUGIN;
    // Held up until the drain, which ends that.
    let slow = saying(&[("end-of-message", Say::Tarpit(30_000))]);
    let mut stage = Setup::new(&config).address("main", main.address()).filter("slow", &slow).start().await;
    let mut leaving = stage.client("inbound").await;
    leaving.begin_data("alice@sender.test", &["bob@example.com"]).await;
    leaving.send(small_message("leaving")).await;
    leaving.send(".\r\n").await;
    drop(leaving);
    let mut patient = stage.client("inbound").await;
    patient.begin_data("alice@sender.test", &["bob@example.com"]).await;
    patient.send(small_message("patient")).await;
    // Pipelined, and nothing to say any more.
    patient.send(".\r\nQUIT\r\n").await;
    stage.proxy.signal("TERM").await.unwrap();
    expect(&patient.reply().await, "250 2.0.0 Ok: message");
    let status = stage.proxy.terminate(PATIENCE / 4).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", stage.proxy.log());
    assert_eq!(main.count(), 1, "{}", stage.proxy.log());
    let verdicts: Vec<String> = stage.message_lines().iter().map(|line| line["verdict"].to_string()).collect();
    assert!(verdicts.iter().any(|verdict| verdict.contains("aborted")), "{verdicts:?}");
}
