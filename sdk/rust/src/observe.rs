//! Telling the operator. Always granted.

pub use crate::bindings::mailweir::filter::observe::Level;
use crate::host;

/// A line in mailweir's log, at most 1024 bytes; control characters are escaped.
pub fn log(level: Level, text: &str) {
    host::observe::log(level, text);
}

/// [`log`] at level debug.
pub fn debug(text: &str) {
    log(Level::Debug, text);
}

/// [`log`] at level info.
pub fn info(text: &str) {
    log(Level::Info, text);
}

/// [`log`] at level warn.
pub fn warn(text: &str) {
    log(Level::Warn, text);
}

/// [`log`] at level error.
pub fn error(text: &str) {
    log(Level::Error, text);
}

/// Add to the counter `mailweir_plugin_events_total{plugin, event}`. The event is at most 64 characters of a-z, 0-9 and
/// "_"; a plugin has at most 64 different ones.
pub fn count(event: &str, n: u32) {
    host::observe::count(event, n);
}
