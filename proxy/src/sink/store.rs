//! The content of messages, and files of it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use mailweir_smtp::data::DotUnstuffer;

use super::Received;

/// A message while it arrives.
pub(super) struct Content {
    bytes: BytesMut,
    /// For what comes by DATA.
    unstuffer: Option<DotUnstuffer>,
}

impl Content {
    pub(super) fn new(is_stuffed: bool) -> Self {
        Self { bytes: BytesMut::new(), unstuffer: is_stuffed.then(DotUnstuffer::default) }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        match &mut self.unstuffer {
            None => self.bytes.extend_from_slice(&chunk),
            Some(unstuffer) => unstuffer.pieces(&chunk).for_each(|piece| self.bytes.extend_from_slice(piece)),
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }
}

/// Of a file that is being written.
const UNFINISHED: &str = "tmp";

/// Makes the directory; what is in it of earlier runs stays, but for files that were not finished. The highest number
/// that a message has there, or 0.
pub(super) fn open(directory: &Path) -> io::Result<u64> {
    fs::create_dir_all(directory)?;
    let mut last = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            fs::remove_file(&path)?;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

/// Writes NUMBER.eml, and then NUMBER.json, so that whoever waits for the envelope finds the message. When this returns
/// both are whole and on the disk; before, there is neither under its name, or the message alone.
pub(super) async fn write(directory: &Path, received: &Received) -> io::Result<()> {
    let (directory, received) = (directory.to_owned(), received.clone());
    let written = tokio::task::spawn_blocking(move || {
        let mut envelope = serde_json::to_vec_pretty(&received)?;
        envelope.push(b'\n');
        for (extension, content) in [("eml", &received.content[..]), ("json", &envelope)] {
            let path = directory.join(format!("{}.{extension}", received.number));
            let unfinished = path.with_added_extension(UNFINISHED);
            let mut file = fs::File::create(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
        }
        fs::File::open(&directory)?.sync_all()
    });
    written.await?
}
