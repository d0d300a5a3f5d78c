//! The table, and the cases that disagree.

use super::known::{self, Known};

/// How a suite came out: one row.
pub(super) struct Tally {
    /// Whose suite, and which part.
    suite: String,
    cases: usize,
    agreed: usize,
    disagreements: Vec<Disagreement>,
    /// Figures that are more than a count, such as precision and recall.
    figures: String,
    is_skipped: bool,
}

/// A case in which mailweir says something else.
#[derive(Debug)]
pub(super) struct Disagreement {
    pub(super) case: String,
    pub(super) expected: String,
    pub(super) got: String,
}

impl Tally {
    pub(super) fn new(suite: impl Into<String>, cases: usize, disagreements: Vec<Disagreement>) -> Self {
        let mut differing: Vec<&str> = disagreements.iter().map(|found| &*found.case).collect();
        differing.dedup();
        let agreed = cases.saturating_sub(differing.len());
        Self { suite: suite.into(), cases, agreed, disagreements, figures: String::new(), is_skipped: false }
    }

    /// So many agree, though not every other one is told.
    pub(super) fn with_agreed(self, agreed: usize) -> Self {
        Self { agreed, ..self }
    }

    /// The data of a suite is not there.
    pub(super) fn skipped(suite: &str) -> Vec<Self> {
        vec![Self { is_skipped: true, ..Self::new(suite, 0, Vec::new()) }]
    }

    pub(super) const fn is_skipped(&self) -> bool {
        self.is_skipped
    }

    /// A suite could not be run to its end.
    pub(super) fn failed(suite: &str, error: &anyhow::Error) -> Self {
        let failure = Disagreement {
            case: "the suite".to_owned(),
            expected: "to run to its end".to_owned(),
            got: format!("{error:#}"),
        };
        Self::new(suite, 1, vec![failure])
    }

    pub(super) fn with_figures(self, figures: String) -> Self {
        Self { figures, ..self }
    }

    /// The disagreements that nobody has argued for, and the arguments that nothing needs any more.
    pub(super) fn unexpected(&self) -> impl Iterator<Item = String> {
        let unknown = self.disagreements.iter().filter(|found| known::reason(&self.suite, &found.case).is_none());
        let stale = known::of(&self.suite)
            .filter(|known| !self.is_skipped && !self.disagreements.iter().any(|found| found.case == known.case));
        unknown
            .map(|found| format!("{}: {found}", self.suite))
            .chain(stale.map(|known| format!("{}: {}: agrees now; take it out of the table", self.suite, known.case)))
    }

    fn expected(&self) -> impl Iterator<Item = (&Disagreement, &'static Known)> {
        self.disagreements.iter().filter_map(|found| Some((found, known::reason(&self.suite, &found.case)?)))
    }
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: expected {}, got {}", self.case.escape_debug(), self.expected, self.got)
    }
}

pub(super) fn print(tallies: &[Tally]) {
    let width = tallies.iter().map(|tally| tally.suite.chars().count()).max().unwrap_or(0);
    println!("\n{:width$}  {:>5}  {:>6}  {:>6}  figures", "suite", "cases", "agreed", "argued");
    for tally in tallies {
        if tally.is_skipped {
            println!("{:width$}  skipped: its data is not in {}", tally.suite, super::TESTDATA);
            continue;
        }
        let argued = tally.expected().count();
        let row =
            format!("{:width$}  {:>5}  {:>6}  {argued:>6}  {}", tally.suite, tally.cases, tally.agreed, tally.figures);
        println!("{}", row.trim_end());
    }
    let argued: Vec<_> = tallies.iter().flat_map(|tally| tally.expected().map(move |pair| (tally, pair))).collect();
    if !argued.is_empty() {
        println!("\nDisagreements, and why:");
    }
    for (tally, (found, known)) in argued {
        println!("  {}: {found}", tally.suite);
        println!("      {} ({})", known.because, known.section);
    }
    let unexpected: Vec<String> = tallies.iter().flat_map(Tally::unexpected).collect();
    if !unexpected.is_empty() {
        println!("\nDisagreements without a reason:");
    }
    unexpected.iter().for_each(|line| println!("  {line}"));
}
