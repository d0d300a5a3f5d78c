//! What the operator sees: metrics, log lines, the pages of the admin listener.

use std::collections::BTreeSet;

use mailweir_testkit::mailweir::http_get;
use serde_json::Value;

use crate::client::expect;
use crate::filter::{Say, saying};
use crate::stage::{PATIENCE, Setup, sink};
use crate::upstream::{Answer, Picky, Rule};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "inbound"
route = "main"
relay_domains = ["example.com"]

[listener.keeping]
listen = ["@keeping"]
chain = "keeping"
route = "main"
relay_domains = ["example.com"]

[listener.picky]
listen = ["@picky-listener"]
chain = "none"
route = "picky"
relay_domains = ["example.com"]

[chain.none]
[chain.inbound]
plugins = ["hello", "faulty"]
[chain.keeping]
plugins = ["keeper"]

[plugin.hello.config]
greeting = "Good day"
[plugin.faulty]
[plugin.keeper]

[route.main]
upstreams = ["@main"]
tls = "off"
[route.picky]
upstreams = ["@picky"]
tls = "off"
"#;

#[tokio::test]
async fn a_recipient_that_a_filter_refuses_has_a_line_that_says_why() {
    const ACCESS: &str = "[plugin.access.config]\nrecipients = [\"old@example.com\"]\n";
    let main = sink().await;
    let config =
        CONFIG.replace("plugins = [\"keeper\"]", "plugins = [\"access\"]").replace("[plugin.keeper]\n", ACCESS);
    let setup = Setup::new(&config).address("main", main.address()).address("picky", main.address());
    let stage = setup.plugin("hello").plugin("faulty").plugin("access").start().await;
    let mut client = stage.client("keeping").await;
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<old@example.com>").await, "550 5.7.1");
    stage.proxy.wait_for_log("recipient refused", PATIENCE).await.unwrap();
    let log = stage.proxy.log();
    assert!(log.contains("\"reason\":\"access: old@example.com\""), "{log}");
}

#[tokio::test]
async fn metrics_and_log_lines_tell_what_happened() {
    const RULES: &[Rule] = &[(".", Answer::Reply("554 5.7.1 no"))];
    let (main, picky) = (sink().await, Picky::start(RULES).await);
    let stage = Setup::new(CONFIG)
        .address("main", main.address())
        .address("picky", picky.address())
        .plugin("hello")
        .plugin("faulty")
        .filter("keeper", &saying(&[("end-of-message", Say::Quarantine("odd"))]))
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("one").await, "250");
    expect(&client.deliver_to_bob("two").await, "250");
    let trap = b"X-Fault: trap\r\nSubject: three\r\n\r\n";
    expect(&client.deliver("alice@sender.test", &["bob@example.com"], trap).await, "451 4.7.1");
    expect(&stage.client("keeping").await.deliver_to_bob("four").await, "250");
    expect(&stage.client("picky").await.deliver_to_bob("five").await, "554 5.7.1 no");

    let metrics = stage.metrics().await;
    let messages = |listener: &str, verdict: &str| {
        let labels = [format!("listener=\"{listener}\""), format!("verdict=\"{verdict}\"")];
        metrics.sum("mailweir_messages_total", &[&labels[0], &labels[1]])
    };
    assert_eq!(messages("inbound", "deliver"), 2.0);
    assert_eq!(messages("inbound", "tempfail"), 1.0);
    assert_eq!(messages("keeping", "quarantine"), 1.0);
    assert_eq!(messages("picky", "upstream_refused"), 1.0);
    assert_eq!(metrics.sum("mailweir_connections_total", &["listener=\"inbound\""]), 1.0);
    assert_eq!(metrics.sum("mailweir_plugin_calls_total", &["plugin=\"hello\""]), 3.0);
    assert_eq!(metrics.sum("mailweir_plugin_failures_total", &["plugin=\"faulty\"", "cause=\"trap\""]), 1.0);
    assert!(metrics.sum("mailweir_plugin_host_calls_total", &["plugin=\"faulty\""]) >= 3.0);
    assert_eq!(metrics.sum("mailweir_plugin_seconds_count", &["plugin=\"faulty\""]), 3.0);
    assert_eq!(metrics.sum("mailweir_upstream_messages_total", &["route=\"main\"", "result=\"delivered\""]), 2.0);
    assert!(metrics.sum("mailweir_upstream_reused_total", &["route=\"main\""]) >= 1.0);
    assert!(metrics.sum("mailweir_message_bytes_total", &["listener=\"inbound\""]) > 150.0);
    assert_eq!(metrics.sum("mailweir_message_bytes_in_memory", &[]), 0.0);
    assert_eq!(metrics.sum("mailweir_sandboxes", &[]), 0.0);

    let lines = stage.wait_for_message_lines(5).await;
    let verdicts: Vec<&str> = lines.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["deliver", "deliver", "tempfail", "quarantine", "upstream_refused"]);
    let first = &lines[0];
    assert_eq!(first["sender"], "alice@sender.test");
    assert_eq!(first["recipients"], serde_json::json!(["bob@example.com"]));
    assert_eq!(first["helo"], "client.example");
    assert_eq!(first["plugins"][0]["reason"], "said hello");
    assert!(first["plugins"][0]["micros"].as_u64().unwrap() > 0);
    assert!(first["upstream_reply"].as_str().unwrap().starts_with("250 2.0.0 Ok: message"), "{first}");
    let id = first["id"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&main.messages()[0].content).contains(&format!("id {id}")));
    assert!(lines[2]["reason"].as_str().unwrap().starts_with("faulty: "), "{}", lines[2]);
    assert_eq!(lines[4]["upstream_reply"], "554 5.7.1 no");
}

#[tokio::test]
async fn nothing_from_outside_steers_the_log() {
    const RULES: &[Rule] = &[("RCPT TO:<h\u{f6}stile", Answer::Reply("550 5.1.1 \u{9b}31m\u{202e}\u{1b}[2Jgone"))];
    let (main, picky) = (sink().await, Picky::start(RULES).await);
    let hostile = saying(&[("end-of-message", Say::Quarantine("line\u{2028}two \u{202e}drawkcab"))]);
    let stage = Setup::new(CONFIG)
        .address("main", main.address())
        .address("picky", picky.address())
        .plugin("hello")
        .plugin("faulty")
        .filter("keeper", &hostile)
        .start()
        .await;
    let mut client = stage.client("keeping").await;
    let _ = client.say("EHLO a\u{1b}[2J").await;
    client.send(b"EHLO client.example\r\nMAIL FROM:<a\x1b[31m@x>\r\nFROB \x07\x9b\r\n").await;
    for _ in 0..3 {
        client.reply().await;
    }
    client.say("MAIL FROM:<\u{202e}evil\u{2028}@sender.test> SMTPUTF8").await;
    client.say("RSET").await;
    expect(&client.say("MAIL FROM:<\"\\\u{202e}evil\"@sender.test> SMTPUTF8").await, "");
    client.say("RSET").await;
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    expect(&client.say("DATA").await, "354");
    client.send("Subject: \u{1b}]0;owned\u{7}\r\n\r\n.\r\n").await;
    client.reply().await;
    let mut client = stage.client("picky").await;
    expect(&client.say("MAIL FROM:<alice@sender.test> SMTPUTF8").await, "250");
    client.say("RCPT TO:<h\u{f6}stile@example.com>").await;
    stage.wait_for_message_lines(1).await;

    let log = stage.proxy.log();
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
        let is_hostile = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}');
        assert!(!line.contains(is_hostile), "{line:?}");
    }
    let listed = stage.command(&["quarantine", "list"]).await.unwrap();
    assert!(!listed.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{listed:?}");
}

#[tokio::test]
async fn pages() {
    let main = sink().await;
    let config = CONFIG.replace("plugins = [\"hello\", \"faulty\"]", "").replace("plugins = [\"keeper\"]", "");
    let config: String = config.split("[plugin.hello.config]").take(1).collect::<String>()
        + "[route.main]\nupstreams = [\"@main\"]\n[route.picky]\nupstreams = [\"@main\"]\n";
    let mut stage = Setup::new(&config).address("main", main.address()).start().await;
    let admin = stage.admin();
    for (path, status) in [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/nothing", 404)] {
        assert_eq!(http_get(admin, path).await.unwrap().0, status, "{path}");
    }
    let mut client = stage.client("inbound").await;
    client.begin_data("alice@sender.test", &["bob@example.com"]).await;
    stage.proxy.signal("TERM").await.unwrap();
    stage.proxy.wait_for_log("\"draining\"", PATIENCE).await.unwrap();
    assert_eq!(http_get(admin, "/ready").await.unwrap().0, 503);
    assert_eq!(http_get(admin, "/health").await.unwrap().0, 200);
    client.send(".\r\n").await;
    expect(&client.reply().await, "250");
    assert!(stage.proxy.terminate(PATIENCE).await.unwrap().success());
}

/// docs/operations.md names every metric, and no other.
#[tokio::test]
async fn every_metric_is_documented() {
    let main = sink().await;
    let config = CONFIG.replace("plugins = [\"hello\", \"faulty\"]", "").replace("plugins = [\"keeper\"]", "");
    let config: String = config.split("[plugin.hello.config]").take(1).collect::<String>()
        + "[route.main]\nupstreams = [\"@main\"]\n[route.picky]\nupstreams = [\"@main\"]\n";
    let stage = Setup::new(&config).address("main", main.address()).start().await;
    let (_, page) = http_get(stage.admin(), "/metrics").await.unwrap();
    let shown: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `mailweir_"));
    let named: BTreeSet<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').filter(|word| word.starts_with("mailweir_")))
        .collect();
    assert_eq!(shown, named);
}
