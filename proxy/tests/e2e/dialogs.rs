//! Exchanges of commands and replies as data: `tests/dialogs/*.txt`, played through one running proxy.
//!
//! ```text
//! # a comment; the first says what the dialog is about
//! listener: inbound      connects there, and closes what was open; the listeners stand in dialogs/mailweir.toml
//! C: EHLO client.example the client says this and CRLF
//! R: \x00\r\n            the client says exactly this; escapes are Rust's, and \*1000{abc} repeats
//! T:                     the TLS handshake
//! S: 250 2.1.0 Sender    the next reply begins so; its lines are joined by " / "
//! S: closed              the server closes the connection
//! M: main Subject: x\r\n the next message that this sink got, from its first field behind our Received field on
//! N: main 0              as many messages came to this sink since the last N or M, or the beginning
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mailweir::sink::Sink;
use mailweir_testkit::certificates::Authority;
use mailweir_testkit::ports;

use crate::client::Client;
use crate::filter::{Line, Say, saying};
use crate::lax;
use crate::stage::{Setup, Stage, sink};
use crate::upstream::{Answer, Picky, Rule};

/// How long a line may take.
const STEP: Duration = Duration::from_secs(20);

const RULES: &[Rule] = &[
    ("MAIL FROM:<refused@", Answer::Reply("553 5.7.1 <refused@sender.test>: Sender address rejected: not owned")),
    (
        "RCPT TO:<nobody@",
        Answer::Reply(
            "550-5.1.1 <nobody@example.com>: Recipient address rejected:\r\n550 5.1.1 User unknown in mailbox table",
        ),
    ),
    ("RCPT TO:<full@", Answer::Reply("452 4.2.2 <full@example.com>: Mailbox full")),
    ("RCPT TO:<gone@", Answer::HangUp),
    ("RCPT TO:<going@", Answer::Reply("421 4.3.2 picky.example is going down")),
    (".", Answer::Reply("554 5.7.1 picky does not like the content")),
];

/// Filters for chains of the same name.
const FILTERS: &[(&str, &[Line<'static>])] = &[
    ("reject-mail", &[("mail", Say::Reject(550, "no mail from you"))]),
    ("reject-end", &[("end-of-message", Say::Reject(554, "not this"))]),
    ("reject-headers", &[("headers", Say::Reject(550, "not with these fields"))]),
    ("reject-body", &[("body", Say::Reject(550, "not with this body"))]),
    ("reject-helo", &[("helo", Say::Reject(550, "not under this name"))]),
    ("reject-connect", &[("connect", Say::Reject(554, "not from there"))]),
    ("tempfail-rcpt", &[("rcpt", Say::TempFail(451, "greylisted"))]),
    ("disconnect-connect", &[("connect", Say::Disconnect(554, "go away"))]),
    ("disconnect-mail", &[("mail", Say::Disconnect(421, "come back later"))]),
    ("disconnect-end", &[("end-of-message", Say::Disconnect(554, "never again"))]),
    ("quarantine-end", &[("end-of-message", Say::Quarantine("looks odd"))]),
    ("quarantine-connect", &[("connect", Say::Quarantine("bad neighbourhood"))]),
    ("discard-end", &[("end-of-message", Say::Discard)]),
    ("discard-rcpt", &[("rcpt", Say::Discard)]),
    ("accept-mail", &[("mail", Say::Accept), ("end-of-message", Say::Reject(550, "was called all the same"))]),
    ("route-end", &[("end-of-message", Say::Route("other"))]),
    ("route-nowhere", &[("end-of-message", Say::Route("nowhere"))]),
    ("route-rcpt", &[("rcpt", Say::RouteIf('o', "other"))]),
    ("trap-mail", &[("mail", Say::Trap)]),
    ("trap-end", &[("end-of-message", Say::Trap)]),
    ("loop-end", &[("end-of-message", Say::Loop)]),
    ("hog-end", &[("end-of-message", Say::Hog)]),
    ("tarpit-mail", &[("mail", Say::Tarpit(200))]),
];

struct Player<'a> {
    stage: &'a Stage,
    authority: &'a Authority,
    sinks: BTreeMap<&'static str, (&'a Sink, usize)>,
    client: Option<Client>,
}

#[tokio::test]
async fn dialogs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let (main, other) = (sink().await, sink().await);
    let picky = Picky::start(RULES).await;
    let authority = Authority::new().unwrap();
    let mut config = std::fs::read_to_string(folder.join("mailweir.toml")).unwrap();
    for (name, _) in FILTERS {
        config.push_str(&format!(
            "[listener.{name}]\nlisten = [\"@{name}\"]\nchain = \"{name}\"\nroute = \"main\"\nrelay_domains = [\"example.com\"]\n\
             [chain.{name}]\nplugins = [\"{name}\"]\n[plugin.{name}]\ncpu = \"50ms\"\nmemory = \"4MiB\"\n"
        ));
    }
    let mut setup = Setup::new(&config)
        .address("main", main.address())
        .address("other", other.address())
        .address("picky", picky.address())
        .address("nobody", ports::free().unwrap());
    for (name, lines) in FILTERS {
        setup = setup.filter(name, &saying(lines));
    }
    let (certificate, key) = (setup.directory().join("mx.pem"), setup.directory().join("mx.key"));
    authority.issue_into(&["mx.example.com"], &certificate, &key).unwrap();
    let stage = setup.start().await;
    for route in ["main", "other", "picky"] {
        stage.wait_for_route(route).await;
    }

    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(paths.len() >= 20, "{} dialogs", paths.len());
    let mut failures = Vec::new();
    for path in paths {
        let count = |sink: &Sink| sink.messages().len();
        let sinks = BTreeMap::from([("main", (&main, count(&main))), ("other", (&other, count(&other)))]);
        let mut player = Player { stage: &stage, authority: &authority, sinks, client: None };
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let step = tokio::time::timeout(STEP, player.step(line)).await;
            if let Err(problem) = step.unwrap_or_else(|_| Err("nothing happens".to_owned())) {
                let file = path.file_name().unwrap().display().to_string();
                failures.push(format!("{file}:{}: {line}\n    {problem}", number + 1));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), stage.proxy.log());
    for message in main.messages().into_iter().chain(other.messages()) {
        check_message(&message.content);
    }
}

/// Panics unless a strict and a lax parser both take what was sent on for one message.
pub(crate) fn check_message(content: &[u8]) {
    let wire = [crate::client::stuffed(content), b".\r\n".to_vec()].concat();
    assert_eq!(lax::strict_end(&wire), Some(wire.len()), "strict: {}", wire.escape_ascii());
    assert_eq!(lax::lax_end(&wire), Some(wire.len()), "lax: {}", wire.escape_ascii());
}

impl Player<'_> {
    async fn step(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (key, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value);
        if key == "listener" {
            self.client = Some(Client::connect(self.stage.listener(value)).await);
            return Ok(());
        }
        let client = self.client.as_mut().ok_or("no listener is named before")?;
        match key {
            "C" => client.send([unescaped(value), b"\r\n".to_vec()].concat()).await,
            "R" => client.send(unescaped(value)).await,
            "T" => {
                let client = self.client.take().unwrap();
                self.client = Some(client.shake_hands(&self.authority.ca_file(), "mx.example.com").await);
            }
            "S" if value == "closed" => {
                if let Some(reply) = client.next_reply().await {
                    return Err(format!("it goes on with {reply}"));
                }
            }
            "S" => {
                let reply = client.next_reply().await.ok_or("closed")?.replace('\n', " / ");
                if !reply.starts_with(value) {
                    return Err(format!("it says {reply}"));
                }
            }
            "M" => self.message(value)?,
            "N" => {
                let (sink, count) = self.sink(value);
                let (sink, seen) = self.sinks.get_mut(sink).unwrap();
                let came = sink.messages().len() - *seen;
                *seen += came;
                if came.to_string() != count {
                    return Err(format!("{came} came"));
                }
            }
            _ => return Err("unknown".to_owned()),
        }
        Ok(())
    }

    fn sink<'v>(&self, value: &'v str) -> (&'v str, &'v str) {
        value.split_once(' ').filter(|(name, _)| self.sinks.contains_key(name)).unwrap()
    }

    fn message(&mut self, value: &str) -> Result<(), String> {
        let (sink, expected) = self.sink(value);
        let (sink, seen) = self.sinks.get_mut(sink).unwrap();
        let message = sink.messages().get(*seen).cloned().ok_or("nothing came")?;
        *seen += 1;
        let content = without_received(&message.content);
        if content != unescaped(expected) {
            return Err(format!("it got {}", content.escape_ascii()));
        }
        Ok(())
    }
}

/// A message without the field that the proxy put on top.
pub(crate) fn without_received(content: &[u8]) -> &[u8] {
    assert!(content.starts_with(b"Received: from "), "{}", content.escape_ascii());
    let mut end = 0;
    loop {
        end += content[end..].windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
        if !content[end..].starts_with(b"\t") {
            return &content[end..];
        }
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = &escape[1..];
        match &escape[..1] {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            "*" => {
                let (count, tail) = rest.split_once('{').unwrap();
                let (repeated, tail) = tail.split_once('}').unwrap();
                bytes.extend(unescaped(repeated).repeat(count.parse().unwrap()));
                rest = tail;
            }
            _ => panic!("{text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
