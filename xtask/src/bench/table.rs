//! Results as a table, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::sample::Samples;

/// What came of one scenario.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) scenario: &'static str,
    pub(super) messages: u32,
    /// By the server's label, in the order in which they took turns.
    pub(super) servers: Vec<(String, Samples)>,
    /// Those that could not be measured, and why.
    pub(super) failures: Vec<(String, String)>,
}

/// The server that ratios refer to.
pub(super) const REFERENCE: &str = "haproxy";

/// The columns of a scenario's table, after the server's label.
const HEAD: &str = "    µs CPU    ratio  kernel  messages/s  DNS queries";

impl Outcome {
    fn samples(&self, label: &str) -> Option<&Samples> {
        self.servers.iter().find(|(name, _)| name == label).map(|(_, samples)| samples)
    }

    /// A line for each server: microseconds, the ratio to the reference, the kernel's share, messages a second.
    pub(super) fn text(&self) -> String {
        let width = self.servers.iter().map(|(label, _)| label.len()).max().unwrap_or(0).max(12);
        let mut text = format!("{:width$}  {HEAD}\n", self.scenario);
        for (label, samples) in &self.servers {
            let ratio = self.samples(REFERENCE).and_then(|reference| samples.ratio_to(reference));
            let columns = [
                number(samples.cost(), 10, 1),
                number(ratio, 7, 2),
                number(samples.system().map(|share| share * 100.0), 5, 0) + "%",
                number(samples.rate(), 10, 0),
                number(samples.queries(), 11, 1),
            ];
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:width$}  {}", columns.join("  "));
        }
        for (label, reason) in &self.failures {
            let _ = writeln!(text, "{label:width$}  {reason}");
        }
        text
    }

    fn json(&self) -> Value {
        let servers = self.servers.iter().map(|(label, samples)| {
            let mut value = samples.json();
            value["ratio"] = json!(self.samples(REFERENCE).and_then(|reference| samples.ratio_to(reference)));
            (label.clone(), value)
        });
        json!({
            "messages": self.messages,
            "servers": Value::Object(servers.collect()),
            "failures": Value::Object(self.failures.iter().map(|(label, why)| (label.clone(), json!(why))).collect()),
        })
    }
}

/// All scenarios: a row for each server, a column for each scenario, `µs (ratio)`, in Markdown.
pub(super) fn markdown(outcomes: &[Outcome]) -> String {
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in outcomes.iter().flat_map(|outcome| &outcome.servers) {
        if !labels.contains(&label.as_str()) {
            labels.push(label);
        }
    }
    let head: Vec<&str> = outcomes.iter().map(|outcome| outcome.scenario).collect();
    let mut text = format!("| | {} |\n|---|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for label in labels {
        let cells = outcomes.iter().map(|outcome| cell(outcome, label));
        let _ = writeln!(text, "| {label} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

fn cell(outcome: &Outcome, label: &str) -> String {
    let samples = outcome.samples(label);
    let Some(cost) = samples.and_then(Samples::cost) else { return String::new() };
    let ratio = outcome.samples(REFERENCE).and_then(|reference| samples?.ratio_to(reference));
    match ratio.filter(|_| label != REFERENCE) {
        Some(ratio) => format!("{cost:.0} ({ratio:.2})"),
        None => format!("{cost:.0}"),
    }
}

/// All of it, for programs.
pub(super) fn json(outcomes: &[Outcome]) -> Value {
    Value::Object(outcomes.iter().map(|outcome| (outcome.scenario.to_owned(), outcome.json())).collect())
}

fn number(value: Option<f64>, width: usize, places: usize) -> String {
    value.map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:>width$.places$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::Sample;

    fn outcome(scenario: &'static str, servers: &[(&str, f64)]) -> Outcome {
        let samples = |cost| Samples(vec![Sample { cost, system: 0.5, rate: 1000.0, queries: 0.0 }]);
        let servers = servers.iter().map(|(label, cost)| ((*label).to_owned(), samples(*cost))).collect();
        Outcome { scenario, messages: 10, servers, failures: Vec::new() }
    }

    #[test]
    fn ratios_refer_to_the_reference() {
        let outcomes = [outcome("a", &[("mailweir", 60.0), ("haproxy", 40.0)]), outcome("b", &[("haproxy", 41.0)])];
        assert_eq!(
            markdown(&outcomes),
            "| | a | b |\n|---|---|---|\n| mailweir | 60 (1.50) |  |\n| haproxy | 40 | 41 |\n"
        );
        assert_eq!(json(&outcomes)["a"]["servers"]["mailweir"]["ratio"], json!(1.5));
        assert!(outcomes[0].text().contains("1.50"), "{}", outcomes[0].text());
    }

    #[test]
    fn without_the_reference_there_are_no_ratios() {
        assert_eq!(markdown(&[outcome("a", &[("mailweir", 60.4)])]), "| | a |\n|---|---|\n| mailweir | 60 |\n");
    }
}
