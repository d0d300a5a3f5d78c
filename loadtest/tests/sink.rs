//! `mailweir-load sink` as a process, with `mailweir-load send` in front of it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A sink that runs.
struct Sink {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    /// Kept open, so that it can go on saying how it goes.
    _errors: Lines<BufReader<ChildStderr>>,
    address: String,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailweir-load"));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Sink {
    async fn start(arguments: &[&str]) -> Self {
        let mut command = command();
        command.args(["sink", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = errors.next_line().await.unwrap().unwrap();
        let address =
            line.strip_prefix("mailweir-load: sink listens on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, output, _errors: errors, address }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Reads what is printed up to a line that begins so.
    async fn until(&mut self, begin: &str) -> String {
        loop {
            let line = self.output.next_line().await.unwrap().unwrap_or_else(|| panic!("no {begin}"));
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    async fn ended(&mut self) -> i32 {
        self.child.wait().await.unwrap().code().unwrap()
    }
}

async fn send(address: &str, arguments: &[&str]) -> Value {
    let output = command().args(["send", address, "--json", "--quiet"]).args(arguments).output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn counts_and_proofs_are_told_meanwhile_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("sink.json");
    let read = || -> Value { serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap() };
    let mut sink = Sink::start(&["--json", json.to_str().unwrap(), "--starttls", "--threads", "2"]).await;
    for tls in ["off", "starttls"] {
        let results = send(&sink.address, &["--messages", "30", "--sessions", "3", "--proof", "--tls", tls]).await;
        assert_eq!(results["runs"][0]["messages"]["sent"], 30, "{results}");
    }
    sink.signal(Signal::USR1);
    assert!(sink.until("taken ").await.contains("60 messages"));
    sink.until("proof ").await;
    let account = read();
    assert_eq!(account["messages"], 60);
    assert_eq!((&account["distinct"], &account["doubled"], &account["altered"]), (&60.into(), &0.into(), &0.into()));
    assert_eq!((&account["tls"], &account["unmarked"]), (&3.into(), &0.into()));
    assert_eq!(account["runs"].as_object().unwrap().len(), 2, "{account}");
    send(&sink.address, &["--messages", "5"]).await;
    sink.signal(Signal::TERM);
    assert!(sink.until("taken ").await.contains("65 messages"));
    assert_eq!(sink.ended().await, 0);
    assert_eq!((&read()["messages"], &read()["unmarked"]), (&65.into(), &5.into()));
}

#[tokio::test]
async fn tls_from_the_first_octet_on() {
    let mut sink = Sink::start(&["--implicit-tls", "--max", "30", "--json", "-", "--quiet"]).await;
    let load =
        ["--messages", "30", "--sessions", "3", "--messages-per-connection", "5", "--proof", "--tls", "implicit"];
    let run = send(&sink.address, &load).await["runs"][0].clone();
    assert_eq!((&run["messages"]["sent"], &run["failures"]), (&30.into(), &serde_json::json!([])), "{run}");
    let handshakes = ["full", "resumed"].map(|kind| run["handshakes"][kind].as_u64().unwrap());
    // Each session's first is a full one, and its others are not.
    assert_eq!((handshakes[0], Some(handshakes[0] + handshakes[1])), (3, run["connections"].as_u64()), "{run}");
    let account: Value = serde_json::from_str(&sink.output.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(
        (&account["distinct"], &account["altered"], &account["tls"]),
        (&30.into(), &0.into(), &run["connections"])
    );
    assert_eq!(sink.ended().await, 0);
}

#[tokio::test]
async fn it_ends_when_it_took_enough() {
    let mut sink = Sink::start(&["--max", "7", "--json", "-", "--quiet"]).await;
    send(&sink.address, &["--messages", "7"]).await;
    let account: Value = serde_json::from_str(&sink.output.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(account["messages"], 7);
    assert_eq!(sink.ended().await, 0);
}

#[tokio::test]
async fn what_it_does_on_purpose_is_what_the_sender_sees() {
    let mut sink = Sink::start(&["--tempfail", "end=0.2", "--reject", "rcpt=0.1", "--seed", "3"]).await;
    let results = send(&sink.address, &["--messages", "400", "--sessions", "4", "--no-pipelining"]).await;
    let run = &results["runs"][0];
    let count = |phase: &str, code: u64| {
        let failures = run["failures"].as_array().unwrap().iter();
        let mut failures = failures.filter(|failure| failure["phase"] == phase && failure["code"] == code);
        failures.next().map_or(0, |failure| failure["count"].as_u64().unwrap())
    };
    let (tempfailed, rejected) = (count("end_of_data", 451), count("rcpt", 550));
    assert!((40..110).contains(&tempfailed) && (15..70).contains(&rejected), "{tempfailed} {rejected}");
    assert_eq!(run["messages"]["sent"], 400 - tempfailed - rejected);
    sink.signal(Signal::INT);
    let line = sink.until("on purpose ").await;
    assert!(line.contains(&format!("{tempfailed} × 4xx, {rejected} × 5xx")), "{line}");
}

#[tokio::test]
async fn a_page_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let sink = Sink::start(&["--quiet"]).await;
    send(&sink.address, &["--messages", "3", "--html", page.to_str().unwrap()]).await;
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&format!("<h1>send to {}</h1>", sink.address)) && page.ends_with("</html>\n"), "{page}");
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    for (arguments, text) in [
        (&["--tempfail", "rcpt=0.6", "--reject", "rcpt=0.6"][..], "the rates of rcpt add up to more than 1"),
        (&["--tempfail", "rcpt"], "not of the form PHASE=RATE"),
        (&["--certificate", "/nowhere/c.pem", "--key", "/nowhere/k.pem"], "/nowhere/c.pem"),
        (&["--store", "/proc/nowhere"], "/proc/nowhere"),
        (&["--discard", "--store", "x"], "cannot be used with"),
    ] {
        let output = command().args(["sink", "--listen", "127.0.0.1:0"]).args(arguments).output().await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(text), "{text} in {errors}");
    }
}
