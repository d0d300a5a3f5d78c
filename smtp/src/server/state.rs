//! The states of a connection. A transition consumes its state and returns the next.

use bytes::BytesMut;

use super::content::{Chunk, Skip};
use super::session::{Session, Toll};
use super::{Event, command, content};
use crate::address::ClientName;
use crate::data::{BareNewline, ChunkScanner, DataScanner};
use crate::parameter::BodyType;
use crate::reply::Reply;

/// What the machine is doing.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Waiting for [`super::Server::greet`].
    Unannounced,
    /// Reading commands.
    Command(Phase),
    /// An event waits for its answer.
    Asked(Question),
    /// EHLO in a transaction: `Reset` has been told, `Hello` is next.
    HelloNext(ClientName, Dialect, Dialect),
    /// Reading what follows DATA.
    Data(Dialect, DataScanner),
    /// Reading what follows DATA only to find its end; then comes this reply.
    DroppingData(Dialect, DataScanner, Reply),
    /// Reading a chunk.
    Chunk(Transaction, Box<ChunkScanner>, Chunk),
    /// Dropping a chunk.
    Skipping(Skip),
    /// The end of a message's chunks was read; the rest of it is handed on.
    Finishing(Transaction, Box<ChunkScanner>),
    /// STARTTLS was accepted: nothing is read until TLS is there.
    Handshake,
    /// `Close` is to be told.
    Closing,
    /// `Close` was told.
    #[default]
    Closed,
}

/// Which commands make sense.
#[derive(Debug)]
pub(super) enum Phase {
    /// The greeting turned the client away.
    Unwelcome,
    /// No EHLO or HELO yet.
    Fresh,
    /// No transaction.
    Greeted(Dialect),
    /// MAIL was accepted.
    Transaction(Transaction),
    /// A chunk was accepted, and it was not the last.
    Chunking(Transaction, Box<ChunkScanner>),
    /// A message was refused between its chunks. A client may have pipelined more of them: the next is answered so.
    ChunksUnwanted(Dialect, Box<Reply>),
}

/// How the client introduced itself, hence which extensions it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// HELO: none.
    Original,
    /// EHLO: those offered.
    Extended,
}

/// What has to be known about a transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) dialect: Dialect,
    pub(super) charset: Charset,
    pub(super) body: Option<BodyType>,
    /// Recipients accepted.
    pub(super) recipients: usize,
    /// Recipients accepted or not.
    pub(super) attempts: usize,
}

/// What addresses may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Ascii,
    Utf8,
}

/// An event that waits for its answer.
#[derive(Debug)]
pub(super) enum Question {
    /// `Hello` in this dialect; refused, things stay as they were (RFC 5321 section 4.1.4).
    Hello {
        asked: Dialect,
        before: Phase,
    },
    Mail(Transaction),
    Rcpt(Transaction),
    /// `MessageBegin` for DATA.
    Data(Transaction),
    /// `MessageBegin` for BDAT.
    Chunk(Transaction, Chunk),
    /// `MessageEnd`; then comes this phase.
    Verdict(Phase, Content),
    StartTls(Dialect),
    /// `XClient`: the answer is a greeting.
    XClient,
}

/// Whether a message can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Whole,
    Faulty,
}

/// What a step led to.
pub(super) enum Progress {
    /// Something for the user.
    Event(Event),
    /// Nothing; there may be more to read.
    Continues,
    /// Nothing, until the user has done something.
    Waiting,
}

/// The state after the greeting.
pub(super) fn greeted(session: &mut Session, reply: &Reply) -> State {
    session.write(reply);
    match reply.code() {
        421 => State::Closing,
        400.. => State::Command(Phase::Unwelcome),
        _ => State::fresh(),
    }
}

impl State {
    pub(super) fn fresh() -> Self {
        Self::Command(Phase::Fresh)
    }

    fn greeted(dialect: Dialect) -> Self {
        Self::Command(Phase::Greeted(dialect))
    }

    /// One step.
    pub(super) fn advance(self, session: &mut Session, input: &mut BytesMut) -> (Self, Progress) {
        match self {
            Self::Command(phase) => command::read(phase, session, input),
            Self::HelloNext(name, asked, before) => {
                let question = Question::Hello { asked, before: Phase::Greeted(before) };
                let event = Event::Hello { name, extended: asked == Dialect::Extended };
                (Self::Asked(question), Progress::Event(event))
            }
            Self::Data(dialect, scanner) => content::read_data(dialect, scanner, input),
            Self::DroppingData(dialect, scanner, reply) => content::drop_data(dialect, scanner, reply, session, input),
            Self::Chunk(transaction, scanner, chunk) => {
                content::read_chunk(transaction, scanner, chunk, session, input)
            }
            Self::Finishing(transaction, scanner) => content::finish(transaction, scanner),
            Self::Skipping(skip) => content::skip_chunk(skip, session, input),
            Self::Closing => (Self::Closed, Progress::Event(Event::Close)),
            Self::Unannounced | Self::Asked(_) | Self::Handshake | Self::Closed => (self, Progress::Waiting),
        }
    }

    pub(super) fn is_reading_content(&self) -> bool {
        match self {
            Self::Data(..)
            | Self::DroppingData(..)
            | Self::Chunk(..)
            | Self::Skipping(_)
            | Self::Finishing(..)
            | Self::Command(Phase::Chunking(..)) => true,
            Self::Unannounced
            | Self::Command(_)
            | Self::Asked(_)
            | Self::HelloNext(..)
            | Self::Handshake
            | Self::Closing
            | Self::Closed => false,
        }
    }

    pub(super) fn accepted(self, session: &mut Session, reply: &Reply) -> Self {
        let Self::Asked(question) = self else { return self };
        match question {
            Question::Hello { asked, .. } => session.welcome(reply, asked),
            Question::Mail(transaction) => {
                session.write(reply);
                Self::Command(Phase::Transaction(transaction))
            }
            Question::Rcpt(mut transaction) => {
                session.write(reply);
                transaction.recipients += 1;
                Self::Command(Phase::Transaction(transaction))
            }
            // A mistake of the user, who means `message_accepted`.
            Question::Data(_) | Question::Chunk(..) => Self::Asked(question).message_accepted(session),
            Question::Verdict(phase, Content::Whole) => {
                session.write(reply);
                session.forgive_junk();
                Self::Command(phase)
            }
            // A mistake of the user: what is not whole cannot be accepted.
            Question::Verdict(_, Content::Faulty) => {
                let reply = Reply::new(554, "5.6.0", "Message not accepted");
                Self::Asked(question).refused(session, reply, Toll::Junk)
            }
            Question::StartTls(_) => {
                session.write(reply);
                Self::Handshake
            }
            Question::XClient => greeted(session, reply),
        }
    }

    pub(super) fn message_accepted(self, session: &mut Session) -> Self {
        match self {
            Self::Asked(Question::Data(transaction)) => {
                session.write(&Reply::new(354, "", "End data with <CR><LF>.<CR><LF>"));
                let scanner = DataScanner::new(session.policy.bare_newline, session.size_limit())
                    .passing(session.policy.unremarkable);
                Self::Data(transaction.dialect, scanner)
            }
            Self::Asked(Question::Chunk(transaction, chunk)) => {
                let newlines = match transaction.body {
                    Some(BodyType::BinaryMime) => BareNewline::Keep,
                    _ => session.policy.bare_newline,
                };
                let mut scanner =
                    Box::new(ChunkScanner::new(newlines, session.size_limit()).passing(session.policy.unremarkable));
                scanner.begin(chunk.size);
                Self::Chunk(transaction, scanner, chunk)
            }
            other => other,
        }
    }

    pub(super) fn refused(self, session: &mut Session, reply: Reply, toll: Toll) -> Self {
        match self {
            Self::Asked(Question::Hello { before, .. }) => session.answer(&reply, before, toll),
            Self::Asked(Question::Mail(transaction)) => {
                session.without_sender = toll;
                // The recipients, and DATA.
                session.sent_along = session.policy.max_recipients.saturating_add(1);
                session.answer(&reply, Phase::Greeted(transaction.dialect), toll)
            }
            Self::Asked(Question::Data(transaction)) => {
                session.answer(&reply, Phase::Greeted(transaction.dialect), toll)
            }
            Self::Asked(Question::Rcpt(transaction)) => session.answer(&reply, Phase::Transaction(transaction), toll),
            Self::Asked(Question::Verdict(phase, _)) => {
                session.write(&reply);
                Self::Command(phase)
            }
            Self::Asked(Question::StartTls(dialect)) => {
                session.write(&reply);
                Self::greeted(dialect)
            }
            Self::Asked(Question::XClient) => greeted(session, &reply),
            Self::Data(dialect, mut scanner) => {
                scanner.discard();
                Self::DroppingData(dialect, scanner, reply)
            }
            Self::Asked(Question::Chunk(transaction, chunk)) | Self::Chunk(transaction, _, chunk) => {
                Self::Skipping(Skip::refused(transaction.dialect, chunk, reply, toll))
            }
            Self::Command(Phase::Chunking(transaction, _)) => {
                Self::Command(Phase::ChunksUnwanted(transaction.dialect, Box::new(reply)))
            }
            Self::Finishing(transaction, _) => {
                session.write(&reply);
                Self::greeted(transaction.dialect)
            }
            other => other,
        }
    }
}
