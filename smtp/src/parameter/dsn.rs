//! The parameters of delivery status notifications (RFC 3461, RFC 6533).

use std::fmt;

use super::ParameterError;

/// The longest ENVID, in octets (RFC 3461 section 4.4).
const MAX_ENVELOPE_ID: usize = 100;
/// The longest ORCPT, in octets (RFC 3461 section 4.2).
const MAX_ORIGINAL_RECIPIENT: usize = 500;

/// RET=: how much of the message a failure notice returns (RFC 3461 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// All of it.
    Full,
    /// The header section.
    Headers,
}

/// NOTIFY=: when to tell the sender (RFC 3461 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// Not at all.
    Never,
    /// On each of these; at least one is set.
    On {
        /// When delivered.
        success: bool,
        /// When it cannot be delivered.
        failure: bool,
        /// When it takes longer than usual.
        delay: bool,
    },
}

/// Text in the encoding of RFC 3461 section 4: graphic ASCII in which `+41` stands for the octet 0x41.
///
/// Kept encoded. No control character is in it, encoded or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xtext(String);

impl Xtext {
    /// Checks `bytes`.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParameterError> {
        let mut rest = bytes;
        while let [first, tail @ ..] = rest {
            rest = match (first, tail) {
                (b'+', [high, low, tail @ ..]) => match (hexadecimal(*high), hexadecimal(*low)) {
                    (Some(high), Some(low)) if !(high * 16 + low).is_ascii_control() => tail,
                    _ => return Err(ParameterError::Malformed),
                },
                (b'+' | b'=', _) => return Err(ParameterError::Malformed),
                (b'!'..=b'~', _) => tail,
                _ => return Err(ParameterError::Malformed),
            };
        }
        String::from_utf8(bytes.to_vec()).map(Self).map_err(|_| ParameterError::Malformed)
    }

    /// The text, still encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The value of ORCPT: an address type, `;`, the address in xtext or, for the type `utf-8`, in UTF-8 (RFC 6533).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalRecipient(String);

impl OriginalRecipient {
    /// Checks `bytes`.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParameterError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ParameterError::Malformed)?;
        let (address_type, address) = text.split_once(';').ok_or(ParameterError::Malformed)?;
        let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        if text.len() > MAX_ORIGINAL_RECIPIENT || address_type.is_empty() || !address_type.bytes().all(is_atom) {
            return Err(ParameterError::Malformed);
        }
        if address_type.eq_ignore_ascii_case("utf-8") {
            check_international_address(address)?;
        } else {
            Xtext::parse(address.as_bytes())?;
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole value, still encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can travel without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }
}

impl Return {
    pub(super) fn parse(value: &[u8]) -> Result<Self, ParameterError> {
        match value.to_ascii_uppercase().as_slice() {
            b"FULL" => Ok(Self::Full),
            b"HDRS" => Ok(Self::Headers),
            _ => Err(ParameterError::Malformed),
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

impl Notify {
    pub(super) fn parse(value: &[u8]) -> Result<Self, ParameterError> {
        if value.eq_ignore_ascii_case(b"NEVER") {
            return Ok(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for event in value.split(|byte| *byte == b',') {
            let seen = match event.to_ascii_uppercase().as_slice() {
                b"SUCCESS" => &mut success,
                b"FAILURE" => &mut failure,
                b"DELAY" => &mut delay,
                _ => return Err(ParameterError::Malformed),
            };
            *seen = true;
        }
        Ok(Self::On { success, failure, delay })
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::On { success, failure, delay } = *self else { return formatter.write_str("NEVER") };
        let events = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let mut separator = "";
        for (_, event) in events.into_iter().filter(|(on, _)| *on) {
            write!(formatter, "{separator}{event}")?;
            separator = ",";
        }
        Ok(())
    }
}

pub(super) fn parse_envelope_id(value: &[u8]) -> Result<Xtext, ParameterError> {
    if value.is_empty() || value.len() > MAX_ENVELOPE_ID {
        return Err(ParameterError::Malformed);
    }
    Xtext::parse(value)
}

/// RFC 6533 section 3: UTF-8 in which `\x{2B}` stands for the characters that are not allowed as they are.
fn check_international_address(address: &str) -> Result<(), ParameterError> {
    let is_plain =
        |character: char| !character.is_control() && !character.is_whitespace() && !"+=\\".contains(character);
    let mut rest = address;
    while let Some(character) = rest.chars().next() {
        rest = if let Some(escape) = rest.strip_prefix("\\x{") {
            let (digits, rest) = escape.split_once('}').ok_or(ParameterError::Malformed)?;
            let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let escaped = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            if !is_number || escaped.is_none_or(char::is_control) {
                return Err(ParameterError::Malformed);
            }
            rest
        } else if is_plain(character) {
            &rest[character.len_utf8()..]
        } else {
            return Err(ParameterError::Malformed);
        };
    }
    Ok(())
}

/// RFC 3461 section 4: digits and upper-case letters; lower-case ones are common and mean the same.
fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
