//! What follows DATA: where it ends, and what it is without the stuffed dots.
//!
//! It ends at CRLF `.` CRLF and at nothing else (RFC 5321 section 4.1.1.4); all other octets pass, whatever they are. Made for
//! speed: one vectorised search for CRLF `.`, and a step for each octet only around the few dots that begin a line.

use memchr::memmem::Finder;

/// Where the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    /// After a dot that begins a line, and was not handed on.
    Dot,
    /// After such a dot and a CR that was not handed on either.
    DotCr,
    InLine,
    Cr,
}

/// Reads what follows DATA.
#[derive(Debug)]
pub(super) struct Unstuffer {
    place: Place,
    finder: &'static Finder<'static>,
}

/// Compiled once.
static LINE_WITH_DOT: std::sync::LazyLock<Finder<'static>> = std::sync::LazyLock::new(|| Finder::new(b"\r\n."));

impl Default for Unstuffer {
    fn default() -> Self {
        Self { place: Place::LineStart, finder: &LINE_WITH_DOT }
    }
}

impl Unstuffer {
    /// Hands on the content at the front of `input`, and removes what was read. Whether the content is at its end.
    pub(super) fn read(&mut self, input: &mut &[u8], mut hand_on: impl FnMut(&[u8])) -> bool {
        let bytes = *input;
        let mut begin = 0;
        let mut position = 0;
        while let Some(&byte) = bytes.get(position) {
            match (self.place, byte) {
                (Place::LineStart, b'.') => {
                    hand_on(&bytes[begin..position]);
                    begin = position + 1;
                    self.place = Place::Dot;
                }
                (Place::Dot, b'\r') => {
                    begin = position + 1;
                    self.place = Place::DotCr;
                }
                (Place::DotCr, b'\n') => {
                    *input = &bytes[position + 1..];
                    return true;
                }
                (Place::DotCr, _) => {
                    // It was content, and may have come with an input that is gone.
                    hand_on(b"\r");
                    self.place = Place::Cr;
                    continue;
                }
                (Place::Cr, b'\n') => self.place = Place::LineStart,
                (_, b'\r') => self.place = Place::Cr,
                (_, _) => {
                    position = self.rest_of_lines(bytes, position);
                    continue;
                }
            }
            position += 1;
        }
        if begin < bytes.len() {
            hand_on(&bytes[begin..]);
        }
        *input = &[];
        false
    }

    /// From an octet that is nothing special: passes over all up to a line that begins with a dot.
    fn rest_of_lines(&mut self, bytes: &[u8], position: usize) -> usize {
        let rest = &bytes[position..];
        if let Some(found) = self.finder.find(rest) {
            self.place = Place::LineStart;
            return position + found + 2;
        }
        self.place = match rest {
            [.., b'\r', b'\n'] => Place::LineStart,
            [.., b'\r'] => Place::Cr,
            _ => Place::InLine,
        };
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, and what was left after its end; however the bytes are cut.
    fn read(bytes: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let in_pieces = |size: usize| {
            let mut unstuffer = Unstuffer::default();
            let mut content = Vec::new();
            let mut position = 0;
            while position < bytes.len() {
                let end = bytes.len().min(position + size);
                let mut input = &bytes[position..end];
                if unstuffer.read(&mut input, |piece| content.extend_from_slice(piece)) {
                    return (content, Some(bytes[end - input.len()..].to_vec()));
                }
                assert!(input.is_empty());
                position = end;
            }
            (content, None)
        };
        let whole = in_pieces(bytes.len().max(1));
        for size in 1..bytes.len() {
            assert_eq!(in_pieces(size), whole, "in pieces of {size}: {bytes:?}");
        }
        whole
    }

    #[test]
    fn the_end_is_found_and_dots_are_removed() {
        for (bytes, content, rest) in [
            (&b".\r\n"[..], &b""[..], Some(&b""[..])),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", Some(b"QUIT\r\n")),
            (b"..\r\n.\r\n", b".\r\n", Some(b"")),
            (b"..a\r\n...b\r\n.c\r\n.\r\n", b".a\r\n..b\r\nc\r\n", Some(b"")),
            (b"a.\r\nb\r\n\r\n.\r\n", b"a.\r\nb\r\n\r\n", Some(b"")),
            (b"a\n.\r\nb\r.\r\n\r\n.\nc\r\n.\r\n", b"a\n.\r\nb\r.\r\n\r\n\nc\r\n", Some(b"")),
            (b".\r.\r\n.\r\r\n.\r\n", b"\r.\r\n\r\r\n", Some(b"")),
            (b"\r\r\n.\r\n", b"\r\r\n", Some(b"")),
            (b"no end\r\n.", b"no end\r\n", None),
            (b"\n.\r\n", b"\n.\r\n", None),
            (b"", b"", None),
        ] {
            assert_eq!(read(bytes), (content.to_vec(), rest.map(<[u8]>::to_vec)), "{bytes:?}");
        }
    }

    #[test]
    fn it_agrees_with_a_reading_octet_by_octet() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let length = random.usize(..40);
            let bytes: Vec<u8> = (0..length).map(|_| *random.choice(b"\r\n.\r\n.a").unwrap()).collect();
            assert_eq!(read(&bytes), simple(&bytes), "{bytes:?}");
        }
    }

    /// As the RFC says it: line by line.
    fn simple(bytes: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut content = Vec::new();
        let mut rest = bytes;
        loop {
            let end = memchr::memmem::find(rest, b"\r\n").map(|end| end + 2);
            let (line, following) = rest.split_at(end.unwrap_or(rest.len()));
            if line == b".\r\n" {
                return (content, Some(following.to_vec()));
            }
            // Whether a dot and a CR at the very end were content is not known yet.
            match line {
                b"." | b".\r" => {}
                line => content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line)),
            }
            if end.is_none() {
                return (content, None);
            }
            rest = following;
        }
    }
}
