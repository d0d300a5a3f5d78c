//! Values that outlive a message, in the memory of the mailweir process: bounded, and lost at a restart. Each plugin
//! has its own. Needs the grant "state".

use crate::host;

/// The value kept under this key, unless its time is over or it had to make room.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::state::get(key)
}

/// Keep a value of at most 64 KiB for so many seconds (at most 86400).
pub fn set(key: &str, value: &[u8], ttl_seconds: u32) {
    host::state::set(key, value, ttl_seconds);
}

/// Add to a counter that starts anew after so many seconds; returns the sum in the window.
pub fn increment(key: &str, by: u32, window_seconds: u32) -> u64 {
    host::state::increment(key, by, window_seconds)
}
