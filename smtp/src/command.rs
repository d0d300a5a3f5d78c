//! Commands (RFC 5321 section 4.1.1, RFC 3030 section 2, RFC 3207 section 4, XCLIENT), one line each, parsed.
//!
//! Strict in what an address or a parameter is, lenient in what surrounds it: case, spaces after the colon and at the
//! end of a line, and missing angle brackets are all common in the field and change no meaning.

use thiserror::Error;

use crate::address::{AddressError, ClientName, ForwardPath, ReversePath};
use crate::parameter::{MailParameters, ParameterError, RcptParameters};
use crate::reply::Reply;
use crate::xclient::XClient;

/// A command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// EHLO or HELO.
    Hello {
        /// What the client calls itself.
        name: ClientName,
        /// EHLO: the client wants to know our extensions.
        extended: bool,
    },
    /// MAIL FROM
    Mail {
        /// Who is told of failures.
        path: ReversePath,
        /// What follows the path.
        parameters: MailParameters,
    },
    /// RCPT TO
    Rcpt {
        /// Who is to get it.
        path: ForwardPath,
        /// What follows the path.
        parameters: RcptParameters,
    },
    /// DATA
    Data,
    /// BDAT: this many octets follow the line.
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// LAST: the message ends with this chunk.
        last: bool,
    },
    /// RSET
    Reset,
    /// NOOP, with or without an argument.
    Noop,
    /// VRFY
    Verify,
    /// EXPN
    Expand,
    /// HELP
    Help,
    /// QUIT
    Quit,
    /// STARTTLS
    StartTls,
    /// AUTH, whatever it says.
    Authenticate,
    /// XCLIENT
    XClient(Box<XClient>),
}

/// Why a line is no command. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// An unknown verb, or none.
    #[error("unknown command")]
    Unknown,
    /// The first line of an HTTP request: a browser was talked into attacking a mail server.
    #[error("HTTP request")]
    Http,
    /// An argument where none belongs, or none where one does, or one out of its grammar.
    #[error("malformed argument: {usage}")]
    Argument {
        /// How it should have been.
        usage: &'static str,
    },
    /// BDAT without a size that can be read: nobody can say where the chunk ends.
    #[error("malformed BDAT")]
    Chunk,
    /// A client name that is none.
    #[error("client name: {0}")]
    ClientName(AddressError),
    /// The sender's address is none.
    #[error("sender: {0}")]
    Sender(AddressError),
    /// The recipient's address is none.
    #[error("recipient: {0}")]
    Recipient(AddressError),
    /// A parameter is refused.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
}

impl CommandError {
    /// What to tell the client.
    pub fn reply(self) -> Reply {
        match self {
            Self::Unknown => Reply::new(500, "5.5.1", "Command not recognized"),
            Self::Http => Reply::new(502, "5.7.0", "This is a mail server"),
            Self::Argument { usage } => Reply::new(501, "5.5.4", &format!("Syntax: {usage}")),
            Self::Chunk => Reply::new(501, "5.5.4", "Syntax: BDAT size [LAST]"),
            Self::ClientName(error) => Reply::new(501, "5.5.4", &sentence(error)),
            Self::Sender(error) => Reply::new(501, "5.1.7", &sentence(error)),
            Self::Recipient(error) => Reply::new(501, "5.1.3", &sentence(error)),
            Self::Parameter(error) => error.reply(),
        }
    }
}

fn sentence(error: AddressError) -> String {
    format!("Bad address: {error}")
}

impl Command {
    /// Parses a command line without its CRLF.
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = line.trim_ascii_end();
        let verb_end = memchr::memchr(b' ', line).unwrap_or(line.len());
        let (verb, argument) = line.split_at(verb_end);
        let argument = argument.trim_ascii_start();
        match verb.to_ascii_uppercase().as_slice() {
            b"EHLO" => hello(argument, true),
            b"HELO" => hello(argument, false),
            b"MAIL" => mail(argument),
            b"RCPT" => rcpt(argument),
            b"DATA" => alone(argument, "DATA", Self::Data),
            b"BDAT" => bdat(argument),
            b"RSET" => alone(argument, "RSET", Self::Reset),
            b"NOOP" => Ok(Self::Noop),
            b"VRFY" => Ok(Self::Verify),
            b"EXPN" => Ok(Self::Expand),
            b"HELP" => Ok(Self::Help),
            b"QUIT" => alone(argument, "QUIT", Self::Quit),
            b"STARTTLS" => alone(argument, "STARTTLS", Self::StartTls),
            b"AUTH" => Ok(Self::Authenticate),
            b"XCLIENT" => xclient(argument),
            b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT" => Err(CommandError::Http),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn alone(argument: &[u8], usage: &'static str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Argument { usage }) }
}

fn hello(argument: &[u8], extended: bool) -> Result<Command, CommandError> {
    if argument.is_empty() {
        return Err(CommandError::Argument { usage: if extended { "EHLO hostname" } else { "HELO hostname" } });
    }
    let name = ClientName::parse(argument).map_err(CommandError::ClientName)?;
    Ok(Command::Hello { name, extended })
}

fn mail(argument: &[u8]) -> Result<Command, CommandError> {
    let usage = CommandError::Argument { usage: "MAIL FROM:<address>" };
    let argument = strip_keyword(argument, b"FROM:").ok_or(usage)?;
    let (path, rest) = split_path(argument).ok_or(CommandError::Sender(AddressError::Syntax))?;
    let path = ReversePath::parse(path).map_err(CommandError::Sender)?;
    Ok(Command::Mail { path, parameters: MailParameters::parse(rest)? })
}

fn rcpt(argument: &[u8]) -> Result<Command, CommandError> {
    let usage = CommandError::Argument { usage: "RCPT TO:<address>" };
    let argument = strip_keyword(argument, b"TO:").ok_or(usage)?;
    let (path, rest) = split_path(argument).ok_or(CommandError::Recipient(AddressError::Syntax))?;
    let path = ForwardPath::parse(path).map_err(CommandError::Recipient)?;
    Ok(Command::Rcpt { path, parameters: RcptParameters::parse(rest)? })
}

fn bdat(argument: &[u8]) -> Result<Command, CommandError> {
    let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|size| size.iter().all(u8::is_ascii_digit));
    let size = size.and_then(|size| std::str::from_utf8(size).ok()?.parse().ok()).ok_or(CommandError::Chunk)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return Err(CommandError::Chunk),
    };
    if words.next().is_some() { Err(CommandError::Chunk) } else { Ok(Command::Bdat { size, last }) }
}

fn xclient(argument: &[u8]) -> Result<Command, CommandError> {
    let usage = CommandError::Argument { usage: "XCLIENT attribute=value ..." };
    XClient::parse(argument).map(|said| Command::XClient(Box::new(said))).map_err(|_| usage)
}

/// What follows `keyword` and any spaces, regardless of case.
fn strip_keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then(|| rest.trim_ascii_start())
}

/// Splits `<path> parameters` into the path without its brackets, and the parameters.
///
/// Without brackets the path ends at the first space outside quotes, and must not be empty.
fn split_path(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, closing) = match argument.strip_prefix(b"<") {
        Some(text) => (text, b'>'),
        None => (argument, b' '),
    };
    let end = match (end_of_path(text, closing), closing) {
        (Some(end), _) => end,
        (None, b' ') => text.len(),
        (None, _) => return None,
    };
    let (path, rest) = text.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let is_apart = closing == b' ' || rest.is_empty() || rest.starts_with(b" ");
    let is_path = closing == b'>' || !path.is_empty();
    (is_apart && is_path).then_some((path, rest))
}

/// Where `closing` first stands outside a quoted string.
fn end_of_path(text: &[u8], closing: u8) -> Option<usize> {
    let mut quoted = false;
    let mut bytes = text.iter().enumerate();
    while let Some((index, &byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => drop(bytes.next()),
            b'"' => quoted = !quoted,
            _ if byte == closing && !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
