//! Skipping over text that no literal pattern can stand in (Wu and Manber, "A fast algorithm for multi-pattern searching",
//! 1994): of each stretch as long as the shortest pattern, the last two bytes are looked at, and mostly they stand nowhere in
//! a pattern. It gives places to look at closer, and leaves none out.

use std::ops::ControlFlow;

/// Ways through the text at once.
const LANES: usize = 4;
/// Places of the table, one for each pair of bytes, taken as six bits each.
const PLACES: usize = 64 * 64;
/// The pair begins a pattern.
const BEGINS: u8 = 0x80;
/// Bytes of a pattern that count, at most: skips have seven bits.
const WINDOW: usize = 100;

/// For a set of patterns in US-ASCII and lower case; upper case letters in the text stand for lower case ones.
#[derive(Debug)]
pub(super) struct Blocks {
    /// How far the window can be moved when this pair is its end, and whether a pattern begins with the pair.
    table: Box<[u8; PLACES]>,
    window: usize,
}

impl Blocks {
    /// None where it would not be worth it: with patterns of a few bytes, or not in US-ASCII.
    pub(super) fn new(patterns: &[String]) -> Option<Self> {
        let window = patterns.iter().map(String::len).min()?.min(WINDOW);
        if window < 4 || !patterns.iter().all(|pattern| pattern.is_ascii()) {
            return None;
        }
        // Of `window - 1` pairs at most 99, so seven bits hold it.
        let furthest = u8::try_from(window - 1).ok()?;
        let mut table = Box::new([furthest; PLACES]);
        for pattern in patterns {
            let window = &pattern.as_bytes()[..window];
            for (behind, pair) in (0..).zip(window.windows(2).rev()) {
                let place = &mut table[place(pair[0], pair[1])];
                *place = (*place & BEGINS) | (*place & !BEGINS).min(behind);
            }
            table[place(window[0], window[1])] |= BEGINS;
        }
        Some(Self { table, window })
    }

    /// Gives every place where a pattern may begin to `found`, in no order, until it says that it is enough. Upper and lower
    /// case are one.
    pub(super) fn places(&self, text: &[u8], mut found: impl FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(windows) = (text.len() + 1).checked_sub(self.window) else { return ControlFlow::Continue(()) };
        // How far to skip is known late; with several ways through the text at once, others need not wait for it.
        let share = windows.div_ceil(LANES);
        let ends: [usize; LANES] = std::array::from_fn(|lane| ((lane + 1) * share).min(windows));
        let mut starts: [usize; LANES] = std::array::from_fn(|lane| (lane * share).min(windows));
        while starts.iter().zip(&ends).all(|(start, end)| start < end) {
            for start in &mut starts {
                *start += self.look(text, *start, &mut found)?;
            }
        }
        for (start, end) in starts.iter_mut().zip(ends) {
            while *start < end {
                *start += self.look(text, *start, &mut found)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Looks at the window that begins here, which is within the text; how far the next one is.
    #[inline(always)]
    fn look(
        &self,
        text: &[u8],
        start: usize,
        found: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<(), usize> {
        let end = start + self.window;
        let skip = self.table[place(text[end - 2], text[end - 1])] & !BEGINS;
        if skip > 0 {
            return ControlFlow::Continue(usize::from(skip));
        }
        if self.table[place(text[start], text[start + 1])] & BEGINS != 0 {
            found(start)?;
        }
        ControlFlow::Continue(1)
    }
}

/// Letters in both cases have one place, and share it with a few other bytes.
fn place(first: u8, second: u8) -> usize {
    let bits = |byte: u8| usize::from((byte | 0x20) & 0x3f);
    bits(first) << 6 | bits(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(patterns: &[&str]) -> Option<Blocks> {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Blocks::new(&patterns)
    }

    fn places(blocks: &Blocks, text: &str) -> Vec<usize> {
        let mut places = Vec::new();
        let all = blocks.places(text.as_bytes(), |place| {
            places.push(place);
            ControlFlow::Continue(())
        });
        assert!(all.is_continue());
        places.sort_unstable();
        places
    }

    #[test]
    fn no_place_is_left_out() {
        let patterns = ["secret", "abcd", "aaaa", "bab-bab"];
        let blocks = blocks(&patterns).unwrap();
        let text = "xxSecret abABCDaaaaaaab-bab-babsecre secretsecretAAAA";
        for end in 0..=text.len() {
            let text = &text[..end];
            let lower = text.to_lowercase();
            let found = places(&blocks, text);
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "each once");
            // It may give places of no pattern.
            for start in 0..text.len() {
                let is_pattern = patterns.iter().any(|pattern| lower[start..].starts_with(pattern));
                assert!(!is_pattern || found.contains(&start), "{start} of {text}");
            }
        }
        assert_eq!(places(&blocks, "an ordinary text"), [0; 0]);
        let mut first = None;
        let stopped = blocks.places(text.as_bytes(), |place| {
            assert_eq!(first.replace(place), None, "it goes on");
            ControlFlow::Break(())
        });
        assert!(stopped.is_break());
    }

    #[test]
    fn patterns_that_nothing_is_skipped_for() {
        assert!(blocks(&["longer", "abc"]).is_none());
        assert!(blocks(&["stra\u{df}e"]).is_none());
        assert!(blocks(&[]).is_none());
        let long = "x".repeat(300);
        assert_eq!(places(&blocks(&[&long]).unwrap(), &format!(" {long}"))[0], 1);
    }
}
