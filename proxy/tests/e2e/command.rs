//! `check` and `replay`, with the filters as they are built.

use std::path::Path;

use serde_json::Value;

use crate::stage::{command, plugin};

/// The configuration that is handed out as an example, its filters as they are built here.
#[tokio::test]
async fn check_accepts_the_example() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/mailweir.example.toml");
    let Ok(example) = std::fs::read_to_string(example) else { return println!("skipped: no example") };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    for name in ["auth", "surbl", "antivirus", "dlp"] {
        std::fs::write(directory.path().join("plugins").join(format!("{name}.wasm")), plugin(name)).unwrap();
    }
    let file = directory.path().join("mailweir.toml");
    std::fs::write(&file, example.replace("target/plugins", "plugins")).unwrap();
    let summary = command(&file, &["check"]).await.unwrap();
    assert!(summary.contains("2 listeners, 2 chains, 4 plugins, 3 routes"), "{summary}");

    // Without the grant, the operator is told which line to add.
    std::fs::write(&file, example.replace("target/plugins", "plugins").replace("grants = [\"scan\"]", "")).unwrap();
    let refused = command(&file, &["check"]).await.unwrap_err();
    assert!(refused.contains("plugin.dlp") && refused.contains("grants = [\"scan\"]"), "{refused}");
    assert!(refused.contains("mailweir.toml:"), "{refused}");
}

const CONFIG: &str = r#"
[server]
hostname = "mx.example.com"
state_dir = "state"
plugin_dir = "plugins"
[chain.outbound]
plugins = ["hello", "dlp", "faulty"]
[plugin.hello.config]
greeting = "Good day"
[plugin.faulty]
[plugin.dlp]
grants = ["scan"]
[[plugin.dlp.config.rules]]
name = "cards"
detect = ["credit-card"]
action = { reject = "5.7.1 no cards" }
[[plugin.dlp.config.rules]]
name = "secret"
keywords = ["secret"]
action = { quarantine = "a secret" }
"#;

#[tokio::test]
async fn replay_prints_each_verdict_with_its_reasons() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    for name in ["hello", "dlp", "faulty"] {
        std::fs::write(directory.path().join("plugins").join(format!("{name}.wasm")), plugin(name)).unwrap();
    }
    let config = directory.path().join("mailweir.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let write = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.display().to_string()
    };
    let clean = write("clean.eml", "From: a@b.example\nSubject: lunch\n\nAt noon?\n");
    let card = write("card.eml", "Subject: card\r\n\r\n4111 1111 1111 1111\r\n");
    let secret = write("secret.eml", "Subject: secret\n\n");
    let trap = write("trap.eml", "X-Fault: trap\n\n");
    let empty = write("empty.eml", "");
    let replay =
        async |arguments: &[&str]| command(&config, &[&["replay", "--chain", "outbound"], arguments].concat()).await;

    let lines = replay(&["--json", &clean, &card, &secret, &trap, &empty]).await.unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<&str> = lines.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["accept", "reject", "quarantine", "tempfail", "accept"]);
    assert_eq!(lines[0]["edits"][0]["value"], "Good day");
    assert!(
        lines[0]["plugins"].as_array().unwrap().iter().all(|plugin| plugin["fuel"].as_u64() > Some(0)),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1]["reply"], "550 5.7.1 no cards");
    assert!(lines[1]["reason"].as_str().unwrap().contains("1111"), "{}", lines[1]);
    assert!(!lines[1].to_string().contains("4111 1111 1111 1111"), "{}", lines[1]);
    for key in ["file", "verdict", "reply", "reason", "tags", "plugins", "authentication", "edits"] {
        assert!(lines.iter().all(|line| line.get(key).is_some()), "{key}");
    }
    let artifacts = std::fs::read_dir(directory.path().join("state/cache")).unwrap();
    assert_eq!(artifacts.count(), 3, "each filter is compiled once, and no image is made of it");
    // The same work costs the same fuel, every time.
    let again = replay(&["--json", &clean]).await.unwrap();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["plugins"][1]["fuel"], lines[0]["plugins"][1]["fuel"]);

    let text = replay(&[&card]).await.unwrap();
    assert!(text.contains("card.eml: reject") && text.contains("550 5.7.1 no cards"), "{text}");
    assert!(replay(&["/nonexistent.eml"]).await.unwrap_err().contains("/nonexistent.eml"));
}

/// As over SMTP, a recipient that a filter refuses leaves the message to the others.
#[tokio::test]
async fn replay_goes_on_without_the_recipients_that_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    std::fs::write(directory.path().join("plugins/access.wasm"), plugin("access")).unwrap();
    let config = directory.path().join("mailweir.toml");
    let server = CONFIG.split("[chain").next().unwrap();
    let lists = "[chain.inbound]\nplugins = [\"access\"]\n[plugin.access.config]\nrecipients = [\"old@example.com\"]\n";
    std::fs::write(&config, [server, lists].concat()).unwrap();
    let message = directory.path().join("lunch.eml");
    std::fs::write(&message, "Subject: lunch\n\nAt noon?\n").unwrap();
    for (recipients, verdict, refused) in [
        (["bob@example.com", "old@example.com"], "accept", 1),
        (["old@example.com", "bob@example.com"], "accept", 1),
        (["old@example.com", "OLD@example.com"], "reject", 2),
    ] {
        let message = message.display().to_string();
        let arguments =
            ["replay", "--chain", "inbound", "--json", "--rcpt", recipients[0], "--rcpt", recipients[1], &message];
        let line: Value = serde_json::from_str(&command(&config, &arguments).await.unwrap()).unwrap();
        assert_eq!(line["verdict"], verdict, "{line}");
        assert_eq!(line["refused"].as_array().unwrap().len(), refused, "{line}");
        assert!(line["refused"][0]["reply"].as_str().unwrap().starts_with("550 5.7.1"), "{line}");
    }
}
