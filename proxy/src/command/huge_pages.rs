//! Memory that is given back is given back: no transparent huge pages for a process that serves.

use std::ffi::{c_int, c_ulong};

/// `PR_SET_THP_DISABLE`, prctl(2).
const SET_THP_DISABLE: c_int = 41;

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

/// Has the kernel back this process with small pages only.
///
/// With huge pages, a few chunks of a message hold 2 MiB each, and what the allocator returns comes back with the next
/// chunk: twenty messages of 30 MB took 70 to 110 MiB more than memory_budget says, and a hundred MiB stayed afterwards.
/// Without them they take what the budget says, and the filters' compilation leaves 100 MiB less behind.
pub(super) fn disable() {
    // SAFETY: the C library's prctl, with the number and types of arguments that this option asks for; it reads no memory
    // of ours.
    let result = unsafe { prctl(SET_THP_DISABLE, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) };
    if result != 0 {
        // An old kernel, or a sandbox that forbids it: more memory is used, and all else is the same.
        tracing::debug!(error = %std::io::Error::last_os_error(), "transparent huge pages stay");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_it() {
        disable();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        // Kernels before 5.0 do not show it.
        if let Some(enabled) = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")) {
            assert_eq!(enabled.trim(), "0");
        }
    }
}
