//! Domains and address literals (RFC 5321 sections 4.1.2 and 4.1.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressError, MAX_DOMAIN};

/// The longest label, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
/// The most characters of a U-label: its A-label has the prefix `xn--` and is never shorter than its characters.
const MAX_U_LABEL: usize = MAX_LABEL - "xn--".len();

/// The domain of a mailbox: a name, or an address literal in square brackets.
///
/// Spelled as it came; names compare without regard to ASCII case.
#[derive(Debug, Clone)]
pub struct Domain {
    text: String,
    literal: Option<IpAddr>,
}

impl Domain {
    /// Parses a domain name of LDH labels or U-labels, or `[192.0.2.1]`, or `[IPv6:2001:db8::1]`.
    ///
    /// # Errors
    ///
    /// [`AddressError::Domain`], [`AddressError::DomainTooLong`] or [`AddressError::AddressLiteral`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AddressError> {
        if bytes.len() > MAX_DOMAIN {
            return Err(AddressError::DomainTooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| AddressError::Domain)?;
        let literal = if text.starts_with('[') {
            Some(parse_literal(text).ok_or(AddressError::AddressLiteral)?)
        } else if text.split('.').all(is_label) {
            None
        } else {
            return Err(AddressError::Domain);
        };
        Ok(Self { text: text.to_owned(), literal })
    }

    /// The domain as it came, an address literal with its brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is an address literal.
    pub fn is_literal(&self) -> bool {
        self.literal.is_some()
    }

    /// The address of an address literal.
    pub fn address_literal(&self) -> Option<IpAddr> {
        self.literal
    }

    /// Whether it can travel without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for Domain {}

impl std::hash::Hash for Domain {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for byte in self.text.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The address in `[…]`. Of the general address literals of RFC 5321 section 4.1.3 only `IPv6:` was ever registered.
pub(super) fn parse_literal(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.split_once(':') {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        Some(_) => None,
        None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// RFC 5321 `sub-domain`: letters, digits and inner hyphens; or a U-label (RFC 6531 section 3.3).
fn is_label(label: &str) -> bool {
    let fits = if label.is_ascii() { label.len() <= MAX_LABEL } else { label.chars().count() <= MAX_U_LABEL };
    fits && !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|character| match character {
            '-' => true,
            ascii if ascii.is_ascii() => ascii.is_ascii_alphanumeric(),
            other => is_label_character(other),
        })
}

/// A character that a U-label may hold. Coarser than IDNA 2008, which needs tables: refused are whole blocks that can
/// hold none, above all those that look like a dot, a slash or nothing at all.
fn is_label_character(character: char) -> bool {
    match character {
        // The joiners, which some scripts need.
        '\u{200C}' | '\u{200D}' => true,
        '\u{80}'..='\u{B6}' | '\u{B8}'..='\u{BF}' | '\u{D7}' | '\u{F7}' => false,
        // Punctuation, symbols, arrows, box drawing.
        '\u{2000}'..='\u{2BFF}' => false,
        // The ideographic full stop and its neighbours.
        '\u{3000}'..='\u{3004}' => false,
        // Private use, compatibility and full-width forms, specials.
        '\u{E000}'..='\u{F8FF}' | '\u{FE00}'..='\u{FE1F}' | '\u{FE30}'..='\u{FE6F}' | '\u{FF00}'..='\u{FFFF}' => false,
        '\u{E0000}'.. => false,
        other => !other.is_control() && !other.is_whitespace(),
    }
}
