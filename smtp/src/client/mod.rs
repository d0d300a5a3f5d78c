//! The client's side of a connection, as a state machine without IO.
//!
//! Commands are queued with one method each and may be pipelined where the server offers that; each reply comes out of
//! [`Client::next`] as the event of the command it answers, in order. The user writes [`Client::output`] and then,
//! after [`Client::data`] was answered 354 or right after [`Client::bdat`], the content itself: the machine does not
//! see it.
//!
//! A server that breaks the protocol gives a [`ClientError`], after which the connection is past use: what its next
//! reply answers is anybody's guess.

mod expected;

use std::collections::VecDeque;
use std::fmt::Write;

use bytes::BytesMut;
use thiserror::Error;

use crate::address::{ClientName, ForwardPath, ReversePath};
use crate::extension::Extensions;
use crate::parameter::{MailParameters, RcptParameters};
use crate::reply::{Reply, ReplyError, ReplyParser};
use crate::xclient::XClient;
use expected::Expected;

/// A reply, and what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The first thing a server says: 220, or 4xx or 5xx when it is not ready.
    Greeting(Reply),
    /// To EHLO or HELO. After a 250 [`Client::extensions`] knows what is offered.
    Hello(Reply),
    /// To STARTTLS. After a 220: shake hands, then call [`Client::tls_established`].
    StartTls(Reply),
    /// To XCLIENT: a greeting for the client named. EHLO comes next.
    XClient(Reply),
    /// To MAIL.
    Mail(Reply),
    /// To RCPT.
    Rcpt(Reply),
    /// To DATA: 354, or a refusal.
    Data(Reply),
    /// To the end of the content: the message is the server's, or not.
    Message(Reply),
    /// To a BDAT other than the last.
    Chunk(Reply),
    /// To RSET.
    Reset(Reply),
    /// To NOOP.
    Noop(Reply),
    /// To QUIT.
    Quit(Reply),
    /// A 421 that nobody asked for: the server is about to close the connection (RFC 5321 section 3.8).
    Closing(Reply),
}

/// How a server broke the protocol. The connection is past use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientError {
    /// A reply out of its grammar or bounds.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply that makes no sense as an answer to its command, such as 354 to RCPT or 250 to DATA.
    #[error("reply {code} makes no sense here")]
    UnexpectedReply {
        /// Its code.
        code: u16,
    },
    /// A reply to nothing.
    #[error("unsolicited reply {code}")]
    UnsolicitedReply {
        /// Its code.
        code: u16,
    },
    /// Bytes that came after the reply to STARTTLS and before the handshake: somebody in between tries to be taken for
    /// the server (CVE-2021-38371).
    #[error("plaintext after the reply to STARTTLS")]
    PlaintextInjection,
}

/// The state machine. See the [module](self) for its use.
#[derive(Debug)]
pub struct Client {
    parser: ReplyParser,
    /// What the replies to come will answer.
    expected: VecDeque<Expected>,
    output: BytesMut,
    extensions: Extensions,
    channel: Channel,
}

/// Whether replies can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    /// STARTTLS was accepted: nothing is read until TLS is there.
    Handshake,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A connection that has just been opened: the first reply is the greeting.
    pub fn new() -> Self {
        Self {
            parser: ReplyParser::default(),
            expected: VecDeque::from([Expected::Greeting]),
            output: BytesMut::new(),
            extensions: Extensions::default(),
            channel: Channel::Open,
        }
    }

    /// Takes the next reply from `input`; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<ClientEvent>, ClientError> {
        if self.channel == Channel::Handshake {
            return if input.is_empty() { Ok(None) } else { Err(ClientError::PlaintextInjection) };
        }
        let Some(reply) = self.parser.next(input)? else { return Ok(None) };
        let code = reply.code();
        let Some(expected) = self.expected.pop_front() else {
            return match code {
                421 => Ok(Some(ClientEvent::Closing(reply))),
                _ => Err(ClientError::UnsolicitedReply { code }),
            };
        };
        if !expected.allows(code) {
            return Err(ClientError::UnexpectedReply { code });
        }
        if reply.is_positive() {
            match expected {
                Expected::Hello => self.extensions = Extensions::from_reply(&reply),
                Expected::Helo => self.extensions = Extensions::default(),
                Expected::StartTls if !input.is_empty() => return Err(ClientError::PlaintextInjection),
                Expected::StartTls => self.channel = Channel::Handshake,
                _ => {}
            }
        }
        Ok(Some(expected.event(reply)))
    }

    /// What to write to the server; to be emptied by the user.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What the server offered with its last positive reply to EHLO, since TLS if there is TLS.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// How many replies are still to come.
    pub fn awaited(&self) -> usize {
        self.expected.len()
    }

    /// EHLO.
    pub fn hello(&mut self, name: &ClientName) {
        self.command(format_args!("EHLO {name}"), Expected::Hello);
    }

    /// HELO, for servers that refuse EHLO.
    pub fn helo(&mut self, name: &ClientName) {
        self.command(format_args!("HELO {name}"), Expected::Helo);
    }

    /// STARTTLS. Nothing may be pipelined after it.
    pub fn start_tls(&mut self) {
        self.command(format_args!("STARTTLS"), Expected::StartTls);
    }

    /// The handshake after STARTTLS is done: what the server said before it is forgotten (RFC 3207 section 4.2), and
    /// `input` is emptied. EHLO comes next.
    pub fn tls_established(&mut self, input: &mut BytesMut) {
        input.clear();
        self.parser = ReplyParser::default();
        self.expected.clear();
        self.extensions = Extensions::default();
        self.channel = Channel::Open;
    }

    /// XCLIENT, on whose behalf we speak, limited to what the server takes. Not in a transaction; nothing may be
    /// pipelined after it.
    pub fn xclient(&mut self, client: &XClient) {
        let said = client.clone().limited_to(self.extensions.xclient.unwrap_or_default());
        self.command(format_args!("XCLIENT{said}"), Expected::XClient);
    }

    /// MAIL. Which parameters the server can take is for the user to see.
    pub fn mail(&mut self, path: &ReversePath, parameters: &MailParameters) {
        self.command(format_args!("MAIL FROM:{path}{parameters}"), Expected::Mail);
    }

    /// RCPT. Which parameters the server can take is for the user to see.
    pub fn rcpt(&mut self, path: &ForwardPath, parameters: &RcptParameters) {
        self.command(format_args!("RCPT TO:{path}{parameters}"), Expected::Rcpt);
    }

    /// DATA. After a 354 the user writes the content, dot-stuffed and ending in CRLF unless empty, and then calls
    /// [`Self::end_of_data`].
    pub fn data(&mut self) {
        self.command(format_args!("DATA"), Expected::Data);
    }

    /// The final dot.
    pub fn end_of_data(&mut self) {
        self.command(format_args!("."), Expected::Message);
    }

    /// BDAT. Right after this line the user writes `size` octets.
    pub fn bdat(&mut self, size: u64, chunk: BdatChunk) {
        match chunk {
            BdatChunk::Last => self.command(format_args!("BDAT {size} LAST"), Expected::Message),
            BdatChunk::More => self.command(format_args!("BDAT {size}"), Expected::Chunk),
        }
    }

    /// RSET.
    pub fn reset(&mut self) {
        self.command(format_args!("RSET"), Expected::Reset);
    }

    /// NOOP.
    pub fn noop(&mut self) {
        self.command(format_args!("NOOP"), Expected::Noop);
    }

    /// QUIT.
    pub fn quit(&mut self) {
        self.command(format_args!("QUIT"), Expected::Quit);
    }

    fn command(&mut self, line: std::fmt::Arguments<'_>, expected: Expected) {
        // Every argument is a checked type that cannot hold a line break, and writing to a buffer that grows cannot
        // fail.
        let _ = write!(self.output, "{line}\r\n");
        self.expected.push_back(expected);
    }
}

/// Whether a chunk is the last of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BdatChunk {
    /// BDAT n
    More,
    /// BDAT n LAST
    Last,
}

#[cfg(test)]
mod tests;
