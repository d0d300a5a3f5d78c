//! The server's side of a connection (RFC 5321 section 4.1.4), as a state machine without IO.
//!
//! # Use
//!
//! The user owns the socket and the input buffer. It calls [`Server::next`] until that returns `None`, then writes
//! [`Server::output`] (so that the replies to pipelined commands leave together), reads more, and so on. An event that
//! asks something is answered before `next` is called again; until then `next` returns `None`.
//!
//! ```text
//!            greet          Hello            Mail             Rcpt           MessageBegin
//!  Start ───────────► Fresh ──────► Greeted ──────► MAIL given ──────► RCPT given ──────► content
//!                                      ▲  ▲   refused     │ RSET, EHLO      │  refused       │
//!                                      │  └───────────────┴─────────────────┴────────────────┤
//!                                      └─────────────── MessageEnd, answered ────────────────┘
//! ```
//!
//! After a message, accepted or refused in whatever way, there is no transaction: RCPT, DATA and BDAT are answered 503
//! until the next MAIL. The content of a refused message is read to its end and dropped, never taken for commands.
//!
//! # TLS
//!
//! After STARTTLS is accepted, [`Server::next`] reads nothing until [`Server::tls_established`], which takes the input
//! buffer in order to empty it: what a client (or somebody in between) sent before the handshake is not from within
//! TLS and must not be taken for it (CVE-2011-0411).
//!
//! # What it does not do
//!
//! It knows no time: timeouts are the user's, who calls [`Server::close`]. It does not count messages, nor notice that
//! a client talks before the greeting. It leaves all policy on addresses and content to the user.

mod command;
mod content;
mod policy;
mod session;
mod state;

pub use policy::{ServerPolicy, TlsPolicy};

pub use crate::address::ClientName;
pub use crate::data::{BareNewline, Framing, MessageFault, MessageSummary};

use bytes::{Bytes, BytesMut};

use crate::address::{ForwardPath, ReversePath};
use crate::extension::Extensions;
use crate::parameter::{MailParameters, RcptParameters};
use crate::reply::Reply;
use crate::xclient::XClient;
use session::{Session, Toll};

pub use session::OverLimits;
use state::{Progress, State};

/// What a client asks for, or sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// EHLO or HELO. Answer with [`Server::accept`] (the machine adds the extensions' lines) or [`Server::refuse`].
    Hello {
        /// What the client calls itself.
        name: ClientName,
        /// EHLO rather than HELO.
        extended: bool,
    },
    /// MAIL: a transaction is to begin. Answer with [`Server::accept`] or [`Server::refuse`].
    Mail {
        /// The sender.
        path: ReversePath,
        /// Its parameters, all of them offered.
        parameters: MailParameters,
    },
    /// RCPT. Answer with [`Server::accept`], [`Server::refuse`] or [`Server::defer`].
    Rcpt {
        /// The recipient.
        path: ForwardPath,
        /// Its parameters, all of them offered.
        parameters: RcptParameters,
    },
    /// DATA, or the first BDAT. Answer with [`Server::accept_message`] or [`Server::refuse`], which ends the
    /// transaction.
    MessageBegin {
        /// How the chunks are going to be framed.
        framing: Framing,
    },
    /// Some of the content, as it came over the wire but for normalized newlines. Needs no answer; [`Server::refuse`]
    /// has the rest dropped and ends the transaction.
    MessageChunk(Bytes),
    /// The content is over; a fault means that it was dropped from some point on. Answer with [`Server::accept`] or
    /// [`Server::refuse`]; a fault is always refused, for instance with [`MessageFault::reply`].
    MessageEnd(Result<MessageSummary, MessageFault>),
    /// The transaction is gone, because of RSET, EHLO or HELO. Needs no answer.
    Reset,
    /// STARTTLS. Answer with [`Server::accept`], write the output, shake hands and call [`Server::tls_established`];
    /// or with [`Server::refuse`].
    StartTls,
    /// XCLIENT, from a peer that the policy allows it: it speaks for this client. Answer with the greeting for that
    /// client, by [`Server::accept`]; or turn it away with [`Server::refuse`]. EHLO comes next.
    XClient(Box<XClient>),
    /// Write the output and close the connection. The last event.
    Close,
}

/// The state machine. See the [module](self) for its use.
#[derive(Debug)]
pub struct Server {
    state: State,
    session: Session,
}

impl Server {
    /// A connection that has just been opened.
    pub fn new(policy: ServerPolicy) -> Self {
        Self { state: State::Unannounced, session: Session::new(policy) }
    }

    /// Greets the client with a 220 reply, or turns it away: after a 5xx it can only QUIT (RFC 5321 section 3.1), a
    /// 421 closes the connection. Call it once, first; before it nothing is read.
    pub fn greet(&mut self, reply: Reply) {
        if matches!(self.state, State::Unannounced) {
            self.state = state::greeted(&mut self.session, &reply);
        }
    }

    /// What the extensions of EHLO replies and the parameters allowed are from now on; the size offered is also a
    /// limit. STARTTLS and XCLIENT are offered as the policy says, whatever is said here.
    ///
    /// Without this call PIPELINING, ENHANCEDSTATUSCODES, 8BITMIME, SMTPUTF8, CHUNKING and SIZE are offered.
    pub fn set_offer(&mut self, offer: Extensions) {
        self.session.set_offer(offer);
    }

    /// From the next message on, what this policy says of messages holds, and how many errors may be made. TLS, XCLIENT, our
    /// name and the length of lines are a connection's, and stay as they were when it began.
    pub fn set_message_policy(&mut self, policy: &ServerPolicy) {
        let now = &mut self.session.policy;
        now.bare_newline = policy.bare_newline;
        now.message_size = policy.message_size;
        now.max_recipients = policy.max_recipients;
        now.max_errors = policy.max_errors;
        now.max_junk_commands = policy.max_junk_commands;
    }

    /// Reads on in `input`, from which it removes what it has read.
    ///
    /// `None`: write the output, then read more; or the last event has not been answered. Content of messages is
    /// left in `input` until there are [`PIECE`](crate::data::PIECE) octets, so `input` must be allowed to hold a bit
    /// more than that.
    pub fn next(&mut self, input: &mut BytesMut) -> Option<Event> {
        loop {
            let (state, progress) = std::mem::take(&mut self.state).advance(&mut self.session, input);
            self.state = state;
            match progress {
                Progress::Event(event) => return Some(event),
                Progress::Waiting => return None,
                Progress::Continues => {}
            }
        }
    }

    /// What to write to the client; to be emptied by the user.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.session.output
    }

    /// Answers the last event with a positive reply. One that is not positive refuses.
    pub fn accept(&mut self, reply: Reply) {
        if reply.is_positive() {
            self.state = std::mem::take(&mut self.state).accepted(&mut self.session, &reply);
        } else {
            self.refuse(reply);
        }
    }

    /// Answers the last event with a 4xx or 5xx reply.
    ///
    /// Also allowed at any time between [`Event::MessageBegin`] and [`Event::MessageEnd`]: the rest of the content is
    /// read and dropped without further events, `reply` is sent where the next answer to the message is due, and the
    /// transaction is over.
    pub fn refuse(&mut self, reply: Reply) {
        self.state = std::mem::take(&mut self.state).refused(&mut self.session, reply, Toll::Junk);
    }

    /// As [`Server::refuse`], for a reason that is no fault of the client's: a server behind that is busy, or a
    /// recipient that needs a message of its own. The command does not count among those that lead nowhere, so however
    /// many recipients of a message are put off, the message gets through to the others.
    pub fn defer(&mut self, reply: Reply) {
        self.state = std::mem::take(&mut self.state).refused(&mut self.session, reply, Toll::Free);
    }

    /// The limits that the client ran into since the connection began.
    pub fn over_limits(&self) -> OverLimits {
        self.session.over
    }

    /// Whether the client has said QUIT when all that was answered before had been written. It has nothing more to send,
    /// and nothing to read but the answer to that. One that pipelines QUIT may not have read what its message came to.
    pub fn has_quit(&self) -> bool {
        self.session.has_quit
    }

    /// Whether a message is on its way: its content is being read, or read and dropped, or the next BDAT of it is
    /// awaited.
    pub fn is_reading_content(&self) -> bool {
        self.state.is_reading_content()
    }

    /// What is wrong with the message whose content is being read, as soon as that is known and until it is answered. No
    /// content of it follows any more; [`Event::MessageEnd`] comes when the client has sent the rest of it, or of the chunk,
    /// unless it is refused before.
    pub fn content_fault(&self) -> Option<MessageFault> {
        match &self.state {
            State::Data(_, scanner) => scanner.fault(),
            State::Chunk(_, scanner, _) => scanner.fault(),
            _ => None,
        }
    }

    /// Answers [`Event::MessageBegin`]: 354 after DATA, nothing yet after BDAT.
    pub fn accept_message(&mut self) {
        self.state = std::mem::take(&mut self.state).message_accepted(&mut self.session);
    }

    /// Says a last word, such as 421, in any state; then comes [`Event::Close`].
    pub fn close(&mut self, reply: Reply) {
        if !matches!(self.state, State::Closing | State::Closed) {
            reply.write_to(&mut self.session.output);
            self.state = State::Closing;
        }
    }

    /// The handshake after STARTTLS is done. The machine forgets all that the client said (RFC 3207 section 4.2),
    /// and empties `input` of what came before the handshake.
    pub fn tls_established(&mut self, input: &mut BytesMut) {
        if matches!(self.state, State::Handshake) {
            input.clear();
            self.session.tls_established();
            self.state = State::fresh();
        }
    }
}

#[cfg(test)]
mod tests;
