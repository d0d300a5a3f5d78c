//! How long a client is waited for.

use std::time::{Duration, Instant};

use mailweir_smtp::data::PIECE;

use crate::config::Limits;
use crate::listener::Stress;

/// For a PROXY protocol header or a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// This many times the command timeout is waited, all together, for the commands of a client that gets no message
/// accepted. A client that says one recipient after another just in time would hold its place for days.
const PATIENCES: u32 = 4;

/// When the client last got anywhere: a command, or a piece of a message. Timeouts count from there, not from its last
/// byte, so that it cannot go on for ever byte by byte.
#[derive(Debug)]
pub(super) struct Progress {
    at: Instant,
    /// Bytes of a message since.
    bytes: usize,
}

impl Default for Progress {
    fn default() -> Self {
        Self { at: Instant::now(), bytes: 0 }
    }
}

impl Progress {
    pub(super) fn since(&self) -> Duration {
        self.at.elapsed()
    }

    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= PIECE {
            *self = Self::default();
        }
    }
}

impl Limits {
    /// Waiting for a command, or for a reply to be taken.
    pub(super) fn for_command(&self, stress: Stress) -> Duration {
        self.under(stress, self.command_timeout)
    }

    /// Waiting for the commands of a client that gets no message accepted, all together.
    pub(super) fn for_all_commands(&self, stress: Stress) -> Duration {
        self.for_command(stress).saturating_mul(PATIENCES)
    }

    /// Waiting for the next bytes of a message.
    pub(super) fn for_data(&self, stress: Stress) -> Duration {
        self.under(stress, self.data_timeout)
    }

    /// Waiting for a PROXY protocol header or a TLS handshake.
    pub fn for_handshake(&self, stress: Stress) -> Duration {
        self.under(stress, HANDSHAKE.min(self.command_timeout))
    }

    fn under(&self, stress: Stress, timeout: Duration) -> Duration {
        match stress {
            Stress::None => timeout,
            Stress::NearlyFull => timeout.min(self.stress_timeout),
        }
    }
}
