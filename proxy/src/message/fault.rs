//! Reading a mapped file whose disk fails raises SIGBUS, which ends a process. Here it shows zeros in place of the page and
//! is counted; whoever has read meanwhile asks the count, and refuses what it has read for now.

use std::{
    ffi::c_int,
    io, ptr,
    sync::{
        Once,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Mappings at once. One more cannot be had: it would not be safe to read.
pub(super) const MOST: usize = 16 * 1024;

/// The beginning and end of each mapping, 0 and 0 where there is none. A beginning of 1 is a place that is being taken.
static PLACES: [[AtomicUsize; 2]; MOST] = [const { [const { AtomicUsize::new(0) }; 2] }; MOST];
static WATCHED: AtomicUsize = AtomicUsize::new(0);
/// Where a free place is looked for first.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(4096);
static INSTALLED: Once = Once::new();

/// Pages that could not be read since the start.
pub(super) fn count() -> u64 {
    FAULTS.load(Ordering::SeqCst)
}

/// Mappings now.
pub(super) fn watched() -> usize {
    WATCHED.load(Ordering::Relaxed)
}

/// A mapping that is watched until this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    place: usize,
}

impl Watch {
    /// Watches these bytes, which are whole pages of a mapping. None when there is no place left.
    pub(super) fn begin(mapping: &[u8]) -> Option<Self> {
        INSTALLED.call_once(install);
        let first = NEXT.fetch_add(1, Ordering::Relaxed);
        for step in 0..MOST {
            let place = first.wrapping_add(step) % MOST;
            let [start, end] = &PLACES[place];
            if start.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                let range = mapping.as_ptr_range();
                end.store(range.end as usize, Ordering::SeqCst);
                start.store(range.start as usize, Ordering::SeqCst);
                WATCHED.fetch_add(1, Ordering::Relaxed);
                return Some(Self { place });
            }
        }
        None
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.fetch_sub(1, Ordering::Relaxed);
        PLACES[self.place][0].store(0, Ordering::SeqCst);
    }
}

fn install() {
    // SAFETY: sysconf only reads.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if let Ok(page) = usize::try_from(page) {
        PAGE.store(page, Ordering::SeqCst);
    }
    // SAFETY: a structure of integers and a pointer, for which zeros are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action is whole, and `handle` does only what a signal handler may.
    let installed = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    if installed != 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "a disk that fails while it is read will end the process");
    }
}

/// Only atomics, `mmap` and `sigaction` are used here, all of them allowed in a signal handler.
extern "C" fn handle(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid structure to a handler with SA_SIGINFO; for SIGBUS it holds an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let is_ours = PLACES.iter().any(|[start, end]| {
        let start = start.load(Ordering::SeqCst);
        start > 1
            && start <= address
            && address < end.load(Ordering::SeqCst).next_multiple_of(PAGE.load(Ordering::SeqCst))
    });
    if is_ours {
        let page = PAGE.load(Ordering::SeqCst);
        let start = (address - address % page) as *mut libc::c_void;
        // SAFETY: the page belongs to a mapping of ours that somebody is reading, so it exists, and zeros in it are counted
        // before anybody can trust them.
        let mapped = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            libc::mmap(start, page, libc::PROT_READ, flags, -1, 0)
        };
        FAULTS.fetch_add(1, Ordering::SeqCst);
        if mapped != libc::MAP_FAILED {
            return;
        }
    }
    // Not ours, or past help: it ends the process when it happens again, at once.
    // SAFETY: as in `install`.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
    }
}
