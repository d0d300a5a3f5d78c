//! The files of the quarantine. Everything here blocks.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Entry, Held, Id, NewRecord, QuarantineError, Record};

const MESSAGE: &str = "eml";
const RECORD: &str = "json";
/// Of a file that is being written.
const UNFINISHED: &str = "tmp";
/// A record is a few hundred bytes and its recipients; more is no record of ours.
const LONGEST_RECORD: u64 = 16 << 20;
/// No message takes that long to be written.
const ABANDONED: Duration = Duration::from_secs(3600);

/// `state_dir/quarantine`
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

/// The lock on a record. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub(super) struct Locked {
    _file: File,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(
        &self,
        record: NewRecord,
        content: impl Iterator<Item = Result<Bytes, QuarantineError>>,
    ) -> Result<Id, QuarantineError> {
        self.create()?;
        let time = jiff::Timestamp::now();
        let id = Id::generate(time);
        let mut size = 0;
        let mut hash = Sha256::new();
        let message = self.write(&id, MESSAGE, |file| {
            for chunk in content {
                let chunk = chunk?;
                file.write_all(&chunk).map_err(|error| self.failed(&id, MESSAGE, error))?;
                hash.update(&chunk);
                size += chunk.len() as u64;
            }
            Ok(())
        })?;
        let record = record.stored(id.clone(), time, size, hexadecimal(&hash.finalize()));
        let record = self.write_record(&record)?;
        message.keep()?;
        if let Err(error) = record.keep().and_then(|()| self.sync()) {
            // Whether the record reached the disk is not known, so it must not stay either.
            let _ = fs::remove_file(self.file(&id, RECORD));
            let _ = fs::remove_file(self.file(&id, MESSAGE));
            return Err(error);
        }
        Ok(id)
    }

    pub(super) fn list(&self) -> Result<Vec<Entry>, QuarantineError> {
        let names = match fs::read_dir(&self.path) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.directory_failed(error)),
        };
        // By id: whether there is a message, and whether there is a record.
        let mut found: BTreeMap<Id, (bool, bool)> = BTreeMap::new();
        for name in names {
            let name = name.map_err(|error| self.directory_failed(error))?.file_name();
            let Some((id, extension)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            let Ok(id) = Id::parse(id) else { continue };
            match extension {
                MESSAGE => found.entry(id).or_default().0 = true,
                RECORD => found.entry(id).or_default().1 = true,
                _ => {}
            }
        }
        Ok(found.into_iter().map(|(id, files)| self.entry(id, files)).collect())
    }

    pub(super) fn record(&self, id: &Id) -> Result<Record, QuarantineError> {
        let file = self.open_file(id, RECORD)?;
        self.parse(id, &file)
    }

    pub(super) fn open(&self, id: &Id) -> Result<File, QuarantineError> {
        self.open_file(id, MESSAGE)
    }

    /// The message, checked, with its lock.
    pub(super) fn take(&self, id: &Id) -> Result<(Locked, Held), QuarantineError> {
        let file = self.open_file(id, RECORD)?;
        self.lock(id, &file)?;
        let record = self.parse(id, &file)?;
        let path = self.file(id, MESSAGE);
        let content = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(id, "the message is missing"),
            _ => QuarantineError::Io { path, error },
        })?;
        if hexadecimal(&Sha256::digest(&content)) != record.sha256 {
            return Err(damaged(id, "the message is not the one that was stored"));
        }
        Ok((Locked { _file: file }, Held { record, content: content.into() }))
    }

    /// Removes a message that nobody else works on.
    pub(super) fn delete(&self, id: &Id) -> Result<(), QuarantineError> {
        // A message without its record has nothing to lock, and nobody can release it.
        let _locked = match File::open(self.file(id, RECORD)) {
            Ok(file) => {
                self.lock(id, &file)?;
                Some(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.failed(id, RECORD, error)),
        };
        self.remove(id)
    }

    /// Removes both files, the record first: without it the message is not released again.
    pub(super) fn remove(&self, id: &Id) -> Result<(), QuarantineError> {
        let mut removed = false;
        for extension in [RECORD, MESSAGE] {
            match fs::remove_file(self.file(id, extension)) {
                Ok(()) => removed = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed(id, extension, error)),
            }
        }
        if !removed {
            return Err(QuarantineError::NotFound(id.clone()));
        }
        self.sync()
    }

    /// Puts another record in the place of the first.
    pub(super) fn rewrite(&self, record: &Record) -> Result<(), QuarantineError> {
        self.write_record(record)?.keep()?;
        self.sync()
    }

    pub(super) fn remove_unfinished(&self) -> Result<(), QuarantineError> {
        let names = match fs::read_dir(&self.path) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.directory_failed(error)),
        };
        let now = SystemTime::now();
        for entry in names.flatten() {
            let path = entry.path();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            // A clock set back makes a file young, which only keeps it longer.
            let age = modified.ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) && age >= ABANDONED {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn entry(&self, id: Id, (has_message, has_record): (bool, bool)) -> Entry {
        if !has_record {
            return Entry::Damaged { id, problem: "the record is missing".to_owned() };
        }
        if !has_message {
            return Entry::Damaged { id, problem: "the message is missing".to_owned() };
        }
        let record = match self.record(&id) {
            Ok(record) => record,
            Err(QuarantineError::Damaged { problem, .. }) => return Entry::Damaged { id, problem },
            Err(error) => return Entry::Damaged { id, problem: error.to_string() },
        };
        match fs::metadata(self.file(&id, MESSAGE)) {
            Ok(metadata) if metadata.len() == record.size => Entry::Whole(Box::new(record)),
            Ok(metadata) => {
                let problem = format!("the message has {} bytes of {}", metadata.len(), record.size);
                Entry::Damaged { id, problem }
            }
            Err(error) => Entry::Damaged { id, problem: error.to_string() },
        }
    }

    fn open_file(&self, id: &Id, extension: &str) -> Result<File, QuarantineError> {
        File::open(self.file(id, extension)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => QuarantineError::NotFound(id.clone()),
            _ => self.failed(id, extension, error),
        })
    }

    fn parse(&self, id: &Id, file: &File) -> Result<Record, QuarantineError> {
        let mut text = Vec::new();
        file.take(LONGEST_RECORD).read_to_end(&mut text).map_err(|error| self.failed(id, RECORD, error))?;
        let record: Record = serde_json::from_slice(&text)
            .map_err(|error| damaged(id, &format!("the record cannot be read: {error}")))?;
        if record.id != *id {
            return Err(damaged(id, "the record is of another message"));
        }
        Ok(record)
    }

    fn lock(&self, id: &Id, file: &File) -> Result<(), QuarantineError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(QuarantineError::Busy(id.clone())),
            Err(TryLockError::Error(error)) => return Err(self.failed(id, RECORD, error)),
        }
        // Between opening and locking, another command may have removed or replaced the record.
        let links = file.metadata().map_err(|error| self.failed(id, RECORD, error))?.nlink();
        if links == 0 { Err(QuarantineError::Busy(id.clone())) } else { Ok(()) }
    }

    fn write_record(&self, record: &Record) -> Result<Unfinished, QuarantineError> {
        let id = &record.id;
        let mut text = serde_json::to_vec_pretty(record).map_err(|error| self.failed(id, RECORD, error.into()))?;
        text.push(b'\n');
        self.write(id, RECORD, |file| file.write_all(&text).map_err(|error| self.failed(id, RECORD, error)))
    }

    /// Writes a file under a name of its own and brings it to the disk.
    fn write(
        &self,
        id: &Id,
        extension: &str,
        content: impl FnOnce(&mut File) -> Result<(), QuarantineError>,
    ) -> Result<Unfinished, QuarantineError> {
        let path = self.path.join(format!("{id}.{extension}.{UNFINISHED}"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).map_err(|error| QuarantineError::Io { path: path.clone(), error })?;
        let unfinished = Unfinished { path, target: self.file(id, extension) };
        content(&mut file)?;
        file.sync_all().map_err(|error| self.failed(id, extension, error))?;
        Ok(unfinished)
    }

    /// Makes the directory, and its name durable.
    fn create(&self) -> Result<(), QuarantineError> {
        if self.path.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .and_then(|()| match self.path.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            })
            .map_err(|error| self.directory_failed(error))
    }

    fn sync(&self) -> Result<(), QuarantineError> {
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(|error| self.directory_failed(error))
    }

    fn file(&self, id: &Id, extension: &str) -> PathBuf {
        self.path.join(format!("{id}.{extension}"))
    }

    fn failed(&self, id: &Id, extension: &str, error: io::Error) -> QuarantineError {
        QuarantineError::Io { path: self.file(id, extension), error }
    }

    fn directory_failed(&self, error: io::Error) -> QuarantineError {
        QuarantineError::Io { path: self.path.clone(), error }
    }
}

/// A file written and on the disk, under a temporary name; dropped, it is removed.
struct Unfinished {
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    fn keep(self) -> Result<(), QuarantineError> {
        fs::rename(&self.path, &self.target).map_err(|error| QuarantineError::Io { path: self.target.clone(), error })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `keep` there is nothing under this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

fn damaged(id: &Id, problem: &str) -> QuarantineError {
    QuarantineError::Damaged { id: id.clone(), problem: problem.to_owned() }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
