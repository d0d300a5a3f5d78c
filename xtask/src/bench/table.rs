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

/// The servers that ratios refer to: the first one that was measured.
pub(super) const REFERENCES: [&str; 2] = ["haproxy", "nginx"];

/// The columns of a scenario's table, after the server's label.
const HEAD: &str = "    µs CPU    ratio  kernel  messages/s  DNS queries";

impl Outcome {
    fn samples(&self, label: &str) -> Option<&Samples> {
        self.servers.iter().find(|(name, _)| name == label).map(|(_, samples)| samples)
    }

    /// What this server costs in units of the reference.
    fn ratio(&self, samples: &Samples) -> Option<f64> {
        let reference = REFERENCES.iter().find_map(|label| self.samples(label))?;
        samples.ratio_to(reference)
    }

    /// A line for each server: microseconds, the ratio to the reference, the kernel's share, messages a second.
    pub(super) fn text(&self) -> String {
        let width = self.servers.iter().map(|(label, _)| label.len()).max().unwrap_or(0).max(12);
        let mut text = format!("{:width$}  {HEAD}\n", self.scenario);
        for (label, samples) in &self.servers {
            let columns = [
                number(samples.cost(), 10, 1),
                number(self.ratio(samples), 7, 2),
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
            value["ratio"] = json!(self.ratio(samples));
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
    let Some(samples) = outcome.samples(label) else { return String::new() };
    match (samples.cost(), outcome.ratio(samples)) {
        (Some(cost), Some(ratio)) => format!("{cost:.0} ({ratio:.2})"),
        (Some(cost), None) => format!("{cost:.0}"),
        (None, _) => String::new(),
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
    fn ratios_refer_to_the_first_reference_that_is_there() {
        let outcomes = [
            outcome("a", &[("mailweir", 60.0), ("haproxy", 40.0), ("nginx", 80.0)]),
            outcome("b", &[("mailweir", 60.0), ("nginx", 30.0)]),
        ];
        assert_eq!(
            markdown(&outcomes),
            "| | a | b |\n|---|---|---|\n| mailweir | 60 (1.50) | 60 (2.00) |\n| haproxy | 40 (1.00) |  |\n\
             | nginx | 80 (2.00) | 30 (1.00) |\n"
        );
        assert_eq!(json(&outcomes)["a"]["servers"]["mailweir"]["ratio"], json!(1.5));
        assert!(outcomes[0].text().contains("1.50"), "{}", outcomes[0].text());
    }

    #[test]
    fn without_a_reference_there_are_no_ratios() {
        assert_eq!(markdown(&[outcome("a", &[("mailweir", 60.4)])]), "| | a |\n|---|---|\n| mailweir | 60 |\n");
    }
}
