//! Dot stuffing (RFC 5321 section 4.5.2) of bytes that stand anywhere in a message.
//!
//! Which dots are stuffing can be told from the bytes themselves: those at the beginning of a line. So no list of them
//! is kept; what is kept is where in a line a piece begins.

use bytes::Bytes;
use memchr::memmem;

pub use mailweir_smtp::server::Framing;

/// Where in a line the next byte stands. Lines end in CRLF and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LinePosition {
    #[default]
    Start,
    AfterCr,
    Inside,
}

impl LinePosition {
    /// The position after these bytes.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        match bytes {
            [] => self,
            [.., b'\r'] => Self::AfterCr,
            [.., b'\r', b'\n'] => Self::Start,
            [b'\n'] if self == Self::AfterCr => Self::Start,
            _ => Self::Inside,
        }
    }

    /// Where in these bytes a dot stands at the beginning of a line.
    pub(super) fn leading_dots(self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let first = match (self, bytes) {
            (Self::Start, [b'.', ..]) => Some(0),
            (Self::AfterCr, [b'\n', b'.', ..]) => Some(1),
            _ => None,
        };
        first.into_iter().chain(memmem::find_iter(bytes, b"\r\n.").map(|at| at + 2))
    }

    /// The bytes with one more dot before each at the beginning of a line.
    pub(super) fn stuffed(self, bytes: Bytes) -> Bytes {
        let dots: usize = self.leading_dots(&bytes).count();
        if dots == 0 {
            return bytes;
        }
        let mut stuffed = Vec::with_capacity(bytes.len() + dots);
        let mut rest = 0;
        for dot in self.leading_dots(&bytes) {
            stuffed.extend_from_slice(&bytes[rest..=dot]);
            rest = dot;
        }
        stuffed.extend_from_slice(&bytes[rest..]);
        Bytes::from(stuffed)
    }

    /// The bytes without the dots at the beginning of lines.
    pub(super) fn unstuffed(self, bytes: Bytes) -> Bytes {
        if self.leading_dots(&bytes).next().is_none() {
            return bytes;
        }
        let mut plain = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for dot in self.leading_dots(&bytes) {
            plain.extend_from_slice(&bytes[rest..dot]);
            rest = dot + 1;
        }
        plain.extend_from_slice(&bytes[rest..]);
        Bytes::from(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_is_undone_wherever_the_bytes_are_cut() {
        let plain: &[u8] = b".\r\n..a\r\n.\r\n\r\n.b.\r\nc.\r\n.";
        let stuffed: &[u8] = b"..\r\n...a\r\n..\r\n\r\n..b.\r\nc.\r\n..";
        for cut in 0..=plain.len() {
            let (head, tail) = plain.split_at(cut);
            let position = LinePosition::default().after(head);
            let mut out = LinePosition::Start.stuffed(Bytes::copy_from_slice(head)).to_vec();
            out.extend_from_slice(&position.stuffed(Bytes::copy_from_slice(tail)));
            assert_eq!(out, stuffed, "{cut}");
        }
        for cut in 0..=stuffed.len() {
            let (head, tail) = stuffed.split_at(cut);
            let position = LinePosition::default().after(head);
            let mut out = LinePosition::Start.unstuffed(Bytes::copy_from_slice(head)).to_vec();
            out.extend_from_slice(&position.unstuffed(Bytes::copy_from_slice(tail)));
            assert_eq!(out, plain, "{cut}");
        }
    }
}
