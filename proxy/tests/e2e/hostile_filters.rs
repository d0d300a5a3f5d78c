//! Filters that misbehave in every way we know of, each in a chain of its own in one proxy: their own messages meet the
//! effect that is configured, those of others pass, and the memory comes back.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::client::{Client, expect};
use crate::guests;
use crate::stage::{Setup, sink};

/// The guests, and the causes that their failures are counted under; none where it depends on which limit they meet first.
const HOSTILE: &[(&str, &str)] = &[
    ("trap", "trap"),
    ("trap-in-constructor", "trap"),
    ("endless-loop", "timeout"),
    ("memory-hog", "memory"),
    ("stack-overflow", "trap"),
    ("host-call-flood", "timeout"),
    ("reply-crlf", "trap"),
    ("reply-nul", "trap"),
    ("reply-huge", "trap"),
    ("reply-code-999", "trap"),
    ("reply-code-250", "trap"),
    ("reply-not-utf8", "trap"),
    ("reply-out-of-memory", "trap"),
    ("no-such-verdict", "trap"),
    ("tag-bomb", ""),
    ("forged-handle", "trap"),
    ("keeps-the-message", "trap"),
    ("edits-unplanned", "trap"),
    ("edit-injects-field", "trap"),
    ("edit-injects-command", "trap"),
    ("edit-out-of-range", "trap"),
    ("edit-flood", ""),
    ("string-out-of-memory", "trap"),
    ("hoards-handles", "trap"),
    ("calls-the-host-while-called", "trap"),
    ("calls-the-host-while-answered", "trap"),
    ("calls-the-host-after-its-end", "trap"),
];

/// Guests that do no harm, whatever they do.
const HARMLESS: &[&str] = &["log-flood", "grows-tables", "pass"];

const LISTENER: &str = r#"
[listener.NAME]
listen = ["@NAME"]
chain = "NAME"
route = "main"
relay_domains = ["example.com"]

[chain.NAME]
plugins = ["NAME", "last"]

[plugin.NAME]
grants = ["scan"]
cpu = "100ms"
memory = "24MiB"
"#;

#[tokio::test]
async fn each_has_its_effect_and_nobody_else_is_harmed() {
    const ROUNDS: usize = 3;
    let main = sink().await;
    let mut config =
        "[route.main]\nupstreams = [\"@main\"]\ntls = \"off\"\n[plugin.last]\nsource = \"edit.wasm\"\n".to_owned();
    let names = || HOSTILE.iter().map(|(name, _)| *name).chain(HARMLESS.iter().copied());
    names().for_each(|name| config.push_str(&LISTENER.replace("NAME", name)));
    let mut setup = Setup::new(&config).address("main", main.address()).filter("edit", &guests::component("edit"));
    for name in names() {
        setup = setup.filter(name, &guests::component(name));
    }
    let stage = Arc::new(setup.start().await);
    stage.wait_for_route("main").await;
    let mut clients = JoinSet::new();
    for name in names() {
        let server = stage.listener(name);
        let is_hostile = HOSTILE.iter().any(|(hostile, _)| *hostile == name);
        clients.spawn(async move {
            let mut wrong = Vec::new();
            for _ in 0..ROUNDS {
                let reply = outcome(&mut Client::greeted(server).await).await;
                if !reply.starts_with(if is_hostile { "451 4.7.1" } else { "250 2.0.0 Ok" }) {
                    wrong.push(format!("{name}: {reply}"));
                }
            }
            wrong
        });
    }
    let wrong = clients.join_all().await.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(main.count(), (HARMLESS.len() * ROUNDS) as u64);
    for message in main.messages() {
        assert!(String::from_utf8_lossy(&message.content).contains("X-Tag: clean"), "the chain was not run to its end");
    }
    let metrics = stage.metrics().await;
    for (name, cause) in HOSTILE {
        let label = format!("plugin=\"{name}\"");
        let failures = metrics.sum("mailweir_plugin_failures_total", &[&label]);
        let cause = if cause.is_empty() { String::new() } else { format!("cause=\"{cause}\"") };
        let of_cause = metrics.sum("mailweir_plugin_failures_total", &[&label, &cause]);
        assert_eq!((failures, of_cause), (ROUNDS as f64, ROUNDS as f64), "{name}");
        assert!(stage.proxy.log().contains(name), "no log line speaks of {name}");
    }
    assert_eq!(metrics.sum("mailweir_sandboxes", &[]), 0.0);
    assert_eq!(metrics.sum("mailweir_message_bytes_in_memory", &[]), 0.0);
    assert!(metrics.sum("mailweir_plugin_log_lines_dropped_total", &[]) > 0.0);
    // What a filter says is one line each, and does not steer a terminal.
    let log = stage.proxy.log();
    assert!(!log.chars().any(|character| character.is_control() && character != '\n'));
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

/// The first refusal, or the answer to the message.
async fn outcome(client: &mut Client) -> String {
    for line in ["MAIL FROM:<alice@sender.test>", "RCPT TO:<bob@example.com>", "DATA"] {
        let reply = client.say(line).await;
        if !reply.starts_with(['2', '3']) {
            return reply;
        }
    }
    client.send("Subject: x\r\n\r\nHello\r\n.\r\n").await;
    let reply = client.reply().await;
    expect(&client.say("RCPT TO:<bob@example.com>").await, "503");
    reply
}
