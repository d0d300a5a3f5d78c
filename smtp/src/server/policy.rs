//! What a server allows.

use crate::data::{BareNewline, Unremarkable, unremarkable};

/// What a server allows. Made with [`ServerPolicy::new`], then changed field by field.
#[derive(Debug, Clone)]
pub struct ServerPolicy {
    /// Our name, for replies.
    pub hostname: String,
    /// What a bare CR or LF in a message leads to. With BODY=BINARYMIME they are content.
    pub bare_newline: BareNewline,
    /// How ordinary lines of messages are passed over.
    pub unremarkable: Unremarkable,
    /// STARTTLS.
    pub tls: TlsPolicy,
    /// The most octets of a message.
    pub message_size: u64,
    /// The most recipients of a message; also the most attempts at one. Further ones are answered 452.
    pub max_recipients: usize,
    /// Errors after which the connection is closed with 421 4.7.0. Errors are commands that the machine itself
    /// refuses, not those that its user refuses, nor recipients and DATA that a client sends along with a MAIL which
    /// its user refuses.
    pub max_errors: usize,
    /// Commands that lead nowhere, after which each further one is an error: NOOP, RSET, VRFY, HELP, EHLO, and MAIL
    /// or RCPT that the user refuses rather than defers. A message accepted starts the count anew.
    pub max_junk_commands: usize,
    /// The longest command line, in octets with CRLF. RFC 5321 says 512 and more for extensions; RFC 3461 adds most.
    pub max_line: usize,
    /// The peer may say with XCLIENT whom it speaks for. For proxies that are trusted: whatever they say is believed.
    pub xclient: bool,
}

impl ServerPolicy {
    /// Bare newlines refused, no STARTTLS, 50 MiB, 1000 recipients, 20 errors, 100 junk commands, 2048 octets a line, no
    /// XCLIENT.
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            bare_newline: BareNewline::Reject,
            unremarkable,
            tls: TlsPolicy::Off,
            message_size: 50 * 1024 * 1024,
            max_recipients: 1000,
            max_errors: 20,
            max_junk_commands: 100,
            max_line: 2048,
            xclient: false,
        }
    }
}

/// Whether there is TLS, or can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// STARTTLS is not offered.
    Off,
    /// STARTTLS is offered.
    Offered,
    /// STARTTLS is offered, and without it nothing but EHLO, NOOP and QUIT is served (RFC 3207 section 4).
    Required,
    /// TLS is in place.
    Active,
}
