//! Memory of a worker that has nothing to do.

use std::cell::Cell;
use std::time::{Duration, Instant};

// Its C library is what is called below, whichever allocator the program has chosen.
use mimalloc as _;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// The least time between two collections of a thread.
const BETWEEN: Duration = Duration::from_secs(1);

thread_local! {
    static COLLECTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives back what this thread's part of the heap does not need any more. What one worker allocated and another freed
/// stays with the first until that one looks, which it otherwise does only when it needs more of the same size: after ten
/// thousand connections have gone, that is never, and most of their memory stayed.
///
/// It looks at every page of the heap of this thread, so it is done once a second at most, and when there is nothing else
/// to do.
pub(super) fn give_back() {
    let now = Instant::now();
    COLLECTED.with(|collected| {
        if collected.get().is_none_or(|last| now.duration_since(last) >= BETWEEN) {
            collected.set(Some(now));
            // SAFETY: the allocator's own function with the type that it declares; it touches this thread's heap only.
            unsafe { mi_collect(true) };
        }
    });
}
