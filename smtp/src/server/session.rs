//! What outlives the states of a connection: policy, offer, output, counters.

use bytes::BytesMut;

use super::policy::{ServerPolicy, TlsPolicy};
use super::state::{Dialect, Phase, State};
use crate::extension::Extensions;
use crate::line::LineReader;
use crate::reply::Reply;
use crate::xclient::XClientOffer;

/// What a client ran into, for whoever counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OverLimits {
    /// 1 when the connection was closed for its errors.
    pub errors: u64,
    /// Recipients refused because there were too many.
    pub recipients: u64,
}

/// What outlives the states of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) policy: ServerPolicy,
    pub(super) output: BytesMut,
    pub(super) lines: LineReader,
    offer: Extensions,
    errors: usize,
    pub(super) over: OverLimits,
    /// See [`super::Server::has_quit`].
    pub(super) has_quit: bool,
    /// What commands cost that need a sender which the client may think it has, as it sends them along with MAIL.
    pub(super) without_sender: Toll,
    /// How many of them.
    pub(super) sent_along: usize,
    junk: usize,
}

/// What a reply costs the client that gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toll {
    /// It is the client's mistake.
    Error,
    /// The command leads nowhere.
    Junk,
    /// Nothing: the command got somewhere, or the client could not know better.
    Free,
}

impl Session {
    pub(super) fn new(policy: ServerPolicy) -> Self {
        let offer = Extensions {
            size: Some(policy.message_size),
            pipelining: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            enhanced_status_codes: true,
            ..Extensions::default()
        };
        let lines = LineReader::new(policy.max_line);
        let mut session = Self {
            policy,
            output: BytesMut::new(),
            lines,
            offer: Extensions::default(),
            errors: 0,
            over: OverLimits::default(),
            has_quit: false,
            without_sender: Toll::Error,
            sent_along: 0,
            junk: 0,
        };
        session.set_offer(offer);
        session
    }

    pub(super) fn set_offer(&mut self, offer: Extensions) {
        let start_tls = matches!(self.policy.tls, TlsPolicy::Offered | TlsPolicy::Required);
        let xclient = self.policy.xclient.then(XClientOffer::all);
        self.offer = Extensions { start_tls, xclient, ..offer };
    }

    pub(super) fn tls_established(&mut self) {
        self.policy.tls = TlsPolicy::Active;
        self.offer.start_tls = false;
        self.lines = LineReader::new(self.policy.max_line);
    }

    /// What a client that said EHLO, or only HELO, may use.
    pub(super) fn offer(&self, dialect: Dialect) -> Extensions {
        match dialect {
            Dialect::Extended => self.offer.clone(),
            Dialect::Original => Extensions::default(),
        }
    }

    /// The most octets of a message.
    pub(super) fn size_limit(&self) -> u64 {
        match self.offer.size {
            None | Some(0) => self.policy.message_size,
            Some(limit) => limit.min(self.policy.message_size),
        }
    }

    pub(super) fn write(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
    }

    /// Answers EHLO or HELO: `reply`'s first line, then the extensions.
    pub(super) fn welcome(&mut self, reply: &Reply, dialect: Dialect) -> State {
        let extensions = self.offer(dialect).lines();
        let name = reply.lines().first().map_or("", String::as_str);
        let lines: Vec<&str> = std::iter::once(name).chain(extensions.iter().map(String::as_str)).collect();
        self.junk(&Reply::multi(reply.code(), "", &lines), Phase::Greeted(dialect))
    }

    /// Answers a command that is the client's mistake, and counts it. Too many, and the connection closes.
    pub(super) fn error(&mut self, reply: &Reply, phase: Phase) -> State {
        self.errors += 1;
        if self.errors < self.policy.max_errors {
            self.write(reply);
            return State::Command(phase);
        }
        self.over.errors += 1;
        let text = format!("{} Too many errors, closing connection", self.policy.hostname);
        self.write(&Reply::new(421, "4.7.0", &text));
        State::Closing
    }

    /// Answers a command.
    pub(super) fn answer(&mut self, reply: &Reply, phase: Phase, toll: Toll) -> State {
        match toll {
            Toll::Error => self.error(reply, phase),
            Toll::Junk => self.junk(reply, phase),
            Toll::Free => {
                self.write(reply);
                State::Command(phase)
            }
        }
    }

    /// Answers a command that leads nowhere. Too many, and each is an error.
    pub(super) fn junk(&mut self, reply: &Reply, phase: Phase) -> State {
        self.junk += 1;
        if self.junk > self.policy.max_junk_commands {
            return self.error(reply, phase);
        }
        self.write(reply);
        State::Command(phase)
    }

    /// A message was accepted: the client means well.
    pub(super) fn forgive_junk(&mut self) {
        self.junk = 0;
    }
}
