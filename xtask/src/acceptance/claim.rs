//! What a scenario claims, each claim with what was found.

use std::fmt::Display;

use super::{Outcome, State};

/// The claims of one scenario, in the order in which they were looked at.
pub(super) struct Claims {
    criterion: &'static str,
    outcomes: Vec<Outcome>,
}

impl Claims {
    pub(super) fn of(criterion: &'static str) -> Self {
        Self { criterion, outcomes: Vec::new() }
    }

    /// A claim that holds or does not.
    pub(super) fn check(&mut self, claim: impl Display, holds: bool, found: impl Display) {
        let state = if holds { State::Passed } else { State::Failed };
        let result = found.to_string().lines().map(str::to_owned).collect();
        self.outcomes.push(Outcome { criterion: self.criterion, command: claim.to_string(), state, result });
    }

    /// Lines that explain the last claim.
    pub(super) fn explain(&mut self, lines: impl IntoIterator<Item = String>) {
        if let Some(last) = self.outcomes.last_mut() {
            last.result.extend(lines);
        }
    }

    pub(super) fn outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }
}
