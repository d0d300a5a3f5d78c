//! Searching the message natively: its bytes do not enter the sandbox. Needs the grant "scan".

pub use crate::bindings::mailweir::filter::scan::{DigestAlgorithm, Hit, PatternOptions, Scope};
use crate::{Mail, host};

/// Patterns to search for. The host compiles a set once for each plugin and configuration, however often it is asked
/// to, so it can be made in `configure` or on first need.
#[derive(Debug)]
pub struct PatternSet {
    handle: host::scan::PatternSet,
}

impl PatternSet {
    /// At most 4096 patterns of together 256 KiB.
    ///
    /// # Errors
    ///
    /// Names the pattern that is not a regular expression or is too large.
    pub fn compile(patterns: &[String], options: PatternOptions) -> Result<Self, String> {
        Ok(Self { handle: host::scan::PatternSet::compile(patterns, options)? })
    }

    /// Non-overlapping hits in order, at most `limit` (and 10,000).
    pub fn find(&self, mail: &Mail, scope: Scope, limit: u32) -> Vec<Hit> {
        host::scan::find(mail.handle(), scope, &self.handle, limit)
    }
}

/// The digest of the whole message as received.
pub fn digest(mail: &Mail, algorithm: DigestAlgorithm) -> Vec<u8> {
    host::scan::digest(mail.handle(), algorithm)
}
