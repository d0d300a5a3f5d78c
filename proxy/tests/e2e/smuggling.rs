//! Ends of data that are none, through the proxy: one message or a refusal, and never two.

use crate::client::{Client, expect};
use crate::dialogs::check_message;
use crate::stage::{Setup, sink};

const CONFIG: &str = r#"
[listener.reject]
listen = ["@reject"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
bare_newline = "reject"

[listener.normalize]
listen = ["@normalize"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
bare_newline = "normalize"
limits = { messages = 100000, errors = 100000 }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

pub(crate) const SMUGGLED: &str =
    "MAIL FROM:<chief@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n";

/// What may stand around the dot in place of CRLF.
pub(crate) const NEWLINES: [&str; 10] =
    ["\r\n", "\n", "\r", "\n\r", "\r\r\n", "\r\n\n", "\r\0\n", "\0\r\n", "\r\n\0", "\r\n\r"];

#[tokio::test]
async fn whatever_is_not_the_end_of_data_ends_nothing() {
    let main = sink().await;
    let stage = Setup::new(CONFIG).address("main", main.address()).start().await;
    stage.wait_for_route("main").await;
    let (mut accepted, mut refused) = (0, 0);
    for listener in ["reject", "normalize"] {
        let mut client = stage.client(listener).await;
        for before in NEWLINES {
            for after in NEWLINES {
                if before.ends_with("\r\n") && after.starts_with("\r\n") {
                    continue;
                }
                let content = format!("Subject: one\r\n\r\none{before}.{after}{SMUGGLED}");
                for framing in ["DATA", "BDAT"] {
                    let what = format!("{listener} {framing} {}.{}", before.escape_default(), after.escape_default());
                    let taken = main.messages().len();
                    let reply = send(&mut client, framing, &content).await;
                    let came = main.messages().len() - taken;
                    assert_eq!(came, usize::from(reply.starts_with("250")), "{what}: {reply}");
                    if listener == "reject" && content.replace("\r\n", "").contains(['\r', '\n']) {
                        expect(&reply, "550 5.6.11");
                    }
                    if came == 1 {
                        accepted += 1
                    } else {
                        refused += 1
                    }
                    assert!(
                        main.messages().last().is_none_or(|message| message.sender == "alice@sender.test"),
                        "{what}"
                    );
                    // What was smuggled began no transaction, and neither did the refusal leave one.
                    expect(&client.say("RCPT TO:<bob@example.com>").await, "503 5.5.1");
                    if listener == "reject" {
                        client = stage.client(listener).await;
                    }
                }
            }
        }
    }
    assert!(accepted > 20 && refused > 100, "{accepted} accepted, {refused} refused");
    for message in main.messages() {
        check_message(&message.content);
    }
}

async fn send(client: &mut Client, framing: &str, content: &str) -> String {
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    if framing == "DATA" {
        expect(&client.say("DATA").await, "354");
        client.send(format!("{content}.\r\n")).await;
        return client.reply().await;
    }
    client.send(format!("BDAT {} LAST\r\n{content}", content.len())).await;
    client.reply().await
}
