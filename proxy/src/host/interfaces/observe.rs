//! `observe`: log lines and counters.

use std::sync::atomic::Ordering;

use crate::host::bindings::mailweir::filter::observe::{Host, Level};
use crate::host::context::Context;
use crate::host::failure::one_line;

/// Bytes of a log line.
const LINE_LIMIT: usize = 1024;

impl Host for Context {
    fn log(&mut self, level: Level, text: String) -> wasmtime::Result<()> {
        self.limits.host_call()?;
        if !self.limits.log_line() {
            self.facilities.counters.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let plugin = self.facilities.plugin.as_str();
        let id = self.transaction.as_ref().map(|transaction| transaction.facts.id.as_str());
        let text = one_line(&text, LINE_LIMIT);
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin, id, "{text}"),
            Level::Info => tracing::info!(target: "plugin", plugin, id, "{text}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, id, "{text}"),
            Level::Error => tracing::error!(target: "plugin", plugin, id, "{text}"),
        }
        Ok(())
    }

    fn count(&mut self, event: String, n: u32) -> wasmtime::Result<()> {
        self.limits.host_call()?;
        self.facilities.events.count(&event, n);
        Ok(())
    }
}
