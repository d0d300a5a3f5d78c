//! Large messages that nobody has to see as a whole, and that go upstream while they arrive: what the client hears, and
//! that the upstream never has a message which the client did not finish.

use std::net::SocketAddr;
use std::time::Duration;

use mailweir_testkit::script::ScriptedServer;

use crate::client::{Client, expect, stuffed};
use crate::stage::{PATIENCE, Setup, Stage, sink};

const CONFIG: &str = r#"
[chain.none]

[listener.in]
listen = ["@in"]
chain = "none"
route = "server"
relay_domains = ["example.com"]
limits = { message_size = "1MiB" }

[route.server]
upstreams = ["@server"]
command_timeout = "5s"
"#;

/// An upstream up to the content of a message, and one that has received some of that.
const BEGUN: &str = "S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250 PIPELINING\nC: MAIL\nC: RCPT\nS: 250 sender\nS: 250 recipient\n\
                     C: DATA\nS: 354 go\n";
const RECEIVING: &str = "-- octets 100000\n";

/// A message of about this size. Lines differ, and some begin with dots.
fn message(size: usize) -> Vec<u8> {
    let mut message = b"From: alice@sender.test\r\nSubject: large\r\n\r\n".to_vec();
    for number in 0.. {
        if message.len() >= size {
            return message;
        }
        let dots = ".".repeat(number % 7 % 3);
        message.extend_from_slice(format!("{dots}line {number} {}\r\n", "x".repeat(number % 90)).as_bytes());
    }
    message
}

/// A proxy that has met its upstream, so that the next to need a connection takes that one.
async fn started(config: &str, server: SocketAddr) -> Stage {
    let stage = Setup::new(config).address("server", server).start().await;
    stage.wait_for_route("server").await;
    stage
}

async fn stage(scripts: &[&str]) -> (Stage, ScriptedServer) {
    let server = ScriptedServer::start(scripts).await.unwrap();
    (started(CONFIG, server.address()).await, server)
}

async fn begun(stage: &Stage) -> Client {
    let mut client = stage.client("in").await;
    client.begin_data("alice@sender.test", &["bob@example.com"]).await;
    client
}

/// What the upstream has got of messages: what stands behind the commands.
fn content(server: &ScriptedServer, connection: usize) -> String {
    server.heard(connection).into_iter().skip_while(|line| line != "DATA").skip(1).collect()
}

#[tokio::test]
async fn the_upstream_has_the_beginning_before_the_client_has_sent_the_end() {
    let (stage, server) = stage(&[&format!("{BEGUN}{RECEIVING}-- close")]).await;
    let mut client = begun(&stage).await;
    client.send(stuffed(&message(300_000))).await;
    server.finished(1).await.unwrap();
    let content = content(&server, 0);
    assert!(content.starts_with("Received: from client.example"), "{}", &content[..80]);
    assert!(content.contains("\r\nFrom: alice@sender.test\r\nSubject: large\r\n\r\nline 0 \r\n..line 1 x\r\n"));
    client.send(".\r\n").await;
    expect(&client.reply().await, "451 4.4.2");
}

#[tokio::test]
async fn whatever_its_size_it_arrives_as_it_was_sent() {
    let sink = sink().await;
    let stage = started(CONFIG, sink.address()).await;
    let mut client = stage.client("in").await;
    let sizes = [90_000, 98_303, 98_304, 98_305, 131_072, 200_000, 524_288, 1_000_000];
    for size in sizes {
        let reply = client.deliver("alice@sender.test", &["bob@example.com"], &message(size)).await;
        expect(&reply, "250");
    }
    for (received, size) in sink.messages().iter().zip(sizes) {
        let wire = String::from_utf8_lossy(&received.content);
        let (trace, rest) = wire.split_once("From: alice").unwrap();
        assert!(trace.starts_with("Received:"), "{trace}");
        assert!(format!("From: alice{rest}").as_bytes() == message(size), "{size}");
    }
    assert_eq!(sink.messages().len(), sizes.len());
    let lines = stage.wait_for_message_lines(sizes.len()).await;
    for (line, size) in lines.iter().zip(sizes) {
        assert_eq!((&line["verdict"], &line["size"]), (&"deliver".into(), &message(size).len().into()));
    }
    // All of them over one connection: a relayed message leaves it in order.
    assert_eq!(stage.metrics().await.sum("mailweir_upstream_seconds_count", &["step=\"connect\""]), 1.0);
}

/// What the upstream does after it has received some of the message, or at DATA, and what the client hears.
#[tokio::test]
async fn what_the_upstream_has_against_it_is_the_answer() {
    let cases = [
        ("-- octets 100000\nS: 552 5.3.4 enough\n-- stall", "552 5.3.4 enough"),
        ("-- octets 100000\nS: 552 5.3.4 enough\n-- close", "552 5.3.4 enough"),
        ("-- octets 100000\nS: 421 4.3.2 going down\n-- close", "451 4.3.2 going down"),
        ("-- octets 100000\n-- close", "451 4.4.2"),
        ("-- octets 100000\nS: 250 2.0.0 taken\n-- stall", "451 4.4.2"),
        ("-- octets 100000\nS: 250 2.0.0 taken\n-- deaf", "451 4.4.2"),
        ("-- octets 100000\n-- send 250 2.0.0 tak\n-- close", "451 4.4.2"),
        ("-- octets 100000\n-- inject nonsense\n-- stall", "451 4.4.2"),
        ("-- message\nS: 554 5.7.1 not this\n-- stall", "554 5.7.1 not this"),
        ("-- message\n-- close", "451 4.4.2"),
        ("-- message\nS: 250 2.0.0 taken\n-- end", "250 2.0.0 taken"),
    ];
    let scripts: Vec<String> = cases.iter().map(|(script, _)| format!("{BEGUN}{script}")).collect();
    for (script, (_, expected)) in scripts.iter().zip(cases) {
        let (stage, _server) = stage(&[script]).await;
        let mut client = begun(&stage).await;
        client.send(stuffed(&message(1_000_000))).await;
        client.send(".\r\n").await;
        expect(&client.reply().await, expected);
        // The session goes on, whatever became of the message.
        expect(&client.say("NOOP").await, "250");
    }
}

#[tokio::test]
async fn data_that_is_refused_is_the_answer_to_the_whole_message() {
    let refusing = BEGUN.replace("354 go", "451 4.3.0 not now");
    let (stage, server) = stage(&[&format!("{refusing}-- end")]).await;
    let mut client = begun(&stage).await;
    client.send(stuffed(&message(300_000))).await;
    client.send(".\r\n").await;
    expect(&client.reply().await, "451 4.3.0 not now");
    assert_eq!(server.connections(), 1, "and is not asked for again");
}

#[tokio::test]
async fn a_connection_that_is_dead_at_data_is_replaced_at_the_end() {
    let dead = BEGUN.replace("S: 354 go\n", "-- close");
    let (stage, server) = stage(&[&dead, &format!("{BEGUN}-- message\nS: 250 2.0.0 taken\n-- end")]).await;
    let mut client = begun(&stage).await;
    client.send(stuffed(&message(300_000))).await;
    server.finished(1).await.unwrap();
    client.send(".\r\n").await;
    expect(&client.reply().await, "250 2.0.0 taken");
    assert!(content(&server, 1).ends_with(&*String::from_utf8_lossy(&stuffed(&message(300_000)))));
}

/// How a client can fail to finish its message, and what it hears of it.
#[tokio::test]
async fn the_upstream_has_no_message_that_was_not_finished() {
    let cases: [(&str, &[u8], Option<&str>); 4] = [
        ("leaves", b"", None),
        ("sends a bare LF", b"x\ny\r\n.\r\n", Some("550 5.6.11")),
        ("hides the end behind a NUL", b"\0.\r\n.\r\n", Some("550 5.6.11")),
        ("sends too much", b"too large", Some("552 5.3.4")),
    ];
    for (name, end, heard) in cases {
        let (stage, server) = stage(&[&format!("{BEGUN}{RECEIVING}-- stall")]).await;
        let mut client = begun(&stage).await;
        client.send(stuffed(&message(300_000))).await;
        if end == b"too large" {
            client.send(stuffed(&message(1_000_000))).await;
            client.send(".\r\n").await;
        } else {
            client.send(end).await;
        }
        match heard {
            Some(heard) => expect(&client.reply().await, heard),
            None => drop(client),
        }
        server.finished(1).await.unwrap();
        let lines = stage.wait_for_message_lines(1).await;
        assert_ne!(lines[0]["verdict"], "deliver", "{name}");
        assert_eq!(server.connections(), 1, "{name}");
    }
}

/// A client that goes on sending what nobody will get does not keep an upstream waiting meanwhile.
#[tokio::test]
async fn a_faulty_message_gives_its_upstream_up_at_once() {
    let cases: [(&str, Vec<u8>, &str); 2] =
        [("a bare LF", b"x\ny\r\n".to_vec(), "550 5.6.11"), ("too much", stuffed(&message(1_000_000)), "552 5.3.4")];
    for (fault, sent, expected) in cases {
        let (stage, server) = stage(&[&format!("{BEGUN}{RECEIVING}-- stall")]).await;
        let mut client = begun(&stage).await;
        client.send(stuffed(&message(300_000))).await;
        client.send(sent).await;
        server.finished(1).await.expect(fault);
        client.send("and more\r\n.\r\n").await;
        expect(&client.reply().await, expected);
        expect(&client.say("NOOP").await, "250");
        let lines = stage.wait_for_message_lines(1).await;
        assert_eq!((&lines[0]["verdict"], lines.len()), (&"reject".into(), 1), "{fault}");
    }
}

#[tokio::test]
async fn slow_clients_have_half_of_the_connections() {
    let config = CONFIG.replace("command_timeout", "max_connections = 2\ncommand_timeout");
    let relayed = format!("{BEGUN}{RECEIVING}-- message\nS: 250 2.0.0 relayed\n-- stall");
    let kept = format!("{}-- message\nS: 250 2.0.0 kept\n-- stall", BEGUN.replace("C: DATA", "-- quiet\nC: DATA"));
    let server = ScriptedServer::start(&[&relayed, &kept]).await.unwrap();
    let stage = started(&config, server.address()).await;
    let (mut slow, mut other) = (begun(&stage).await, begun(&stage).await);
    // The one is relayed, and keeps its connection as long as it likes.
    slow.send(stuffed(&message(200_000))).await;
    let relayed = async {
        while content(&server, 0).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, relayed).await.unwrap();
    // Of the other nothing goes upstream before it is whole.
    other.send(stuffed(&message(200_000))).await;
    other.send(".\r\n").await;
    expect(&other.reply().await, "250 2.0.0 kept");
    slow.send(".\r\n").await;
    expect(&slow.reply().await, "250 2.0.0 relayed");
}
