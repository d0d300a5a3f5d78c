//! Running pattern sets over a message and turning the hits into evidence.

use std::collections::BTreeMap;

use mailweir_filter::Mail;
use mailweir_filter::scan::{Hit, PatternOptions, PatternSet, Scope};

use crate::config::{Label, RuleConfig};
use crate::detector::{Detector, Finding};
use crate::keywords::{self, Keyword, has_word_boundaries};

/// The host returns no more hits of a search; reaching it means that there may be more.
const MAX_HITS: u32 = 10_000;

/// Keywords in disguise that are searched for at once: the host limits what a set takes compiled.
const BATCH: usize = 200;

/// What one search found: distinct values, each with what a log may show of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By value, so that repetitions count once. The values are secret: never logged.
    pub(crate) distinct: BTreeMap<String, Option<String>>,
    /// Whether the search ended early, at the host's limit.
    pub(crate) is_incomplete: bool,
}

impl Found {
    /// What another search for the same found.
    fn add(&mut self, more: Self) {
        self.distinct.extend(more.distinct);
        self.is_incomplete |= more.is_incomplete;
    }
}

/// A detector with its compiled candidate patterns.
#[derive(Debug)]
pub(crate) struct DetectorSearch {
    pub(crate) detector: Detector,
    candidates: PatternSet,
}

impl DetectorSearch {
    /// # Errors
    ///
    /// The host could not compile the patterns.
    pub(crate) fn new(detector: Detector) -> Result<Self, String> {
        let candidates = PatternSet::compile(&detector.candidate_patterns(), PatternOptions::REGEX)
            .map_err(|problem| format!("detector {}: {problem}", detector.name()))?;
        Ok(Self { detector, candidates })
    }

    /// What is real among the candidates in the message's text.
    pub(crate) fn run(&self, mail: &Mail) -> Found {
        let hits = self.candidates.find(mail, Scope::Text, MAX_HITS);
        let is_incomplete = is_full(&hits);
        let findings = joined(hits).into_iter().flat_map(|candidate| self.detector.check(&candidate));
        Found { distinct: findings.map(|Finding { value, masked }| (value, masked)).collect(), is_incomplete }
    }
}

/// The matched bytes, with matches that touch joined: a long run of digits comes in pieces.
fn joined(hits: Vec<Hit>) -> Vec<Vec<u8>> {
    let mut candidates: Vec<Vec<u8>> = Vec::with_capacity(hits.len());
    let mut previous_end = None;
    for hit in hits {
        let begin = (hit.pattern, hit.part, hit.offset);
        let end = (hit.pattern, hit.part, hit.offset + hit.matched.len() as u64);
        match candidates.last_mut() {
            Some(candidate) if previous_end == Some(begin) => candidate.extend_from_slice(&hit.matched),
            _ => candidates.push(hit.matched),
        }
        previous_end = Some(end);
    }
    candidates
}

/// Whether a message's text can hold words in disguise.
#[derive(Debug)]
pub(crate) struct Disguise(PatternSet);

impl Disguise {
    /// # Errors
    ///
    /// The host could not compile the pattern.
    pub(crate) fn new() -> Result<Self, String> {
        let set = PatternSet::compile(&[keywords::disguise()], PatternOptions::REGEX);
        set.map(Self).map_err(|problem| format!("keywords: {problem}"))
    }

    pub(crate) fn is_possible(&self, mail: &Mail) -> bool {
        !self.0.find(mail, Scope::Text, 1).is_empty()
    }
}

/// The keywords and patterns of one rule, compiled.
#[derive(Debug)]
pub(crate) struct RuleSearch {
    sets: Vec<WordSet>,
    /// The keywords once more, those that count as whole words and those that do not.
    keywords: [Vec<String>; 2],
    labels: Vec<Label>,
}

/// A pattern set, and how its hits are told apart and shown.
#[derive(Debug)]
struct WordSet {
    patterns: PatternSet,
    names: Names,
}

#[derive(Debug)]
enum Names {
    /// Hits of one pattern are the same keyword, which the operator wrote and may read.
    Keywords(Vec<String>),
    /// Hits are told apart by what matched, which may not be shown.
    Matches,
}

impl RuleSearch {
    /// # Errors
    ///
    /// The host could not compile the keywords or patterns; the error names the one.
    pub(crate) fn new(rule: &RuleConfig) -> Result<Self, String> {
        let mut sets = Vec::new();
        let is_whole = |keyword: &String| rule.whole_word && has_word_boundaries(keyword);
        let (whole, parts): (Vec<String>, Vec<String>) = rule.keywords.iter().cloned().partition(is_whole);
        for (keywords, whole_word) in [(&whole, true), (&parts, false)] {
            let (mut literals, mut phrases) = (Vec::new(), Vec::new());
            for keyword in keywords {
                match Keyword::new(keyword) {
                    Keyword::Literal(text) => literals.push((text, keyword.clone())),
                    Keyword::Phrase(pattern) => phrases.push((pattern, keyword.clone())),
                }
            }
            let options = options(whole_word);
            sets.extend(WordSet::keywords(literals, options)?);
            sets.extend(WordSet::keywords(phrases, options | PatternOptions::REGEX)?);
        }
        if !rule.patterns.is_empty() {
            let patterns = PatternSet::compile(&rule.patterns, PatternOptions::REGEX)
                .map_err(|problem| format!("patterns: {problem}"))?;
            sets.push(WordSet { patterns, names: Names::Matches });
        }
        Ok(Self { sets, keywords: [whole, parts], labels: rule.labels.clone() })
    }

    /// Keywords, labels and patterns found, each kind with a name to report it under.
    pub(crate) fn run(&self, mail: &Mail, may_be_disguised: bool) -> [(&'static str, Found); 3] {
        let (mut keywords, mut patterns) = (Found::default(), Found::default());
        for set in &self.sets {
            let found = match set.names {
                Names::Keywords(_) => &mut keywords,
                Names::Matches => &mut patterns,
            };
            found.add(set.run(mail));
        }
        if may_be_disguised && !self.keywords.iter().all(Vec::is_empty) {
            keywords.add(self.find_disguised(mail));
        }
        [("keyword", keywords), ("label", self.find_labels(mail)), ("pattern", patterns)]
    }

    fn find_disguised(&self, mail: &Mail) -> Found {
        let mut found = Found::default();
        for (keywords, whole_word) in self.keywords.iter().zip([true, false]) {
            for batch in keywords.chunks(BATCH) {
                let patterns = batch.iter().map(|keyword| (keywords::disguised(keyword), keyword.clone())).collect();
                match WordSet::keywords(patterns, options(whole_word) | PatternOptions::REGEX) {
                    Ok(set) => set.into_iter().for_each(|set| found.add(set.run(mail))),
                    // What cannot be searched for may be there.
                    Err(_) => found.is_incomplete = true,
                }
            }
        }
        found
    }

    fn find_labels(&self, mail: &Mail) -> Found {
        let present = self.labels.iter().filter(|label| {
            let values = mail.header_text(&label.header);
            values.iter().any(|value| label.applies_to(value))
        });
        let distinct = present.map(|label| (label.to_string(), Some(label.to_string()))).collect();
        Found { distinct, is_incomplete: false }
    }
}

impl WordSet {
    /// `None` without keywords.
    fn keywords(keywords: Vec<(String, String)>, options: PatternOptions) -> Result<Option<Self>, String> {
        if keywords.is_empty() {
            return Ok(None);
        }
        let (patterns, names): (Vec<String>, Vec<String>) = keywords.into_iter().unzip();
        let patterns = PatternSet::compile(&patterns, options).map_err(|problem| format!("keywords: {problem}"))?;
        Ok(Some(Self { patterns, names: Names::Keywords(names) }))
    }

    fn run(&self, mail: &Mail) -> Found {
        let hits = self.patterns.find(mail, Scope::Text, MAX_HITS);
        let is_incomplete = is_full(&hits);
        match &self.names {
            Names::Keywords(names) => {
                let named = hits.iter().filter_map(|hit| names.get(hit.pattern as usize));
                let distinct = named.map(|name| (name.to_lowercase(), Some(name.clone()))).collect();
                Found { distinct, is_incomplete }
            }
            Names::Matches => {
                let matched = hits.iter().map(|hit| String::from_utf8_lossy(&hit.matched).trim().to_owned());
                Found { distinct: matched.map(|value| (value, None)).collect(), is_incomplete }
            }
        }
    }
}

fn options(whole_word: bool) -> PatternOptions {
    let word = if whole_word { PatternOptions::WHOLE_WORD } else { PatternOptions::empty() };
    PatternOptions::CASE_INSENSITIVE | word
}

fn is_full(hits: &[Hit]) -> bool {
    hits.len() >= MAX_HITS as usize
}

impl Label {
    fn applies_to(&self, value: &str) -> bool {
        let value = value.trim().to_lowercase();
        match (&self.equals, &self.contains) {
            (Some(expected), _) => value == expected.trim().to_lowercase(),
            (None, Some(part)) => value.contains(&part.to_lowercase()),
            (None, None) => true,
        }
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.equals, &self.contains) {
            (Some(value), _) | (None, Some(value)) => write!(formatter, "{}: {value}", self.header),
            (None, None) => formatter.write_str(&self.header),
        }
    }
}
