//! Skipping over text that no literal pattern can stand in (Wu and Manber, "A fast algorithm for multi-pattern searching",
//! 1994): of each stretch as long as the shortest pattern, the last two bytes are looked at, and mostly they stand nowhere in
//! a pattern. It gives places to look at closer, and leaves none out.

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

    /// The next place from `at` on where a pattern may begin. Upper and lower case are one.
    pub(super) fn next(&self, text: &[u8], at: usize) -> Option<usize> {
        let mut end = at + self.window;
        while let Some(&[first, second]) = text.get(end.checked_sub(2)?..end) {
            let skip = self.table[place(first, second)] & !BEGINS;
            if skip > 0 {
                end += usize::from(skip);
                continue;
            }
            let start = end - self.window;
            if self.table[place(text[start], text[start + 1])] & BEGINS != 0 {
                return Some(start);
            }
            end += 1;
        }
        None
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

    #[test]
    fn no_place_is_left_out() {
        let patterns = ["secret", "abcd", "aaaa", "bab-bab"];
        let blocks = blocks(&patterns).unwrap();
        let text = "xxSecret abABCDaaaaaaab-bab-babsecre secretsecretAAAA";
        let lower = text.to_lowercase();
        for at in 0..=text.len() + 2 {
            let expected = (at..text.len()).find(|&start| patterns.iter().any(|p| lower[start..].starts_with(p)));
            let mut found = blocks.next(text.as_bytes(), at);
            // It may stop at places of no pattern.
            while let Some(start) = found.filter(|&start| expected.is_none_or(|expected| start < expected)) {
                found = blocks.next(text.as_bytes(), start + 1);
            }
            assert_eq!(found, expected, "{at}");
        }
        assert_eq!(blocks.next(b"an ordinary text", 0), None);
    }

    #[test]
    fn patterns_that_nothing_is_skipped_for() {
        assert!(blocks(&["longer", "abc"]).is_none());
        assert!(blocks(&["stra\u{df}e"]).is_none());
        assert!(blocks(&[]).is_none());
        let long = "x".repeat(300);
        assert_eq!(blocks(&[&long]).unwrap().next(format!(" {long}").as_bytes(), 0), Some(1));
    }
}
