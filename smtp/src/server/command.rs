//! The state in which commands are read: which of them make sense, and what is answered without asking anybody.

use bytes::BytesMut;

use super::content::{Chunk, Position, Skip};
use super::policy::TlsPolicy;
use super::session::{Session, Toll};
use super::state::{Charset, Dialect, Phase, Progress, Question, State, Transaction};
use super::{Event, Framing};
use crate::address::{ClientName, ForwardPath, ReversePath};
use crate::command::{Command, CommandError};
use crate::line::LineError;
use crate::parameter::{BodyType, MailParameters, RcptParameters};
use crate::reply::Reply;
use crate::xclient::XClient;

/// This many times the limit of recipients may be tried in one transaction before each further one is junk.
const EXCUSED: usize = 10;

/// Reads a command, if there is a whole one.
pub(super) fn read(phase: Phase, session: &mut Session, input: &mut BytesMut) -> (State, Progress) {
    let length = match session.lines.find(input) {
        None => return (State::Command(phase), Progress::Waiting),
        Some(Err(error)) => return (session.error(&line_reply(error), phase), Progress::Continues),
        Some(Ok(length)) => length,
    };
    let command = Command::parse(&input[..length]);
    session.lines.consume(input, length);
    let command = match command {
        Ok(command) => command,
        Err(error @ (CommandError::Chunk | CommandError::Http)) => {
            // Nobody can tell what follows from commands.
            session.write(&error.reply());
            return (State::Closing, Progress::Continues);
        }
        Err(error) => return (session.error(&error.reply(), phase), Progress::Continues),
    };
    let state = match (command, phase) {
        (Command::Quit, _) => {
            session.has_quit = session.output.is_empty();
            let text = format!("{} closing connection", session.policy.hostname);
            session.write(&Reply::new(221, "2.0.0", &text));
            State::Closing
        }
        (Command::Bdat { size, last }, phase) => {
            let position = if last { Position::Last } else { Position::Earlier };
            return bdat(Chunk { size, remaining: size, position }, phase, session);
        }
        (_, Phase::Unwelcome) => session.error(&out_of_sequence("No service here"), Phase::Unwelcome),
        (Command::Noop, phase) => session.junk(&Reply::new(250, "2.0.0", "OK"), phase),
        (Command::Hello { name, extended }, phase) => {
            let asked = if extended { Dialect::Extended } else { Dialect::Original };
            return hello(name, asked, phase);
        }
        (Command::StartTls, phase) => return start_tls(phase, session),
        (_, phase) if session.policy.tls == TlsPolicy::Required => session.error(&tls_required(), phase),
        (Command::Mail { path, parameters }, phase) => return mail(path, parameters, phase, session),
        (Command::Rcpt { path, parameters }, phase) => return rcpt(path, parameters, phase, session),
        (Command::Data, phase) => return data(phase, session),
        (Command::Reset, phase) => return reset(phase, session),
        (Command::XClient(said), phase) => return xclient(said, phase, session),
        (Command::Verify, phase) => {
            session.junk(&Reply::new(252, "2.5.2", "Cannot verify, but will accept and try"), phase)
        }
        (Command::Help, phase) => session.junk(&Reply::new(214, "2.0.0", "See RFC 5321"), phase),
        (Command::Expand | Command::Authenticate, phase) => {
            session.error(&Reply::new(502, "5.5.1", "Command not implemented"), phase)
        }
    };
    (state, Progress::Continues)
}

fn hello(name: ClientName, asked: Dialect, phase: Phase) -> (State, Progress) {
    let before = match phase {
        Phase::Transaction(Transaction { dialect, .. }) | Phase::Chunking(Transaction { dialect, .. }, _) => {
            return (State::HelloNext(name, asked, dialect), Progress::Event(Event::Reset));
        }
        Phase::ChunksUnwanted(dialect, _) => Phase::Greeted(dialect),
        phase => phase,
    };
    let event = Event::Hello { name, extended: asked == Dialect::Extended };
    (State::Asked(Question::Hello { asked, before }), Progress::Event(event))
}

fn mail(path: ReversePath, parameters: MailParameters, phase: Phase, session: &mut Session) -> (State, Progress) {
    session.sent_along = 0;
    let dialect = match phase {
        Phase::Greeted(dialect) | Phase::ChunksUnwanted(dialect, _) => dialect,
        Phase::Fresh | Phase::Unwelcome => return refuse(&out_of_sequence("Send EHLO first"), phase, session),
        Phase::Transaction(_) | Phase::Chunking(..) => {
            return refuse(&out_of_sequence("Sender already given"), phase, session);
        }
    };
    let phase = Phase::Greeted(dialect);
    if let Err(error) = parameters.check_offered(&session.offer(dialect)) {
        return refuse(&error.reply(), phase, session);
    }
    if !path.is_ascii() && !parameters.smtp_utf8 {
        return refuse(&utf8_needed(), phase, session);
    }
    let limit = session.size_limit();
    if parameters.size.is_some_and(|size| size > limit) {
        return refuse(&Reply::new(552, "5.3.4", &format!("Message size exceeds limit of {limit}")), phase, session);
    }
    let transaction = Transaction {
        dialect,
        charset: if parameters.smtp_utf8 { Charset::Utf8 } else { Charset::Ascii },
        body: parameters.body,
        recipients: 0,
        attempts: 0,
    };
    (State::Asked(Question::Mail(transaction)), Progress::Event(Event::Mail { path, parameters }))
}

fn rcpt(path: ForwardPath, parameters: RcptParameters, phase: Phase, session: &mut Session) -> (State, Progress) {
    let Phase::Transaction(mut transaction) = phase else {
        return without_sender(phase, session);
    };
    if let Err(error) = parameters.check_offered(&session.offer(transaction.dialect)) {
        return refuse(&error.reply(), Phase::Transaction(transaction), session);
    }
    let is_ascii = path.is_ascii() && parameters.orcpt.as_ref().is_none_or(|orcpt| orcpt.is_ascii());
    if !is_ascii && transaction.charset == Charset::Ascii {
        return refuse(&utf8_needed(), Phase::Transaction(transaction), session);
    }
    transaction.attempts += 1;
    let limit = session.policy.max_recipients;
    if transaction.attempts > limit {
        session.over.recipients += 1;
        let reply = Reply::new(452, "4.5.3", "Too many recipients");
        // RFC 5321 section 4.5.3.1.10: a client sends to the rest in further transactions, and it cannot know the limit.
        let excused = limit.saturating_mul(EXCUSED);
        let toll = if transaction.attempts > excused { Toll::Junk } else { Toll::Free };
        return (session.answer(&reply, Phase::Transaction(transaction), toll), Progress::Continues);
    }
    (State::Asked(Question::Rcpt(transaction)), Progress::Event(Event::Rcpt { path, parameters }))
}

fn data(phase: Phase, session: &mut Session) -> (State, Progress) {
    match phase {
        Phase::Transaction(transaction) if transaction.recipients == 0 => {
            refuse(&no_recipients(), Phase::Transaction(transaction), session)
        }
        // RFC 3030 section 3: binary content travels by BDAT only.
        Phase::Transaction(transaction) if transaction.body == Some(BodyType::BinaryMime) => {
            let reply = out_of_sequence("BINARYMIME needs BDAT");
            refuse(&reply, Phase::Transaction(transaction), session)
        }
        Phase::Transaction(transaction) => {
            let event = Event::MessageBegin { framing: Framing::DotStuffed };
            (State::Asked(Question::Data(transaction)), Progress::Event(event))
        }
        Phase::Chunking(..) => refuse(&out_of_sequence("DATA does not mix with BDAT"), phase, session),
        _ => without_sender(phase, session),
    }
}

fn bdat(chunk: Chunk, phase: Phase, session: &Session) -> (State, Progress) {
    let (reply, next) = match phase {
        Phase::Chunking(transaction, mut scanner) => {
            scanner.begin(chunk.size);
            return (State::Chunk(transaction, scanner, chunk), Progress::Continues);
        }
        Phase::ChunksUnwanted(dialect, reply) => {
            return (State::Skipping(Skip::refused(dialect, chunk, *reply, Toll::Junk)), Progress::Continues);
        }
        Phase::Unwelcome => (out_of_sequence("No service here"), phase),
        _ if session.policy.tls == TlsPolicy::Required => (tls_required(), phase),
        Phase::Transaction(transaction) if !session.offer(transaction.dialect).chunking => {
            (Reply::new(502, "5.5.1", "CHUNKING was not offered"), Phase::Transaction(transaction))
        }
        Phase::Transaction(transaction) if transaction.recipients == 0 => {
            (no_recipients(), Phase::Transaction(transaction))
        }
        Phase::Transaction(transaction) => {
            let event = Event::MessageBegin { framing: Framing::Plain };
            return (State::Asked(Question::Chunk(transaction, chunk)), Progress::Event(event));
        }
        Phase::Fresh | Phase::Greeted(_) => (no_sender(), phase),
    };
    (State::Skipping(Skip::mistaken(next, chunk, reply)), Progress::Continues)
}

fn reset(phase: Phase, session: &mut Session) -> (State, Progress) {
    let reply = Reply::new(250, "2.0.0", "OK");
    match phase {
        Phase::Transaction(Transaction { dialect, .. }) | Phase::Chunking(Transaction { dialect, .. }, _) => {
            (session.junk(&reply, Phase::Greeted(dialect)), Progress::Event(Event::Reset))
        }
        Phase::ChunksUnwanted(dialect, _) => (session.junk(&reply, Phase::Greeted(dialect)), Progress::Continues),
        phase => (session.junk(&reply, phase), Progress::Continues),
    }
}

fn start_tls(phase: Phase, session: &mut Session) -> (State, Progress) {
    match (session.policy.tls, phase) {
        (TlsPolicy::Off, phase) => refuse(&Reply::new(502, "5.5.1", "STARTTLS is not offered"), phase, session),
        (TlsPolicy::Active, phase) => refuse(&out_of_sequence("TLS is already active"), phase, session),
        (_, Phase::Greeted(dialect) | Phase::ChunksUnwanted(dialect, _)) => {
            (State::Asked(Question::StartTls(dialect)), Progress::Event(Event::StartTls))
        }
        (_, phase @ (Phase::Fresh | Phase::Unwelcome)) => refuse(&out_of_sequence("Send EHLO first"), phase, session),
        (_, phase) => refuse(&out_of_sequence("Not in a transaction"), phase, session),
    }
}

fn xclient(said: Box<XClient>, phase: Phase, session: &mut Session) -> (State, Progress) {
    match phase {
        phase if !session.policy.xclient => refuse(&CommandError::Unknown.reply(), phase, session),
        Phase::Transaction(_) | Phase::Chunking(..) => refuse(&out_of_sequence("Not in a transaction"), phase, session),
        _ => (State::Asked(Question::XClient), Progress::Event(Event::XClient(said))),
    }
}

fn refuse(reply: &Reply, phase: Phase, session: &mut Session) -> (State, Progress) {
    (session.error(reply, phase), Progress::Continues)
}

/// Behind a MAIL that was refused, a client that pipelines can only learn that it has no sender.
fn without_sender(phase: Phase, session: &mut Session) -> (State, Progress) {
    let toll = if session.sent_along > 0 { session.without_sender } else { Toll::Error };
    session.sent_along = session.sent_along.saturating_sub(1);
    (session.answer(&no_sender(), phase, toll), Progress::Continues)
}

fn line_reply(error: LineError) -> Reply {
    match error {
        LineError::TooLong => Reply::new(500, "5.5.2", "Line too long"),
        LineError::BareNewline => Reply::new(500, "5.5.2", "Lines end in CR LF; bare CR and LF are not allowed"),
    }
}

fn out_of_sequence(text: &str) -> Reply {
    Reply::new(503, "5.5.1", text)
}

fn no_sender() -> Reply {
    out_of_sequence("Send MAIL first")
}

fn no_recipients() -> Reply {
    Reply::new(554, "5.5.1", "No valid recipients")
}

fn tls_required() -> Reply {
    Reply::new(530, "5.7.0", "Must issue a STARTTLS command first")
}

fn utf8_needed() -> Reply {
    Reply::new(553, "5.6.7", "A non-ASCII address needs SMTPUTF8")
}
