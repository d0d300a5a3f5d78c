//! Which tables there are.

use super::super::figures::{count, latency, memory, rate, size, span};
use super::super::model::{Failure, Latency, Phase, Process, Replies, Run, ServerUse, SinkCounts};
use super::markup::Table;
use super::whole;

/// Runs side by side.
pub(super) fn comparison(runs: &[Run]) -> String {
    let row = |run: &Run| {
        let whole = whole(run);
        let late = run.latency.iter().find(|latency| latency.phase == Phase::Late);
        vec![
            run.name.clone(),
            run.load.clone(),
            count(run.sessions),
            count(run.messages.sent),
            count(run.messages.refused),
            count(run.messages.lost),
            rate(run.messages_per_second),
            format!("{}/s", size(run.bytes_per_second)),
            whole.map_or_else(String::new, |whole| latency(whole.p50)),
            whole.map_or_else(String::new, |whole| latency(whole.p99)),
            late.map_or_else(String::new, |late| latency(late.p99)),
        ]
    };
    let mut columns = vec!["run", "load", "sessions", "taken", "refused", "lost", "messages/s", "octets", "p50", "p99"];
    columns.push("late, p99");
    Table { caption: "Runs side by side", columns, words: &[1], rows: runs.iter().map(row).collect() }.markup()
}

/// What became of a run's messages.
pub(super) fn outcome(run: &Run) -> String {
    let mut rows = vec![
        ("taken", count(run.messages.sent), format!("of {}", count(run.messages.requested))),
        ("refused", count(run.messages.refused), "whole, or for a recipient".to_owned()),
        ("lost", count(run.messages.lost), "without an answer".to_owned()),
    ];
    if run.messages.abandoned > 0 {
        rows.push(("abandoned", count(run.messages.abandoned), "given up at the end".to_owned()));
    }
    let Replies { positive, intermediate, transient, permanent } = run.replies;
    rows.push(("replies", count(positive + intermediate + transient + permanent), {
        let [positive, intermediate, transient, permanent] = [positive, intermediate, transient, permanent].map(count);
        format!("{positive} × 2xx, {intermediate} × 3xx, {transient} × 4xx, {permanent} × 5xx")
    }));
    if let Some(handshakes) = run.handshakes {
        let note = format!("{} of them resumed", count(handshakes.resumed));
        rows.push(("TLS handshakes", count(handshakes.full + handshakes.resumed), note));
    }
    if let Some(held) = run.held {
        let note = format!("of {}, {} opened", count(held.wanted), count(held.opened));
        rows.push(("connections that stayed", count(held.stayed), note));
    }
    if let Some(proof) = run.proof {
        let note = format!(
            "of {} acknowledged; {} lost, {} doubled, {} altered, {} in spite of a refusal, {} never sent",
            count(proof.acknowledged),
            count(proof.lost),
            count(proof.doubled),
            count(proof.altered),
            count(proof.refused_arrived),
            count(proof.unknown)
        );
        rows.push(("arrived, by their proofs", count(proof.arrived), note));
    }
    let rows = rows.into_iter().map(|(name, figure, note)| vec![name.to_owned(), figure, note]).collect();
    Table { caption: "Outcome", columns: vec!["", "count", ""], words: &[2], rows }.markup()
}

/// A run's latencies.
pub(super) fn phases(run: &Run) -> String {
    let row = |found: &Latency| {
        let Latency { phase, count: seen, min, mean, p50, p90, p99, p999, max, .. } = found;
        let figures = [min, mean, p50, p90, p99, p999, max].map(|value| latency(*value));
        [phase.label().to_owned(), count(*seen)].into_iter().chain(figures).collect()
    };
    let columns = vec!["phase", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max"];
    Table { caption: "Latency by phase", columns, words: &[], rows: run.latency.iter().map(row).collect() }.markup()
}

/// A run's failures.
pub(super) fn failures(run: &Run) -> String {
    let row = |failure: &Failure| {
        let what = match (failure.code, &failure.error) {
            (Some(code), _) => code.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => "failed".to_owned(),
        };
        let phase = failure.phase.map_or("", Phase::label).to_owned();
        vec![what, phase, count(failure.count), failure.more().unwrap_or_default().to_owned()]
    };
    let rows = run.failures.iter().map(row).collect();
    let columns = vec!["failure", "phase", "count", "for example"];
    Table { caption: "Failures", columns, words: &[1, 3], rows }.markup()
}

/// What servers used during a run.
pub(super) fn servers(run: &Run) -> String {
    let row = |server: &ServerUse| {
        let cpu = server.cpu_per_message.map_or_else(String::new, latency);
        let memory = memory(server.peak_memory as f64);
        vec![server.name.clone(), span(server.cpu_seconds), cpu, memory, count(server.peak_descriptors)]
    };
    let columns = vec!["server", "processor time", "for a message", "most memory", "most descriptors"];
    Table { caption: "Servers meanwhile", columns, words: &[], rows: run.servers.iter().map(row).collect() }.markup()
}

/// The processes that were watched.
pub(super) fn processes(processes: &[Process]) -> String {
    let row = |process: &Process| {
        let cpu = process.cpu_per_message.map_or_else(String::new, latency);
        vec![process.name.clone(), span(process.cpu_seconds), cpu, memory(process.peak_memory as f64)]
    };
    let columns = vec!["process", "processor time", "for a message", "most memory"];
    Table { caption: "Processor and memory", columns, words: &[], rows: processes.iter().map(row).collect() }.markup()
}

/// What a sink saw.
pub(super) fn sink(counts: &SinkCounts) -> String {
    let rows = [
        ("messages", counts.messages),
        ("different ones, by their proofs", counts.distinct),
        ("doubled", counts.doubled),
        ("altered", counts.altered),
        ("connections", counts.connections),
        ("with TLS", counts.tls),
        ("answered 4xx on purpose", counts.tempfailed),
        ("answered 5xx on purpose", counts.rejected),
        ("connections dropped on purpose", counts.dropped),
        ("replies delayed on purpose", counts.delayed),
        ("mistakes by clients", counts.errors),
        ("failures", counts.failures),
    ];
    let rows = rows.into_iter().map(|(name, figure)| vec![name.to_owned(), count(figure)]).collect();
    Table { caption: "What the sink saw", columns: vec!["", "count"], words: &[], rows }.markup()
}
