//! What goes wrong in a sandbox, and whose fault it is.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::limits::Limits;
use crate::message::MessageFault;

/// Bytes of a failure's detail.
const DETAIL_LIMIT: usize = 512;
/// Frames of a backtrace that go into the detail.
const FRAMES: usize = 4;

/// A call into a filter that gave no decision. The sandbox is gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The filter's fault, or that of something it needs: the configuration says what follows.
    #[error("{cause}: {detail}")]
    Plugin {
        /// Which of the four.
        cause: Cause,
        /// For the log: one line without control characters.
        detail: String,
    },
    /// The message's fault, found when the filter asked for something of it: the message is refused, whatever the
    /// configuration says about failing filters.
    #[error(transparent)]
    Message(#[from] MessageFault),
}

/// Why a filter failed; the configuration gives each an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It trapped, or returned or did what the contract forbids.
    Trap,
    /// It used up its CPU time or wall clock for the phase, or its calls to the host for the transaction.
    Timeout,
    /// It wanted more memory than it may have, and did not survive the refusal.
    Memory,
    /// No sandbox could be had in time, or a service that it needs failed.
    Unavailable,
}

impl Cause {
    /// The word in configuration, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Unavailable => "unavailable",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a host function, or the clock, ended a call. Travels through the engine as the error of the call.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum HostFault {
    /// One host call too many.
    #[error("more than {0} host calls in a transaction")]
    HostCalls(u64),
    /// The CPU time of the phase is used up.
    #[error("more than {0:?} of CPU time in a phase")]
    Cpu(Duration),
    /// The contract forbids the argument, or the moment.
    #[error("{0}")]
    Misuse(&'static str),
    /// The filter's own words are needed to say what the contract forbids.
    #[error("{0}")]
    Refused(String),
    /// Something of the host's own failed.
    #[error("{0}")]
    Unavailable(String),
    /// The message cannot be had in the form that was asked for.
    #[error(transparent)]
    Message(#[from] MessageFault),
}

impl Failure {
    /// A failure with its detail made fit for a log.
    pub(super) fn plugin(cause: Cause, detail: &str) -> Self {
        Self::Plugin { cause, detail: one_line(detail, DETAIL_LIMIT) }
    }

    /// The wall clock of a phase ran out.
    pub(super) fn wall_clock(limit: Duration) -> Self {
        Self::plugin(Cause::Timeout, &format!("no answer within {limit:?}"))
    }

    /// What the error of a call means; `limits` are those of the sandbox it ended.
    pub(super) fn of_call(error: &wasmtime::Error, limits: &Limits) -> Self {
        if let Some(fault) = error.downcast_ref::<HostFault>() {
            return match fault {
                HostFault::Message(fault) => Self::Message(fault.clone()),
                HostFault::Cpu(_) | HostFault::HostCalls(_) => Self::plugin(Cause::Timeout, &fault.to_string()),
                HostFault::Unavailable(_) => Self::plugin(Cause::Unavailable, &fault.to_string()),
                HostFault::Misuse(_) | HostFault::Refused(_) => Self::plugin(Cause::Trap, &fault.to_string()),
            };
        }
        // The permits for sandboxes are meant to be used up first.
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::plugin(Cause::Unavailable, &error.to_string());
        }
        let mut detail = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
            let names: Vec<&str> =
                backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(FRAMES).collect();
            if !names.is_empty() {
                detail = format!("{detail}; in {}", names.join(" < "));
            }
        }
        if limits.memory_denied() {
            let detail = format!("more than {} bytes of memory; {detail}", limits.memory_limit());
            return Self::plugin(Cause::Memory, &detail);
        }
        Self::plugin(Cause::Trap, &detail)
    }
}

/// `text` cut to `limit` bytes, control characters escaped: what a filter or a file says, made fit for a log line.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        let before = line.len();
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
        if line.len() > limit {
            line.truncate(before);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line_and_within_its_limit() {
        assert_eq!(one_line("a\r\nb\0c\u{85}\u{2028}", 100), "a\\r\\nb\\u{0}c\\u{85}\\u{2028}");
        assert_eq!(one_line("ééé", 5), "éé");
        assert_eq!(one_line(&"x".repeat(1000), 10).len(), 10);
    }
}
