//! What the integration tests share: a server that is driven to the end of its input, and a record of what it did.
#![expect(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod framing;
pub(crate) mod lax;
mod transaction;

use std::collections::VecDeque;

use bytes::BytesMut;
use mailweir_smtp::reply::{Reply, ReplyParser};
use mailweir_smtp::server::{Event, Framing, Server, ServerPolicy};
use transaction::Transaction;

/// One thing that a server did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    /// It replied.
    Reply(Reply),
    /// It told an event other than one of a message's content.
    Event(Event),
    /// It took a whole message: its framing and content.
    Message(Framing, Vec<u8>),
}

/// Answers to events, in place of the friendly ones: the first whose kind fits is taken.
pub(crate) type Answers = VecDeque<(String, Reply)>;

/// A server, the bytes on their way to it, and what it did.
pub(crate) struct Driver {
    server: Server,
    input: BytesMut,
    answers: Answers,
    transaction: Transaction,
    /// STARTTLS was agreed on, and the handshake is still to come.
    handshake_due: bool,
    framing: Framing,
    content: Vec<u8>,
    pub(crate) happenings: Vec<Happening>,
}

impl Driver {
    pub(crate) fn new(policy: ServerPolicy, answers: Answers) -> Self {
        Self::with_server(Server::new(policy), answers)
    }

    pub(crate) fn with_server(server: Server, answers: Answers) -> Self {
        let mut driver = Self {
            server,
            input: BytesMut::new(),
            answers,
            transaction: Transaction::None,
            handshake_due: false,
            framing: Framing::Plain,
            content: Vec::new(),
            happenings: Vec::new(),
        };
        let greeting = driver.answer("greeting", Reply::new(220, "", "mx.example.com ESMTP"));
        driver.server.greet(greeting);
        driver.collect_replies();
        driver
    }

    /// Feeds the server, in one piece.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(event) = self.server.next(&mut self.input) {
            self.collect_replies();
            self.record_and_answer(event);
        }
        self.collect_replies();
    }

    /// Plays the handshake, if that is what comes next.
    pub(crate) fn establish_tls_if_agreed(&mut self) {
        if self.handshake_due {
            self.establish_tls();
        }
    }

    /// Plays the handshake.
    pub(crate) fn establish_tls(&mut self) {
        self.handshake_due = false;
        self.server.tls_established(&mut self.input);
        assert!(self.input.is_empty(), "bytes from before TLS are dropped");
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.happenings.contains(&Happening::Event(Event::Close))
    }

    /// The codes of the replies, in order.
    pub(crate) fn codes(&self) -> Vec<u16> {
        let replies = self.happenings.iter().filter_map(|happening| match happening {
            Happening::Reply(reply) => Some(reply.code()),
            _ => None,
        });
        replies.collect()
    }

    /// The messages taken, in order.
    pub(crate) fn messages(&self) -> Vec<&[u8]> {
        let messages = self.happenings.iter().filter_map(|happening| match happening {
            Happening::Message(_, content) => Some(content.as_slice()),
            _ => None,
        });
        messages.collect()
    }

    fn collect_replies(&mut self) {
        let mut parser = ReplyParser::default();
        while let Some(reply) = parser.next(self.server.output()).expect("a server writes well-formed replies") {
            self.happenings.push(Happening::Reply(reply));
        }
        assert!(self.server.output().is_empty(), "a server writes whole replies");
    }

    fn record_and_answer(&mut self, event: Event) {
        let accepted = self.answer_event(&event);
        self.transaction.step(&event, accepted);
        self.handshake_due |= accepted && event == Event::StartTls;
        if let Event::MessageEnd(Ok(_)) = event {
            self.happenings.push(Happening::Message(self.framing, std::mem::take(&mut self.content)));
        }
        if !matches!(event, Event::MessageChunk(_)) {
            self.happenings.push(Happening::Event(event));
        }
    }

    /// Says whether the answer was a yes.
    fn answer_event(&mut self, event: &Event) -> bool {
        match event {
            Event::Hello { .. } => self.reply("hello", Reply::new(250, "", "mx.example.com")),
            Event::Mail { .. } => self.reply("mail", Reply::new(250, "2.1.0", "Sender OK")),
            Event::Rcpt { .. } => self.reply("rcpt", Reply::new(250, "2.1.5", "Recipient OK")),
            Event::XClient(_) => self.reply("xclient", Reply::new(220, "", "mx.example.com ESMTP")),
            Event::StartTls => self.reply("starttls", Reply::new(220, "2.0.0", "Ready to start TLS")),
            Event::MessageBegin { framing } => {
                self.framing = *framing;
                self.content.clear();
                let refusal = self.take_answer("begin");
                let accepted = refusal.is_none();
                match refusal {
                    Some(reply) => self.server.refuse(reply),
                    None => self.server.accept_message(),
                }
                accepted
            }
            Event::MessageChunk(chunk) => {
                assert!(!chunk.is_empty());
                self.content.extend_from_slice(chunk);
                let refusal = self.take_answer("chunk");
                let accepted = refusal.is_none();
                refusal.into_iter().for_each(|reply| self.server.refuse(reply));
                accepted
            }
            Event::MessageEnd(Ok(summary)) => {
                lax::check_message(self.framing, &self.content, summary);
                self.reply("end", Reply::new(250, "2.0.0", "Message accepted"))
            }
            Event::MessageEnd(Err(fault)) => self.reply("end", fault.reply()),
            Event::Reset | Event::Close => true,
        }
    }

    fn reply(&mut self, kind: &str, usual: Reply) -> bool {
        let reply = self.answer(kind, usual);
        let accepted = reply.is_positive();
        if accepted {
            self.server.accept(reply)
        } else {
            self.server.refuse(reply)
        }
        accepted
    }

    fn answer(&mut self, kind: &str, usual: Reply) -> Reply {
        self.take_answer(kind).unwrap_or(usual)
    }

    fn take_answer(&mut self, kind: &str) -> Option<Reply> {
        let index = self.answers.iter().position(|(wanted, _)| wanted == kind)?;
        self.answers.remove(index).map(|(_, reply)| reply)
    }
}

/// The folder with data from elsewhere; `None`, and a word about it, when it is not there.
pub(crate) fn shared_testdata(name: &str) -> Option<std::path::PathBuf> {
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/testdata")).join(name);
    // Clones lie at different depths.
    let deeper = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/testdata")).join(name);
    let found = [path, deeper].into_iter().find(|path| path.exists());
    if found.is_none() {
        std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {name} is not there\n").as_bytes()).ok();
    }
    found
}
