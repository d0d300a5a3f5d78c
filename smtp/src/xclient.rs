//! XCLIENT: a proxy tells the server behind it whom it speaks for.
//!
//! An extension of Postfix's that nginx, HAProxy and others speak too; its XCLIENT_README is the specification. The
//! server answers with a greeting, as if the client itself had just connected, and EHLO comes next.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use crate::address::ClientName;

/// The longest host name, in octets (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// One thing about a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attribute<T> {
    /// Nothing is said of it.
    #[default]
    Unsaid,
    /// The proxy does not know it.
    Unavailable,
    /// This is it.
    Known(T),
}

/// What is said of a client; the default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XClient {
    /// NAME: its host name, from reverse DNS. Graphic ASCII.
    pub name: Attribute<String>,
    /// ADDR.
    pub address: Attribute<IpAddr>,
    /// PORT.
    pub port: Attribute<u16>,
    /// HELO: what it called itself.
    pub helo: Attribute<ClientName>,
    /// PROTO: whether it said EHLO rather than HELO.
    pub extended: Attribute<bool>,
}

/// The attributes that a server takes. What it does not take must not be said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XClientOffer {
    /// NAME
    pub name: bool,
    /// ADDR
    pub address: bool,
    /// PORT
    pub port: bool,
    /// HELO
    pub helo: bool,
    /// PROTO
    pub protocol: bool,
}

/// An argument of XCLIENT that is none. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed XCLIENT attribute")]
pub struct XClientError;

impl<T> Attribute<T> {
    /// The value, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unsaid | Self::Unavailable => None,
        }
    }

    fn said_if(self, taken: bool) -> Self {
        if taken { self } else { Self::Unsaid }
    }
}

impl XClient {
    /// A client of which nothing is known: what was said of an earlier one holds no longer.
    pub fn unavailable() -> Self {
        Self {
            name: Attribute::Unavailable,
            address: Attribute::Unavailable,
            port: Attribute::Unavailable,
            helo: Attribute::Unavailable,
            extended: Attribute::Unsaid,
        }
    }

    /// Reads the arguments of XCLIENT. LOGIN, DESTADDR and DESTPORT are allowed and passed over.
    ///
    /// # Errors
    ///
    /// [`XClientError`] when there is none, one is unknown, malformed, or holds a control character.
    pub fn parse(arguments: &[u8]) -> Result<Self, XClientError> {
        let mut said = Self::default();
        let mut count = 0;
        for argument in arguments.split(|byte| *byte == b' ').filter(|argument| !argument.is_empty()) {
            count += 1;
            let equals = memchr::memchr(b'=', argument).ok_or(XClientError)?;
            let (keyword, value) = (&argument[..equals], decode(&argument[equals + 1..])?);
            match keyword.to_ascii_uppercase().as_slice() {
                b"NAME" => said.name = attribute(&value, name)?,
                b"ADDR" => said.address = attribute(&value, address)?,
                b"PORT" => said.port = attribute(&value, |value| value.parse().ok())?,
                b"HELO" => said.helo = attribute(&value, |value| ClientName::parse(value.as_bytes()).ok())?,
                b"PROTO" => said.extended = attribute(&value, protocol)?,
                b"LOGIN" | b"DESTADDR" | b"DESTPORT" => {}
                _ => return Err(XClientError),
            }
        }
        if count == 0 { Err(XClientError) } else { Ok(said) }
    }

    /// What of it a server takes.
    pub fn limited_to(self, offer: XClientOffer) -> Self {
        Self {
            name: self.name.said_if(offer.name),
            address: self.address.said_if(offer.address),
            port: self.port.said_if(offer.port),
            helo: self.helo.said_if(offer.helo),
            extended: self.extended.said_if(offer.protocol),
        }
    }
}

impl fmt::Display for XClient {
    /// The arguments of XCLIENT, each with a space before it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_attribute(formatter, "NAME", &self.name, Clone::clone)?;
        write_attribute(formatter, "ADDR", &self.address, |address| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("IPV6:{address}"),
        })?;
        write_attribute(formatter, "PORT", &self.port, u16::to_string)?;
        write_attribute(formatter, "HELO", &self.helo, |name| name.as_str().to_owned())?;
        write_attribute(formatter, "PROTO", &self.extended, |extended| if *extended { "ESMTP" } else { "SMTP" }.into())
    }
}

impl XClientOffer {
    /// Every attribute there is a use for.
    pub fn all() -> Self {
        Self { name: true, address: true, port: true, helo: true, protocol: true }
    }

    /// Reads what follows the keyword in an EHLO line; unknown names are passed over.
    pub(crate) fn from_words<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut offer = Self::default();
        for word in words {
            match word.to_ascii_uppercase().as_str() {
                "NAME" => offer.name = true,
                "ADDR" => offer.address = true,
                "PORT" => offer.port = true,
                "HELO" => offer.helo = true,
                "PROTO" => offer.protocol = true,
                _ => {}
            }
        }
        offer
    }
}

impl fmt::Display for XClientOffer {
    /// The names, each with a space before it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.name, " NAME"),
            (self.address, " ADDR"),
            (self.port, " PORT"),
            (self.protocol, " PROTO"),
            (self.helo, " HELO"),
        ];
        names.into_iter().filter(|(taken, _)| *taken).try_for_each(|(_, name)| formatter.write_str(name))
    }
}

fn attribute<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Result<Attribute<T>, XClientError> {
    match value {
        "[UNAVAILABLE]" | "[TEMPUNAVAIL]" => Ok(Attribute::Unavailable),
        value => read(value).map(Attribute::Known).ok_or(XClientError),
    }
}

fn name(value: &str) -> Option<String> {
    let is_name = (1..=MAX_NAME).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| value.to_owned())
}

/// An IPv4 address, or an IPv6 address behind its tag.
fn address(value: &str) -> Option<IpAddr> {
    match value.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPV6:") => {
            value[5..].parse().ok().map(|address: Ipv6Addr| IpAddr::V6(address).to_canonical())
        }
        _ => value.parse().ok().map(|address: IpAddr| address.to_canonical()),
    }
}

fn protocol(value: &str) -> Option<bool> {
    match value.to_ascii_uppercase().as_str() {
        "SMTP" => Some(false),
        "ESMTP" => Some(true),
        _ => None,
    }
}

/// Undoes xtext (RFC 3461 section 4). Control characters are refused: none of the attributes can hold one.
fn decode(value: &[u8]) -> Result<String, XClientError> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        let byte;
        (byte, rest) = match (first, tail) {
            (b'+', [high, low, tail @ ..]) => (hexadecimal(*high)? * 16 + hexadecimal(*low)?, tail),
            (b'+', _) => return Err(XClientError),
            (byte, tail) => (*byte, tail),
        };
        if byte.is_ascii_control() {
            return Err(XClientError);
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_| XClientError)
}

fn hexadecimal(byte: u8) -> Result<u8, XClientError> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(XClientError)
}

fn write_attribute<T>(
    formatter: &mut fmt::Formatter<'_>,
    keyword: &str,
    attribute: &Attribute<T>,
    text: impl Fn(&T) -> String,
) -> fmt::Result {
    let value = match attribute {
        Attribute::Unsaid => return Ok(()),
        Attribute::Unavailable => return write!(formatter, " {keyword}=[UNAVAILABLE]"),
        Attribute::Known(value) => text(value),
    };
    write!(formatter, " {keyword}=")?;
    for byte in value.bytes() {
        match byte {
            b'+' | b'=' => write!(formatter, "+{byte:02X}")?,
            b'!'..=b'~' => write!(formatter, "{}", char::from(byte))?,
            _ => write!(formatter, "+{byte:02X}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_reads_back() {
        let cases = [
            ("NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=4321", " NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=4321"),
            ("addr=ipv6:2001:db8::1 proto=smtp", " ADDR=IPV6:2001:db8::1 PROTO=SMTP"),
            ("ADDR=2001:db8::1", " ADDR=IPV6:2001:db8::1"),
            ("ADDR=IPV6:::ffff:192.0.2.7", " ADDR=192.0.2.7"),
            ("NAME=[TEMPUNAVAIL]  HELO=mx.example.com ", " NAME=[UNAVAILABLE] HELO=mx.example.com"),
            ("NAME=a+2Bb.example PROTO=ESMTP", " NAME=a+2Bb.example PROTO=ESMTP"),
            ("LOGIN=alice DESTADDR=192.0.2.1 DESTPORT=25 PORT=1", " PORT=1"),
        ];
        for (said, written) in cases {
            let parsed = XClient::parse(said.as_bytes()).unwrap();
            assert_eq!(parsed.to_string(), written, "{said}");
            assert_eq!(XClient::parse(written.as_bytes()), Ok(parsed), "{said}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_as_a_whole() {
        for said in [
            "",
            "ADDR",
            "ADDR=",
            "ADDR=192.0.2",
            "ADDR=[192.0.2.7]",
            "ADDR=IPV6:192.0.2.7",
            "PORT=65536",
            "PORT=-1",
            "PROTO=LMTP",
            "NAME=",
            "NAME=a+0Ab",
            "NAME=a+00",
            "NAME=+2",
            "NAME=+zz",
            "HELO=a b",
            "HELO=+20",
            "COLOUR=red",
            "ADDR=192.0.2.7 COLOUR=red",
        ] {
            assert_eq!(XClient::parse(said.as_bytes()), Err(XClientError), "{said}");
        }
        assert!(XClient::parse(format!("NAME={}", "a".repeat(256)).as_bytes()).is_err());
        assert!(XClient::parse(b"NAME=\xff").is_err());
    }

    #[test]
    fn only_what_is_taken_is_said() {
        let offer = XClientOffer::from_words("name ADDR LOGIN".split(' '));
        let said = XClient { port: Attribute::Known(25), ..XClient::unavailable() };
        assert_eq!(said.limited_to(offer).to_string(), " NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]");
        assert_eq!(XClientOffer::all().to_string(), " NAME ADDR PORT PROTO HELO");
    }
}
