//! Literal patterns, with the Aho-Corasick automaton.

use aho_corasick::{
    AhoCorasick, Anchored, MatchKind,
    automaton::Automaton,
    nfa::contiguous::{Builder, NFA},
};

use super::{Match, PatternOptions, is_within_word};

/// Candidates gathered before overlapping ones are sorted out, at most. Only patterns that begin or end one another
/// make more of them than hits.
const CANDIDATES: usize = 100_000;

#[derive(Debug)]
pub(super) enum Literals {
    /// Bytes as they are; of several at one place the longest.
    Exact(AhoCorasick),
    /// Candidates are looked at one by one.
    Stepped(Box<Stepped>),
}

#[derive(Debug)]
pub(super) struct Stepped {
    automaton: NFA,
    /// The characters of each pattern.
    lengths: Vec<usize>,
    options: PatternOptions,
}

impl Literals {
    pub(super) fn compile(patterns: &[String], options: PatternOptions) -> Result<Self, String> {
        if !options.case_insensitive && !options.whole_word {
            let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
            return automaton.map(Self::Exact).map_err(|error| error.to_string());
        }
        let folded = patterns.iter().map(|pattern| match options.case_insensitive {
            true => pattern.chars().map(folded).collect(),
            false => pattern.clone(),
        });
        let automaton = Builder::new().build(folded).map_err(|error| error.to_string())?;
        let lengths = patterns.iter().map(|pattern| pattern.chars().count()).collect();
        Ok(Self::Stepped(Box::new(Stepped { automaton, lengths, options })))
    }

    pub(super) fn find(&self, text: &[u8], limit: usize) -> Vec<Match> {
        match self {
            Self::Exact(automaton) => automaton
                .find_iter(text)
                .take(limit)
                .map(|found| Match { pattern: found.pattern().as_u32(), start: found.start(), end: found.end() })
                .collect(),
            Self::Stepped(stepped) => leftmost_longest(stepped.candidates(text), limit),
        }
    }
}

impl Stepped {
    /// All matches, overlapping ones too, by their ends.
    fn candidates(&self, text: &[u8]) -> Vec<Match> {
        let mut found = Vec::new();
        let Ok(mut state) = self.automaton.start_state(Anchored::No) else { return found };
        let mut at = 0;
        let mut buffer = [0; 4];
        for chunk in text.utf8_chunks() {
            for character in chunk.valid().chars() {
                at += character.len_utf8();
                let character = if self.options.case_insensitive { folded(character) } else { character };
                for &byte in character.encode_utf8(&mut buffer).as_bytes() {
                    state = self.automaton.next_state(Anchored::No, state, byte);
                }
                if self.automaton.is_match(state) {
                    let count = self.automaton.match_len(state);
                    let patterns = (0..count).map(|index| self.automaton.match_pattern(state, index).as_u32());
                    found.extend(patterns.filter_map(|pattern| self.candidate(text, pattern, at)));
                    if found.len() >= CANDIDATES {
                        return found;
                    }
                }
            }
            // No pattern has bytes that are not UTF-8.
            if let (false, Ok(start)) = (chunk.invalid().is_empty(), self.automaton.start_state(Anchored::No)) {
                state = start;
            }
            at += chunk.invalid().len();
        }
        found
    }

    fn candidate(&self, text: &[u8], pattern: u32, end: usize) -> Option<Match> {
        // Folding is one character for one, so the match has as many characters as the pattern; they were just seen,
        // so they are UTF-8.
        let is_start = |&&byte: &&u8| byte & 0xc0 != 0x80;
        let mut starts = text[..end].iter().enumerate().rev().filter(|(_, byte)| is_start(byte));
        let start = starts.nth(self.lengths[pattern as usize] - 1)?.0;
        let fits = !self.options.whole_word || !is_within_word(text, start, end);
        fits.then_some(Match { pattern, start, end })
    }
}

fn leftmost_longest(mut candidates: Vec<Match>, limit: usize) -> Vec<Match> {
    candidates.sort_by_key(|found| (found.start, usize::MAX - found.end, found.pattern));
    let mut free = 0;
    candidates.retain(|found| {
        let fits = found.start >= free;
        if fits {
            free = found.end;
        }
        fits
    });
    candidates.truncate(limit);
    candidates
}

/// One character for all that differ in case only (Unicode simple case folding): the lower case of its upper case,
/// where these are single characters. The dotless i is a letter of its own.
fn folded(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    if character == '\u{131}' {
        return character;
    }
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut mapped: impl Iterator<Item = char>) -> Option<char> {
    let only = mapped.next()?;
    mapped.next().is_none().then_some(only)
}
