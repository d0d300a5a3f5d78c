//! `mailweir-load run` as a process: scenarios against the sink itself, and against servers that fail.

#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "less is asked of it here than by the tests of send")]
mod server;

use std::path::Path;

use serde_json::Value;
use server::{Behaviour, Sink};
use tokio::process::Command;

/// A run that has ended.
struct Run {
    code: i32,
    json: Value,
    errors: String,
}

async fn run(scenario: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_mailweir-load"))
        .args(["run", scenario.to_str().unwrap(), "--json", "--quiet"])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A scenario in a file of its own.
fn file(text: &str) -> tempfile::TempPath {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), format!("title = \"test\"\n{text}")).unwrap();
    file.into_temp_path()
}

impl Run {
    fn claims(&self) -> Vec<(bool, &str)> {
        let claims = self.json["claims"].as_array().unwrap_or_else(|| panic!("{}", self.errors));
        claims.iter().map(|claim| (claim["passed"].as_bool().unwrap(), claim["claim"].as_str().unwrap())).collect()
    }

    fn assert_passed(&self) {
        assert_eq!(self.code, 0, "{} {:#}", self.errors, self.json["claims"]);
        assert!(self.claims().iter().all(|(passed, _)| *passed));
    }
}

const AT_THE_SINK: &str = "[target]\naddress = \"{sink}\"\n[sink]\n";

#[tokio::test]
async fn steps_follow_one_another_and_rates_are_multiples() {
    let scenario = file(&format!(
        "{AT_THE_SINK}
[[step]]
name = \"capacity\"
[[step.load]]
name = \"mail\"
messages = 200
think = \"10ms\"
[[step]]
name = \"half\"
duration = \"1s\"
[[step.load]]
name = \"mail\"
rate = \"0.5x\"
arrivals = \"uniform\"
size = \"lognormal:median=4KB,sigma=1,max=200KB\"
[[step.load]]
name = \"idle\"
background = true
idle = true
sessions = 20
bind = [\"127.0.3.1-127.0.3.4\"]
[[expect]]
failures = 0
[[expect]]
load = \"idle\"
held = {{ at_least = 1 }}
[[expect]]
step = \"half\"
goodput = {{ at_least = 0.1, at_most = 0.6, times = \"capacity\" }}"
    ));
    let run = run(&scenario, &[]).await;
    run.assert_passed();
    let runs = run.json["runs"].as_array().unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["capacity: mail", "half: mail", "half: idle"]);
    let rate = |index: usize, key: &str| runs[index][key].as_f64().unwrap();
    let (offered, half) = (rate(1, "offered_per_second"), rate(0, "messages_per_second") / 2.0);
    // They went through decimal text.
    assert!((offered - half).abs() < 1e-6 * half, "{offered} and {half}");
    for run in &runs[..2] {
        assert_eq!(run["proof"]["arrived"], run["messages"]["sent"], "{run}");
    }
    assert_eq!(run.json["sink"]["distinct"], run.json["sink"]["messages"]);
}

#[tokio::test]
async fn tls_is_resumed_or_not() {
    let scenario = file(
        "[target]\naddress = \"{sink}\"\n[sink]\nbehaviour = { starttls = true }
[[step]]
name = \"resumed\"
[[step.load]]
messages = 40
sessions = 2
tls = \"starttls\"
messages_per_connection = 1
[[step]]
name = \"full\"
[[step.load]]
messages = 10
tls = \"starttls\"
messages_per_connection = 1
resumption = false
[[expect]]
failures = 0
[[expect]]
step = \"resumed\"
resumed = { at_least = 0.9 }
[[expect]]
step = \"full\"
resumed = 0",
    );
    let run = run(&scenario, &[]).await;
    run.assert_passed();
    assert_eq!(run.json["runs"][0]["handshakes"], serde_json::json!({"full": 2, "resumed": 38}));
    assert_eq!(run.json["sink"]["tls"], 50);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_offered_is_an_error() {
    let scenario = |behaviour: &str, load: &str| {
        file(&format!(
            "[target]\naddress = \"{{sink}}\"\n[sink]\nbehaviour = {{ {behaviour} }}
[[step]]\nname = \"a\"\n[[step.load]]\nmessages = 2\ntls = \"starttls\"\n{load}"
        ))
    };
    let pem = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap().cert.pem();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let ca = format!("ca = \"{}\"", folder.path().join("ca.pem").display());
    for (behaviour, load, error) in
        [("starttls = true", ca.as_str(), "TLS: invalid peer certificate"), ("", "", "STARTTLS is not offered")]
    {
        let run = run(&scenario(behaviour, load), &[]).await;
        assert_eq!(run.code, 1, "{}", run.errors);
        let failures = &run.json["runs"][0]["failures"];
        assert!(failures[0]["error"].as_str().unwrap().starts_with(error), "{failures}");
    }
    let run = run(&scenario("", "ca = \"/nowhere/ca.pem\""), &[]).await;
    assert_eq!(run.code, 2);
    assert!(run.errors.contains("step \"a\": load \"load-1\": ca: /nowhere/ca.pem"), "{}", run.errors);
}

#[tokio::test]
async fn a_server_that_swallows_mail_is_found_out() {
    let swallows = Sink::start(Behaviour { refused_message: 3, ..Behaviour::default() }).await;
    let scenario = file(&format!(
        "{AT_THE_SINK}[[step]]\nname = \"a\"\n[[step.load]]\nname = \"mail\"\nmessages = 10\n[[expect]]\nfailures = 1"
    ));
    let run = run(&scenario, &["--target", &swallows.address.to_string(), "--sink", "127.0.0.1:0"]).await;
    assert_eq!(run.code, 1, "{}", run.errors);
    let proof = &run.json["runs"][0]["proof"];
    assert_eq!((&proof["acknowledged"], &proof["lost"], &proof["arrived"]), (&9.into(), &9.into(), &0.into()));
    let claims = run.claims();
    assert_eq!(claims[0], (false, "a, mail: nothing is lost, doubled, altered, or taken in spite of a refusal"));
    assert_eq!(claims[1], (true, "a, mail: failures at most 1"));
}

#[tokio::test]
async fn servers_are_started_watched_and_ended() {
    // The load tester's own sink stands in for a server.
    let scenario = file(&format!(
        "[target]\naddress = \"127.0.0.1:{{port:smtp}}\"
[[server]]
name = \"other\"
command = [\"{}\", \"sink\", \"--listen\", \"127.0.0.1:{{port:smtp}}\", \"--quiet\"]
[[step]]
name = \"a\"
[[step.load]]
name = \"mail\"
messages = 500
[[expect]]
memory = \"500MiB\"
descriptors = 100
failures = 0
[[expect]]
memory = \"1KiB\"",
        env!("CARGO_BIN_EXE_mailweir-load")
    ));
    let run = run(&scenario, &[]).await;
    assert_eq!(run.code, 1, "{} {:#}", run.errors, run.json);
    let passed: Vec<bool> = run.claims().iter().map(|(passed, _)| *passed).collect();
    assert_eq!(passed, [true, true, true, false, true], "{:#}", run.json["claims"]);
    assert_eq!(run.claims()[4].1, "other runs to the end and ends on SIGTERM");
    assert_eq!(run.json["processes"][0]["name"], "other");
    assert!(run.json["processes"][0]["samples"].as_array().unwrap().len() >= 2);
}

#[tokio::test]
async fn what_cannot_begin_says_why() {
    let step = "[[step]]\nname = \"a\"\n[[step.load]]\nmessages = 1\n";
    let server = |command: &str| {
        format!(
            "[target]\naddress = \"127.0.0.1:{{port:x}}\"\n[[server]]\nname = \"s\"\nready_within = 1\ncommand = {command}\n{step}"
        )
    };
    for (text, expected) in [
        (
            server("[\"/nowhere/program\"]"),
            "server \"s\": command: \"/nowhere/program\" cannot be started; is it installed?",
        ),
        (
            server("[\"sh\", \"-c\", \"echo because; exit 3\"]"),
            "server \"s\": it ended at once: exit status: 3; it said:\nbecause",
        ),
        (server("[\"sleep\", \"100\"]"), "server \"s\": it does not greet at 127.0.0.1:"),
        (server("[\"{sink}\"]"), "server \"s\": command: {sink}: the scenario has no [sink]"),
        (format!("{AT_THE_SINK}{step}sessions = 900000"), "900000 connections need more descriptors than"),
        (format!("{AT_THE_SINK}{step}eml = [\"nowhere.eml\"]"), "step \"a\": load \"load-1\": eml: "),
        (format!("{AT_THE_SINK}{step}sesions = 1"), "unknown field `sesions`"),
    ] {
        let scenario = file(&text);
        let run = run(&scenario, &[]).await;
        assert_eq!(run.code, 2, "{text}");
        assert!(run.errors.contains(scenario.to_str().unwrap()), "names the file: {}", run.errors);
        assert!(run.errors.contains(expected), "{expected}\n{}", run.errors);
    }
    let run = run(Path::new("small"), &["--scale", "0"]).await;
    assert_eq!(run.code, 2);
}
