//! Results as one page: summary, claims, plots and tables, in a file that needs nothing from elsewhere.
//!
//! It is well-formed XML as well as HTML. There are no scripts in it, so that what a server said stays text whatever it is.

mod markup;
mod scale;
mod chart;
mod plots;
mod tables;

use std::fmt::Write as _;

use super::figures::{count, latency, memory, rate, size, span};
use super::model::{Claim, Latency, Phase, Results, Run};
use markup::escape;

const STYLE: &str = include_str!("style.css");

/// The page.
pub(crate) fn html(results: &Results) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, results);
    page
}

fn write_page(page: &mut String, results: &Results) -> std::fmt::Result {
    let title = escape(&results.title);
    writeln!(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>")?;
    writeln!(page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>")?;
    writeln!(page, "<title>{title} · mailweir-load</title>\n<style>\n{STYLE}</style>\n</head>\n<body>")?;
    write_header(page, results)?;
    writeln!(page, "<main>")?;
    write_claims(page, &results.claims)?;
    if results.runs.len() > 1 {
        writeln!(page, "<h2>Runs</h2>\n{}", tables::comparison(&results.runs))?;
    }
    for (index, run) in results.runs.iter().enumerate() {
        write_run(page, index, run)?;
    }
    if !results.processes.is_empty() {
        writeln!(page, "<h2>Processes</h2>\n<div class=\"charts\">")?;
        plots::processes(results).iter().for_each(|chart| page.push_str(&chart.markup()));
        writeln!(page, "</div>\n{}", tables::processes(&results.processes))?;
    }
    if let Some(sink) = &results.sink {
        writeln!(page, "<h2>The sink</h2>\n{}", tables::sink(sink))?;
    }
    writeln!(page, "</main>\n<footer>")?;
    if !results.command.is_empty() {
        writeln!(page, "<p>Run it again: <code>{}</code></p>", escape(&results.command))?;
    }
    writeln!(
        page,
        "<p>Made by mailweir-load {}. Latencies are HdrHistogram's, to three digits.</p>",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(page, "</footer>\n</body>\n</html>")
}

fn write_header(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(page, "<header>\n<h1>{}</h1>", escape(&results.title))?;
    if !results.description.is_empty() {
        writeln!(page, "<p>{}</p>", escape(&results.description))?;
    }
    let mut when = vec![span(results.seconds)];
    if !results.began.is_empty() {
        when.insert(0, results.began.clone());
    }
    writeln!(page, "<p class=\"soft\">{}</p>", escape(&when.join(", ")))?;
    let class = if results.passed() { "good" } else { "bad" };
    writeln!(page, "<p class=\"verdict {class}\">{}</p>", escape(&verdict(results)))?;
    writeln!(page, "<dl class=\"cards\">")?;
    for Card { name, figure, note } in cards(results) {
        let (name, figure, note) = (escape(name), escape(&figure), escape(&note));
        writeln!(page, "<div><dt>{name}</dt><dd>{figure}<small>{note}</small></dd></div>")?;
    }
    writeln!(page, "</dl>\n</header>")
}

fn verdict(results: &Results) -> String {
    let failed = results.claims.iter().filter(|claim| !claim.passed).count();
    match (results.claims.len(), failed) {
        (0, _) if results.passed() => "✓ Every message was taken".to_owned(),
        (0, _) => "✗ Not every message was taken".to_owned(),
        (1, 0) => "✓ The claim holds".to_owned(),
        (claims, 0) => format!("✓ All {claims} claims hold"),
        (claims, failed) => format!("✗ {failed} of {claims} claims failed"),
    }
}

/// A figure of the summary.
struct Card {
    name: &'static str,
    figure: String,
    note: String,
}

fn cards(results: &Results) -> Vec<Card> {
    let sum = |of: fn(&Run) -> u64| results.runs.iter().map(of).sum::<u64>();
    let card = |name, figure: String, note: String| Card { name, figure, note };
    let failed = sum(|run| run.messages.refused) + sum(|run| run.messages.lost);
    let mut cards = vec![
        card("Messages taken", count(sum(|run| run.messages.sent)), size(sum(|run| run.bytes) as f64)),
        card(
            "Refused or lost",
            count(failed),
            format!("{} refused, {} lost", count(sum(|run| run.messages.refused)), count(sum(|run| run.messages.lost))),
        ),
    ];
    let most = results.runs.iter().max_by(|one, two| one.messages_per_second.total_cmp(&two.messages_per_second));
    if let Some(run) = most.filter(|run| run.messages.sent > 0) {
        let name = if results.runs.len() > 1 { format!(", in {}", run.name) } else { String::new() };
        let note = format!("{}/s{name}", size(run.bytes_per_second));
        cards.push(card("Messages a second", rate(run.messages_per_second), note));
        if let Some(Latency { phase, p50, p99, .. }) = whole(run) {
            let since = if *phase == Phase::Intended { "since it was due; " } else { "" };
            let note = format!("{since}99 % within {}{name}", latency(*p99));
            cards.push(card("Median latency", latency(*p50), note));
        }
        if let Some(Latency { p50, p99, .. }) = run.latency.iter().find(|latency| latency.phase == Phase::EndOfData) {
            cards.push(card("End of data", latency(*p50), format!("99 % within {}{name}", latency(*p99))));
        }
    }
    if let Some(process) = results.processes.first() {
        let note = format!("most memory, {}", process.name);
        cards.push(card("Peak memory", memory(process.peak_memory as f64), note));
        if let Some(cpu) = process.cpu_per_message {
            cards.push(card("CPU a message", latency(cpu), format!("{}, kernel's included", process.name)));
        }
    }
    cards
}

/// The latency that tells most of a whole message.
fn whole(run: &Run) -> Option<&Latency> {
    let of = |phase| run.latency.iter().find(|latency| latency.phase == phase);
    of(Phase::Intended).or_else(|| of(Phase::Message))
}

fn write_claims(page: &mut String, claims: &[Claim]) -> std::fmt::Result {
    if claims.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Claims</h2>\n<ul class=\"claims\">")?;
    for Claim { claim, passed, found } in claims {
        let (class, word) = if *passed { ("yes", "✓ passed") } else { ("no", "✗ FAILED") };
        let (claim, found) = (escape(claim), escape(found));
        writeln!(page, "<li class=\"{class}\"><b>{word}</b>{claim}<span>{found}</span></li>")?;
    }
    writeln!(page, "</ul>")
}

fn write_run(page: &mut String, index: usize, run: &Run) -> std::fmt::Result {
    writeln!(page, "<section aria-labelledby=\"run-{index}\">\n<h2 id=\"run-{index}\">{}</h2>", escape(&run.name))?;
    let mut facts = Vec::new();
    if !run.load.is_empty() {
        facts.push(run.load.clone());
    }
    facts.push(format!("{} sessions, {} connections", count(run.sessions), count(run.connections)));
    facts.push(span(run.seconds));
    writeln!(page, "<p class=\"soft\">{}</p>", escape(&facts.join("; ")))?;
    let charts = plots::run(index, run);
    if !charts.is_empty() {
        writeln!(page, "<div class=\"charts\">")?;
        charts.iter().for_each(|chart| page.push_str(&chart.markup()));
        writeln!(page, "</div>")?;
    }
    page.push_str(&tables::outcome(run));
    page.push_str(&tables::phases(run));
    page.push_str(&tables::servers(run));
    page.push_str(&tables::failures(run));
    writeln!(page, "</section>")
}

#[cfg(test)]
mod tests;
