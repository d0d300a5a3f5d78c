//! Unlinked files for message bytes beyond the memory share.
//!
//! A file is only ever appended to, by one writer; its charge to the disk share and its blocks go with it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    StoreError,
    budget::{Budget, Permit},
    fault,
};

/// Makes the directory for spill files, empty: where the file system cannot make a file without a name, a process that
/// was killed between making one and unlinking it has left it behind. Only for the one process whose directory it is.
///
/// # Errors
/// The operating system's.
pub fn clear(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct SpillFile {
    file: File,
    length: AtomicU64,
    permit: Mutex<Permit>,
}

impl SpillFile {
    /// A new file, which `permit` is to pay for. Blocks.
    pub(super) fn create(budget: &Budget, permit: Permit) -> Result<Self, StoreError> {
        let file = match tempfile::tempfile_in(budget.spill_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(budget.spill_dir())?;
                tempfile::tempfile_in(budget.spill_dir())?
            }
            result => result?,
        };
        Ok(Self { file, length: AtomicU64::new(0), permit: Mutex::new(permit) })
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Takes over the charge for bytes that are about to be appended.
    pub(super) fn pay(&self, permit: Permit) {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).merge(permit);
    }

    /// Appends at the end. Blocks. One writer at a time: the callers own the message that the file belongs to.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.len();
        self.file.write_all_at(bytes, end)?;
        self.length.store(end + bytes.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Appends each in turn. Blocks.
    pub(super) fn append_all(&self, pieces: &[Bytes]) -> Result<(), StoreError> {
        pieces.iter().try_for_each(|piece| self.append(piece))
    }

    /// Reads exactly `length` bytes at `offset`, which are known to have been written.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        blocking(|| {
            let mut buffer = vec![0; length];
            self.file.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        })
    }

    /// The first `length` bytes as memory that the kernel can drop and read again, for the message of `budget`.
    pub(super) fn map(self: &Arc<Self>, length: u64, budget: &Budget) -> Result<Bytes, StoreError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let length = usize::try_from(length).map_err(|_| StoreError::Full)?;
        // SAFETY: the file has no name, so no other process can open, write or truncate it; we ourselves only append
        // beyond the `length` bytes that are mapped, and never truncate. So the mapped bytes do not change.
        let map = unsafe { memmap2::MmapOptions::new().len(length).map(&self.file) }?;
        let watch = fault::Watch::begin(&map).ok_or(StoreError::Full)?;
        let pages = Arc::new(Pages { _watch: watch, map, _file: Arc::clone(self) });
        budget.mapped(&pages);
        Ok(Bytes::from_owner(Mapped(pages)))
    }
}

/// A mapping with the file that pays for it.
#[derive(Debug)]
pub(super) struct Pages {
    /// Ends before the mapping does.
    _watch: fault::Watch,
    map: Mmap,
    _file: Arc<SpillFile>,
}

impl Pages {
    /// Gives back the memory that holds them. Reading them brings them back.
    pub(super) fn release(&self) {
        // SAFETY: the mapping is shared, of a file, and never written through: without its pages it shows the same bytes,
        // read from the file again.
        let released = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        if let Err(error) = released {
            tracing::debug!(%error, "pages of a spill file stay");
        }
    }
}

struct Mapped(Arc<Pages>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

/// Runs file IO so that other tasks of a multi-threaded runtime go on meanwhile.
#[expect(
    clippy::disallowed_methods,
    reason = "spill files are read and written piece by piece, mostly in the page cache"
)]
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::message::{DecodingLimits, Framing, Incoming, MessageLimits};
    use crate::verdict::Edit;

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("state/spool");
        clear(&spool).unwrap();
        std::fs::write(spool.join(".tmp123"), "half a message").unwrap();
        clear(&spool).unwrap();
        assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    }

    #[test]
    fn a_page_that_cannot_be_read_is_a_fault_and_no_crash() {
        let budget = Budget::new(1 << 20, 1 << 20, &std::env::temp_dir());
        let file = Arc::new(SpillFile::create(&budget, budget.disk(8192).unwrap()).unwrap());
        file.append(&[b'x'; 8192]).unwrap();
        let bytes = file.map(8192, &budget).unwrap();
        assert_eq!((bytes[0], bytes[8191], budget.usage().mappings), (b'x', b'x', 1));
        budget.release_pages();
        assert_eq!((bytes[0], bytes[8191]), (b'x', b'x'), "read again");
        let before = fault::count();
        // As a disk that fails under the mapping.
        file.file.set_len(4096).unwrap();
        assert_eq!((bytes[0], bytes[8191]), (b'x', 0));
        assert_eq!(fault::count(), before + 1);
        drop(bytes);
        assert_eq!(budget.usage().mappings, 0);
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_read_while_a_message_arrives_damages_it() {
        let limits = MessageLimits {
            header_size: 1 << 20,
            header_fields: 100,
            mime_parts: 100,
            mime_depth: 10,
            decoding: DecodingLimits::DEFAULT,
        };
        let budget = Budget::new(1 << 20, 1 << 20, &std::env::temp_dir());
        let file = Arc::new(SpillFile::create(&budget, budget.disk(4096).unwrap()).unwrap());
        file.append(&[b'x'; 4096]).unwrap();
        let bytes = file.map(4096, &budget).unwrap();
        let mut incoming = Incoming::new(&budget, Framing::Plain, limits);
        file.file.set_len(0).unwrap();
        assert_eq!(bytes[0], 0);
        incoming.push(Bytes::from_static(b"Subject: hi\r\n\r\nho\r\n")).await.unwrap();
        assert!(incoming.headers().unwrap().unwrap().is_damaged());
        let message = incoming.finish().unwrap();
        let field = Edit::InsertHeader { position: 0, name: "X".to_owned(), value: b"y".to_vec() };
        assert!(message.is_damaged() && message.edited(&[field]).unwrap().is_damaged());
        let mut next = Incoming::new(&budget, Framing::Plain, limits);
        next.push(Bytes::from_static(b"\r\nho\r\n")).await.unwrap();
        assert!(!next.finish().unwrap().is_damaged(), "it began afterwards");
    }

    #[test]
    fn a_full_disk_is_no_room() {
        // Writing there fails as it does on a disk without room (full(4)).
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let error = (&full).write_all(b"x").unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::Full));
    }
}
