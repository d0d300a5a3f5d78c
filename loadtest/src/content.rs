//! What is sent: generated, or from files. Made once, and shared by all sessions, so that sending costs little.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use mailweir_smtp::data::DotStuffer;

use crate::proof::Digest;
use crate::sizes::Sizes;

/// The messages of a run.
#[derive(Debug)]
pub(crate) enum Contents {
    /// In turn.
    Templates(Vec<Content>),
    /// As long as a distribution says, each cut from one long text.
    Generated { text: Text, sizes: Sizes, seed: u64 },
}

/// A message, ready for the wire: its pieces in order, some of them empty.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// As BDAT transmits it. Ends in CRLF.
    pub(crate) plain: [Bytes; 3],
    /// As DATA transmits it, without the final dot.
    pub(crate) stuffed: [Bytes; 3],
    /// Octets of the plain form.
    pub(crate) size: u64,
    /// Whether it holds bytes above 127.
    pub(crate) eight_bit: bool,
    /// Of the plain form.
    pub(crate) digest: Digest,
}

/// Generated text, long enough for the largest message.
#[derive(Debug)]
pub(crate) struct Text {
    lines: Bytes,
    /// What was hashed before, by size.
    digests: Mutex<HashMap<u64, Digest>>,
}

/// The header section of generated messages. The date is fixed: runs send the same bytes.
const HEADER: &str = "From: Sender <sender@load.example>\r\n\
    To: Recipient <recipient@load.example>\r\n\
    Subject: A message that mailweir-load made\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
    Message-ID: <made@load.example>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=us-ascii\r\n\
    \r\n";

/// A line of the body.
const LINE: &str = "It was a dark and stormy night; the rain fell in torrents, except at int\r\n";

/// The last line takes what is left.
const LAST_LINE: &str = "- It was a dark and stormy night; the rain fell in torrents, except at int\r\n";

/// The least that a generated message has.
pub(crate) const LEAST_SIZE: u64 = HEADER.len() as u64 + 2;

impl Contents {
    /// Generated messages.
    ///
    /// # Errors
    ///
    /// When the size is less than the header section takes.
    pub(crate) fn generated(sizes: Sizes, seed: u64) -> anyhow::Result<Self> {
        if let Sizes::Fixed(size) = sizes {
            ensure!(size >= LEAST_SIZE, "size: a generated message has at least {LEAST_SIZE} bytes");
            // In one piece: fewer are cheaper to write.
            let content = Text::new(size).content(size);
            return Ok(Self::Templates(vec![Content::new(content.plain.concat())]));
        }
        Ok(Self::Generated { text: Text::new(sizes.largest()), sizes, seed })
    }

    /// Messages from files; of a folder, those whose names end in .eml, in the order of their names.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(crate) fn from_files(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut templates = Vec::new();
        for path in paths {
            for file in files(path).with_context(|| format!("eml: {}", path.display()))? {
                templates.push(Content::from_file(&file)?);
            }
        }
        Ok(Self::Templates(templates))
    }

    /// The message of this number.
    pub(crate) fn content(&self, number: u64) -> Content {
        match self {
            // The remainder is less than the length, which is a usize.
            Self::Templates(templates) => templates[(number % templates.len() as u64) as usize].clone(),
            Self::Generated { text, sizes, seed } => text.content(sizes.of(*seed, number).max(LEAST_SIZE)),
        }
    }
}

impl Text {
    fn new(largest: u64) -> Self {
        let lines = LINE.repeat(largest as usize / LINE.len());
        Self { lines: lines.into(), digests: Mutex::default() }
    }

    /// A message of exactly `size` bytes, not less than [`LEAST_SIZE`] and no more than this text was made for.
    fn content(&self, size: u64) -> Content {
        let body = size as usize - HEADER.len();
        // The last line has two octets at least, its CRLF, and one more than a line at most.
        let lines = body.saturating_sub(2) / LINE.len() * LINE.len();
        let last = LAST_LINE.len() - (body - lines);
        let pieces = [
            Bytes::from_static(HEADER.as_bytes()),
            self.lines.slice(..lines),
            Bytes::from_static(&LAST_LINE.as_bytes()[last..]),
        ];
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = *digests.entry(size).or_insert_with(|| Digest::of(pieces.iter()));
        Content { plain: pieces.clone(), stuffed: pieces, size, eight_bit: false, digest }
    }
}

impl Content {
    fn from_file(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("eml: {}", path.display()))?;
        Ok(Self::new(with_crlf(&bytes)))
    }

    fn new(plain: Vec<u8>) -> Self {
        let stuffed: Vec<u8> = DotStuffer::default().pieces(&plain).flatten().copied().collect();
        let (eight_bit, size) = (!plain.is_ascii(), plain.len() as u64);
        let whole = |bytes: Vec<u8>| [bytes.into(), Bytes::new(), Bytes::new()];
        let (plain, stuffed) = (whole(plain), whole(stuffed));
        Self { eight_bit, digest: Digest::of(plain.iter()), size, plain, stuffed }
    }
}

/// A file, or the messages in a folder.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "eml") {
            files.push(file);
        }
    }
    ensure!(!files.is_empty(), "no file in it ends in .eml");
    files.sort();
    Ok(files)
}

/// Each CR, LF and CRLF becomes CRLF, and there is one at the end.
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut converted = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
    let mut previous = b'\n';
    for &byte in bytes {
        match byte {
            b'\n' if previous == b'\r' => {}
            b'\r' | b'\n' => converted.extend_from_slice(b"\r\n"),
            other => converted.push(other),
        }
        previous = byte;
    }
    if !converted.ends_with(b"\r\n") {
        converted.extend_from_slice(b"\r\n");
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_messages_have_the_size_asked_for() {
        let text = Text::new(70_000);
        for size in (LEAST_SIZE..LEAST_SIZE + 300).chain([4096, 65_536, 70_000]) {
            let content = text.content(size);
            let plain = content.plain.concat();
            assert_eq!((plain.len() as u64, content.size), (size, size));
            assert!(plain.ends_with(b"\r\n"), "{size}");
            assert_eq!(with_crlf(&plain), plain, "no bare CR or LF");
            let longest = plain.split(|&byte| byte == b'\n').map(<[u8]>::len).max();
            assert!(longest < Some(998), "RFC 5322 section 2.1.1: {longest:?}");
            assert!(Content::new(plain.clone()).stuffed.concat() == plain, "nothing to be stuffed");
            assert_eq!(content.digest, Digest::of([plain].iter()), "{size}");
        }
        Contents::generated(Sizes::Fixed(LEAST_SIZE - 1), 1).unwrap_err();
        let fixed = Contents::generated(Sizes::Fixed(5000), 1).unwrap().content(7);
        assert_eq!(fixed.plain.each_ref().map(Bytes::len), [5000, 0, 0]);
    }

    #[test]
    fn sizes_follow_the_distribution() {
        let sizes: Sizes = "lognormal:median=20KB,sigma=2,max=1MB".parse().unwrap();
        let contents = Contents::generated(sizes, 3).unwrap();
        for number in 0..1000 {
            let content = contents.content(number);
            assert_eq!(content.size, sizes.of(3, number).max(LEAST_SIZE));
            assert_eq!(content.plain.iter().map(Bytes::len).sum::<usize>() as u64, content.size);
        }
    }

    #[test]
    fn line_ends_are_made_whole() {
        for (bytes, expected) in [
            (&b""[..], &b"\r\n"[..]),
            (b"a", b"a\r\n"),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\nb", b"a\r\nb\r\n"),
            (b"a\r\rb\n\n", b"a\r\n\r\nb\r\n\r\n"),
        ] {
            assert_eq!(with_crlf(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn dots_are_stuffed_for_data_only() {
        let content = Content::new(b".a\r\n..\r\nb.\xe9\r\n".to_vec());
        assert_eq!(&content.plain[0][..], b".a\r\n..\r\nb.\xe9\r\n");
        assert_eq!(&content.stuffed[0][..], b"..a\r\n...\r\nb.\xe9\r\n");
        assert!(content.eight_bit);
    }

    #[test]
    fn a_folder_is_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.eml", "a.eml", "c.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let contents = Contents::from_files(&[folder.path().to_owned()]).unwrap();
        let sent = [0, 1, 2].map(|number| contents.content(number).plain.concat());
        assert_eq!(sent, [b"a.eml\r\n", b"b.eml\r\n", b"a.eml\r\n"]);
        std::fs::remove_file(folder.path().join("a.eml")).unwrap();
        std::fs::remove_file(folder.path().join("b.eml")).unwrap();
        let error = Contents::from_files(&[folder.path().to_owned()]).unwrap_err();
        assert!(format!("{error:#}").contains("no file in it ends in .eml"), "{error:#}");
    }
}
