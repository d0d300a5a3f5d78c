//! Results for people at a terminal.

use std::fmt::{self, Write as _};

use super::model::{Claim, Failure, Handshakes, Held, Latency, Phase, Replies, Results, Run, ServerUse};
use crate::proof::Verdict;

/// The results as text.
pub(crate) fn table(results: &Results) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_results(&mut text, results);
    text
}

fn write_results(text: &mut String, results: &Results) -> fmt::Result {
    for run in &results.runs {
        if results.runs.len() > 1 {
            writeln!(text, "{}", run.name)?;
        }
        write_run(text, run)?;
        if results.runs.len() > 1 {
            writeln!(text)?;
        }
    }
    for Claim { claim, passed, found } in &results.claims {
        writeln!(text, "{}  {claim}: {found}", if *passed { "passed" } else { "FAILED" })?;
    }
    Ok(())
}

fn write_run(text: &mut String, run: &Run) -> fmt::Result {
    let Run { messages, connections, sessions, .. } = run;
    if !run.load.is_empty() {
        writeln!(text, "load         {}", run.load)?;
    }
    write!(text, "messages     {} sent, {} refused, {} lost", messages.sent, messages.refused, messages.lost)?;
    match messages.abandoned {
        0 => writeln!(text)?,
        abandoned => writeln!(text, ", {abandoned} given up at the end")?,
    }
    writeln!(
        text,
        "rate         {:.0} messages/s, {:.2} MB/s over {:.2} s",
        run.messages_per_second,
        run.bytes_per_second / 1e6,
        run.seconds
    )?;
    writeln!(text, "connections  {connections} by {sessions} sessions")?;
    let Replies { positive, intermediate, transient, permanent } = run.replies;
    writeln!(text, "replies      {positive} × 2xx, {intermediate} × 3xx, {transient} × 4xx, {permanent} × 5xx")?;
    for failure in &run.failures {
        writeln!(text, "{}", failure_line(failure))?;
    }
    if let Some(Handshakes { full, resumed }) = run.handshakes {
        writeln!(text, "TLS          {full} full handshakes, {resumed} resumed")?;
    }
    if let Some(Held { wanted, opened, stayed }) = run.held {
        writeln!(text, "held         {stayed} stayed of {opened} opened, {wanted} wanted")?;
    }
    if let Some(proof) = run.proof.filter(|_| run.held.is_none()) {
        let Verdict { acknowledged, in_doubt, arrived, lost, doubled, altered, .. } = proof;
        writeln!(
            text,
            "proof        {acknowledged} acknowledged, {in_doubt} in doubt; {arrived} arrived, {lost} lost, {doubled} doubled, \
             {altered} altered, {} refused and yet seen, {} unknown",
            proof.refused_arrived, proof.unknown
        )?;
    }
    for ServerUse { name, cpu_seconds, cpu_per_message, peak_memory, peak_descriptors } in &run.servers {
        let each = cpu_per_message.map(|cpu| format!(", {cpu:.1} µs a message")).unwrap_or_default();
        let memory = *peak_memory as f64 / 1024.0 / 1024.0;
        writeln!(
            text,
            "{name:<12} CPU {cpu_seconds:.2} s{each}; {memory:.1} MiB, {peak_descriptors} descriptors at most"
        )?;
    }
    if run.latency.is_empty() {
        return Ok(());
    }
    writeln!(text)?;
    writeln!(
        text,
        "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "latency, µs", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for Latency { phase, count, min, mean, p50, p90, p99, p999, max, .. } in &run.latency {
        let name = phase.label();
        writeln!(
            text,
            "{name:<12} {count:>9} {min:>9.1} {mean:>9.1} {p50:>9.1} {p90:>9.1} {p99:>9.1} {p999:>9.1} {max:>9.1}"
        )?;
    }
    Ok(())
}

fn failure_line(failure: &Failure) -> String {
    let Failure { phase, code, error, count, .. } = failure;
    match (phase.map(Phase::label), code, error) {
        (Some(phase), Some(code), _) => format!("refusal      {count} × {code} to {phase}"),
        (None, Some(code), _) => format!("refusal      {count} × {code}"),
        (Some(phase), None, error) => {
            format!("error        {count} × {phase}: {}", error.as_deref().unwrap_or("failed"))
        }
        (None, None, error) => format!("error        {count} × {}", error.as_deref().unwrap_or("failed")),
    }
}
