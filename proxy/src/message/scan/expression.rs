//! Regular expressions, all of a set in one automaton (regex-automata).

use regex_automata::{
    Input,
    meta::{BuildError, Config, Regex},
    util::{captures::Captures, syntax},
};

use super::{Match, PatternOptions};

/// Bytes that a set may take compiled.
const COMPILED: usize = 16 * 1024 * 1024;
/// Bytes that a search may take for states that it builds on the way.
const CACHE: usize = 4 * 1024 * 1024;
/// Brackets within one another in an expression.
const NESTING: u32 = 100;

#[derive(Debug)]
pub(super) struct Expressions {
    regex: Regex,
    /// The patterns are wrapped: what counts is their first group.
    whole_word: bool,
}

impl Expressions {
    pub(super) fn compile(patterns: &[String], options: PatternOptions) -> Result<Self, String> {
        let syntax = syntax::Config::new().case_insensitive(options.case_insensitive).utf8(false).nest_limit(NESTING);
        for (index, pattern) in patterns.iter().enumerate() {
            syntax::parse_with(pattern, &syntax).map_err(|error| format!("pattern {index}: {error}"))?;
        }
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
            Ok(regex) => Ok(Self { regex, whole_word: options.whole_word }),
            Err(error) => Err(explained(&error, patterns.len())),
        }
    }

    pub(super) fn find(&self, text: &[u8], limit: usize) -> Vec<Match> {
        if self.whole_word {
            return self.find_words(text, limit);
        }
        let matches = self.regex.find_iter(text).filter(|found| !found.is_empty());
        matches
            .take(limit)
            .map(|found| Match { pattern: found.pattern().as_u32(), start: found.start(), end: found.end() })
            .collect()
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
