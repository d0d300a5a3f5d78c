//! What filters cost and how they fail.

use std::sync::Arc;
use std::time::Duration;

use super::primitive::{Counter, Histogram};
use super::text::Page;

/// How often a plugin counted an event of its own: plugin, event, count. The host bounds the names.
pub type PluginEvent = (String, String, u64);

/// What is counted of a plugin.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    seconds: Histogram,
    host_calls: Counter,
    bytes: Counter,
    failures: [Counter; FailureCause::ALL.len()],
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCause {
    /// It trapped, or answered what it may not.
    Trap,
    /// It used up its CPU time or wall clock.
    Timeout,
    /// It used up its memory.
    Memory,
    /// It, or a service it needs, could not be had.
    Unavailable,
}

impl FailureCause {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Trap, "trap"),
        (Self::Timeout, "timeout"),
        (Self::Memory, "memory"),
        (Self::Unavailable, "unavailable"),
    ];
}

impl PluginMetrics {
    /// A phase ended, well or badly: its wall clock, the host calls it made, the bytes of the message it was handed.
    pub fn called(&self, wall: Duration, host_calls: u64, bytes: u64) {
        self.seconds.observe(wall);
        self.host_calls.add(host_calls);
        self.bytes.add(bytes);
    }

    /// A phase failed.
    pub fn failed(&self, cause: FailureCause) {
        self.failures[cause as usize].add(1);
    }
}

pub(super) fn encode(page: &mut Page, plugins: &[(String, Arc<PluginMetrics>)], events: &[PluginEvent]) {
    page.family("mailweir_plugin_calls_total", "counter", "Phases that plugins ran.");
    for (name, metrics) in plugins {
        let (_, calls) = metrics.seconds.cumulative();
        page.sample("mailweir_plugin_calls_total", &[("plugin", name)], calls);
    }
    page.family("mailweir_plugin_seconds", "histogram", "Wall clock of a phase, host calls included.");
    for (name, metrics) in plugins {
        page.histogram("mailweir_plugin_seconds", &[("plugin", name)], &metrics.seconds);
    }
    page.family("mailweir_plugin_failures_total", "counter", "Phases that failed, by cause.");
    for (name, metrics) in plugins {
        for (cause, label) in FailureCause::ALL {
            let count = metrics.failures[cause as usize].value();
            page.sample("mailweir_plugin_failures_total", &[("plugin", name), ("cause", label)], count);
        }
    }
    page.family("mailweir_plugin_host_calls_total", "counter", "Calls of plugins to the host.");
    for (name, metrics) in plugins {
        page.sample("mailweir_plugin_host_calls_total", &[("plugin", name)], metrics.host_calls.value());
    }
    page.family("mailweir_plugin_bytes_total", "counter", "Message bytes handed to plugins.");
    for (name, metrics) in plugins {
        page.sample("mailweir_plugin_bytes_total", &[("plugin", name)], metrics.bytes.value());
    }
    page.family("mailweir_plugin_events_total", "counter", "What plugins count themselves.");
    for (plugin, event, count) in events {
        page.sample("mailweir_plugin_events_total", &[("plugin", plugin), ("event", event)], *count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_variant() {
        assert!(FailureCause::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
    }
}
