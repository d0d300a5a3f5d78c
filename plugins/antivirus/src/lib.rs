//! Virus scanning: the host has the daemon scan the message, and this filter decides what the answer means.
//!
//! A scan that failed is never taken for a clean message unless the configuration says so.

use mailweir_filter::antivirus::{self, ScanResult};
use mailweir_filter::observe;
use mailweir_filter::prelude::*;
use serde::Deserialize;

/// Characters of a signature's name that are shown.
const MAX_NAME: usize = 100;

/// What stands in `[plugin.antivirus.config]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens to an infected message.
    #[serde(default)]
    pub infected: Infected,
    /// What happens to a message that could not be scanned.
    #[serde(default)]
    pub failed: Failed,
}

/// What happens to an infected message.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Infected {
    /// 554 5.7.0 with the signature's name.
    #[default]
    Reject,
    /// Kept for the operator.
    Quarantine,
    /// Accepted and dropped.
    Discard,
}

/// What happens to a message that could not be scanned.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failed {
    /// 451 4.7.0: the client tries again later.
    #[default]
    Tempfail,
    /// 554 5.7.0.
    Reject,
    /// Delivered unscanned, with the tag `antivirus=failed`.
    Pass,
}

/// The filter, configured.
#[derive(Debug)]
pub struct Antivirus {
    config: Config,
}

impl Filter for Antivirus {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Plan), String> {
        Ok((Self { config }, Plan::new().on_end()))
    }

    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        match antivirus::scan(mail) {
            ScanResult::Clean => Decision::pass().tag("antivirus", "clean"),
            ScanResult::Infected(name) => self.infected(&printable(&name)),
            ScanResult::Failed(problem) => self.failed(&printable(&problem)),
        }
        .into()
    }
}

impl Antivirus {
    fn infected(&self, name: &str) -> Decision {
        observe::count("infected", 1);
        let decision = match self.config.infected {
            Infected::Reject => Decision::reject("5.7.0", format!("the message contains {name}")).code(554),
            Infected::Quarantine => Decision::quarantine(format!("infected: {name}")),
            Infected::Discard => Decision::discard(),
        };
        decision.because(format!("infected: {name}")).tag("antivirus", "infected")
    }

    /// The client learns nothing of why: that is the operator's concern.
    fn failed(&self, problem: &str) -> Decision {
        observe::count("failed", 1);
        let decision = match self.config.failed {
            Failed::Tempfail => Decision::tempfail("4.7.0", "the message cannot be scanned now, try again later"),
            Failed::Reject => Decision::reject("5.7.0", "the message cannot be scanned").code(554),
            Failed::Pass => Decision::pass(),
        };
        decision.because(format!("not scanned: {problem}")).tag("antivirus", "failed")
    }
}

/// At most [`MAX_NAME`] printable ASCII characters. Signature names are the database's, but some are made from the
/// names of files in the message.
fn printable(text: &str) -> String {
    let shown: String =
        text.chars().take(MAX_NAME).map(|character| if is_printable(character) { character } else { '?' }).collect();
    if shown.trim().is_empty() { "unnamed".to_owned() } else { shown }
}

fn is_printable(character: char) -> bool {
    character == ' ' || character.is_ascii_graphic()
}

mailweir_filter::export!(Antivirus);
