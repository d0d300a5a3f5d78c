//! `mailweir-load send` as a process, against servers that take mail and servers that do not.

#![expect(clippy::unwrap_used, reason = "tests")]

mod server;

use mailweir_smtp::extension::Extensions;
use mailweir_smtp::server::Framing;
use serde_json::Value;
use server::{Behaviour, Sink};
use std::time::Duration;
use tokio::process::Command;

/// A run that has ended.
struct Run {
    code: i32,
    output: String,
    errors: String,
}

impl Run {
    fn json(&self) -> Value {
        let results: Value = serde_json::from_str(&self.output)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.output, self.errors));
        assert_eq!(results["format"], "mailweir-load/1");
        results["runs"][0].clone()
    }
}

async fn send(server: &str, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_mailweir-load"))
        .args(["send", server])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn send_to(sink: &Sink, arguments: &[&str]) -> Run {
    send(&sink.address.to_string(), arguments).await
}

#[tokio::test]
async fn each_message_arrives_once_and_whole() {
    for mode in [&["--pipelining"][..], &["--no-pipelining"], &["--chunking"], &["--chunking", "--no-pipelining"]] {
        let sink = Sink::start(Behaviour::default()).await;
        let mut arguments =
            vec!["--json", "--sessions", "3", "--messages", "20", "--size", "200000", "--recipients", "2"];
        arguments.extend_from_slice(mode);
        let run = send_to(&sink, &arguments).await;
        assert_eq!(run.code, 0, "{mode:?}: {}", run.output);
        let json = run.json();
        assert_eq!(json["messages"]["sent"], 20, "{mode:?}: {json}");
        let framing = if mode.contains(&"--chunking") { Framing::Plain } else { Framing::DotStuffed };
        let received = sink.received();
        assert_eq!(received.len(), 20);
        for message in received {
            assert_eq!(message.framing, Some(framing));
            assert_eq!(message.content.len(), 200_000);
            assert_eq!(message.parameters.size, Some(200_000));
            let recipients: Vec<&str> = message.recipients.iter().map(|path| path.as_str()).collect();
            assert_eq!(recipients, ["recipient-1@load.example", "recipient-2@load.example"]);
        }
    }
}

#[tokio::test]
async fn phases_are_counted_apart() {
    let sink = Sink::start(Behaviour::default()).await;
    let arguments =
        ["--json", "--sessions", "1", "--messages", "6", "--messages-per-connection", "2", "--recipients", "3"];
    let json = send_to(&sink, &arguments).await.json();
    assert_eq!(sink.connections(), 3);
    assert_eq!(json["connections"], 3);
    let counts: Vec<(&str, u64)> = json["latency"]
        .as_array()
        .unwrap()
        .iter()
        .map(|latency| (latency["phase"].as_str().unwrap(), latency["count"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("connect", 3),
        ("greeting", 3),
        ("hello", 3),
        ("mail", 6),
        ("rcpt", 18),
        ("data", 6),
        ("end_of_data", 6),
        ("quit", 3),
        ("message", 6),
    ];
    assert_eq!(counts, expected);
    // Greeting, EHLO and QUIT of 3 connections; MAIL, 3 RCPT and the end of 6 messages.
    assert_eq!(json["replies"], serde_json::json!({"2xx": 9 + 30, "3xx": 6, "4xx": 0, "5xx": 0}));
    for latency in json["latency"].as_array().unwrap() {
        let value = |key: &str| latency[key].as_f64().unwrap();
        assert!(0.0 < value("min") && value("min") <= value("p50") && value("p50") <= value("max"), "{latency}");
    }
}

#[tokio::test]
async fn files_are_sent_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("one.eml"), folder.path().join("two.eml")];
    std::fs::write(&files[0], "Subject: one\n\n.dot\n").unwrap();
    std::fs::write(&files[1], "Subject: zwei\r\n\r\nSchöne Grüße").unwrap();
    let files = files.map(|file| file.to_str().unwrap().to_owned());
    let sink = Sink::start(Behaviour::default()).await;
    let arguments =
        ["--sessions", "1", "--messages", "3", "--from", "<>", "--to", "a@b.example", "--helo", "me.example"];
    let run = send_to(&sink, &[&arguments[..], &["--eml", &files[0], &files[1]]].concat()).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let received = sink.received();
    let contents: Vec<&str> = received.iter().map(|message| str::from_utf8(&message.content).unwrap()).collect();
    let (one, two) = ("Subject: one\r\n\r\n..dot\r\n", "Subject: zwei\r\n\r\nSchöne Grüße\r\n");
    assert_eq!(contents, [one, two, one]);
    assert_eq!(received[1].helo, "me.example");
    assert_eq!(received[1].sender.as_ref().unwrap().to_string(), "<>");
    assert_eq!(received[1].recipients[0].as_str(), "a@b.example");
    assert!(received[0].parameters.body.is_none() && received[1].parameters.body.is_some());
}

#[tokio::test]
async fn what_is_not_offered_is_not_used() {
    let sink = Sink::start(Behaviour { offer: Extensions::default(), ..Behaviour::default() }).await;
    let run = send_to(&sink, &["--messages", "4", "--chunking"]).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let received = sink.received();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|message| message.framing == Some(Framing::DotStuffed)));
    assert!(received.iter().all(|message| message.parameters.size.is_none()));
}

/// What the server does, what the run says of it: messages sent, refused and lost.
async fn check_failure(behaviour: Behaviour, arguments: &[&str], expected: [u64; 3]) -> Value {
    for mode in ["--pipelining", "--no-pipelining"] {
        let sink = Sink::start(behaviour.clone()).await;
        let run = send_to(&sink, &[&["--json", "--messages", "5", "--sessions", "1", mode], arguments].concat()).await;
        let json = run.json();
        assert_eq!(run.code, 1, "{mode}: {json}");
        let messages = ["sent", "refused", "lost"].map(|key| json["messages"][key].as_u64().unwrap());
        assert_eq!(messages, expected, "{mode}: {json}");
        if mode == "--no-pipelining" {
            return json;
        }
    }
    Value::Null
}

#[tokio::test]
async fn a_refused_message_is_a_failure() {
    let json = check_failure(Behaviour { refused_message: 2, ..Behaviour::default() }, &[], [4, 1, 0]).await;
    assert_eq!(
        json["failures"],
        serde_json::json!([{"phase": "end_of_data", "code": 451, "count": 1, "example": "451 4.3.0 Not now"}])
    );
}

#[tokio::test]
async fn refused_recipients_are_failures() {
    let all = Behaviour { refused_recipients: "recipient", ..Behaviour::default() };
    let json = check_failure(all, &[], [0, 5, 0]).await;
    assert_eq!(
        json["failures"],
        serde_json::json!([{"phase": "rcpt", "code": 550, "count": 5, "example": "550 5.1.1 Nobody"}])
    );
    let some = Behaviour { refused_recipients: "recipient-2", ..Behaviour::default() };
    check_failure(some, &["--recipients", "3"], [0, 5, 0]).await;
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let json = check_failure(Behaviour { dropped_message: 3, ..Behaviour::default() }, &[], [4, 0, 1]).await;
    assert_eq!(json["connections"], 2);
    assert_eq!(
        json["failures"],
        serde_json::json!([{"error": "closed by the server", "count": 1, "example": "closed by the server"}])
    );
}

#[tokio::test]
async fn after_421_the_connection_is_replaced() {
    let json = check_failure(Behaviour { messages_per_connection: 2, ..Behaviour::default() }, &[], [4, 1, 0]).await;
    assert_eq!(json["connections"], 2);
    assert_eq!(
        json["failures"],
        serde_json::json!([{"phase": "mail", "code": 421, "count": 1, "example": "421 4.7.0 Enough"}])
    );
}

#[tokio::test]
async fn a_server_that_turns_everybody_away_refuses_each_message() {
    let json = check_failure(Behaviour { turns_away: true, ..Behaviour::default() }, &[], [0, 5, 0]).await;
    assert_eq!(
        json["failures"],
        serde_json::json!([{"phase": "greeting", "code": 554, "count": 5, "example": "554 sink.example"}])
    );
}

#[tokio::test]
async fn nobody_listens() {
    // Bound and closed again: nobody else is likely to be given the port.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let run = send(&address, &["--messages", "2", "--json"]).await;
    assert_eq!(run.code, 1);
    let example = "Connection refused (os error 111)";
    assert_eq!(
        run.json()["failures"],
        serde_json::json!([{"error": "connect: connection refused", "count": 2, "example": example}])
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let run =
        send(&listener.local_addr().unwrap().to_string(), &["--messages", "1", "--timeout", "0.05", "--json"]).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.json()["failures"], serde_json::json!([{"error": "timed out", "count": 1, "example": "timed out"}]));
}

/// A latency, in microseconds.
fn latency(json: &Value, phase: &str, value: &str) -> f64 {
    let latencies = json["latency"].as_array().unwrap();
    let found = latencies.iter().find(|latency| latency["phase"] == phase);
    found.unwrap_or_else(|| panic!("no {phase} in {json}"))[value].as_f64().unwrap()
}

#[tokio::test]
async fn an_open_loop_does_not_wait_for_the_server_and_measures_what_waits() {
    // Of 400 messages in 0.4 s some 300 are due while the 10th is stalled. A closed loop would have sent one of them.
    let stall = Duration::from_millis(300);
    let sink = Sink::start(Behaviour { stalled_message: (10, stall), ..Behaviour::default() }).await;
    let run = send_to(
        &sink,
        &[
            "--json",
            "--sessions",
            "1",
            "--rate",
            "1000",
            "--arrivals",
            "uniform",
            "--messages",
            "400",
            "--threads",
            "1",
        ],
    )
    .await;
    let json = run.json();
    assert_eq!(run.code, 0, "{json}");
    assert_eq!(json["messages"]["sent"], 400);
    assert_eq!(json["offered_per_second"], 1000.0);
    let (intended, service) = (latency(&json, "intended", "p50"), latency(&json, "message", "p50"));
    assert!(intended > 50e3, "most messages were late: {intended} µs");
    assert!(service < intended / 2.0, "though each was sent quickly: {service} µs");
    assert!(latency(&json, "wait", "p50") > 50e3, "they waited for a connection");
    assert!(latency(&json, "message", "max") >= 300e3);
    let numbers = latency(&json, "intended", "count");
    assert_eq!(numbers, 400.0);
}

#[tokio::test]
async fn a_load_lasts_as_long_as_it_is_told() {
    let sink = Sink::start(Behaviour::default()).await;
    for how in [&["--rate", "200"][..], &["--rate", "200", "--ramp", "0.2"], &["--think", "5ms"], &[]] {
        let run = send_to(&sink, &[&["--json", "--duration", "0.5"], how].concat()).await;
        let json = run.json();
        assert_eq!(run.code, 0, "{how:?}: {json}");
        let (sent, seconds) = (&json["messages"]["sent"], json["seconds"].as_f64().unwrap());
        assert!(sent.as_u64() > Some(5) && *sent == json["messages"]["requested"], "{how:?}: {json}");
        assert!(seconds >= 0.3, "{how:?}: {seconds}");
        assert!(!json["timeline"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_open_loop_uses_as_many_connections_as_it_needs() {
    let sink = Sink::start(Behaviour::default()).await;
    let run =
        send_to(&sink, &["--json", "--rate", "50", "--messages", "20", "--threads", "2", "--sessions", "50"]).await;
    assert_eq!(run.json()["messages"]["sent"], 20);
    assert!(sink.connections() < 20, "free ones are used again: {}", sink.connections());
}

#[tokio::test]
async fn what_waits_at_the_end_is_given_up() {
    let sink =
        Sink::start(Behaviour { stalled_message: (1, Duration::from_millis(500)), ..Behaviour::default() }).await;
    let run = send_to(
        &sink,
        &["--json", "--sessions", "1", "--threads", "1", "--rate", "100", "--duration", "0.2", "--drain", "0.1"],
    )
    .await;
    let messages = run.json()["messages"].clone();
    assert_eq!(run.code, 1, "{messages}");
    let count = |key: &str| messages[key].as_u64().unwrap();
    assert_eq!(count("sent") + count("abandoned"), count("requested"), "{messages}");
    assert!(count("sent") >= 1 && count("abandoned") >= 1, "{messages}");
}

#[tokio::test]
async fn sizes_are_those_of_the_distribution_and_of_the_seed() {
    let sizes = async |seed: &str| {
        let sink = Sink::start(Behaviour::default()).await;
        let size = "lognormal:median=5KB,sigma=1,max=100KB";
        let run = send_to(&sink, &["--messages", "30", "--size", size, "--seed", seed]).await;
        assert_eq!(run.code, 0, "{}", run.output);
        let mut sizes: Vec<usize> = sink.received().iter().map(|message| message.content.len()).collect();
        sizes.sort_unstable();
        sizes
    };
    let first = sizes("1").await;
    assert!(first.first() < first.last());
    assert_eq!(first, sizes("1").await);
    assert_ne!(first, sizes("2").await);
}

#[tokio::test]
async fn connections_come_from_the_addresses_given() {
    let sink = Sink::start(Behaviour::default()).await;
    let arguments = ["--messages", "6", "--messages-per-connection", "1", "--bind", "127.0.9.1-127.0.9.2", "127.0.9.7"];
    assert_eq!(send_to(&sink, &arguments).await.code, 0);
    let mut peers: Vec<String> = sink.peers().iter().map(ToString::to_string).collect();
    peers.sort();
    assert_eq!(peers, ["127.0.9.1", "127.0.9.1", "127.0.9.2", "127.0.9.2", "127.0.9.7", "127.0.9.7"]);
}

#[tokio::test]
async fn idle_connections_are_held_and_the_lost_ones_counted() {
    let sink = Sink::start(Behaviour { closes_connection: 2, ..Behaviour::default() }).await;
    let run = send_to(&sink, &["--json", "--idle", "--sessions", "5", "--duration", "0.5"]).await;
    let json = run.json();
    assert_eq!(json["held"], serde_json::json!({"wanted": 5, "opened": 5, "stayed": 4}));
    assert_eq!((run.code, sink.connections()), (1, 5), "none is opened again");
}

#[tokio::test]
async fn slow_senders_are_slow_and_given_up_at_the_end() {
    let sink = Sink::start(Behaviour::default()).await;
    for part in ["data", "commands"] {
        let arguments = ["--json", "--slow", "100", "--slow-part", part, "--sessions", "3", "--duration", "0.5"];
        let run = send_to(&sink, &arguments).await;
        let messages = &run.json()["messages"];
        assert_eq!((&messages["sent"], &messages["abandoned"]), (&0.into(), &3.into()), "{part}: {messages}");
        assert_eq!(run.code, 0);
    }
    assert_eq!(sink.received().len(), 0);
}

#[tokio::test]
async fn the_first_line_proves_the_rest() {
    let sink = Sink::start(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sent.json");
    let run = send_to(&sink, &["--messages", "3", "--proof", "--proof-out", file.to_str().unwrap()]).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let sent: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(sent["sent"], serde_json::json!({"acknowledged": [[0, 2]], "in_doubt": [], "refused": []}));
    for message in sink.received() {
        let content = String::from_utf8(message.content).unwrap();
        let mark = format!("Load-Proof: v1 {} ", sent["run"].as_str().unwrap());
        assert!(content.starts_with(&mark), "{content}");
        assert_eq!(message.parameters.size, Some(content.len() as u64));
    }
    // A sink that saw two of three.
    let received = folder.path().join("received.json");
    for (numbers, code) in [("[[0,2]]", 0), ("[[0,1]]", 1)] {
        let run_id = &sent["run"];
        let json = format!(
            r#"{{"runs": {{{run_id}: {{"numbers": {numbers}, "doubled": [], "altered": []}}}}, "unmarked": 0}}"#
        );
        std::fs::write(&received, json).unwrap();
        let verify = Command::new(env!("CARGO_BIN_EXE_mailweir-load")).arg("verify").args([&file, &received]).output();
        let verify = verify.await.unwrap();
        assert_eq!(verify.status.code(), Some(code), "{verify:?}");
        let verdict: Value = serde_json::from_slice(&verify.stdout).unwrap();
        assert_eq!(verdict["lost"], code);
    }
}

#[tokio::test]
async fn the_table_names_what_happened() {
    let sink = Sink::start(Behaviour { refused_message: 1, ..Behaviour::default() }).await;
    let run = send_to(&sink, &["--messages", "3"]).await;
    for line in ["messages     2 sent, 1 refused, 0 lost", "refusal      1 × 451 to end of data", "latency, µs"] {
        assert!(run.output.contains(line), "{line:?} in\n{}", run.output);
    }
}

#[tokio::test]
async fn what_cannot_begin_says_why() {
    for (arguments, text) in [
        (["--eml", "/nowhere/a.eml"], "eml: /nowhere/a.eml"),
        (["--size", "10"], "size: a generated message has at least"),
    ] {
        let run = send("127.0.0.1:1", &arguments).await;
        assert_eq!(run.code, 2);
        assert!(run.errors.contains(text), "{}", run.errors);
    }
    let run = send("no port", &[]).await;
    assert_eq!(run.code, 2);
}
