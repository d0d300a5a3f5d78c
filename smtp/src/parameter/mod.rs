//! ESMTP parameters of MAIL and RCPT (RFC 5321 section 4.1.1.11), parsed strictly.
//!
//! Known are SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531) and those of DSN (RFC 3461). DSN values
//! are passed on as they came; they are decoded only to see that nothing is hidden in them.

mod dsn;

pub use dsn::{Notify, OriginalRecipient, Return, Xtext};

use std::fmt;

use thiserror::Error;

use crate::extension::Extensions;
use crate::reply::Reply;

/// Why a parameter is refused. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// A keyword that nobody offered.
    #[error("parameter not recognized or not offered")]
    NotOffered,
    /// A value out of the parameter's grammar.
    #[error("malformed parameter")]
    Malformed,
    /// The same keyword twice.
    #[error("parameter given twice")]
    Repeated,
}

impl ParameterError {
    /// 555 or 501, both 5.5.4.
    pub fn reply(self) -> Reply {
        match self {
            Self::NotOffered => Reply::new(555, "5.5.4", "Parameter not recognized or not offered"),
            Self::Malformed => Reply::new(501, "5.5.4", "Malformed parameter"),
            Self::Repeated => Reply::new(501, "5.5.4", "Parameter given twice"),
        }
    }
}

/// BODY=: what the content is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// ASCII, in lines.
    SevenBit,
    /// Octets, in lines (RFC 6152).
    EightBitMime,
    /// Octets, not in lines; BDAT only (RFC 3030).
    BinaryMime,
}

/// The parameters of MAIL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE=: the octets the client is going to send, more or less. A number beyond 64 bits is the largest.
    pub size: Option<u64>,
    /// BODY=
    pub body: Option<BodyType>,
    /// SMTPUTF8: addresses and header fields may hold UTF-8.
    pub smtp_utf8: bool,
    /// RET=
    pub ret: Option<Return>,
    /// ENVID=, still in xtext.
    pub envid: Option<Xtext>,
}

/// The parameters of RCPT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// NOTIFY=
    pub notify: Option<Notify>,
    /// ORCPT=
    pub orcpt: Option<OriginalRecipient>,
}

impl MailParameters {
    /// Parses `KEYWORD[=value]` words separated by spaces.
    ///
    /// # Errors
    ///
    /// See [`ParameterError`]. Whether a parameter was offered is [`Self::check_offered`]'s to say.
    pub fn parse(text: &[u8]) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for word in words(text) {
            let (keyword, value) = split_word(word)?;
            match keyword.to_ascii_uppercase().as_slice() {
                b"SIZE" => set(&mut parameters.size, parse_size(value)?)?,
                b"BODY" => set(&mut parameters.body, parse_body(value)?)?,
                b"SMTPUTF8" if value.is_some() => return Err(ParameterError::Malformed),
                b"SMTPUTF8" if parameters.smtp_utf8 => return Err(ParameterError::Repeated),
                b"SMTPUTF8" => parameters.smtp_utf8 = true,
                b"RET" => set(&mut parameters.ret, Return::parse(value.unwrap_or_default())?)?,
                b"ENVID" => set(&mut parameters.envid, dsn::parse_envelope_id(value.unwrap_or_default())?)?,
                _ => return Err(ParameterError::NotOffered),
            }
        }
        Ok(parameters)
    }

    /// Whether `offer` covers what is used here.
    ///
    /// # Errors
    ///
    /// [`ParameterError::NotOffered`].
    pub fn check_offered(&self, offer: &Extensions) -> Result<(), ParameterError> {
        let body = match self.body {
            None => true,
            Some(BodyType::SevenBit | BodyType::EightBitMime) => offer.eight_bit_mime,
            Some(BodyType::BinaryMime) => offer.binary_mime && offer.chunking,
        };
        let size = self.size.is_none() || offer.size.is_some();
        let utf8 = !self.smtp_utf8 || offer.smtp_utf8;
        let dsn = (self.ret.is_none() && self.envid.is_none()) || offer.dsn;
        if body && size && utf8 && dsn { Ok(()) } else { Err(ParameterError::NotOffered) }
    }
}

impl RcptParameters {
    /// Parses `KEYWORD=value` words separated by spaces.
    ///
    /// # Errors
    ///
    /// See [`ParameterError`]. Whether a parameter was offered is [`Self::check_offered`]'s to say.
    pub fn parse(text: &[u8]) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for word in words(text) {
            let (keyword, value) = split_word(word)?;
            let value = value.ok_or(ParameterError::Malformed);
            match keyword.to_ascii_uppercase().as_slice() {
                b"NOTIFY" => set(&mut parameters.notify, Notify::parse(value?)?)?,
                b"ORCPT" => set(&mut parameters.orcpt, OriginalRecipient::parse(value?)?)?,
                _ => return Err(ParameterError::NotOffered),
            }
        }
        Ok(parameters)
    }

    /// Whether `offer` covers what is used here.
    ///
    /// # Errors
    ///
    /// [`ParameterError::NotOffered`].
    pub fn check_offered(&self, offer: &Extensions) -> Result<(), ParameterError> {
        if *self == Self::default() || offer.dsn { Ok(()) } else { Err(ParameterError::NotOffered) }
    }
}

/// Each parameter with a space before it, ready to follow the path.
impl fmt::Display for MailParameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(formatter, " SIZE={size}")?;
        }
        match self.body {
            Some(BodyType::SevenBit) => formatter.write_str(" BODY=7BIT")?,
            Some(BodyType::EightBitMime) => formatter.write_str(" BODY=8BITMIME")?,
            Some(BodyType::BinaryMime) => formatter.write_str(" BODY=BINARYMIME")?,
            None => {}
        }
        if self.smtp_utf8 {
            formatter.write_str(" SMTPUTF8")?;
        }
        self.ret.iter().try_for_each(|ret| write!(formatter, " RET={ret}"))?;
        self.envid.iter().try_for_each(|envid| write!(formatter, " ENVID={}", envid.as_str()))
    }
}

/// Each parameter with a space before it, ready to follow the path.
impl fmt::Display for RcptParameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notify.iter().try_for_each(|notify| write!(formatter, " NOTIFY={notify}"))?;
        self.orcpt.iter().try_for_each(|orcpt| write!(formatter, " ORCPT={}", orcpt.as_str()))
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// RFC 5321 `esmtp-param`.
fn split_word(word: &[u8]) -> Result<(&[u8], Option<&[u8]>), ParameterError> {
    let (keyword, value) = match memchr::memchr(b'=', word) {
        Some(equals) => (&word[..equals], Some(&word[equals + 1..])),
        None => (word, None),
    };
    let is_keyword = keyword.first().is_some_and(u8::is_ascii_alphanumeric)
        && keyword.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let is_value = value.is_none_or(|value| !value.is_empty() && !value.iter().any(u8::is_ascii_control));
    if is_keyword && is_value { Ok((keyword, value)) } else { Err(ParameterError::Malformed) }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), ParameterError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParameterError::Repeated),
    }
}

/// RFC 1870 section 4: 1 to 20 digits, which may exceed 64 bits.
fn parse_size(value: Option<&[u8]>) -> Result<u64, ParameterError> {
    let digits = value.ok_or(ParameterError::Malformed)?;
    if digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParameterError::Malformed);
    }
    let add = |size: u64, digit: &u8| size.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Ok(digits.iter().fold(0, add))
}

fn parse_body(value: Option<&[u8]>) -> Result<BodyType, ParameterError> {
    match value.unwrap_or_default().to_ascii_uppercase().as_slice() {
        b"7BIT" => Ok(BodyType::SevenBit),
        b"8BITMIME" => Ok(BodyType::EightBitMime),
        b"BINARYMIME" => Ok(BodyType::BinaryMime),
        _ => Err(ParameterError::Malformed),
    }
}

#[cfg(test)]
mod tests;
