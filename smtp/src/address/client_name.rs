//! The name a client gives itself in EHLO or HELO (RFC 5321 section 4.1.1.1).

use std::fmt;
use std::net::IpAddr;

use super::domain::parse_literal;
use super::{AddressError, MAX_DOMAIN};

/// What a client calls itself: meant to be a domain or an address literal, in truth often neither.
///
/// Names with underscores, bare IP addresses and the like are common in the field and harmless, so they pass. What
/// could break out of a Received field or a log line does not: only graphic ASCII, less `()<>@,;"\`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientName(String);

impl ClientName {
    /// Parses a name of 1 to 255 octets.
    ///
    /// # Errors
    ///
    /// [`AddressError::Domain`] or [`AddressError::DomainTooLong`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AddressError> {
        if bytes.len() > MAX_DOMAIN {
            return Err(AddressError::DomainTooLong);
        }
        let allowed = |byte: &u8| byte.is_ascii_graphic() && !b"()<>@,;\"\\".contains(byte);
        if bytes.is_empty() || !bytes.iter().all(allowed) {
            return Err(AddressError::Domain);
        }
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| AddressError::Domain)?;
        Ok(Self(text))
    }

    /// The name as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, if the name is a well-formed address literal.
    pub fn address_literal(&self) -> Option<IpAddr> {
        parse_literal(&self.0)
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
