//! Service extensions: what EHLO offers (RFC 5321 section 4.1.1.1), read and written.

use crate::reply::Reply;
use crate::xclient::XClientOffer;

/// A set of service extensions; the default is the empty set, which is what HELO gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// SIZE (RFC 1870): the most octets of a message, `Some(0)` when the server names no limit.
    pub size: Option<u64>,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// CHUNKING (RFC 3030): the BDAT command.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// XCLIENT: what may be said of the client.
    pub xclient: Option<XClientOffer>,
}

impl Extensions {
    /// Reads the positive reply to EHLO; lines that are not understood are passed over.
    pub fn from_reply(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        // The first line holds the server's name.
        for line in reply.lines().iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                // A limit beyond 64 bits, or none that can be read, limits nothing.
                "SIZE" => extensions.size = Some(words.next().and_then(|limit| limit.parse().ok()).unwrap_or(0)),
                "PIPELINING" => extensions.pipelining = true,
                "8BITMIME" => extensions.eight_bit_mime = true,
                "SMTPUTF8" => extensions.smtp_utf8 = true,
                "CHUNKING" => extensions.chunking = true,
                "BINARYMIME" => extensions.binary_mime = true,
                "ENHANCEDSTATUSCODES" => extensions.enhanced_status_codes = true,
                "DSN" => extensions.dsn = true,
                "STARTTLS" => extensions.start_tls = true,
                "XCLIENT" => extensions.xclient = Some(XClientOffer::from_words(words)),
                _ => {}
            }
        }
        extensions
    }

    /// The keyword lines of an EHLO reply.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.size {
            Some(0) => lines.push("SIZE".to_owned()),
            Some(limit) => lines.push(format!("SIZE {limit}")),
            None => {}
        }
        let flags = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtp_utf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.binary_mime, "BINARYMIME"),
            (self.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
            (self.dsn, "DSN"),
            (self.start_tls, "STARTTLS"),
        ];
        lines.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, keyword)| keyword.to_owned()));
        lines.extend(self.xclient.map(|offer| format!("XCLIENT{offer}")));
        lines
    }

    /// What both sets hold; of two size limits the lower.
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            size: match (self.size, other.size) {
                (Some(one), Some(two)) => Some(lower_limit(one, two)),
                _ => None,
            },
            pipelining: self.pipelining && other.pipelining,
            eight_bit_mime: self.eight_bit_mime && other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 && other.smtp_utf8,
            chunking: self.chunking && other.chunking,
            binary_mime: self.binary_mime && other.binary_mime,
            enhanced_status_codes: self.enhanced_status_codes && other.enhanced_status_codes,
            dsn: self.dsn && other.dsn,
            start_tls: self.start_tls && other.start_tls,
            // For this connection alone.
            xclient: None,
        }
    }

    /// What a relay that can do `self` may offer when its mail goes on to `upstream`.
    ///
    /// Extensions that end at the hop (PIPELINING, CHUNKING, ENHANCEDSTATUSCODES, STARTTLS, XCLIENT, and SIZE as such) are the
    /// relay's own: it converts. Those that bind whoever comes next (8BITMIME, SMTPUTF8, DSN, BINARYMIME) are offered
    /// only when the upstream can do them. Of two size limits the lower counts.
    pub fn relayed_to(&self, upstream: &Self) -> Self {
        Self {
            size: self.size.map(|limit| lower_limit(limit, upstream.size.unwrap_or(0))),
            eight_bit_mime: self.eight_bit_mime && upstream.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 && upstream.smtp_utf8,
            // Binary content cannot be converted to DATA: it needs BDAT upstream too.
            binary_mime: self.binary_mime && upstream.binary_mime && upstream.chunking,
            dsn: self.dsn && upstream.dsn,
            ..self.clone()
        }
    }
}

/// The lower of two size limits, of which zero is none.
fn lower_limit(one: u64, two: u64) -> u64 {
    match (one, two) {
        (0, limit) | (limit, 0) => limit,
        (one, two) => one.min(two),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything(size: u64) -> Extensions {
        Extensions {
            size: Some(size),
            pipelining: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            binary_mime: true,
            enhanced_status_codes: true,
            dsn: true,
            start_tls: true,
            xclient: None,
        }
    }

    fn read(lines: &[&str]) -> Extensions {
        Extensions::from_reply(&Reply::multi(250, "", lines))
    }

    #[test]
    fn lines_read_back() {
        let mut lines = vec!["mx.example.com".to_owned()];
        lines.extend(everything(1000).lines());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(read(&lines), everything(1000));
    }

    #[test]
    fn reading_is_lenient() {
        let name_and_address = XClientOffer { name: true, address: true, ..XClientOffer::default() };
        let cases = [
            (&["SIZE 10"][..], Extensions::default()),
            (&["mx", "size 10 20"], Extensions { size: Some(10), ..Extensions::default() }),
            (&["mx", "SIZE"], Extensions { size: Some(0), ..Extensions::default() }),
            (&["mx", "SIZE 99999999999999999999999"], Extensions { size: Some(0), ..Extensions::default() }),
            (&["mx", "AUTH PLAIN", "AUTH=PLAIN", "", "X-DSN"], Extensions::default()),
            (&["mx", "8bitMIME"], Extensions { eight_bit_mime: true, ..Extensions::default() }),
            (&["mx", "XCLIENT name ADDR X"], Extensions { xclient: Some(name_and_address), ..Extensions::default() }),
        ];
        for (lines, expected) in cases {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_lower_size_limit_counts_and_zero_is_none() {
        for (one, two, both) in [(5, 7, 5), (7, 5, 5), (0, 7, 7), (7, 0, 7), (0, 0, 0)] {
            assert_eq!(everything(one).intersect(&everything(two)), everything(both));
            assert_eq!(everything(one).relayed_to(&everything(two)), everything(both));
        }
        assert_eq!(everything(5).intersect(&Extensions::default()), Extensions::default());
    }

    #[test]
    fn a_relay_keeps_what_ends_at_its_hop() {
        let offered = everything(5).relayed_to(&Extensions::default());
        let expected =
            Extensions { eight_bit_mime: false, smtp_utf8: false, binary_mime: false, dsn: false, ..everything(5) };
        assert_eq!(offered, expected);
        let without_chunking = Extensions { chunking: false, ..everything(0) };
        assert!(!everything(5).relayed_to(&without_chunking).binary_mime);
    }
}
