//! The content of messages, and files of it.

use std::io;
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

/// Writes NUMBER.eml, and then NUMBER.json, so that whoever waits for the envelope finds the message.
pub(super) async fn write(directory: &Path, received: &Received) -> io::Result<()> {
    let file = |extension: &str| directory.join(format!("{}.{extension}", received.number));
    tokio::fs::write(file("eml"), &received.content).await?;
    let mut envelope = serde_json::to_vec_pretty(received)?;
    envelope.push(b'\n');
    tokio::fs::write(file("json"), &envelope).await
}
