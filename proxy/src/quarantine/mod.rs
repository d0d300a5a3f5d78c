//! Messages kept instead of delivered: `state_dir/quarantine/ID.eml` with a record beside it, `ID.json`.
//!
//! A message is kept only when both files, and the directory that names them, are on the disk; until then the client
//! hears nothing positive. The record is written last and removed first, so it alone says that a message is here: a
//! crash leaves at most a message without a record, which is listed as damaged and never delivered.

mod record;
mod disk;

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use record::{Id, NewRecord, Record};

use disk::Directory;

/// The quarantine of one state directory. Clones share nothing but the path; any number of processes may use it.
#[derive(Debug, Clone)]
pub struct Quarantine {
    directory: Arc<Directory>,
}

/// What lies under one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A message with its record.
    Whole(Box<Record>),
    /// One without the other, or a record that does not fit its message.
    Damaged {
        /// The id.
        id: Id,
        /// What is wrong.
        problem: String,
    },
}

/// A message about to be delivered after all.
#[derive(Debug)]
pub struct Held {
    /// What is known of it.
    pub record: Record,
    /// The message, unstuffed, exactly as it was stored.
    pub content: Bytes,
}

/// Why an operation on the quarantine failed.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The operator's: the id is not of the form that ids have.
    #[error("{0:?} is not the id of a message in quarantine")]
    BadId(String),
    /// The operator's: nothing lies under that id.
    #[error("there is no message {0} in quarantine")]
    NotFound(Id),
    /// The operator's: another command releases or deletes it at this moment.
    #[error("another command is working on message {0}")]
    Busy(Id),
    /// The disk's: the files under that id are not what was stored.
    #[error("message {id} is damaged: {problem}")]
    Damaged {
        /// The id.
        id: Id,
        /// What is wrong.
        problem: String,
    },
    /// Ours: a file could not be read, written or brought to the disk.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Ours: the message to be stored could not be read.
    #[error("the message cannot be read: {0}")]
    Content(Box<dyn Error + Send + Sync>),
    /// The upstream's, or ours: the message could not be delivered, and stays.
    #[error("message {id} is not delivered and stays: {error}")]
    Delivery {
        /// The id.
        id: Id,
        /// Why.
        error: Box<dyn Error + Send + Sync>,
    },
}

impl QuarantineError {
    /// Whether the disk has no room, so that it may do when something was removed.
    pub fn is_full(&self) -> bool {
        let kind = match self {
            Self::Io { error, .. } => error.kind(),
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    }
}

impl Quarantine {
    /// The quarantine in a state directory. Nothing is made until something is stored.
    pub fn new(state_dir: &Path) -> Self {
        Self { directory: Arc::new(Directory::new(state_dir.join("quarantine"))) }
    }

    /// Keeps a message. When this returns an id, the message survives a crash of the machine; when it returns an
    /// error, nothing is left of it.
    ///
    /// # Errors
    ///
    /// When the content fails, or the disk does; a full one included.
    pub async fn store<E>(
        &self,
        record: NewRecord,
        content: impl Iterator<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Result<Id, QuarantineError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.blocking(move |directory| {
            let content = content.map(|chunk| chunk.map_err(|error| QuarantineError::Content(error.into())));
            directory.store(record, content)
        })
        .await
    }

    /// All that is kept, the oldest first.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read; a damaged message is not an error here.
    pub async fn list(&self) -> Result<Vec<Entry>, QuarantineError> {
        self.blocking(Directory::list).await
    }

    /// What is known of a message.
    ///
    /// # Errors
    ///
    /// When there is none, or its record is damaged.
    pub async fn show(&self, id: &Id) -> Result<Record, QuarantineError> {
        let id = id.clone();
        self.blocking(move |directory| directory.record(&id)).await
    }

    /// The file of a message, to be read.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn open(&self, id: &Id) -> Result<File, QuarantineError> {
        let id = id.clone();
        self.blocking(move |directory| directory.open(&id)).await
    }

    /// Removes a message, damaged or not.
    ///
    /// # Errors
    ///
    /// When there is none, another command works on it, or the disk fails.
    pub async fn delete(&self, id: &Id) -> Result<(), QuarantineError> {
        let id = id.clone();
        self.blocking(move |directory| directory.delete(&id)).await
    }

    /// Has a message delivered and removes it. `deliver` returns the recipients that were refused for good or for now:
    /// the message stays for them alone, so that releasing it again sends it to nobody twice. Returns them.
    ///
    /// The message is read whole and checked against its record first. Should the machine fail between the delivery
    /// and the removal, the message stays and may be delivered twice, never lost.
    ///
    /// # Errors
    ///
    /// When there is none, it is damaged, another command works on it, it cannot be delivered, or the disk fails.
    pub async fn release<E>(
        &self,
        id: &Id,
        deliver: impl AsyncFnOnce(Held) -> Result<Vec<String>, E>,
    ) -> Result<Vec<String>, QuarantineError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (locked, held) = {
            let id = id.clone();
            self.blocking(move |directory| directory.take(&id)).await?
        };
        let mut record = held.record.clone();
        let refused =
            deliver(held).await.map_err(|error| QuarantineError::Delivery { id: id.clone(), error: error.into() })?;
        record.recipients.clone_from(&refused);
        self.blocking(move |directory| {
            // Held until the files are as they shall be.
            let _locked = locked;
            if record.recipients.is_empty() { directory.remove(&record.id) } else { directory.rewrite(&record) }
        })
        .await?;
        Ok(refused)
    }

    /// Removes what a crash left half written an hour ago or longer; what is younger may be another process's work.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub async fn remove_unfinished(&self) -> Result<(), QuarantineError> {
        self.blocking(Directory::remove_unfinished).await
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, QuarantineError> + Send + 'static,
    ) -> Result<T, QuarantineError> {
        let directory = Arc::clone(&self.directory);
        let path = directory.path().to_owned();
        match tokio::task::spawn_blocking(move || work(&directory)).await {
            Ok(result) => result,
            // The work panicked, or the runtime ends before it began: either way it is not done.
            Err(error) => Err(QuarantineError::Io { path, error: io::Error::other(error) }),
        }
    }
}

#[cfg(test)]
mod tests;
