//! SMTP dialogs of chasquid and Apache James, chasquid's dot reader and its fuzz corpus, over a socket. Reply texts are those
//! servers' own, so only the class of a code counts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mailweir_testkit::certificates::Authority;
use serde_json::Value;

use super::client::Connection;
use super::report::{Disagreement, Tally};
use super::server::Server;
use super::{Setting, text};

/// chasquid's own limits in its tests.
const LIMITS: &str = "limits = { errors = 1000, message_size = \"1MiB\" }";
/// Anybody may send anywhere.
const RELAY: &str = "relay_domains = [\"*\"]\ntrusted_networks = [\"127.0.0.0/8\"]";

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    let Some(folder) = setting.data("smtp_dialogs") else { return Ok(Tally::skipped("SMTP dialogs")) };
    let mut authority = Authority::new()?;
    let issued = authority.issue(&["mx.example.com"])?;
    let tls = format!("{{ mode = \"opportunistic\", certificate = {:?}, key = {:?} }}", issued.certificate, issued.key);
    let server = Server::start(setting, &format!("{RELAY}\n{LIMITS}"), "[chain.test]\n")?;
    let with_tls = Server::start(setting, &format!("{RELAY}\n{LIMITS}\ntls = {tls}"), "[chain.test]\n")?;
    Ok(vec![
        chasquid(&server, &folder.join("chasquid"))?,
        james(&with_tls, &folder.join("james_mpt"))?,
        dot_reader(setting, &folder.join("chasquid_dotreader.json"))?,
        fuzz_corpus(&server, &folder.join("chasquid_fuzz"))?,
    ])
}

/// `c -> TEXT` sends a line, `c ~> EXPRESSION` octets, `c <~ CODE …` and its like wait for a reply. What is sent while no
/// reply is waited for goes out at once.
fn chasquid(server: &Server, folder: &Path) -> Result<Tally> {
    let mut disagreements = Vec::new();
    let files: Vec<PathBuf> = super::files(folder, "cmy")?.into_iter().filter(|file| !needs_auth(file)).collect();
    for file in &files {
        let case = name(file);
        let mut connection = Connection::open(server.address)?;
        for line in std::fs::read_to_string(file)?.lines() {
            if line.contains("_connect ") {
                connection = Connection::open(server.address)?;
            } else if let Some(text) = line.strip_prefix("c ->") {
                connection.send(format!("{}\r\n", text.strip_prefix(' ').unwrap_or(text)).as_bytes())?;
            } else if let Some(expression) = line.strip_prefix("c ~> ") {
                connection.send(&evaluate(expression))?;
            } else if let Some((_, expected)) = line.strip_prefix("c <").and_then(|rest| rest.split_once(' ')) {
                let got = connection.reply().unwrap_or_else(|error| format!("{error:#}"));
                if got.get(..1) != expected.get(..1) {
                    let (case, expected) = (case.clone(), expected.to_owned());
                    disagreements.push(Disagreement { case, expected, got });
                    break;
                }
            }
        }
        if let Ok(content) = std::fs::read_to_string(file.with_extension("cmy.verify")) {
            let arrived = last_delivered(server)?;
            let expected = content.replace('\n', "\r\n");
            if !arrived.ends_with(expected.as_bytes()) {
                let got = String::from_utf8_lossy(&arrived).into_owned();
                disagreements.push(Disagreement { case, expected, got });
            }
        }
    }
    Ok(Tally::new("SMTP dialogs chasquid", files.len(), disagreements))
}

/// There is no AUTH: who relays for its users is not at the edge.
fn needs_auth(file: &Path) -> bool {
    name(file).contains("auth") || std::fs::read_to_string(file).is_ok_and(|text| text.contains("AUTH LOGIN\nS:"))
}

/// `C: TEXT` sends a line, `S: REPLY` is a line of a reply.
fn james(server: &Server, folder: &Path) -> Result<Tally> {
    let mut disagreements = Vec::new();
    let files: Vec<PathBuf> = super::files(folder, "test")?.into_iter().filter(|file| !needs_auth(file)).collect();
    for file in &files {
        let case = name(file);
        let mut connection = Connection::open(server.address)?;
        for line in std::fs::read_to_string(file)?.lines() {
            let Some((side, text)) = line.split_once(':') else { continue };
            let text = text.strip_prefix(' ').unwrap_or(text);
            if side == "C" {
                let text = text.replace("\\r", "\r").replace("\\n", "\n");
                connection.send(format!("{text}\r\n").as_bytes())?;
            } else if !text.starts_with("250-") && text != "250.*" {
                let got = connection.reply().unwrap_or_else(|error| format!("{error:#}"));
                if got.get(..1) != text.get(..1) {
                    disagreements.push(Disagreement { case, expected: text.to_owned(), got });
                    break;
                }
            }
        }
    }
    Ok(Tally::new("SMTP dialogs James", files.len(), disagreements))
}

fn dot_reader(setting: &Setting, file: &Path) -> Result<Tally> {
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(file)?)?;
    let disagreements = setting.judge(&cases, |_, case| {
        let input = text(case, "input");
        // Its reader hands out lines with LF, and counts them so; a CRLF is two octets here.
        let limit = if text(case, "err") == "errMessageTooLarge" { case["max"].as_u64().unwrap_or(1) } else { 1000 };
        let listener = format!("{RELAY}\nlimits = {{ message_size = \"{limit}B\" }}");
        let server = Server::start(setting, &listener, "[chain.test]\n")?;
        let mut connection = Connection::open(server.address)?;
        connection.reply()?;
        for command in ["EHLO client.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"] {
            connection.command(command)?;
        }
        connection.send(input.as_bytes())?;
        let (got, expected) = match text(case, "err") {
            "io.ErrUnexpectedEOF" => {
                connection.finish()?;
                let got = connection.reply().unwrap_or_else(|_| "no reply".to_owned());
                (if got.starts_with("4") { "no reply".to_owned() } else { got }, "no reply".to_owned())
            }
            "" => {
                let reply = connection.reply()?;
                let arrived = if reply.starts_with('2') { std::fs::read(server.delivered(1))? } else { Vec::new() };
                let want = text(case, "want_lf").replace('\n', "\r\n");
                let is_there = reply.starts_with('2') && arrived.ends_with(want.as_bytes());
                (if is_there { want.clone() } else { format!("{reply} {:?}", String::from_utf8_lossy(&arrived)) }, want)
            }
            fault => {
                // The fault is told at the real end of the data, which not all of the cases have.
                if fault == "errInvalidLineEnding" {
                    connection.send(b"\r\n.\r\n")?;
                }
                (connection.reply()?.chars().take(1).collect(), "5".to_owned())
            }
        };
        let case = format!("{input:?} {fault}", fault = text(case, "err"));
        Ok(if got == expected { Vec::new() } else { vec![Disagreement { case, expected, got }] })
    })?;
    Ok(Tally::new("dot reader chasquid", cases.len(), disagreements))
}

/// Whatever the octets, the next client is served.
fn fuzz_corpus(server: &Server, folder: &Path) -> Result<Tally> {
    let mut disagreements = Vec::new();
    let files = super::files(folder, "")?;
    for file in &files {
        let corpus = std::fs::read_to_string(file)?;
        let (_, quoted) = corpus.split_once("[]byte(\"").context("a Go fuzz corpus")?;
        let session = quoted.trim_end().trim_end_matches("\")").replace("\\n", "\n");
        for session in [session.clone(), session.replace('\n', "\r\n")] {
            let mut connection = Connection::open(server.address)?;
            // It may be closed in the middle.
            let _ = connection.send(session.as_bytes());
            let _ = connection.finish();
            while connection.reply().is_ok() {}
        }
        let mut next = Connection::open(server.address)?;
        let got = next.reply().unwrap_or_else(|error| format!("{error:#}"));
        if !got.starts_with("220") {
            disagreements.push(Disagreement { case: name(file), expected: "220".to_owned(), got });
        }
    }
    Ok(Tally::new("fuzz corpus chasquid", files.len(), disagreements))
}

/// The Python expressions that chasquid's dialogs use: `'text' * 3`, `('a' * 2 + 'b') * 3`.
fn evaluate(expression: &str) -> Vec<u8> {
    if let Some((inner, count)) = expression.strip_prefix('(').and_then(|rest| rest.split_once(") * ")) {
        return evaluate(inner).repeat(count.parse().unwrap_or(1));
    }
    let terms = expression.split(" + ").map(|term| match term.split_once(" * ") {
        Some((text, count)) => evaluate(text).repeat(count.parse().unwrap_or(1)),
        None => term.trim_matches('\'').replace("\\r", "\r").replace("\\n", "\n").into_bytes(),
    });
    terms.collect::<Vec<_>>().concat()
}

fn last_delivered(server: &Server) -> Result<Vec<u8>> {
    let numbers = (1..).take_while(|number| server.delivered(*number).exists());
    let last = numbers.last().context("nothing was delivered")?;
    Ok(std::fs::read(server.delivered(last))?)
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
