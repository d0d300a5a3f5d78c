//! Addresses of the envelope (RFC 5321 section 4.1.2, widened by RFC 6531 section 3.3), parsed strictly.
//!
//! What parses here is safe to write into a command, a header field or a log line: no control characters, no white
//! space outside quotes, lengths within RFC 5321 section 4.5.3.1. Addresses of header fields (RFC 5322) have another,
//! wider grammar and are none of this module's business; neither is whether an address exists.

mod client_name;
mod domain;
mod path;

pub use client_name::ClientName;
pub use domain::Domain;
pub use path::{ForwardPath, ReversePath};

use std::fmt;

use thiserror::Error;

/// The longest local part, in octets (RFC 5321 section 4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;
/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// The longest mailbox, in octets: a path is at most 256 with its angle brackets (RFC 5321 section 4.5.3.1.3).
pub const MAX_MAILBOX: usize = 254;

/// Why some bytes are no address. The client's fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No `@` where one is needed, or text after the address.
    #[error("not an address")]
    Syntax,
    /// The local part is neither a dot-string nor a quoted string.
    #[error("malformed local part")]
    LocalPart,
    /// The local part exceeds [`MAX_LOCAL_PART`].
    #[error("local part too long")]
    LocalPartTooLong,
    /// The domain is not made of letters, digits and hyphens, or of U-labels.
    #[error("malformed domain")]
    Domain,
    /// The domain exceeds [`MAX_DOMAIN`].
    #[error("domain too long")]
    DomainTooLong,
    /// The text in square brackets is not an IP address.
    #[error("malformed address literal")]
    AddressLiteral,
    /// The whole exceeds [`MAX_MAILBOX`].
    #[error("address too long")]
    TooLong,
}

/// A mailbox: local part, `@`, domain.
///
/// Spelled as it came: the case of the local part matters to some servers, and so may its quoting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: String,
    domain: Domain,
}

impl Mailbox {
    /// Parses `local-part@domain`, without angle brackets.
    ///
    /// Non-ASCII text (RFC 6531) is accepted when it is UTF-8; whether the transaction allows it is the caller's to
    /// ask with [`Self::is_ascii`].
    ///
    /// # Errors
    ///
    /// See [`AddressError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AddressError> {
        let text = std::str::from_utf8(bytes).map_err(|_| AddressError::LocalPart)?;
        let at = if text.starts_with('"') { quoted_end(text)? } else { text.find('@').ok_or(AddressError::Syntax)? };
        let (local_part, rest) = text.split_at(at);
        let domain = rest.strip_prefix('@').ok_or(AddressError::Syntax)?;
        if local_part.len() > MAX_LOCAL_PART {
            return Err(AddressError::LocalPartTooLong);
        }
        if !local_part.starts_with('"') && !is_dot_string(local_part) {
            return Err(AddressError::LocalPart);
        }
        let domain = Domain::parse(domain.as_bytes())?;
        if text.len() > MAX_MAILBOX {
            return Err(AddressError::TooLong);
        }
        Ok(Self { text: text.to_owned(), domain })
    }

    /// The whole, as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`, with its quotes if it has some.
    pub fn local_part(&self) -> &str {
        &self.text[..self.text.len() - self.domain.as_str().len() - 1]
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it can travel without SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The length of the quoted string that `text` begins with (RFC 5321 `Quoted-string`).
fn quoted_end(text: &str) -> Result<usize, AddressError> {
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok(index + 1),
            // quoted-pairSMTP: only graphic ASCII and the space may follow the backslash.
            '\\' if !matches!(characters.next(), Some((_, ' '..='~'))) => return Err(AddressError::LocalPart),
            '\\' | ' '..='~' => {}
            other if is_international(other) => {}
            _ => return Err(AddressError::LocalPart),
        }
    }
    Err(AddressError::LocalPart)
}

/// RFC 5321 `Dot-string`, with the atoms of RFC 6531.
fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_character))
}

fn is_atom_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character) || is_international(character)
}

/// A character beyond ASCII that RFC 6531 lets into a local part, less those that could end or reorder a line of a
/// log: C1 controls, line and paragraph separators, bidirectional overrides.
fn is_international(character: char) -> bool {
    !character.is_ascii()
        && !character.is_control()
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
