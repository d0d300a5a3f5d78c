//! What time it is: the system's, or one that the operator names for looking at messages of another day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time of signatures comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// It stands still, at this many seconds since 1970 (UTC).
    Stopped(u64),
}

impl Clock {
    /// Seconds since 1970 (UTC), as `t=` and `x=` of signatures count them.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
            Self::Stopped(seconds) => seconds,
        }
    }
}
