//! Reverse-paths and forward-paths (RFC 5321 section 4.1.2): what MAIL and RCPT name.

use std::fmt;

use super::{AddressError, Domain, Mailbox};

/// The sender of the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: bounces and other notifications, which must not be answered (RFC 5321 section 4.5.5).
    Null,
    /// Where failures are reported.
    Mailbox(Mailbox),
}

/// A recipient of the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, in any case (RFC 5321 section 4.1.1.3).
    Postmaster,
    /// Everybody else.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Parses what stands between the angle brackets; a source route is dropped (RFC 5321 appendix C).
    ///
    /// # Errors
    ///
    /// See [`AddressError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AddressError> {
        if bytes.is_empty() {
            return Ok(Self::Null);
        }
        Mailbox::parse(without_source_route(bytes)?).map(Self::Mailbox)
    }

    /// The address without angle brackets; empty for `<>`.
    pub fn as_str(&self) -> &str {
        self.mailbox().map_or("", Mailbox::as_str)
    }

    /// The mailbox, unless this is the null path.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it can travel without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
    }
}

impl ForwardPath {
    /// Parses what stands between the angle brackets; a source route is dropped (RFC 5321 appendix C).
    ///
    /// # Errors
    ///
    /// See [`AddressError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AddressError> {
        if bytes.eq_ignore_ascii_case(b"postmaster") {
            return Ok(Self::Postmaster);
        }
        Mailbox::parse(without_source_route(bytes)?).map(Self::Mailbox)
    }

    /// The address without angle brackets.
    pub fn as_str(&self) -> &str {
        self.mailbox().map_or("Postmaster", Mailbox::as_str)
    }

    /// The mailbox, unless this is `<Postmaster>`.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it can travel without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{}>", self.as_str())
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{}>", self.as_str())
    }
}

/// `@one,@two:user@three` becomes `user@three`. The route must be well-formed all the same.
fn without_source_route(bytes: &[u8]) -> Result<&[u8], AddressError> {
    if !bytes.starts_with(b"@") {
        return Ok(bytes);
    }
    let mut rest = bytes;
    loop {
        let hop = rest.strip_prefix(b"@").ok_or(AddressError::Syntax)?;
        // An address literal may hold colons of its own.
        let literal = if hop.starts_with(b"[") { memchr::memchr(b']', hop).ok_or(AddressError::Syntax)? } else { 0 };
        let end = literal + memchr::memchr2(b',', b':', &hop[literal..]).ok_or(AddressError::Syntax)?;
        Domain::parse(&hop[..end])?;
        rest = &hop[end + 1..];
        if hop[end] == b':' {
            return Ok(rest);
        }
    }
}
