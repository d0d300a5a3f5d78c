//! Where in a text a regular expression can match at all: in runs of bytes that its matches are made of, such as digits and
//! what stands between them, as long as its shortest match, with a byte among them that a match can begin with. In most texts
//! there are hardly any, and an automaton that would look at each byte needs not run over the rest.

use std::ops::Range;

use regex_syntax::{
    hir::{Class, Hir, HirKind},
    utf8::Utf8Sequences,
};

/// Runs with no more bytes between them than this are one: a search has to be begun for each.
const GAP: usize = 256;
/// Bytes that are looked at together for whether a match can begin in them.
const BLOCK: usize = 64;
/// A match that has one byte at least, or two, of a kind that text is full of, is found sooner without this.
const WORTH_IT: usize = 6;

/// What the matches of a set of expressions are made of.
#[derive(Debug)]
pub(super) struct Runs {
    /// Bytes that may stand in a match.
    members: Bytes,
    /// Bytes that may stand first in one.
    first: Bytes,
    /// Bytes of the shortest match, 1 at least.
    shortest: usize,
    /// All that may stand first and more, if text has little of it.
    beginnings: Option<Beginnings>,
}

impl Runs {
    /// None where it would not be worth it.
    pub(super) fn of(expressions: &[Hir]) -> Option<Self> {
        let shortest = expressions.iter().map(|hir| hir.properties().minimum_len().unwrap_or(0)).min()?;
        let mut runs = Self { members: Bytes::NONE, first: Bytes::NONE, shortest, beginnings: None };
        for hir in expressions {
            runs.members.add_all(hir);
            if runs.first.add_first(hir) {
                return None;
            }
        }
        let is_foreign = (0..0x80).all(|byte| !runs.members.has(byte));
        let is_text = |byte: &u8| byte.is_ascii_lowercase();
        let is_rare = is_foreign || !(0..=0xff).any(|byte| is_text(&byte) && runs.members.has(byte));
        let beginnings = Beginnings::of(&runs.first);
        let is_rare_first = !(0..0x80).any(|byte| (byte == b' ' || is_text(&byte)) && beginnings.hold(byte));
        runs.beginnings = is_rare_first.then_some(beginnings);
        (shortest > 0 && is_rare && (is_foreign || shortest >= WORTH_IT)).then_some(runs)
    }

    /// The stretches in which matches may stand. No match reaches over their ends.
    pub(super) fn stretches(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let mut next = self.run(text, 0);
        std::iter::from_fn(move || {
            let mut stretch = next.take()?;
            next = self.run(text, stretch.end);
            while let Some(run) = next.take_if(|run| run.start - stretch.end <= GAP) {
                stretch.end = run.end;
                next = self.run(text, run.end);
            }
            Some(stretch)
        })
    }

    /// The next run from `at` on.
    fn run(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        let mut at = at;
        loop {
            if let Some(beginnings) = &self.beginnings {
                at += beginnings.passed(&text[at..]);
            }
            // A run that begins at `at` or later covers this byte, or begins behind it.
            let probe = at + self.shortest - 1;
            if !self.members.has(*text.get(probe)?) {
                at = probe + 1;
                continue;
            }
            let before = text[at..probe].iter().rev().take_while(|&&byte| self.members.has(byte)).count();
            let behind = text[probe..].iter().take_while(|&&byte| self.members.has(byte)).count();
            let (start, end) = (probe - before, probe + behind);
            let skipped = text[start..end].iter().take_while(|&&byte| !self.first.has(byte)).count();
            if end - start - skipped >= self.shortest {
                return Some(start + skipped..end);
            }
            at = end;
        }
    }
}

/// A set of bytes that vector instructions know: a range of US-ASCII, and all that is not US-ASCII or nothing of it.
#[derive(Debug, Clone, Copy)]
struct Beginnings {
    low: u8,
    span: u8,
    /// Of a byte that is not US-ASCII, the highest bit is left if it counts.
    foreign: u8,
}

impl Beginnings {
    /// The smallest that holds these.
    fn of(bytes: &Bytes) -> Self {
        let mut ascii = (0..0x80).filter(|&byte| bytes.has(byte));
        let (low, high) = ascii.next().map_or((0xff, 0xff), |low| (low, ascii.next_back().unwrap_or(low)));
        let is_foreign = low == 0xff || (0x80..=0xff).any(|byte| bytes.has(byte));
        Self { low, span: high - low, foreign: if is_foreign { 0x80 } else { 0 } }
    }

    fn hold(self, byte: u8) -> bool {
        (byte.wrapping_sub(self.low) <= self.span) | (byte & self.foreign != 0)
    }

    /// How many bytes that are none of them stand at the beginning.
    fn passed(self, text: &[u8]) -> usize {
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        // All of a block at once: without a way out in the middle, the compiler makes vector instructions of it.
        let has_none = |block: &&[u8; BLOCK]| !block.iter().fold(false, |any, &byte| any | self.hold(byte));
        let passed = blocks.iter().take_while(has_none).count() * BLOCK;
        let rest = if passed == text.len() - rest.len() { rest } else { &text[passed..passed + BLOCK] };
        passed + rest.iter().take_while(|&&byte| !self.hold(byte)).count()
    }
}

/// A set of bytes.
#[derive(Debug, Clone)]
struct Bytes([bool; 256]);

impl Bytes {
    const NONE: Self = Self([false; 256]);

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    fn add(&mut self, first: u8, last: u8) {
        self.0[usize::from(first)..=usize::from(last)].fill(true);
    }

    /// Every byte that a match may have.
    fn add_all(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => literal.0.iter().for_each(|&byte| self.add(byte, byte)),
            HirKind::Class(Class::Bytes(class)) => {
                class.iter().for_each(|range| self.add(range.start(), range.end()));
            }
            HirKind::Class(Class::Unicode(class)) => {
                let sequences = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
                for range in sequences.flat_map(|sequence| sequence.as_slice().to_vec()) {
                    self.add(range.start, range.end);
                }
            }
            HirKind::Repetition(repetition) => self.add_all(&repetition.sub),
            HirKind::Capture(capture) => self.add_all(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().for_each(|part| self.add_all(part)),
        }
    }

    /// Every byte that a match may begin with. Whether it may be empty.
    fn add_first(&mut self, hir: &Hir) -> bool {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => true,
            HirKind::Literal(literal) => match literal.0.first() {
                Some(&byte) => {
                    self.add(byte, byte);
                    false
                }
                None => true,
            },
            HirKind::Class(Class::Bytes(class)) => {
                class.iter().for_each(|range| self.add(range.start(), range.end()));
                false
            }
            HirKind::Class(Class::Unicode(class)) => {
                let sequences = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
                for range in sequences.filter_map(|sequence| sequence.as_slice().first().copied()) {
                    self.add(range.start, range.end);
                }
                false
            }
            HirKind::Repetition(repetition) => self.add_first(&repetition.sub) || repetition.min == 0,
            HirKind::Capture(capture) => self.add_first(&capture.sub),
            HirKind::Concat(parts) => parts.iter().all(|part| self.add_first(part)),
            HirKind::Alternation(parts) => {
                // Each of them is added, whichever may be empty.
                let mut may_be_empty = false;
                for part in parts {
                    may_be_empty |= self.add_first(part);
                }
                may_be_empty
            }
        }
    }
}
