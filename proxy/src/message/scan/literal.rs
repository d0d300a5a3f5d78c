//! Literal patterns, with the Aho-Corasick automaton.

use std::ops::ControlFlow;

use aho_corasick::{
    AhoCorasick, Anchored, MatchKind,
    automaton::Automaton,
    nfa::contiguous::{Builder, NFA},
};
use memchr::memmem;

use super::{Match, PatternOptions, blocks::Blocks, is_within_word};

/// Candidates gathered before overlapping ones are sorted out, at most. Only patterns that begin or end one another
/// make more of them than hits.
const CANDIDATES: usize = 100_000;
/// The characters that are not US-ASCII but fold to a letter that is: long s and the kelvin sign.
const FOLDS_TO_ASCII: [&str; 2] = ["\u{17f}", "\u{212a}"];
/// Bytes looked at more than once while most of a text is skipped, at most so many for each byte of it.
const LOOKED_AT: usize = 4;

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
    /// What skips most of a text, where the patterns allow it.
    blocks: Option<Blocks>,
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
        let folded: Vec<String> = match options.case_insensitive {
            true => patterns.iter().map(|pattern| pattern.chars().map(folded).collect()).collect(),
            false => patterns.to_vec(),
        };
        let automaton = Builder::new().build(&folded).map_err(|error| error.to_string())?;
        let lengths = patterns.iter().map(|pattern| pattern.chars().count()).collect();
        let blocks = if options.case_insensitive { Blocks::new(&folded) } else { None };
        Ok(Self::Stepped(Box::new(Stepped { automaton, blocks, lengths, options })))
    }

    pub(super) fn find(&self, text: &[u8], limit: usize) -> Vec<Match> {
        match self {
            Self::Exact(automaton) => automaton
                .find_iter(text)
                .take(limit)
                .map(|found| Match { pattern: found.pattern().as_u32(), start: found.start(), end: found.end() })
                .collect(),
            Self::Stepped(stepped) => {
                let candidates = stepped.skipping(text).unwrap_or_else(|| stepped.candidates(text));
                leftmost_longest(candidates, limit)
            }
        }
    }
}

impl Stepped {
    /// The same as `candidates`, most of the text passed over; none where that cannot be done, or would take longer.
    fn skipping(&self, text: &[u8]) -> Option<Vec<Match>> {
        let blocks = self.blocks.as_ref()?;
        if !text.is_ascii() && FOLDS_TO_ASCII.iter().any(|folds| memmem::find(text, folds.as_bytes()).is_some()) {
            return None;
        }
        let mut found = Vec::new();
        let mut left = LOOKED_AT * text.len();
        let looked_at_all = blocks.places(text, |start| match self.patterns_at(text, start, &mut left, &mut found) {
            Some(()) if found.len() < CANDIDATES => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        looked_at_all.is_continue().then_some(found)
    }

    /// The patterns that begin at this place; none when no more than `left` bytes were to be looked at.
    fn patterns_at(&self, text: &[u8], start: usize, left: &mut usize, found: &mut Vec<Match>) -> Option<()> {
        let mut state = self.automaton.start_state(Anchored::Yes).ok()?;
        for (end, byte) in (start + 1..).zip(&text[start..]) {
            *left = left.checked_sub(1)?;
            state = self.automaton.next_state(Anchored::Yes, state, byte.to_ascii_lowercase());
            if !self.automaton.is_special(state) {
                continue;
            }
            if self.automaton.is_dead(state) {
                break;
            }
            if self.automaton.is_match(state) {
                // Others may end here that begin later.
                let patterns = (0..self.automaton.match_len(state))
                    .map(|index| self.automaton.match_pattern(state, index))
                    .filter(|&pattern| self.automaton.pattern_len(pattern) == end - start);
                let fits = !self.options.whole_word || !is_within_word(text, start, end);
                found.extend(patterns.filter(|_| fits).map(|pattern| Match { pattern: pattern.as_u32(), start, end }));
            }
        }
        Some(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_character_folds_to_ascii() {
        let folding: Vec<String> = ('\u{80}'..=char::MAX).filter(|&c| folded(c).is_ascii()).map(String::from).collect();
        assert_eq!(folding, FOLDS_TO_ASCII);
    }

    /// Both ways find the same, also where patterns lie within one another, and where nothing can be skipped.
    #[test]
    fn skipping_finds_what_stepping_finds() {
        let patterns = ["secret", "secretary", "cret", "etar", "aaaab", "aaaa", "Aaaa"].map(str::to_owned);
        let ends_late = format!("{}b", "a".repeat(200));
        let texts = [
            "top SECRET, Secretary; se\u{e9}cret cretaceous aaaab",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
            "\u{17f}ecret secret",
            "xsecret secretx \u{e9}secret secret\u{e9} _secret_",
            &ends_late,
            "",
        ];
        for whole_word in [false, true] {
            let options = PatternOptions { regex: false, case_insensitive: true, whole_word };
            let Ok(Literals::Stepped(stepped)) = Literals::compile(&patterns, options) else { panic!("it steps") };
            assert!(stepped.blocks.is_some());
            for text in texts.map(str::as_bytes) {
                let all = leftmost_longest(stepped.candidates(text), 100);
                let skipped = stepped.skipping(text);
                assert!(skipped.is_some() || text.starts_with(b"aaaa") || text.starts_with("\u{17f}".as_bytes()));
                assert_eq!(skipped.map_or_else(|| all.clone(), |found| leftmost_longest(found, 100)), all, "{text:?}");
            }
        }
    }
}
