//! One client, without IO: what it says, and what it is answered.
//!
//! It reads straight from what the socket gave and keeps nothing of it but a command line that was cut. Commands are parsed
//! strictly, and extensions work only where they are offered: what a client does wrong must show.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use mailweir_smtp::command::{Command, CommandError};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::parameter::{MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;

use super::faults::{Fate, Phase};
use super::message::Message;
use super::unstuffing::Unstuffer;
use super::worker::Worker;

/// The longest command line.
const LONGEST_LINE: usize = 4096;

const OK: &[u8] = b"250 2.0.0 OK\r\n";
const TEMPFAILED: &[u8] = b"451 4.3.0 Not now, as told\r\n";
const TOO_LARGE: &[u8] = b"552 5.3.4 Message too large\r\n";
const OUT_OF_SEQUENCE: &[u8] = b"503 5.5.1 Out of sequence\r\n";

/// After HELO.
static NOTHING: std::sync::LazyLock<Extensions> = std::sync::LazyLock::new(Extensions::default);

/// What the socket has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Write the output, read more.
    Read,
    /// Write the output, wait, and call [`Conversation::go_on`].
    Wait(Duration),
    /// Write the output, and shake hands.
    Handshake,
    /// Write the output, and close.
    Close,
    /// Close, and write nothing.
    Drop,
}

/// A client's side of the story.
pub(super) struct Conversation {
    worker: Arc<Worker>,
    random: Rng,
    state: State,
    /// The begin of a command line.
    line: Vec<u8>,
    /// What is said after a delay.
    held: Option<Answer>,
    channel: Channel,
    /// The message that is being read, or was and is not answered yet.
    message: Option<Box<Message>>,
}

/// Whether TLS is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Plain,
    Secure,
}

/// What was said with the last EHLO or HELO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Original,
    Extended,
}

enum State {
    /// The greeting turned the client away.
    Unwelcome,
    /// Before EHLO.
    Fresh,
    /// Between transactions.
    Idle(Dialect),
    /// After MAIL.
    Envelope { dialect: Dialect, recipients: u32 },
    /// After DATA.
    Data(Dialect, Unstuffer),
    /// Data that is to be cut off as soon as some of it arrives.
    Doomed,
    /// Octets of a chunk that are still to come.
    Chunk { dialect: Dialect, remaining: u64, last: bool },
    /// A chunk that nobody wants, and the reply that it gets.
    Skipping { remaining: u64, next: Box<Self>, refusal: &'static [u8] },
    /// Between chunks.
    Chunking(Dialect),
    /// After a chunk was refused: the next ones are, too.
    Unwanted(Dialect),
}

/// A reply, and what follows from it.
enum Answer {
    Text(&'static [u8]),
    /// To something out of the ordinary.
    Rare(Reply),
    Greeting,
    Hello(Dialect),
    /// The message is taken.
    Taken,
    /// Then comes TLS.
    Handshake,
    /// Then the connection closes.
    Last(&'static [u8]),
}

impl Conversation {
    /// `number`: of the connection; it decides on the faults, together with the seed.
    pub(super) fn new(worker: Arc<Worker>, number: u64) -> Self {
        Self {
            random: Rng::with_seed(worker.shared.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            worker,
            state: State::Fresh,
            line: Vec::new(),
            held: None,
            channel: Channel::Plain,
            message: None,
        }
    }

    /// Greets.
    pub(super) fn begin(&mut self, output: &mut Vec<u8>) -> Step {
        let said = match self.fate(Phase::Greeting) {
            Fate::Accepted => self.say(Phase::Greeting, Answer::Greeting, output),
            Fate::Tempfailed => self.say(Phase::Greeting, Answer::Last(b"421 4.3.2 Not now, as told\r\n"), output),
            Fate::Rejected => {
                self.state = State::Unwelcome;
                self.say(Phase::Greeting, Answer::Text(b"554 5.3.2 No service, as told\r\n"), output)
            }
            Fate::Dropped => Some(Step::Drop),
        };
        said.unwrap_or(Step::Read)
    }

    /// Reads on in `input`, from which it removes what was read.
    pub(super) fn read(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Step {
        while !input.is_empty() {
            if let Some(step) = self.read_some(input, output) {
                return step;
            }
        }
        Step::Read
    }

    /// The wait is over.
    pub(super) fn go_on(&mut self, output: &mut Vec<u8>) -> Step {
        let said = self.held.take().and_then(|answer| self.say_now(&answer, output));
        said.unwrap_or(Step::Read)
    }

    /// The handshake is done: what was said before is forgotten (RFC 3207 section 4.2).
    pub(super) fn secured(&mut self) {
        self.channel = Channel::Secure;
        self.state = State::Fresh;
        self.line.clear();
    }

    fn read_some(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Option<Step> {
        match &mut self.state {
            State::Data(dialect, unstuffer) => {
                let dialect = *dialect;
                let message = self.message.get_or_insert_with(|| self.worker.shared.keep.begin().into());
                if unstuffer.read(input, |piece| message.push(piece)) { self.end(dialect, output) } else { None }
            }
            State::Doomed => Some(Step::Drop),
            State::Chunk { dialect, remaining, last } => {
                self.message.get_or_insert_with(|| self.worker.shared.keep.begin().into()).push(take(input, remaining));
                let (dialect, last) = (*dialect, *last);
                if *remaining == 0 { self.end_of_chunk(dialect, last, output) } else { None }
            }
            State::Skipping { remaining, next, refusal } => {
                take(input, remaining);
                if *remaining > 0 {
                    return None;
                }
                let refusal = *refusal;
                self.state = std::mem::replace(&mut **next, State::Unwelcome);
                self.say(Phase::End, Answer::Text(refusal), output)
            }
            _ => self.read_line(input, output),
        }
    }

    fn read_line(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Option<Step> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            if self.line.len() + input.len() > LONGEST_LINE {
                return self.refuse(Answer::Last(b"500 5.5.2 Line too long\r\n"), output);
            }
            self.line.extend_from_slice(input);
            *input = &[];
            return None;
        };
        let (line, rest) = input.split_at(end + 1);
        *input = rest;
        if self.line.is_empty() {
            return self.line(line, output);
        }
        self.line.extend_from_slice(line);
        let line = std::mem::take(&mut self.line);
        self.line(&line, output)
    }

    /// A command line, with its end.
    fn line(&mut self, line: &[u8], output: &mut Vec<u8>) -> Option<Step> {
        let Some(line) = line.strip_suffix(b"\r\n").filter(|line| memchr::memchr(b'\r', line).is_none()) else {
            return self.refuse(Answer::Text(b"500 5.5.2 Lines end in CR LF\r\n"), output);
        };
        let command = match Command::parse(line) {
            Ok(command) => command,
            // Nobody can tell what follows from commands.
            Err(CommandError::Chunk | CommandError::Http) => {
                return self.refuse(Answer::Last(b"501 5.5.4 This is no way to talk to a mail server\r\n"), output);
            }
            Err(error) => return self.refuse(Answer::Rare(error.reply()), output),
        };
        match (command, &self.state) {
            (Command::Quit, _) => self.say_now(&Answer::Last(b"221 2.0.0 Bye\r\n"), output),
            (Command::Noop, _) => self.say_now(&Answer::Text(OK), output),
            (Command::Bdat { size, last }, _) => self.bdat(size, last, output),
            (_, State::Unwelcome) => self.refuse(Answer::Text(b"503 5.5.1 No service here\r\n"), output),
            (Command::Hello { extended, .. }, _) => self.hello(extended, output),
            (Command::StartTls, State::Idle(_)) if self.offers_tls() => self.say_now(&Answer::Handshake, output),
            (Command::Mail { path, parameters }, &State::Idle(dialect) | &State::Unwanted(dialect)) => {
                self.mail(dialect, path.is_ascii(), &parameters, output)
            }
            (Command::Rcpt { parameters, .. }, &State::Envelope { dialect, recipients }) => {
                self.rcpt(dialect, recipients, &parameters, output)
            }
            (Command::Data, &State::Envelope { dialect, recipients: 1.. }) => self.data(dialect, output),
            // No mistake: it was pipelined.
            (Command::Data, State::Envelope { .. }) => {
                self.say_now(&Answer::Text(b"554 5.5.1 No valid recipients\r\n"), output)
            }
            (Command::Reset, _) => {
                self.reset();
                self.say_now(&Answer::Text(OK), output)
            }
            (Command::Verify, _) => self.say_now(&Answer::Text(b"252 2.5.2 Perhaps\r\n"), output),
            (Command::Help, _) => self.say_now(&Answer::Text(b"214 2.0.0 See RFC 5321\r\n"), output),
            (Command::Expand | Command::Authenticate | Command::XClient(_) | Command::StartTls, _) => {
                self.refuse(Answer::Text(b"502 5.5.1 Not implemented, or not now\r\n"), output)
            }
            (Command::Mail { .. } | Command::Rcpt { .. } | Command::Data, _) => {
                self.refuse(Answer::Text(OUT_OF_SEQUENCE), output)
            }
        }
    }

    fn hello(&mut self, extended: bool, output: &mut Vec<u8>) -> Option<Step> {
        let dialect = if extended { Dialect::Extended } else { Dialect::Original };
        match self.fate(Phase::Hello) {
            Fate::Accepted => {
                self.message = None;
                self.state = State::Idle(dialect);
                self.say(Phase::Hello, Answer::Hello(dialect), output)
            }
            fate => self.fail(Phase::Hello, fate, b"550 5.7.1 Refused, as told\r\n", output),
        }
    }

    fn mail(
        &mut self,
        dialect: Dialect,
        is_ascii: bool,
        parameters: &MailParameters,
        output: &mut Vec<u8>,
    ) -> Option<Step> {
        if let Err(error) = parameters.check_offered(self.offer(dialect)) {
            return self.refuse(Answer::Rare(error.reply()), output);
        }
        if !is_ascii && !parameters.smtp_utf8 {
            return self.refuse(Answer::Text(b"553 5.6.7 A non-ASCII address needs SMTPUTF8\r\n"), output);
        }
        if parameters.size.is_some_and(|size| self.worker.shared.is_too_large(size)) {
            return self.say_now(&Answer::Text(TOO_LARGE), output);
        }
        match self.fate(Phase::Mail) {
            Fate::Accepted => {
                self.state = State::Envelope { dialect, recipients: 0 };
                self.say(Phase::Mail, Answer::Text(OK), output)
            }
            fate => self.fail(Phase::Mail, fate, b"550 5.7.1 Sender refused, as told\r\n", output),
        }
    }

    fn rcpt(
        &mut self,
        dialect: Dialect,
        recipients: u32,
        parameters: &RcptParameters,
        output: &mut Vec<u8>,
    ) -> Option<Step> {
        if let Err(error) = parameters.check_offered(self.offer(dialect)) {
            return self.refuse(Answer::Rare(error.reply()), output);
        }
        match self.fate(Phase::Rcpt) {
            Fate::Accepted => {
                self.state = State::Envelope { dialect, recipients: recipients.saturating_add(1) };
                self.say(Phase::Rcpt, Answer::Text(OK), output)
            }
            fate => self.fail(Phase::Rcpt, fate, b"550 5.1.1 Recipient refused, as told\r\n", output),
        }
    }

    fn data(&mut self, dialect: Dialect, output: &mut Vec<u8>) -> Option<Step> {
        const GO_AHEAD: Answer = Answer::Text(b"354 Go ahead\r\n");
        match self.fate(Phase::Data) {
            Fate::Accepted => {
                self.message = Some(self.new_message());
                self.state = State::Data(dialect, Unstuffer::default());
                self.say(Phase::Data, GO_AHEAD, output)
            }
            Fate::Dropped => {
                self.state = State::Doomed;
                self.say(Phase::Data, GO_AHEAD, output)
            }
            fate => {
                self.state = State::Idle(dialect);
                self.fail(Phase::Data, fate, b"554 5.7.1 Refused, as told\r\n", output)
            }
        }
    }

    fn bdat(&mut self, size: u64, last: bool, output: &mut Vec<u8>) -> Option<Step> {
        let (dialect, fate) = match self.state {
            State::Envelope { dialect, recipients: 1.. } if self.offer(dialect).chunking => {
                self.message = Some(self.new_message());
                (dialect, self.fate(Phase::Data))
            }
            State::Chunking(dialect) => (dialect, Fate::Accepted),
            State::Unwanted(dialect) => return self.skip(size, last, dialect, OUT_OF_SEQUENCE, output),
            State::Envelope { recipients: 1.., .. } => {
                self.worker.tally.error();
                return self.skip_in_place(size, b"502 5.5.1 CHUNKING is not offered\r\n", output);
            }
            _ => {
                self.worker.tally.error();
                return self.skip_in_place(size, OUT_OF_SEQUENCE, output);
            }
        };
        let refusal: &[u8] = match fate {
            Fate::Accepted if size > 0 => {
                self.state = State::Chunk { dialect, remaining: size, last };
                return None;
            }
            Fate::Accepted => return self.end_of_chunk(dialect, last, output),
            Fate::Dropped if size == 0 => return Some(Step::Drop),
            Fate::Dropped => {
                self.state = State::Doomed;
                return None;
            }
            Fate::Tempfailed => TEMPFAILED,
            Fate::Rejected => b"554 5.7.1 Refused, as told\r\n",
        };
        self.message = None;
        self.skip(size, last, dialect, refusal, output)
    }

    /// Reads a chunk for nothing, and those after it up to the last.
    fn skip(
        &mut self,
        size: u64,
        last: bool,
        dialect: Dialect,
        refusal: &'static [u8],
        output: &mut Vec<u8>,
    ) -> Option<Step> {
        self.state = if last { State::Idle(dialect) } else { State::Unwanted(dialect) };
        self.skip_in_place(size, refusal, output)
    }

    /// Reads a chunk for nothing.
    fn skip_in_place(&mut self, size: u64, refusal: &'static [u8], output: &mut Vec<u8>) -> Option<Step> {
        if size == 0 {
            return self.say_now(&Answer::Text(refusal), output);
        }
        let next = Box::new(std::mem::replace(&mut self.state, State::Unwelcome));
        self.state = State::Skipping { remaining: size, next, refusal };
        None
    }

    fn end_of_chunk(&mut self, dialect: Dialect, last: bool, output: &mut Vec<u8>) -> Option<Step> {
        if last {
            return self.end(dialect, output);
        }
        self.state = State::Chunking(dialect);
        self.say_now(&Answer::Text(OK), output)
    }

    /// The message is whole.
    fn end(&mut self, dialect: Dialect, output: &mut Vec<u8>) -> Option<Step> {
        self.state = State::Idle(dialect);
        if self.message.as_ref().is_some_and(|message| self.worker.shared.is_too_large(message.bytes())) {
            self.message = None;
            return self.say_now(&Answer::Text(TOO_LARGE), output);
        }
        match self.fate(Phase::End) {
            Fate::Accepted => self.say(Phase::End, Answer::Taken, output),
            fate => {
                self.message = None;
                self.fail(Phase::End, fate, b"554 5.6.0 Message refused, as told\r\n", output)
            }
        }
    }

    fn reset(&mut self) {
        self.message = None;
        match self.state {
            State::Envelope { dialect, .. } | State::Chunking(dialect) | State::Unwanted(dialect) => {
                self.state = State::Idle(dialect);
            }
            _ => {}
        }
    }

    /// What was asked for fails on purpose.
    fn fail(&mut self, phase: Phase, fate: Fate, rejection: &'static [u8], output: &mut Vec<u8>) -> Option<Step> {
        let reply = match fate {
            Fate::Accepted => OK,
            Fate::Dropped => return Some(Step::Drop),
            Fate::Tempfailed => TEMPFAILED,
            Fate::Rejected => rejection,
        };
        self.say(phase, Answer::Text(reply), output)
    }

    /// A mistake of the client's.
    fn refuse(&mut self, answer: Answer, output: &mut Vec<u8>) -> Option<Step> {
        self.worker.tally.error();
        self.say_now(&answer, output)
    }

    /// Answers, at once or later.
    fn say(&mut self, phase: Phase, answer: Answer, output: &mut Vec<u8>) -> Option<Step> {
        let Some(delay) = self.worker.shared.faults.delay(phase, &mut self.random) else {
            return self.say_now(&answer, output);
        };
        self.worker.tally.delayed();
        self.held = Some(answer);
        Some(Step::Wait(delay))
    }

    fn say_now(&mut self, answer: &Answer, output: &mut Vec<u8>) -> Option<Step> {
        let shared = &self.worker.shared;
        match answer {
            Answer::Text(text) => output.extend_from_slice(text),
            Answer::Rare(reply) => {
                let mut text = bytes::BytesMut::new();
                reply.write_to(&mut text);
                output.extend_from_slice(&text);
            }
            Answer::Greeting => output.extend_from_slice(&shared.greeting),
            Answer::Hello(Dialect::Original) => output.extend_from_slice(&shared.helo),
            Answer::Hello(Dialect::Extended) if self.channel == Channel::Secure => {
                output.extend_from_slice(&shared.ehlo_within_tls);
            }
            Answer::Hello(Dialect::Extended) => output.extend_from_slice(&shared.ehlo),
            Answer::Taken => {
                let taken = self.message.take().map_or(Ok(()), |message| self.worker.take(*message));
                output.extend_from_slice(if taken.is_ok() { OK } else { TEMPFAILED });
            }
            Answer::Handshake => {
                output.extend_from_slice(b"220 2.0.0 Go ahead\r\n");
                return Some(Step::Handshake);
            }
            Answer::Last(text) => {
                output.extend_from_slice(text);
                return Some(Step::Close);
            }
        }
        None
    }

    fn new_message(&self) -> Box<Message> {
        self.worker.shared.keep.begin().into()
    }

    fn offer(&self, dialect: Dialect) -> &Extensions {
        match dialect {
            Dialect::Original => &NOTHING,
            Dialect::Extended => &self.worker.shared.offer,
        }
    }

    fn offers_tls(&self) -> bool {
        self.channel == Channel::Plain && self.worker.shared.offer.start_tls
    }

    /// Throws the dice, and counts what they say.
    fn fate(&mut self, phase: Phase) -> Fate {
        let fate = self.worker.shared.faults.fate(phase, &mut self.random);
        match fate {
            Fate::Accepted => {}
            Fate::Tempfailed => self.worker.tally.tempfailed(),
            Fate::Rejected => self.worker.tally.rejected(),
            Fate::Dropped => self.worker.tally.dropped(),
        }
        fate
    }
}

/// Takes as much from the front of the input as is still to come.
fn take<'a>(input: &mut &'a [u8], remaining: &mut u64) -> &'a [u8] {
    let length = input.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
    let (taken, rest) = input.split_at(length);
    *input = rest;
    *remaining -= length as u64;
    taken
}
