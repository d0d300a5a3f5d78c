//! Descriptors: each connection needs one, and a process gets a limited number.

use anyhow::{Context as _, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

/// What is open besides connections.
const OTHERS: u64 = 100;

/// Raises the limit as far as it may be raised.
///
/// # Errors
///
/// When that is not enough for so many connections.
pub(crate) fn raise(connections: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).context("raising the limit of descriptors")?;
    }
    match limit.maximum {
        Some(maximum) if connections + OTHERS > maximum => bail!(
            "sessions: {connections} connections need more descriptors than the {maximum} that a process gets here; \
             raise that (ulimit -Hn), or spread them over several processes"
        ),
        _ => Ok(()),
    }
}
