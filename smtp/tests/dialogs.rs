//! Dialogs as data: `dialogs/*.txt`, each played line by line, octet by octet and in one piece, with the same outcome.
//!
//! A file is a sequence of lines:
//!
//! ```text
//! # a comment; the first says what the dialog is about
//! policy: bare_newline=normalize size=100     changes the policy; keys are those of `policy` below
//! offer: DSN BINARYMIME                       offers these too
//! A: rcpt 550 5.1.1 No such user              the next event of that kind is answered so
//! C: EHLO client.example                      the client says this and CRLF
//! R: \x00\r\n                                 the client says exactly this
//! T:                                          the TLS handshake takes place
//! S: 250 2.1.0                                the server replies so; the enhanced code only if it is given,
//! S: 250 +SIZE -STARTTLS                      lines that a reply has and has not
//! E: message Hello\r\n                        what came out: a message, as it came over the wire,
//! E: fault too-large                          a message that is refused whatever it says,
//! E: reset, E: starttls, E: xclient, E: close             and where a file has any of them, hello, mail, rcpt, begin.
//! ```
//!
//! Escapes are those of Rust, and `\*1000{abc}` repeats.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use mailweir_smtp::data::BareNewline;
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Event, MessageFault, Server, ServerPolicy, TlsPolicy};
use support::{Answers, Driver, Happening};

/// A file, read.
struct Dialog {
    path: PathBuf,
    policy: ServerPolicy,
    offer: Extensions,
    answers: Answers,
    lines: Vec<Line>,
}

enum Line {
    /// What the client sends.
    Client(Vec<u8>),
    /// The handshake.
    Tls,
    /// What is to happen.
    Expected(String),
}

#[test]
fn dialogs() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dialogs"));
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 40, "{} dialogs", paths.len());
    let mut failures = Vec::new();
    for path in paths {
        let dialog = Dialog::read(&path);
        let in_step = dialog.play_in_step();
        let in_pieces = [usize::MAX, 1, 7].into_iter().try_for_each(|size| dialog.play(size));
        failures.extend(in_step.and(in_pieces).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

impl Dialog {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut dialog = Self {
            path: path.to_owned(),
            policy: ServerPolicy::new("mx.example.com"),
            offer: Extensions {
                size: Some(0),
                pipelining: true,
                eight_bit_mime: true,
                smtp_utf8: true,
                chunking: true,
                enhanced_status_codes: true,
                ..Extensions::default()
            },
            answers: Answers::new(),
            lines: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match key {
                "policy" => value.split(' ').for_each(|setting| set_policy(&mut dialog.policy, setting)),
                "offer" => set_offer(&mut dialog.offer, value),
                "A" => dialog.answers.push_back(answer(value)),
                "C" => dialog.lines.push(Line::Client([unescape(value), b"\r\n".to_vec()].concat())),
                "R" => dialog.lines.push(Line::Client(unescape(value))),
                "T" => dialog.lines.push(Line::Tls),
                "S" | "E" => dialog.lines.push(Line::Expected(line.to_owned())),
                _ => panic!("{}: {line}", path.display()),
            }
        }
        dialog
    }

    fn driver(&self) -> Driver {
        let mut server = Server::new(self.policy.clone());
        server.set_offer(self.offer.clone());
        Driver::with_server(server, self.answers.clone())
    }

    /// What is to happen before each `T:`, and at the end.
    fn expected(&self) -> Vec<&str> {
        let expected = self.lines.iter().filter_map(|line| match line {
            Line::Expected(expected) => Some(expected.as_str()),
            _ => None,
        });
        expected.collect()
    }

    /// Each line is sent when all that comes before it in the file has happened.
    fn play_in_step(&self) -> Result<(), String> {
        let mut driver = self.driver();
        let mut expected = 0;
        for line in &self.lines {
            match line {
                Line::Client(bytes) => driver.feed(bytes),
                Line::Tls => driver.establish_tls(),
                Line::Expected(line) => {
                    self.check_one(line, self.of_interest(&driver.happenings).get(expected).copied())?;
                    expected += 1;
                }
            }
        }
        self.check(&driver.happenings)
    }

    /// All is sent at once, `size` octets at a time.
    fn play(&self, size: usize) -> Result<(), String> {
        let mut driver = self.driver();
        let mut flight = Vec::new();
        for line in &self.lines {
            match line {
                Line::Client(bytes) => flight.extend_from_slice(bytes),
                Line::Tls => {
                    flight.chunks(size).for_each(|bytes| driver.feed(bytes));
                    flight.clear();
                    driver.establish_tls();
                }
                Line::Expected(_) => {}
            }
        }
        flight.chunks(size).for_each(|bytes| driver.feed(bytes));
        self.check(&driver.happenings)
    }

    fn check(&self, happenings: &[Happening]) -> Result<(), String> {
        let expected = self.expected();
        let happened = self.of_interest(happenings);
        for (index, line) in expected.iter().enumerate() {
            self.check_one(line, happened.get(index).copied())?;
        }
        match &happened[expected.len()..] {
            [] => Ok(()),
            more => Err(format!("{}: happened too: {more:?}", self.path.display())),
        }
    }

    fn check_one(&self, line: &str, happening: Option<&Happening>) -> Result<(), String> {
        if happening.is_some_and(|happening| matches(line, happening)) {
            return Ok(());
        }
        Err(format!("{}: expected {line}, but: {happening:?}", self.path.display()))
    }

    /// Without the events that the file does not mention at all.
    fn of_interest<'a>(&self, happenings: &'a [Happening]) -> Vec<&'a Happening> {
        let mentions = |kind: &str| {
            let line = format!("E: {kind}");
            self.expected().iter().any(|expected| expected.starts_with(&line))
        };
        let of_interest = happenings.iter().filter(|happening| match happening {
            Happening::Event(Event::Hello { .. }) => mentions("hello"),
            Happening::Event(Event::Mail { .. }) => mentions("mail"),
            Happening::Event(Event::Rcpt { .. }) => mentions("rcpt"),
            Happening::Event(Event::MessageBegin { .. }) => mentions("begin"),
            Happening::Event(Event::MessageEnd(Ok(_))) => false,
            _ => true,
        });
        of_interest.collect()
    }
}

fn matches(line: &str, happening: &Happening) -> bool {
    match happening {
        Happening::Reply(reply) => line.strip_prefix("S: ").is_some_and(|pattern| reply_matches(pattern, reply)),
        Happening::Message(_, content) => {
            line.strip_prefix("E: message").is_some_and(|text| unescape(text.trim_start_matches(' ')) == *content)
        }
        Happening::Event(event) => line.strip_prefix("E: ").is_some_and(|expected| expected == describe(event)),
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Hello { name, extended: true } => format!("hello {name}"),
        Event::Hello { name, extended: false } => format!("hello {name} without extensions"),
        Event::Mail { path, parameters } => format!("mail {path}{parameters}"),
        Event::Rcpt { path, parameters } => format!("rcpt {path}{parameters}"),
        Event::MessageBegin { framing } => format!("begin {framing:?}"),
        Event::MessageEnd(Err(MessageFault::BareNewline)) => "fault bare-newline".to_owned(),
        Event::MessageEnd(Err(MessageFault::Nul)) => "fault nul".to_owned(),
        Event::MessageEnd(Err(MessageFault::TooLarge)) => "fault too-large".to_owned(),
        Event::Reset => "reset".to_owned(),
        Event::StartTls => "starttls".to_owned(),
        Event::XClient(said) => format!("xclient{said}"),
        Event::Close => "close".to_owned(),
        Event::MessageChunk(_) | Event::MessageEnd(Ok(_)) => String::new(),
    }
}

fn reply_matches(pattern: &str, reply: &Reply) -> bool {
    let mut words = pattern.split(' ');
    let code = words.next().unwrap();
    reply.code().to_string() == code
        && words.all(|word| match word.split_at(1) {
            ("+", keyword) => reply.lines().iter().any(|line| line == &keyword.replace('_', " ")),
            ("-", keyword) => !reply.lines().iter().any(|line| line.starts_with(keyword)),
            _ => reply.enhanced() == Some(word),
        })
}

fn set_policy(policy: &mut ServerPolicy, setting: &str) {
    let (key, value) = setting.split_once('=').unwrap();
    match (key, value) {
        ("bare_newline", "reject") => policy.bare_newline = BareNewline::Reject,
        ("bare_newline", "normalize") => policy.bare_newline = BareNewline::Normalize,
        ("tls", "offered") => policy.tls = TlsPolicy::Offered,
        ("tls", "required") => policy.tls = TlsPolicy::Required,
        ("tls", "active") => policy.tls = TlsPolicy::Active,
        ("size", size) => policy.message_size = size.parse().unwrap(),
        ("recipients", number) => policy.max_recipients = number.parse().unwrap(),
        ("errors", number) => policy.max_errors = number.parse().unwrap(),
        ("junk", number) => policy.max_junk_commands = number.parse().unwrap(),
        ("xclient", "on") => policy.xclient = true,
        ("line", number) => policy.max_line = number.parse().unwrap(),
        _ => panic!("{setting}"),
    }
}

fn set_offer(offer: &mut Extensions, keywords: &str) {
    for keyword in keywords.split(' ') {
        match keyword.split_once('=').unwrap_or((keyword, "")) {
            ("none", _) => *offer = Extensions::default(),
            ("DSN", _) => offer.dsn = true,
            ("BINARYMIME", _) => offer.binary_mime = true,
            ("SIZE", limit) => offer.size = Some(limit.parse().unwrap()),
            _ => panic!("{keyword}"),
        }
    }
}

/// `rcpt 550 5.1.1 No such user`
fn answer(text: &str) -> (String, Reply) {
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().unwrap();
    let (kind, code, enhanced, text) = (word(), word(), word(), word());
    (kind.to_owned(), Reply::new(code.parse().unwrap(), enhanced, text))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let kind = escape.chars().next().unwrap();
        rest = &escape[1..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            '*' => {
                let (count, tail) = rest.split_once('{').unwrap();
                let (repeated, tail) = tail.split_once('}').unwrap();
                bytes.extend(unescape(repeated).repeat(count.parse().unwrap()));
                rest = tail;
            }
            _ => panic!("{text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Whoever drives a session from any bytes says "shake hands if that is due" at any time.
#[test]
fn a_handshake_is_played_once() {
    let policy = ServerPolicy { tls: TlsPolicy::Offered, ..ServerPolicy::new("mx.example.com") };
    let mut driver = Driver::new(policy, Answers::default());
    driver.feed(b"EHLO c\r\nSTARTTLS\r\nNOOP\r\n");
    driver.establish_tls_if_agreed();
    driver.feed(b"NO");
    driver.establish_tls_if_agreed();
    driver.feed(b"OP\r\n");
    assert_eq!(driver.codes(), [220, 250, 220, 250]);
}
