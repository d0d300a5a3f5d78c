//! SIGHUP: later transactions get the new configuration, or keep the old one when it is no good.

use std::collections::BTreeSet;

use mailweir_testkit::ports;

use crate::client::{Client, expect};
use crate::filter::{Say, saying};
use crate::stage::{PATIENCE, Setup, Stage, sink};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "inbound"
route = "main"
relay_domains = ["example.com"]
limits = { messages = 100000 }

[chain.inbound]
plugins = ["hello"]

[plugin.hello.config]
greeting = "GREETING"

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

fn greeting(word: &str) -> String {
    CONFIG.replace("GREETING", word)
}

async fn reloaded(stage: &Stage, times: usize) {
    stage.wait_for_metric("mailweir_reloads_total", &["result=\"success\""], times as f64).await;
}

#[tokio::test]
async fn a_session_keeps_no_rule_for_messages_of_the_configuration_before() {
    let main = sink().await;
    let with = |rule: &str| {
        greeting("hi").replace("route = \"main\"", &format!("route = \"main\"\nbare_newline = \"{rule}\""))
    };
    let stage = Setup::new(&with("normalize")).address("main", main.address()).plugin("hello").start().await;
    stage.wait_for_route("main").await;
    let mut client = stage.client("inbound").await;
    for (reloads, rule, reply) in [(0, "normalize", "250"), (1, "reject", "550 5.6.11"), (2, "normalize", "250")] {
        if reloads > 0 {
            stage.reload(&with(rule)).await;
            reloaded(&stage, reloads).await;
        }
        client.begin_data("alice@sender.test", &["bob@example.com"]).await;
        client.send("Subject: x\n\r\nhi\r\n.\r\n").await;
        expect(&client.reply().await, reply);
    }
    assert_eq!(main.count(), 2);
}

#[tokio::test]
async fn reloads_under_load_fail_no_message() {
    const CLIENTS: usize = 4;
    const MESSAGES: usize = 250;
    const RELOADS: usize = 20;
    let main = sink().await;
    let stage = Setup::new(&greeting("0")).address("main", main.address()).plugin("hello").start().await;
    stage.wait_for_route("main").await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let server = stage.listener("inbound");
            tokio::spawn(async move {
                let mut client = Client::greeted(server).await;
                for message in 0..MESSAGES {
                    expect(&client.deliver_to_bob(&format!("{number}-{message}")).await, "250 2.0.0 Ok: message");
                    if message % 50 == 49 {
                        client = Client::greeted(server).await;
                    }
                }
            })
        })
        .collect();
    for reload in 1..=RELOADS {
        stage.reload(&greeting(&reload.to_string())).await;
        reloaded(&stage, reload).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    expect(&stage.client("inbound").await.deliver_to_bob("last").await, "250");

    let messages = main.messages();
    let subjects: BTreeSet<String> = messages.iter().map(|message| field(&message.content, "Subject")).collect();
    assert_eq!((messages.len(), subjects.len()), (CLIENTS * MESSAGES + 1, CLIENTS * MESSAGES + 1));
    let greetings: BTreeSet<String> = messages.iter().map(|message| field(&message.content, "X-Hello")).collect();
    assert!(greetings.contains(&RELOADS.to_string()) && greetings.len() > 2, "{greetings:?}");
    assert_eq!(stage.metrics().await.sum("mailweir_generation", &[]), (RELOADS + 1) as f64);
    assert_eq!(stage.metrics().await.sum("mailweir_sandboxes", &[]), 0.0);
}

#[tokio::test]
async fn a_transaction_stays_with_its_generation() {
    let main = sink().await;
    let stage = Setup::new(&greeting("old")).address("main", main.address()).plugin("hello").start().await;
    let mut client = stage.client("inbound").await;
    client.begin_data("alice@sender.test", &["bob@example.com"]).await;
    stage.reload(&greeting("new")).await;
    reloaded(&stage, 1).await;
    client.send("Subject: x\r\n\r\n.\r\n").await;
    expect(&client.reply().await, "250");
    expect(&client.deliver_to_bob("next").await, "250");
    let greetings: Vec<String> = main.messages().iter().map(|message| field(&message.content, "X-Hello")).collect();
    assert_eq!(greetings, ["old", "new"]);
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing_and_says_why() {
    let main = sink().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = Setup::new(&greeting("old"))
        .address("main", main.address())
        .address("taken", taken.local_addr().unwrap())
        .plugin("hello")
        .filter("broken", b"not a component")
        .start()
        .await;
    let broken = "[plugin.broken]\n[chain.broken]\nplugins = [\"broken\"]\n";
    let second = "[listener.second]\nlisten = [\"@taken\"]\nchain = \"inbound\"\nroute = \"main\"\nrelay_domains = [\"example.com\"]\n";
    let failing = [
        (greeting("new").replace("route = \"main\"", "rout = \"main\""), "unknown key"),
        (greeting("new").replace("greeting =", "greetings ="), "plugin.hello"),
        (greeting("new").replace("[\"hello\"]", "[\"absent\"]"), "absent"),
        (greeting("new") + broken, "plugin.broken"),
        (greeting("new") + second, "in use"),
        ("this is not TOML".to_owned(), "mailweir.toml:"),
    ];
    for (number, (config, words)) in failing.into_iter().enumerate() {
        let before = stage.proxy.log().len();
        stage.reload(&config).await;
        let count = (number + 1) as f64;
        stage.wait_for_metric("mailweir_reloads_total", &["result=\"failure\""], count).await;
        stage.proxy.wait_for_log("the reload failed; the configuration in use stays", PATIENCE).await.unwrap();
        let log = stage.proxy.log()[before..].to_owned();
        assert!(log.contains(words), "no {words:?} in {log}");
        expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250");
    }
    assert_eq!(stage.metrics().await.sum("mailweir_generation", &[]), 1.0);
    assert!(main.messages().iter().all(|message| field(&message.content, "X-Hello") == "old"));
    // `mailweir reload` looks at the configuration first, and leaves the server alone.
    let refused = stage.command(&["reload"]).await.unwrap_err();
    assert!(refused.contains("mailweir.toml:"), "{refused}");
    stage.rewrite(&greeting("new"));
    stage.command(&["reload"]).await.unwrap();
    reloaded(&stage, 1).await;
    expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250");
    assert_eq!(field(&main.messages().last().unwrap().content, "X-Hello"), "new");
}

#[tokio::test]
async fn listeners_come_and_go_and_their_connections_stay() {
    let main = sink().await;
    let stage = Setup::new(&greeting("old")).address("main", main.address()).plugin("hello").start().await;
    let address = stage.listener("inbound");
    let mut client = stage.client("inbound").await;
    stage
        .reload(&greeting("new").replace("listener.inbound", "listener.other").replace("@inbound", "127.0.0.99:0"))
        .await;
    reloaded(&stage, 1).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it still listens");
    // What has begun goes on as it began.
    expect(&client.deliver_to_bob("x").await, "250");
    assert_eq!(field(&main.messages()[0].content, "X-Hello"), "old");
}

/// The address of one listener given to another, and two that swap theirs: one reload does it, and nobody is turned away.
#[tokio::test]
async fn addresses_change_hands() {
    let main = sink().await;
    let [first, second] = [ports::free().unwrap(), ports::free().unwrap()];
    let listener = |name: &str, address: &str| {
        format!(
            "[listener.{name}]\nlisten = [\"@{address}\"]\nchain = \"none\"\nroute = \"main\"\n\
             relay_domains = [\"example.com\"]\n"
        )
    };
    let rest = "[chain.none]\n[route.main]\nupstreams = [\"@main\"]\ntls = \"off\"\n";
    let config = |a: &str, b: &str| format!("{}{}{rest}", listener(a, "first"), listener(b, "second"));
    let stage = Setup::new(&config("a", "b"))
        .address("main", main.address())
        .address("first", first)
        .address("second", second)
        .start()
        .await;
    let mut old = Client::greeted(first).await;
    for (number, (a, b)) in [("renamed", "b"), ("b", "renamed")].into_iter().enumerate() {
        stage.reload(&config(a, b)).await;
        reloaded(&stage, number + 1).await;
        let before = number * 3;
        for (nth, (address, name)) in [(first, a), (second, b)].into_iter().enumerate() {
            expect(&Client::greeted(address).await.deliver_to_bob("x").await, "250");
            assert_eq!(stage.wait_for_message_lines(before + nth + 1).await[before + nth]["listener"], name);
        }
        expect(&old.deliver_to_bob("x").await, "250");
    }
}

/// A version that keeps failing gives way to the last good one.
#[tokio::test]
async fn the_circuit_breaker_goes_back_to_the_last_good_version() {
    let main = sink().await;
    let config = CONFIG.replace("[plugin.hello.config]\ngreeting = \"GREETING\"\n", "[plugin.hello]\n");
    let good = saying(&[("end-of-message", Say::ChangeSender("good@sender.test"))]);
    let stage = Setup::new(&config).address("main", main.address()).filter("hello", &good).start().await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("x").await, "250");
    let bad = saying(&[("end-of-message", Say::Trap)]);
    std::fs::write(stage.proxy.directory().join("plugins/hello.wasm"), bad).unwrap();
    stage.reload(&config).await;
    reloaded(&stage, 1).await;
    let mut failed = 0;
    while client.deliver_to_bob("x").await.starts_with("451 4.7.1") {
        failed += 1;
        assert!(failed <= 20, "{}", stage.proxy.log());
    }
    assert_eq!(main.messages().last().unwrap().sender, "good@sender.test");
    assert!(failed >= 5, "{failed}");
    assert!(stage.proxy.log().contains("last good version"), "{}", stage.proxy.log());
}

/// The value of the one field of that name.
fn field(content: &[u8], name: &str) -> String {
    let content = String::from_utf8_lossy(content);
    let (head, _) = content.split_once("\r\n\r\n").unwrap();
    let prefix = format!("{name}: ");
    let values: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert!(values.len() <= 1, "{values:?}");
    values.concat()
}
