//! SPF macro strings (RFC 7208 section 7): read strictly, expanded for one check.

use std::fmt::Write as _;

/// A macro string that was found to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `%%`, `%_` and `%-`.
    Escape(&'static str),
    Macro(Macro),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    /// Lower case.
    letter: u8,
    /// The letter was upper case: the value is URL-escaped.
    escape: bool,
    /// How many parts of the right-hand side to keep.
    keep: Option<usize>,
    reverse: bool,
    /// Empty means the dot.
    delimiters: String,
}

/// Where the string stands: `c`, `r` and `t` are allowed in explanations only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Domain,
    Explanation,
}

/// The values of the letters.
pub(super) struct Values<'a> {
    pub(super) sender: &'a str,
    pub(super) local_part: &'a str,
    pub(super) sender_domain: &'a str,
    pub(super) domain: &'a str,
    pub(super) client: std::net::IpAddr,
    /// `p`: already looked up where [`MacroString::needs_validated_name`] says so.
    pub(super) validated: &'a str,
    pub(super) helo: &'a str,
    pub(super) receiver: &'a str,
}

/// The string is not well-formed.
#[derive(Debug)]
pub(super) struct Malformed;

impl MacroString {
    pub(super) fn parse(text: &str, place: Place) -> Result<Self, Malformed> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let visible = c.is_ascii_graphic() || (place == Place::Explanation && c == ' ');
            if !visible {
                return Err(Malformed);
            }
            if c != '%' {
                literal.push(c);
                rest = &rest[1..];
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            let (piece, length) = match rest.as_bytes().get(1) {
                Some(b'%') => (Piece::Escape("%"), 2),
                Some(b'_') => (Piece::Escape(" "), 2),
                Some(b'-') => (Piece::Escape("%20"), 2),
                Some(b'{') => {
                    let end = rest.find('}').ok_or(Malformed)?;
                    (Piece::Macro(Macro::parse(rest.get(2..end).ok_or(Malformed)?, place)?), end + 1)
                }
                _ => return Err(Malformed),
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// A domain-spec: it ends in a macro, or in a dot and a top label (RFC 7208 section 7.1).
    pub(super) fn parse_domain(text: &str) -> Result<Self, Malformed> {
        let parsed = Self::parse(text, Place::Domain)?;
        let ends_well = match parsed.0.last() {
            None => false,
            Some(Piece::Literal(literal)) => {
                let literal = literal.strip_suffix('.').unwrap_or(literal);
                literal.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
            }
            Some(Piece::Escape(_) | Piece::Macro(_)) => true,
        };
        if ends_well { Ok(parsed) } else { Err(Malformed) }
    }

    pub(super) fn needs_validated_name(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(Macro { letter: b'p', .. })))
    }

    /// `None` when a value is not ASCII: what then stands in a domain can match nothing (RFC 8616 section 4).
    pub(super) fn expand(&self, values: &Values<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Escape(escape) => text.push_str(escape),
                Piece::Macro(this) => this.expand(values, &mut text)?,
            }
        }
        Some(text)
    }
}

impl Macro {
    /// `text` stands between the braces.
    fn parse(text: &str, place: Place) -> Result<Self, Malformed> {
        let mut bytes = text.bytes().peekable();
        let first = bytes.next().ok_or(Malformed)?;
        let letter = first.to_ascii_lowercase();
        match letter {
            b's' | b'l' | b'o' | b'd' | b'i' | b'p' | b'h' | b'v' => {}
            b'c' | b'r' | b't' if place == Place::Explanation => {}
            _ => return Err(Malformed),
        }
        let mut keep: Option<usize> = None;
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            let digit = usize::from(digit - b'0');
            keep = Some(keep.unwrap_or(0).saturating_mul(10).saturating_add(digit).min(128));
        }
        if keep == Some(0) {
            return Err(Malformed);
        }
        let reverse = bytes.next_if(|byte| byte.eq_ignore_ascii_case(&b'r')).is_some();
        let delimiters: String = bytes.map(char::from).collect();
        if !delimiters.bytes().all(|byte| b".-+,/_=".contains(&byte)) {
            return Err(Malformed);
        }
        Ok(Self { letter, escape: first.is_ascii_uppercase(), keep, reverse, delimiters })
    }

    fn expand(&self, values: &Values<'_>, text: &mut String) -> Option<()> {
        let owned;
        let value = match self.letter {
            b's' => values.sender,
            b'l' => values.local_part,
            b'o' => values.sender_domain,
            b'd' => values.domain,
            b'p' => values.validated,
            b'h' => values.helo,
            b'r' => values.receiver,
            b'v' => {
                if values.client.is_ipv4() {
                    "in-addr"
                } else {
                    "ip6"
                }
            }
            b'i' => {
                owned = dotted(values.client);
                &owned
            }
            b'c' => {
                owned = values.client.to_string();
                &owned
            }
            _ => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                owned = now.map_or(0, |elapsed| elapsed.as_secs()).to_string();
                &owned
            }
        };
        if !value.is_ascii() {
            return None;
        }
        let is_delimiter = |c: char| if self.delimiters.is_empty() { c == '.' } else { self.delimiters.contains(c) };
        let mut parts: Vec<&str> = value.split(is_delimiter).collect();
        if self.reverse {
            parts.reverse();
        }
        let skip = self.keep.map_or(0, |keep| parts.len().saturating_sub(keep));
        let joined = parts[skip..].join(".");
        if self.escape {
            escape_into(&joined, text)
        } else {
            text.push_str(&joined)
        }
        Some(())
    }
}

fn escape_into(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// The `i` macro: IPv6 in dotted nibbles (RFC 7208 section 7.3).
fn dotted(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => {
            let nibbles: Vec<String> =
                v6.octets().iter().flat_map(|octet| [octet >> 4, octet & 15]).map(|n| format!("{n:x}")).collect();
            nibbles.join(".")
        }
    }
}

/// RFC 7208 section 7.1: letters, digits and inner hyphens, and not digits alone.
fn is_top_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7208 section 7.4.
    #[test]
    fn the_examples_of_the_rfc_expand_as_printed() {
        let check = |client: &str, text: &str, expected: &str| {
            let values = Values {
                sender: "strong-bad@email.example.com",
                local_part: "strong-bad",
                sender_domain: "email.example.com",
                domain: "email.example.com",
                client: client.parse().unwrap(),
                validated: "mx.example.org",
                helo: "mx.example.org",
                receiver: "receiver.example",
            };
            let expanded = MacroString::parse(text, Place::Domain).unwrap().expand(&values);
            assert_eq!(expanded.as_deref(), Some(expected), "{text}");
        };
        let v4 = |text, expected| check("192.0.2.3", text, expected);
        v4("%{s}", "strong-bad@email.example.com");
        v4("%{d4}", "email.example.com");
        v4("%{d2}", "example.com");
        v4("%{d1}", "com");
        v4("%{dr}", "com.example.email");
        v4("%{d2r}", "example.email");
        v4("%{l-}", "strong.bad");
        v4("%{lr-}", "bad.strong");
        v4("%{l1r-}", "strong");
        v4("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com");
        v4("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com");
        check(
            "2001:db8::cb01",
            "%{ir}.%{v}._spf.%{d2}",
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
        );
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused() {
        for text in ["%", "%{", "%{}", "%{z}", "%{c}", "%{d0}", "%{dx}", "%(d)", "a b", "\u{e9}"] {
            assert!(MacroString::parse(text, Place::Domain).is_err(), "{text:?}");
        }
        for text in ["", "example", "example.1", "example.-a", "example..", "%{d}com"] {
            assert!(MacroString::parse_domain(text).is_err(), "{text:?}");
        }
    }
}
