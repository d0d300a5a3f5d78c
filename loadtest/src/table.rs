//! The result of a run for people.

use std::fmt::{self, Write as _};

use crate::measure::Phase;
use crate::report::{Latencies, Report};

/// The result as text.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut text, report);
    text
}

fn write_table(text: &mut String, report: &Report) -> fmt::Result {
    let Report { messages, connections, sessions, .. } = report;
    writeln!(text, "messages     {} sent, {} refused, {} lost", messages.sent, messages.refused, messages.lost)?;
    writeln!(
        text,
        "rate         {:.0} messages/s, {:.2} MB/s over {:.2} s",
        report.messages_per_second,
        report.bytes_per_second / 1e6,
        report.seconds
    )?;
    writeln!(text, "connections  {connections} by {sessions} sessions")?;
    let replies: Vec<String> = report.replies.iter().map(|(class, count)| format!("{count} × {class}")).collect();
    writeln!(text, "replies      {}", replies.join(", "))?;
    for refusal in &report.refusals {
        writeln!(text, "refusal      {} × {} to {}", refusal.count, refusal.code, name(refusal.phase))?;
    }
    for (error, count) in &report.errors {
        writeln!(text, "error        {count} × {error}")?;
    }
    writeln!(text)?;
    writeln!(
        text,
        "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "latency, µs", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for Latencies { phase, count, min, mean, p50, p90, p99, p999, max } in &report.latency {
        let name = name(*phase);
        writeln!(
            text,
            "{name:<12} {count:>9} {min:>9.1} {mean:>9.1} {p50:>9.1} {p90:>9.1} {p99:>9.1} {p999:>9.1} {max:>9.1}"
        )?;
    }
    Ok(())
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connect",
        Phase::Hello => "EHLO",
        Phase::Mail => "MAIL",
        Phase::Rcpt => "RCPT",
        Phase::Data => "DATA",
        Phase::EndOfData => "end of data",
        Phase::Reset => "RSET",
        Phase::Quit => "QUIT",
        Phase::Message => "message",
    }
}
