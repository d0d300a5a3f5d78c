//! Results for people at a terminal.

use std::fmt::{self, Write as _};

use super::figures::{count, latency, memory, printable, size};
use super::model::{
    Claim, Failure, Handshakes, Held, Latency, Phase, Process, Replies, Results, Run, ServerUse, SinkCounts,
};
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
            writeln!(text, "{}", printable(&run.name))?;
        }
        write_run(text, run)?;
        if results.runs.len() > 1 {
            writeln!(text)?;
        }
    }
    for process in &results.processes {
        write_process(text, process)?;
    }
    if let Some(sink) = &results.sink {
        write_sink(text, sink)?;
    }
    for Claim { claim, passed, found } in &results.claims {
        let word = if *passed { "passed" } else { "FAILED" };
        writeln!(text, "{}", printable(&format!("{word:<12} {claim}: {found}")))?;
    }
    Ok(())
}

fn write_run(text: &mut String, run: &Run) -> fmt::Result {
    let Run { messages, connections, sessions, .. } = run;
    if !run.load.is_empty() {
        writeln!(text, "load         {}", printable(&run.load))?;
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
        writeln!(text, "{}", printable(&failure_line(failure)))?;
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
        let each = cpu_per_message.map_or_else(String::new, |each| format!(", {} a message", latency(each)));
        let (name, memory) = (printable(name), memory(*peak_memory as f64));
        writeln!(text, "{name:<12} {cpu_seconds:.2} s of CPU{each}; {memory}, {peak_descriptors} descriptors at most")?;
    }
    write_latencies(text, run)
}

fn write_latencies(text: &mut String, run: &Run) -> fmt::Result {
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
    let example = failure.more().map(|example| format!(" ({example})")).unwrap_or_default();
    let error = error.as_deref().unwrap_or("failed");
    match (phase.map(Phase::label), code) {
        (Some(phase), Some(code)) => format!("refusal      {count} × {code} to {phase}{example}"),
        (None, Some(code)) => format!("refusal      {count} × {code}{example}"),
        (Some(phase), None) => format!("error        {count} × {phase}: {error}{example}"),
        (None, None) => format!("error        {count} × {error}{example}"),
    }
}

fn write_process(text: &mut String, process: &Process) -> fmt::Result {
    let Process { name, cpu_seconds, cpu_per_message, peak_memory, .. } = process;
    let each = cpu_per_message.map_or_else(String::new, |each| format!(", {} a message", latency(each)));
    let name = printable(name);
    writeln!(text, "{name:<12} {cpu_seconds:.2} s of CPU{each}; {} at most", memory(*peak_memory as f64))
}

fn write_sink(text: &mut String, sink: &SinkCounts) -> fmt::Result {
    writeln!(
        text,
        "sink         {} messages taken, {}; {} different, {} doubled, {} altered by their proofs",
        count(sink.messages),
        size(sink.bytes as f64),
        count(sink.distinct),
        count(sink.doubled),
        count(sink.altered)
    )?;
    let on_purpose = [sink.tempfailed, sink.rejected, sink.dropped, sink.delayed];
    if on_purpose.iter().any(|count| *count > 0) {
        let [tempfailed, rejected, dropped, delayed] = on_purpose.map(count);
        let text_of = format!("{tempfailed} × 4xx, {rejected} × 5xx, {dropped} dropped, {delayed} delayed");
        writeln!(text, "on purpose   {text_of}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_line() {
        let run = Run {
            name: "steady".to_owned(),
            load: "closed loop".to_owned(),
            seconds: 2.0,
            failures: vec![Failure {
                phase: Some(Phase::Rcpt),
                code: Some(550),
                error: None,
                count: 3,
                example: "550 \u{1b}[2J no".to_owned(),
            }],
            servers: vec![ServerUse { name: "behind".to_owned(), peak_descriptors: 9, ..ServerUse::default() }],
            proof: Some(Verdict { lost: 1, acknowledged: 10, arrived: 9, ..Default::default() }),
            ..Run::default()
        };
        let results = Results {
            runs: vec![run.clone(), Run { name: "other".to_owned(), ..run }],
            processes: vec![Process {
                name: "server".to_owned(),
                cpu_seconds: 1.5,
                cpu_per_message: Some(42.0),
                peak_memory: 10 << 20,
                samples: Vec::new(),
            }],
            sink: Some(SinkCounts { messages: 1000, dropped: 2, ..SinkCounts::default() }),
            claims: vec![
                Claim { claim: "none is lost".to_owned(), passed: false, found: "1 is".to_owned() },
                Claim { claim: "it is fast".to_owned(), passed: true, found: "it is".to_owned() },
            ],
            ..Results::new("test")
        };
        let text = table(&results);
        for line in [
            "steady\nload         closed loop\n",
            "refusal      3 × 550 to RCPT (550 \u{fffd}[2J no)\n",
            "proof        10 acknowledged, 0 in doubt; 9 arrived, 1 lost,",
            "server       1.50 s of CPU, 42.0 µs a message; 10.0 MiB at most\n",
            "sink         1,000 messages taken,",
            "behind       0.00 s of CPU; 0.00 KiB, 9 descriptors at most\n",
            "on purpose   0 × 4xx, 0 × 5xx, 2 dropped, 0 delayed\n",
            "FAILED       none is lost: 1 is\n",
            "passed       it is fast: it is\n",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
    }
}
