//! Data loss prevention: finds payment, bank and personal data, keywords and sensitivity labels in a message, and
//! refuses, quarantines, reroutes, copies or tags it.
//!
//! The text stays with the host: it searches natively for candidates, and only what matched enters the sandbox to be
//! checked. Matched values are never logged; see [`detector::Finding`] for what is shown instead.

pub mod config;
pub mod detector;
mod keywords;
mod outcome;
mod search;

use std::collections::BTreeMap;

use mailweir_filter::prelude::*;

use config::{Action, Config, Incomplete};
use detector::Detector;
use outcome::Triggered;
use search::{DetectorSearch, Disguise, Found, RuleSearch};

/// The filter, configured.
#[derive(Debug)]
pub struct Dlp {
    detectors: Vec<DetectorSearch>,
    rules: Vec<Rule>,
    /// None when no rule has keywords.
    disguise: Option<Disguise>,
    incomplete: Incomplete,
}

#[derive(Debug)]
struct Rule {
    name: String,
    detect: Vec<Detector>,
    search: RuleSearch,
    minimum: usize,
    action: Action,
}

impl Filter for Dlp {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Plan), String> {
        config::check(&config)?;
        let rules = config.rules.iter().map(Rule::new).collect::<Result<Vec<_>, _>>()?;
        // A detector that two rules use searches once.
        let mut detectors: Vec<Detector> = rules.iter().flat_map(|rule| rule.detect.iter().copied()).collect();
        detectors.sort_unstable();
        detectors.dedup();
        let detectors = detectors.into_iter().map(DetectorSearch::new).collect::<Result<Vec<_>, _>>()?;
        let has_keywords = config.rules.iter().any(|rule| !rule.keywords.is_empty());
        let disguise = has_keywords.then(Disguise::new).transpose()?;
        let plan = Plan::new().on_end();
        let edits = rules.iter().any(|rule| matches!(rule.action, Action::AddRecipient(_)));
        Ok((
            Self { detectors, rules, disguise, incomplete: config.incomplete },
            if edits { plan.edits() } else { plan },
        ))
    }

    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        let found: BTreeMap<Detector, Found> =
            self.detectors.iter().map(|search| (search.detector, search.run(mail))).collect();
        let mut cut_short: Vec<&str> =
            found.iter().filter(|(_, found)| found.is_incomplete).map(|(detector, _)| detector.name()).collect();
        let may_be_disguised = self.disguise.as_ref().is_some_and(|disguise| disguise.is_possible(mail));
        let mut triggered = Vec::new();
        for rule in &self.rules {
            let searched = rule.search.run(mail, may_be_disguised);
            cut_short.extend(searched.iter().filter(|(_, found)| found.is_incomplete).map(|(kind, _)| *kind));
            let detected = rule.detect.iter().filter_map(|detector| Some((detector.name(), found.get(detector)?)));
            let all: Vec<(&str, &Found)> =
                detected.chain(searched.iter().map(|(kind, found)| (*kind, found))).collect();
            let distinct: usize = all.iter().map(|(_, found)| found.distinct.len()).sum();
            if distinct >= rule.minimum {
                triggered.push(Triggered::new(&rule.name, &rule.action, &all));
            }
        }
        cut_short.sort_unstable();
        cut_short.dedup();
        let incomplete = outcome::Incomplete { searches: &cut_short, action: self.incomplete };
        outcome::decide(&triggered, &incomplete, || mail.recipients())
    }
}

impl Rule {
    fn new(rule: &config::RuleConfig) -> Result<Self, String> {
        let name = rule.name.clone();
        let in_rule = |problem: String| format!("rule \"{name}\": {problem}");
        let mut detect = rule.detect.clone();
        detect.sort_unstable();
        detect.dedup();
        Ok(Self {
            detect,
            search: RuleSearch::new(rule).map_err(in_rule)?,
            minimum: usize::try_from(rule.minimum).unwrap_or(usize::MAX),
            action: rule.action.check().map_err(in_rule)?,
            name: rule.name.clone(),
        })
    }
}

mailweir_filter::export!(Dlp);
