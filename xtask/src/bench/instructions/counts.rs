//! What cases cost: kept in a file, compared, printed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// What one case costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) instructions: u64,
    /// Estimated from instructions and cache misses.
    pub(super) cycles: u64,
}

/// Costs by case, in the order in which they were counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<(String, Cost)>);

impl Counts {
    pub(super) fn push(&mut self, case: &str, cost: Cost) {
        self.0.push((case.to_owned(), cost));
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, self.text()).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::map::Map<String, toml::Value> = toml::from_str(text)?;
        let mut counts = Self::default();
        for (case, cost) in &table {
            let number = |key| cost.get(key).and_then(toml::Value::as_integer).and_then(|n| u64::try_from(n).ok());
            let missing = || format!("{case} has no number");
            let instructions = number("instructions").with_context(missing)?;
            counts.push(case, Cost { instructions, cycles: number("cycles").with_context(missing)? });
        }
        Ok(counts)
    }

    fn text(&self) -> String {
        let mut text = "# Written by `cargo xtask bench instructions`.\n".to_owned();
        for (case, Cost { instructions, cycles }) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\"{case}\" = {{ instructions = {instructions}, cycles = {cycles} }}");
        }
        text
    }

    /// A table, and below it what has changed by more than `tolerance` percent.
    pub(super) fn print(&self, baseline: Option<&Self>, tolerance: f64) {
        println!("{:40} {:>14} {:>9} {:>14} {:>9}", "case", "instructions", "change", "cycles, est.", "change");
        let baseline: HashMap<&str, Cost> =
            baseline.into_iter().flat_map(|counts| &counts.0).map(|(case, cost)| (case.as_str(), *cost)).collect();
        let (mut more, mut less) = (0, 0);
        for (case, cost) in &self.0 {
            let before = baseline.get(case.as_str());
            let instructions = before.map(|before| change(cost.instructions, before.instructions));
            let cycles = before.map(|before| change(cost.cycles, before.cycles));
            more += usize::from(instructions.is_some_and(|change| change > tolerance));
            less += usize::from(instructions.is_some_and(|change| change < -tolerance));
            println!(
                "{case:40} {:>14} {:>9} {:>14} {:>9}",
                grouped(cost.instructions),
                percent(instructions),
                grouped(cost.cycles),
                percent(cycles)
            );
        }
        if more > 0 {
            println!("warning: {more} of {} cases take over {tolerance} % more instructions", self.0.len());
        }
        if less > 0 {
            println!("{less} of {} cases take over {tolerance} % fewer instructions", self.0.len());
        }
    }
}

/// By how many percent `now` is more than `before`.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn change(now: u64, before: u64) -> f64 {
    (now as f64 / before.max(1) as f64 - 1.0) * 100.0
}

fn percent(change: Option<f64>) -> String {
    change.map(|change| format!("{change:+.1} %")).unwrap_or_default()
}

/// With a comma for each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept() {
        let mut counts = Counts::default();
        counts.push("line/b", Cost { instructions: 12, cycles: 34 });
        counts.push("line/a", Cost { instructions: 1, cycles: 2 });
        assert_eq!(Counts::parse(&counts.text()).unwrap(), counts);
        assert!(Counts::parse("\"line/a\" = { instructions = 1 }").is_err());
    }

    #[test]
    fn numbers_are_shown() {
        assert_eq!([0, 999, 1000, 12_345, 1_234_567].map(grouped), ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(percent(Some(change(110, 100))), "+10.0 %");
        assert_eq!(percent(Some(change(50, 100))), "-50.0 %");
    }
}
