//! `state_dir/mailweir.pid`: which process serves from a state directory. The file is locked for as long as the process
//! lives, so a stale number is never taken for a live process, and two processes never share a state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

const NAME: &str = "mailweir.pid";

/// Our mark in a state directory. The file stays behind; only the lock counts, and it ends with the process.
#[derive(Debug)]
pub struct PidFile {
    _locked: File,
}

/// Why there is no pid file, or no process behind it.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process serves from the same state directory.
    #[error("another process ({process}) runs with {}", path.display())]
    Taken {
        /// What its pid file says.
        process: String,
        /// The pid file.
        path: PathBuf,
    },
    /// No process serves from this state directory.
    #[error("no process runs with {}", path.display())]
    NotRunning {
        /// The pid file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The pid file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl PidFile {
    /// Marks the directory, which must exist, as this process's own until the value is dropped.
    ///
    /// # Errors
    ///
    /// When another process holds it, or the file cannot be written.
    pub fn create(state_dir: &Path) -> Result<Self, PidFileError> {
        let path = state_dir.join(NAME);
        let failed = |error| PidFileError::Io { path: path.clone(), error };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = read(&mut file).unwrap_or_default().trim().to_owned();
                return Err(PidFileError::Taken { process, path });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _locked: file })
    }

    /// The process that serves from a state directory.
    ///
    /// # Errors
    ///
    /// When there is none, or the file cannot be read.
    pub fn running(state_dir: &Path) -> Result<Pid, PidFileError> {
        let path = state_dir.join(NAME);
        let failed = |error| PidFileError::Io { path: path.clone(), error };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PidFileError::NotRunning { path }),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock_shared() {
            // Nobody holds it, so whoever wrote it is gone.
            Ok(()) => return Err(PidFileError::NotRunning { path }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let text = read(&mut file).map_err(failed)?;
        let process = text.trim().parse().ok().filter(|number| *number > 0).and_then(Pid::from_raw);
        process.ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "holds no process id")))
    }
}

/// A few bytes at most, whatever is in it.
fn read(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(PidFile::running(directory.path()), Err(PidFileError::NotRunning { .. })));
        let held = PidFile::create(directory.path()).unwrap();
        let running = PidFile::running(directory.path()).unwrap();
        assert_eq!(running.as_raw_nonzero().get().unsigned_abs(), std::process::id());
        assert!(matches!(PidFile::create(directory.path()), Err(PidFileError::Taken { .. })));
        drop(held);
        assert!(matches!(PidFile::running(directory.path()), Err(PidFileError::NotRunning { .. })));
        drop(PidFile::create(directory.path()).unwrap());
    }
}
