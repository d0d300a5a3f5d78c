//! Regular expressions, all of a set in one automaton (regex-automata).

use regex_automata::{
    Input,
    meta::{BuildError, Config, Regex},
    util::{captures::Captures, syntax},
};

use super::{Match, PatternOptions, runs::Runs};

/// Bytes that a set may take compiled.
const COMPILED: usize = 16 * 1024 * 1024;
/// Bytes that a search may take for states that it builds on the way.
const CACHE: usize = 4 * 1024 * 1024;
/// Brackets within one another in an expression.
const NESTING: u32 = 100;

#[derive(Debug)]
pub(super) struct Expressions {
    regex: Regex,
    /// Where matches can stand, if that can be told beforehand.
    runs: Option<Runs>,
    /// The patterns are wrapped: what counts is their first group.
    whole_word: bool,
}

impl Expressions {
    pub(super) fn compile(patterns: &[String], options: PatternOptions) -> Result<Self, String> {
        let syntax = syntax::Config::new().case_insensitive(options.case_insensitive).utf8(false).nest_limit(NESTING);
        let mut parsed = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            parsed.push(syntax::parse_with(pattern, &syntax).map_err(|error| format!("pattern {index}: {error}"))?);
        }
        let runs = if options.whole_word { None } else { Runs::of(&parsed) };
        let wrapped: Vec<String> = match options.whole_word {
            true => patterns.iter().map(|pattern| whole_word(pattern)).collect(),
            false => patterns.to_vec(),
        };
        let config = Config::new()
            .nfa_size_limit(Some(COMPILED))
            .onepass_size_limit(Some(COMPILED / 16))
            .hybrid_cache_capacity(CACHE)
            .utf8_empty(false);
        let regex = Regex::builder().configure(config).syntax(syntax).build_many(&wrapped);
        match regex {
            Ok(regex) => Ok(Self { regex, runs, whole_word: options.whole_word }),
            Err(error) => Err(explained(&error, patterns.len())),
        }
    }

    pub(super) fn find(&self, text: &[u8], limit: usize) -> Vec<Match> {
        if self.whole_word {
            return self.find_words(text, limit);
        }
        if let Some(runs) = &self.runs {
            return self.find_in_runs(runs, text, limit);
        }
        let matches = self.regex.find_iter(text).filter(|found| !found.is_empty());
        matches
            .take(limit)
            .map(|found| Match { pattern: found.pattern().as_u32(), start: found.start(), end: found.end() })
            .collect()
    }

    /// The same, where matches can stand alone. What is looked at on either side of a match may stand outside of it.
    fn find_in_runs(&self, runs: &Runs, text: &[u8], limit: usize) -> Vec<Match> {
        let mut found = Vec::new();
        for stretch in runs.stretches(text) {
            let mut input = Input::new(text).span(stretch);
            while found.len() < limit
                && let Some(next) = self.regex.search(&input)
            {
                found.push(Match { pattern: next.pattern().as_u32(), start: next.start(), end: next.end() });
                input.set_start(next.end());
            }
            if found.len() >= limit {
                break;
            }
        }
        found
    }

    /// The next search begins where the last word ended, so that what stands after it can stand before the next.
    fn find_words(&self, text: &[u8], limit: usize) -> Vec<Match> {
        let mut found = Vec::new();
        let mut captures: Captures = self.regex.create_captures();
        let mut input = Input::new(text);
        while found.len() < limit && !input.is_done() {
            self.regex.search_captures(&input, &mut captures);
            let (Some(whole), Some(pattern), Some(word)) =
                (captures.get_match(), captures.pattern(), captures.get_group(1))
            else {
                break;
            };
            if !word.is_empty() {
                found.push(Match { pattern: pattern.as_u32(), start: word.start, end: word.end });
            }
            let next = if word.end > input.start() { word.end } else { whole.end().max(input.start() + 1) };
            if next > text.len() {
                break;
            }
            input.set_start(next);
        }
        found
    }
}

/// `\b` would take an underscore for a part of a word; a letter or digit is meant. (A byte that is no UTF-8 is taken for
/// a part of one too: the automaton cannot tell it from a part of a letter. There is none but in scope raw.)
fn whole_word(pattern: &str) -> String {
    format!(r"(?:\A|[^\p{{L}}\p{{N}}])((?:{pattern}))(?:\z|[^\p{{L}}\p{{N}}])")
}

fn explained(error: &BuildError, patterns: usize) -> String {
    match (error.pattern(), error.size_limit()) {
        // Each parsed by itself, so it is the wrapping: a comment at the end of a verbose pattern swallows it.
        (Some(pattern), _) => format!("pattern {}: cannot be searched for as a whole word", pattern.as_usize()),
        (None, Some(limit)) => format!("the {patterns} patterns take more than {limit} bytes compiled"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: PatternOptions = PatternOptions { regex: true, case_insensitive: false, whole_word: false };
    /// Such as filters have for numbers, and for characters that nobody sees.
    const PATTERNS: [&[&str]; 5] = [
        &[
            r"[0-9](?:[ \x{a0}-]?[0-9]){7,9}(?-u:\b)|[0-9](?:[ -]?[0-9]){5,7}|[\x{ff10}-\x{ff19}](?:-?[\x{ff10}-\x{ff19}]){5}",
        ],
        &[r"(?-u:\b)[0-9]{3}-[0-9]{2}-[0-9]{4}(?-u:\b)", "[0-9]{6,7}"],
        &[r"[\x{ad}\x{200b}-\x{200f}\x{300}-\x{36f}]"],
        &[r"(?:\r\n|^)[0-9]{6}$"],
        &[r"(?s-u:[\x80-\xff][\x80-\xff])"],
    ];

    #[test]
    fn what_is_searched_in_runs() {
        for patterns in PATTERNS {
            let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            assert!(Expressions::compile(&patterns, OPTIONS).unwrap().runs.is_some(), "{patterns:?}");
        }
        for pattern in
            ["[0-9]", "[0-9]*", "[0-9]{3}|[a-z]{9}", "(?:)", "[0-9]{6}|", r"(?i)k{9}", r"\w{9}", "[0-9]{3,}x?"]
        {
            assert!(Expressions::compile(&[pattern.to_owned()], OPTIONS).unwrap().runs.is_none(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn runs_hold_all_matches(
            text in "(([0-9]{1,9}|[- ]|\r\n|x|[a-z ]{0,9}|[\u{a0}\u{ad}\u{200b}\u{301}\u{e9}\u{ff11}]){0,12}(z{300})?){0,4}",
            limit in 0_usize..6,
        ) {
            for patterns in PATTERNS {
                let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
                let searched = Expressions::compile(&patterns, OPTIONS).unwrap();
                let plain = Expressions { regex: searched.regex.clone(), runs: None, whole_word: false };
                prop_assert_eq!(searched.find(text.as_bytes(), limit), plain.find(text.as_bytes(), limit));
            }
        }
    }
}
