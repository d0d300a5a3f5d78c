//! What bounds the process as a whole: descriptors, and what of each bound is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::metrics::Metrics;
use crate::config::{Config, Grant};
use crate::generation::Proxy;
use crate::message::Usage;

/// Descriptors for everything that does not grow with sessions: log, runtime, admin pages (64 connections), DNS (1024
/// questions at once), caches.
const FIXED_DESCRIPTORS: u64 = 64 + 64 + 1024;

static ACCEPT_FAILURES: AtomicU64 = AtomicU64::new(0);

/// A connection could not be accepted: descriptors have run out, most likely.
pub fn accept_failed() {
    ACCEPT_FAILURES.fetch_add(1, Ordering::Relaxed);
}

/// Raises the limit on open descriptors as far as this process may.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open descriptors stays at {}", shown(limit.current));
    }
}

/// What is wrong with the limit on open descriptors for this configuration, as far as this process can raise it.
pub fn descriptor_complaint(config: &Config) -> Option<String> {
    let limit = getrlimit(Resource::Nofile).maximum?;
    let needed = descriptors_needed(config);
    (needed > limit).then(|| {
        format!(
            "all connections that limits.connections and max_connections allow, with their files, take {needed} descriptors, \
             and this process may open {limit}: raise its limit (LimitNOFILE= in systemd), or lower those"
        )
    })
}

/// Descriptors when every cap is reached: each session with its connection, its spill file and that of what is decoded,
/// its virus scan where there is one, and a connection upstream.
fn descriptors_needed(config: &Config) -> u64 {
    let sessions = |scans: bool| -> u64 {
        let listeners = config.listeners.values().filter(|listener| {
            let plugins = config.chains.get(&listener.chain).map(|chain| chain.plugins.as_slice()).unwrap_or_default();
            let mut plugins = plugins.iter().filter_map(|name| config.plugins.get(name));
            !scans || plugins.any(|plugin| plugin.grants.contains(&Grant::Antivirus))
        });
        listeners.map(|listener| listener.limits.connections as u64).sum()
    };
    let all = sessions(false);
    let files = if config.server.spill_budget == 0 { 0 } else { 2 * all };
    let upstream: u64 = config
        .routes
        .values()
        .map(|route| match route.max_connections {
            0 => all,
            most => most as u64,
        })
        .sum();
    let workers = crate::command::workers(config.server.workers) as u64;
    let addresses: u64 = config.listeners.values().map(|listener| listener.listen.len() as u64).sum();
    // Each worker has a socket for each address, and what its runtime needs.
    all + files + sessions(true) + upstream.min(all * 2) + workers * (4 + addresses) + FIXED_DESCRIPTORS
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// Has each bound shown among the metrics, with what is in use of it.
pub(crate) fn publish(proxy: &Arc<Proxy>, metrics: &Metrics) {
    publish_budget(proxy, metrics);
    publish_process(metrics);
    let dns = proxy.reader();
    let help = "Answers in the DNS cache.";
    metrics.gauge("mailweir_dns_cache_entries", help, move || dns(|now| now.dns().cached() as u64));
    let dns = proxy.reader();
    let help = "What they weigh, in units of 512 bytes, of which there are dns.cache_size.";
    metrics.gauge("mailweir_dns_cache_units", help, move || dns(|now| now.dns().cached_units()));
    let dns = proxy.reader();
    let help = "DNS questions on the wire, of 1024 at most.";
    metrics.gauge("mailweir_dns_in_flight", help, move || dns(|now| now.dns().in_flight()));
    let host = proxy.reader();
    let help = "Sandboxes that may live at once.";
    metrics.gauge("mailweir_sandboxes_limit", help, move || host(|now| now.host().counters().limit as u64));
    let host = proxy.reader();
    let help = "Sandboxes that waited for room.";
    metrics.counter("mailweir_sandbox_waits_total", help, move || host(|now| now.host().counters().waits));
}

/// A name, what it is, and where it stands in the account.
type Reading = (&'static str, &'static str, fn(Usage) -> u64);

fn publish_budget(proxy: &Arc<Proxy>, metrics: &Metrics) {
    let gauges: [Reading; 11] = [
        ("mailweir_message_bytes_in_memory", "Message bytes and reserved bytes in memory.", |now| now.memory),
        ("mailweir_memory_limit_bytes", "What they may take; the rest of memory_budget is for turns.", |now| {
            now.memory_limit
        }),
        ("mailweir_memory_peak_bytes", "The most that they took.", |now| now.memory_peak),
        ("mailweir_memory_reserved_bytes", "Of them, those of sandboxes and buffers.", |now| now.reserved),
        ("mailweir_message_bytes_spilled", "Message bytes on disk.", |now| now.disk),
        ("mailweir_spill_limit_bytes", "What they may take.", |now| now.disk_limit),
        ("mailweir_message_bytes_spilled_peak", "The most that they took.", |now| now.disk_peak),
        ("mailweir_memory_waiting", "Sessions that wait for room.", |now| now.waiting),
        ("mailweir_turns_waiting", "Large messages that wait for their turn.", |now| now.turns_waiting),
        ("mailweir_spill_mappings", "Files of messages that are mapped.", |now| now.mappings),
        ("mailweir_spill_mappings_limit", "How many may be.", |now| now.mappings_limit),
    ];
    for (name, help, read) in gauges {
        let budget = proxy.budget().clone();
        metrics.gauge(name, help, move || read(budget.usage()));
    }
    let counters: [Reading; 5] = [
        ("mailweir_memory_waits_total", "How often a session waited for room.", |now| now.waits),
        ("mailweir_memory_refusals_total", "How often there was none in time: 452.", |now| now.refusals),
        ("mailweir_turn_waits_total", "How often a large message waited for its turn.", |now| now.turn_waits),
        ("mailweir_spill_read_faults_total", "Pages of spill files that could not be read.", |now| now.read_faults),
        ("mailweir_structure_refusals_total", "Messages over a cap on header section or MIME structure.", |now| {
            now.structure_faults
        }),
    ];
    for (name, help, read) in counters {
        let budget = proxy.budget().clone();
        metrics.counter(name, help, move || read(budget.usage()));
    }
}

fn publish_process(metrics: &Metrics) {
    metrics.gauge("mailweir_descriptors", "Open descriptors.", || {
        std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
    });
    metrics.gauge("mailweir_descriptors_limit", "How many may be open.", || {
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    });
    metrics.gauge("mailweir_threads", "Threads.", || {
        std::fs::read_dir("/proc/self/task").map_or(0, |entries| entries.count() as u64)
    });
    metrics.gauge("mailweir_tasks", "Tasks: a few for the process, and one to three a connection.", || {
        tokio::runtime::Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks() as u64)
    });
    let help = "Connections that could not be accepted, most likely for want of descriptors.";
    metrics.counter("mailweir_accept_failures_total", help, || ACCEPT_FAILURES.load(Ordering::Relaxed));
}
