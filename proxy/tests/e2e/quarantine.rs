//! Messages that are kept: what the operator sees of them, and what becomes of them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::client::expect;
use crate::dialogs::without_received;
use crate::filter::{Say, saying};
use crate::stage::{Setup, Stage, sink};
use crate::upstream::{Answer, Picky, Rule};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "inbound"
route = "main"
relay_domains = ["example.com"]

[chain.inbound]
plugins = ["keeper"]

[plugin.keeper]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

const CONTENT: &[u8] = b"Subject: odd\r\n\r\n.dots\r\n..\r\nand \xff\xfe\r\n";

async fn list(stage: &Stage) -> Vec<Value> {
    let listed = stage.command(&["quarantine", "list", "--json"]).await.unwrap();
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn release(stage: &Stage, id: &str) -> Result<String, String> {
    stage.command(&["quarantine", "release", id]).await
}

fn keeper() -> Vec<u8> {
    saying(&[("end-of-message", Say::Quarantine("looks odd"))])
}

#[tokio::test]
async fn a_message_is_kept_looked_at_and_released() {
    let main = sink().await;
    let stage = Setup::new(CONFIG).address("main", main.address()).filter("keeper", &keeper()).start().await;
    let mut client = stage.client("inbound").await;
    let recipients = ["bob@example.com", "Postmaster", "carol@example.com"];
    expect(&client.deliver("alice@sender.test", &recipients, CONTENT).await, "250 2.0.0 OK ");
    expect(&client.deliver("", &["bob@example.com"], CONTENT).await, "250 2.0.0 OK ");

    let kept = list(&stage).await;
    assert_eq!(kept.len(), 2);
    let id = kept[0]["id"].as_str().unwrap();
    let shown = stage.command(&["quarantine", "show", id]).await.unwrap();
    for words in ["looks odd", "keeper", "<bob@example.com>", "alice@sender.test", "inbound"] {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
    let lines = stage.wait_for_message_lines(2).await;
    assert_eq!(lines[0]["verdict"], "quarantine");
    assert!(lines[0]["reason"].as_str().unwrap().contains(id), "{}", lines[0]);

    release(&stage, id).await.unwrap();
    assert_eq!(list(&stage).await.len(), 1);
    release(&stage, kept[1]["id"].as_str().unwrap()).await.unwrap();
    assert!(list(&stage).await.is_empty());
    assert!(release(&stage, id).await.is_err());
    let messages = main.messages();
    let mut released: Vec<&str> = messages.iter().flat_map(|message| &message.recipients).map(String::as_str).collect();
    released.sort_unstable();
    assert_eq!(released, ["Postmaster", "bob@example.com", "bob@example.com", "carol@example.com"]);
    assert!(messages.iter().all(|message| without_received(&message.content) == CONTENT));
    assert_eq!(messages.last().unwrap().sender, "");
}

/// Two are refused, and the others get the message once, however often it is released.
#[tokio::test]
async fn who_got_a_released_message_does_not_get_it_again() {
    const RULES: &[Rule] = &[
        ("RCPT TO:<nobody@", Answer::Reply("550 5.1.1 nobody here")),
        ("RCPT TO:<full@", Answer::Reply("452 4.2.2 full")),
    ];
    let picky = Picky::start(RULES).await;
    let (stage, id) = kept_for(&["full@example.com", "nobody@example.com", "carol@example.com"], &picky).await;
    let asked = picky.heard("RCPT TO:<bob@").len();
    for _ in 0..2 {
        let refused = release(&stage, &id).await.unwrap_err();
        assert!(refused.contains("nobody here") && refused.contains("4.2.2 full"), "{refused}");
        assert!(!refused.contains("carol@example.com"), "{refused}");
    }
    assert_eq!(picky.heard("RCPT TO:<bob@").len() - asked, 1);
    assert_eq!(picky.heard("RCPT TO:<carol@").len(), 1);
    assert_eq!(picky.heard("Subject: odd").len(), 1);
    assert_eq!(list(&stage).await[0]["recipients"], serde_json::json!(["full@example.com", "nobody@example.com"]));
    stage.command(&["quarantine", "delete", &id]).await.unwrap();
    assert!(list(&stage).await.is_empty());
}

/// The upstream is lost over one recipient: the message stays for that one alone.
#[tokio::test]
async fn a_recipient_that_the_upstream_hangs_up_on_does_not_keep_the_others() {
    const RULES: &[Rule] = &[("RCPT TO:<gone@", Answer::HangUp)];
    let picky = Picky::start(RULES).await;
    let (stage, id) = kept_for(&["gone@example.com"], &picky).await;
    for _ in 0..2 {
        release(&stage, &id).await.unwrap_err();
        assert_eq!(list(&stage).await[0]["recipients"], serde_json::json!(["gone@example.com"]));
        assert_eq!(picky.heard("Subject: odd").len(), 1);
    }
}

/// A message in the quarantine for bob and these, who were added by a filter, so that nobody was asked for them yet.
async fn kept_for(added: &[&str], picky: &Picky) -> (Stage, String) {
    let config = CONFIG
        .replace("[plugin.keeper]", "[plugin.keeper]\n[plugin.adder]")
        .replace("[\"keeper\"]", "[\"keeper\", \"adder\"]");
    let stage = Setup::new(&config)
        .address("main", picky.address())
        .filter("keeper", &keeper())
        .filter("adder", &saying(&[("end-of-message", Say::AddRecipients(added))]))
        .start()
        .await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver("alice@sender.test", &["bob@example.com"], CONTENT).await, "250 2.0.0 OK ");
    let id = list(&stage).await[0]["id"].as_str().unwrap().to_owned();
    (stage, id)
}

/// Fsynced before the client hears 250, or not taken.
#[tokio::test]
async fn what_cannot_be_kept_is_not_taken() {
    let main = sink().await;
    let stage = Setup::new(CONFIG).address("main", main.address()).filter("keeper", &keeper()).start().await;
    let mut client = stage.client("inbound").await;
    expect(&client.deliver_to_bob("x").await, "250");
    let directory = stage.proxy.directory().join("state/quarantine");
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    expect(&client.deliver_to_bob("x").await, "451 4.3.0");
    assert_eq!(main.count(), 0);
}

/// A file system of so few bytes, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where that is not allowed.
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=700", "none"]).arg(&path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// RFC 3463: 4.3.1 is "mail system full".
#[tokio::test]
async fn without_room_on_the_disk_the_client_is_told_so() {
    let main = sink().await;
    let setup = Setup::new(CONFIG).address("main", main.address()).filter("keeper", &keeper());
    let disk = SmallDisk::mount(setup.directory().join("state/quarantine"));
    let stage = setup.start().await;
    let Some(_disk) = disk else {
        return eprintln!("skipped: no file system can be mounted here");
    };
    let mut client = stage.client("inbound").await;
    let large = [CONTENT, &b"a line of a message that is too large\r\n".repeat(5000)].concat();
    let recipients = ["bob@example.com"];
    expect(&client.deliver("alice@sender.test", &recipients, &large).await, "452 4.3.1");
    assert!(list(&stage).await.is_empty(), "nothing is left of it");
    expect(&client.deliver("alice@sender.test", &recipients, CONTENT).await, "250 2.0.0 OK ");
    assert_eq!(list(&stage).await.len(), 1);
    assert!(main.messages().is_empty());
}
