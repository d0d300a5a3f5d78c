//! What is counted, and its text form (the Prometheus exposition format).
//!
//! Whoever counts holds a handle ([`ListenerMetrics`], [`PluginMetrics`], [`RouteMetrics`]), made once for each
//! generation; counting is then a relaxed atomic addition, with no lock and no look-up. Handles are kept by name for
//! the life of the process, so counters go on over a reload.

mod primitive;
mod text;
mod listener;
mod plugin;
mod route;
mod signing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use listener::{Connection, Limit, ListenerMetrics, MessageOutcome, Refusal, TlsOutcome};
pub use plugin::{FailureCause, PluginEvent, PluginMetrics};
pub use primitive::{Counter, Gauge, Histogram};
pub use route::RouteMetrics;
pub use signing::{SigningMetrics, SigningOutcome};

use text::Page;

pub(super) use text::CONTENT_TYPE;

/// Everything counted by the process.
pub struct Metrics {
    listeners: Handles<ListenerMetrics>,
    plugins: Handles<PluginMetrics>,
    routes: Handles<RouteMetrics>,
    signing: Handles<SigningMetrics>,
    readings: Mutex<Vec<Reading>>,
    events: Mutex<Option<ReadEvents>>,
    generation: Gauge,
    reloads: Counter,
    failed_reloads: Counter,
}

type ReadEvents = Box<dyn Fn() -> Vec<PluginEvent> + Send + Sync>;

/// Handles by name.
type Handles<T> = Mutex<BTreeMap<String, Arc<T>>>;

/// A value that somebody else keeps, read when it is asked for.
struct Reading {
    name: &'static str,
    /// "gauge" or "counter".
    kind: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            listeners: Handles::default(),
            plugins: Handles::default(),
            routes: Handles::default(),
            signing: Handles::default(),
            readings: Mutex::default(),
            events: Mutex::default(),
            generation: Gauge::default(),
            reloads: Counter::default(),
            failed_reloads: Counter::default(),
        })
    }

    /// The listener's handle.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        handle(&self.listeners, name)
    }

    /// The plugin's handle.
    pub fn plugin(&self, name: &str) -> Arc<PluginMetrics> {
        handle(&self.plugins, name)
    }

    /// The route's handle.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        handle(&self.routes, name)
    }

    /// The handle of a chain that signs.
    pub fn signing(&self, chain: &str) -> Arc<SigningMetrics> {
        handle(&self.signing, chain)
    }

    /// Registers a gauge that is read for each page, such as the bytes a budget holds. `name` is the metric's full
    /// name; one registered again replaces the first.
    pub fn gauge(&self, name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.reading(Reading { name, kind: "gauge", help, read: Box::new(read) });
    }

    /// As [`Metrics::gauge`], for what only grows; `name` ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.reading(Reading { name, kind: "counter", help, read: Box::new(read) });
    }

    fn reading(&self, reading: Reading) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|known| known.name != reading.name);
        readings.push(reading);
    }

    /// Where the events that plugins count themselves are read.
    pub fn plugin_events(&self, read: impl Fn() -> Vec<PluginEvent> + Send + Sync + 'static) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(read));
    }

    /// A generation of chains begins to serve new transactions; 1 is the one the process started with.
    pub fn generation_began(&self, number: u64) {
        self.generation.set(number);
        if number > 1 {
            self.reloads.add(1);
        }
    }

    /// A reload failed and the generation stayed.
    pub fn reload_failed(&self) {
        self.failed_reloads.add(1);
    }

    /// The page for /metrics.
    pub fn encode(&self) -> String {
        let mut page = Page::default();
        page.family("mailweir_build_info", "gauge", "The version that runs.");
        page.sample("mailweir_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.family("mailweir_generation", "gauge", "The generation of chains that new transactions use.");
        page.sample("mailweir_generation", &[], self.generation.value());
        page.family("mailweir_reloads_total", "counter", "Reloads, by whether they took effect.");
        page.sample("mailweir_reloads_total", &[("result", "success")], self.reloads.value());
        page.sample("mailweir_reloads_total", &[("result", "failure")], self.failed_reloads.value());
        for reading in self.readings.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            page.family(reading.name, reading.kind, reading.help);
            page.sample(reading.name, &[], (reading.read)());
        }
        listener::encode(&mut page, &all(&self.listeners));
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|read| read());
        plugin::encode(&mut page, &all(&self.plugins), &events.unwrap_or_default());
        signing::encode(&mut page, &all(&self.signing));
        route::encode(&mut page, &all(&self.routes));
        page.finish()
    }
}

fn handle<T: Default>(handles: &Handles<T>, name: &str) -> Arc<T> {
    let mut handles = handles.lock().unwrap_or_else(PoisonError::into_inner);
    match handles.get(name) {
        Some(handle) => Arc::clone(handle),
        None => Arc::clone(handles.entry(name.to_owned()).or_default()),
    }
}

fn all<T>(handles: &Handles<T>) -> Vec<(String, Arc<T>)> {
    let handles = handles.lock().unwrap_or_else(PoisonError::into_inner);
    handles.iter().map(|(name, handle)| (name.clone(), Arc::clone(handle))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_holds_what_was_counted() {
        let metrics = Metrics::new();
        metrics.gauge("mailweir_message_bytes_in_memory", "Message bytes held in memory.", || 42);
        metrics.generation_began(1);
        metrics.generation_began(2);
        metrics.reload_failed();
        let listener = metrics.listener("inbound");
        let connection = listener.connection();
        listener.message(MessageOutcome::Rejected, 1000);
        listener.refused(Refusal::Connections);
        let plugin = metrics.plugin("auth");
        plugin.called(Duration::from_micros(30), 2, 100);
        plugin.failed(FailureCause::Trap);
        metrics.plugin_events(|| vec![("auth".to_owned(), "spf_fail".to_owned(), 3)]);
        metrics.counter("mailweir_sandboxes_created_total", "Sandboxes made.", || 5);
        metrics.signing("outbound").count(SigningOutcome::Sealed);
        metrics.route("exchange").connected(Duration::from_millis(2));
        metrics.route("exchange").answered(250, Duration::from_millis(7));
        let page = metrics.encode();
        for line in [
            "mailweir_message_bytes_in_memory 42",
            "# TYPE mailweir_sandboxes_created_total counter",
            "mailweir_sandboxes_created_total 5",
            "mailweir_generation 2",
            "mailweir_reloads_total{result=\"success\"} 1",
            "mailweir_reloads_total{result=\"failure\"} 1",
            "mailweir_connections_total{listener=\"inbound\"} 1",
            "mailweir_connections{listener=\"inbound\"} 1",
            "mailweir_connections_refused_total{listener=\"inbound\",reason=\"connections\"} 1",
            "mailweir_messages_total{listener=\"inbound\",verdict=\"reject\"} 1",
            "mailweir_message_bytes_total{listener=\"inbound\"} 1000",
            "mailweir_plugin_calls_total{plugin=\"auth\"} 1",
            "mailweir_plugin_seconds_bucket{plugin=\"auth\",le=\"0.00003\"} 1",
            "mailweir_plugin_seconds_bucket{plugin=\"auth\",le=\"+Inf\"} 1",
            "mailweir_plugin_seconds_sum{plugin=\"auth\"} 0.00003",
            "mailweir_plugin_seconds_count{plugin=\"auth\"} 1",
            "mailweir_plugin_failures_total{plugin=\"auth\",cause=\"trap\"} 1",
            "mailweir_plugin_host_calls_total{plugin=\"auth\"} 2",
            "mailweir_plugin_bytes_total{plugin=\"auth\"} 100",
            "mailweir_plugin_events_total{plugin=\"auth\",event=\"spf_fail\"} 3",
            "mailweir_signatures_total{chain=\"outbound\",result=\"sealed\"} 1",
            "mailweir_signatures_total{chain=\"outbound\",result=\"refused\"} 0",
            "mailweir_upstream_seconds_count{route=\"exchange\",step=\"connect\"} 1",
            "mailweir_upstream_messages_total{route=\"exchange\",result=\"delivered\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "no {line:?} in\n{page}");
        }
        drop(connection);
        assert!(metrics.encode().contains("mailweir_connections{listener=\"inbound\"} 0\n"));
    }

    #[test]
    fn handles_are_kept_by_name() {
        let metrics = Metrics::new();
        assert!(Arc::ptr_eq(&metrics.plugin("a"), &metrics.plugin("a")));
        assert!(!Arc::ptr_eq(&metrics.plugin("a"), &metrics.plugin("b")));
    }
}
