//! Dot-stuffing and its undoing (RFC 5321 section 4.5.2), without copying: both yield pieces of what they are given.

use memchr::memmem;

/// What the end of one chunk means for the beginning of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seam {
    /// The next octet begins a line.
    LineStart,
    /// The last octet was a CR.
    AfterCr,
    /// Neither.
    InLine,
}

impl Seam {
    fn after(self, chunk: &[u8]) -> Self {
        match (self, chunk) {
            (seam, []) => seam,
            (Self::AfterCr, [b'\n']) | (_, [.., b'\r', b'\n']) => Self::LineStart,
            (_, [.., b'\r']) => Self::AfterCr,
            _ => Self::InLine,
        }
    }

    /// Where in `chunk` a line begins with a `.` because of what came before it.
    fn first_dot(self, chunk: &[u8]) -> Option<usize> {
        match (self, chunk) {
            (Self::LineStart, [b'.', ..]) => Some(0),
            (Self::AfterCr, [b'\n', b'.', ..]) => Some(1),
            _ => None,
        }
    }
}

/// Puts a `.` before each `.` that begins a line, chunk after chunk of one message.
///
/// ```
/// use mailweir_smtp::data::DotStuffer;
///
/// let mut stuffer = DotStuffer::default();
/// let wire: Vec<u8> = [&b"a\r"[..], b"\n.b"].iter().flat_map(|chunk| stuffer.pieces(chunk).collect::<Vec<_>>().concat()).collect();
/// assert_eq!(wire, b"a\r\n..b");
/// assert_eq!(stuffer.terminator(), b"\r\n.\r\n");
/// ```
#[derive(Debug, Clone)]
pub struct DotStuffer {
    seam: Seam,
}

/// Drops the `.` that begins a line, chunk after chunk of one message, up to but without the terminator.
#[derive(Debug, Clone)]
pub struct DotUnstuffer {
    seam: Seam,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self { seam: Seam::LineStart }
    }
}

impl Default for DotUnstuffer {
    fn default() -> Self {
        Self { seam: Seam::LineStart }
    }
}

impl DotStuffer {
    /// What goes over the wire for `chunk`. A stuffed dot is the end of one piece and the beginning of the next.
    pub fn pieces<'a>(&mut self, chunk: &'a [u8]) -> Pieces<'a> {
        let pieces = Pieces { chunk, start: 0, dot: self.seam.first_dot(chunk), searched: 0, mode: Mode::Double };
        self.seam = self.seam.after(chunk);
        pieces
    }

    /// What ends the message here: the final dot, and the CRLF before it if the content lacks that.
    pub fn terminator(&self) -> &'static [u8] {
        match self.seam {
            Seam::LineStart => b".\r\n",
            Seam::AfterCr | Seam::InLine => b"\r\n.\r\n",
        }
    }
}

impl DotUnstuffer {
    /// The content in `chunk`.
    pub fn pieces<'a>(&mut self, chunk: &'a [u8]) -> Pieces<'a> {
        let pieces = Pieces { chunk, start: 0, dot: self.seam.first_dot(chunk), searched: 0, mode: Mode::Remove };
        self.seam = self.seam.after(chunk);
        pieces
    }
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    Double,
    Remove,
}

/// Parts of a chunk that, one after another, are the chunk stuffed or unstuffed. None of them is empty.
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    chunk: &'a [u8],
    /// Where the next piece begins.
    start: usize,
    /// The next dot that begins a line, when it is known.
    dot: Option<usize>,
    /// Up to where dots have been searched for.
    searched: usize,
    mode: Mode,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if self.start >= self.chunk.len() {
                return None;
            }
            let found = self.dot.take().or_else(|| {
                memmem::find(&self.chunk[self.searched..], b"\r\n.").map(|found| self.searched + found + 2)
            });
            let start = self.start;
            let end = match (found, self.mode) {
                (None, _) => {
                    self.start = self.chunk.len();
                    self.chunk.len()
                }
                (Some(dot), Mode::Double) => {
                    self.start = dot;
                    dot + 1
                }
                (Some(dot), Mode::Remove) => {
                    self.start = dot + 1;
                    dot
                }
            };
            self.searched = found.map_or(end, |dot| dot + 1);
            if start < end {
                return Some(&self.chunk[start..end]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
