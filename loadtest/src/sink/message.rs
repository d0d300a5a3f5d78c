//! What becomes of the content of a message.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proof::{Arrival, ProofReader};

/// What a sink does with messages.
#[derive(Debug)]
pub(super) enum Keep {
    /// Only octets are counted.
    Nothing,
    /// Proofs are checked.
    Counts,
    /// Proofs are checked, and each message becomes a file.
    Files(Store),
}

/// A folder.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Makes names that no earlier sink gave.
    prefix: String,
    next: AtomicU64,
}

/// A message that arrives.
#[derive(Default)]
pub(super) struct Message {
    bytes: u64,
    proof: Option<ProofReader>,
    file: Option<io::Result<Draft>>,
}

/// A file that is not whole yet. It vanishes when it is not finished.
struct Draft {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Store {
    /// # Errors
    ///
    /// When there is no such folder, and it cannot be made.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Self { folder: folder.to_owned(), prefix: format!("{:x}", since.as_micros()), next: AtomicU64::new(1) })
    }

    fn create(&self) -> io::Result<Draft> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{}-{number}.eml.part", self.prefix));
        let file = File::create_new(&path)?;
        Ok(Draft { path, file: Some(BufWriter::with_capacity(64 * 1024, file)) })
    }
}

impl Keep {
    pub(super) fn begin(&self) -> Message {
        let proof = match self {
            Self::Nothing => None,
            Self::Counts | Self::Files(_) => Some(ProofReader::default()),
        };
        let file = match self {
            Self::Nothing | Self::Counts => None,
            Self::Files(store) => Some(store.create()),
        };
        Message { bytes: 0, proof, file }
    }
}

impl Message {
    /// Takes some of the content.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if let Some(proof) = &mut self.proof {
            proof.push(piece);
        }
        if let Some(Ok(draft)) = &mut self.file
            && let Err(error) = draft.write(piece)
        {
            self.file = Some(Err(error));
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The message is taken: what its proof says, unless nobody asks.
    ///
    /// # Errors
    ///
    /// When it could not be stored.
    pub(super) fn finish(self) -> io::Result<Option<Arrival>> {
        if let Some(file) = self.file {
            file?.finish()?;
        }
        Ok(self.proof.map(ProofReader::finish))
    }
}

impl Draft {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(piece))
    }

    /// Gives the file its name: one that has it is whole.
    fn finish(mut self) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            let renamed = file.flush().and_then(|()| std::fs::rename(&self.path, self.path.with_extension("")));
            if renamed.is_err() {
                self.file = Some(file);
            }
            renamed?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is buffered is not worth writing; and nothing can be done about a file that stays.
            drop(file.into_parts());
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
