//! What one sandbox may hold and do: linear memory, host calls, log lines.

use wasmtime::ResourceLimiter;

use super::engine::TABLE_ELEMENTS;
use super::failure::HostFault;
use crate::message::Reservation;

/// Bytes of a page of linear memory, by which it grows.
pub(super) const PAGE: u64 = 64 << 10;

/// Log lines of one transaction.
const LOG_LINES: u32 = 100;

/// Limits of one sandbox, with what is used of them.
pub(super) struct Limits {
    memory: usize,
    /// What is taken for it of the process's account, where there is one.
    reserved: Option<Reservation>,
    memory_limit: usize,
    memory_denied: bool,
    host_calls: u64,
    host_calls_limit: u64,
    log_lines: u32,
    bytes: u64,
}

impl Limits {
    /// `memory` in bytes, `host_calls` for the whole transaction.
    pub(super) fn new(memory: u64, host_calls: u64) -> Self {
        Self {
            memory: 0,
            reserved: None,
            memory_limit: usize::try_from(memory).unwrap_or(usize::MAX),
            memory_denied: false,
            host_calls: 0,
            host_calls_limit: host_calls,
            log_lines: 0,
            bytes: 0,
        }
    }

    /// Linear memory is counted there from now on; what is reserved already is used first.
    pub(super) fn count_memory(&mut self, reserved: Reservation) {
        self.reserved = Some(reserved);
    }

    /// Counts a host call.
    ///
    /// # Errors
    ///
    /// When it is one too many.
    pub(super) fn host_call(&mut self) -> Result<(), HostFault> {
        self.host_calls += 1;
        if self.host_calls > self.host_calls_limit {
            return Err(HostFault::HostCalls(self.host_calls_limit));
        }
        Ok(())
    }

    /// Whether one more log line may be written.
    pub(super) fn log_line(&mut self) -> bool {
        self.log_lines = self.log_lines.saturating_add(1);
        self.log_lines <= LOG_LINES
    }

    /// Counts bytes that are handed to the filter.
    pub(super) fn hand_over(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether the filter ever asked for more memory than it may have.
    pub(super) fn memory_denied(&self) -> bool {
        self.memory_denied
    }

    /// What was done so far counts for nothing. The memory that is in use still does.
    pub(super) fn begin_anew(&mut self) {
        (self.host_calls, self.log_lines, self.bytes) = (0, 0, 0);
    }

    /// The most memory it may have, in bytes.
    pub(super) fn memory_limit(&self) -> usize {
        self.memory_limit
    }

    /// Host calls so far.
    pub(super) fn host_calls(&self) -> u64 {
        self.host_calls
    }

    /// Bytes handed to the filter so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_sub(current).saturating_add(desired);
        if memory > self.memory_limit {
            self.memory_denied = true;
            return Ok(false);
        }
        if let Some(reserved) = &mut self.reserved {
            let missing = (memory as u64).saturating_sub(reserved.amount());
            if missing > 0 && !reserved.grow(missing) {
                return Err(HostFault::Unavailable("memory_budget has no room for a sandbox".to_owned()).into());
            }
        }
        self.memory = memory;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_limited_over_all_linear_memories() {
        let mut limits = Limits::new(100, 0);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_denied());
        assert!(!limits.memory_growing(40, 41, None).unwrap());
        assert!(limits.memory_denied());
    }

    #[test]
    fn host_calls_and_log_lines_are_limited() {
        let mut limits = Limits::new(0, 2);
        assert!(limits.host_call().is_ok() && limits.host_call().is_ok());
        assert!(matches!(limits.host_call(), Err(HostFault::HostCalls(2))));
        assert_eq!((0..1000).filter(|_| limits.log_line()).count(), 100);
    }
}
