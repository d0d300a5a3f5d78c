//! A set of message numbers: a bitmap in pieces, so that numbers may begin anywhere and a wild one costs little.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Numbers in a piece.
const PIECE: u64 = 1 << 15;
const WORDS: usize = (PIECE / 64) as usize;
/// Read from JSON: as many as fit into 1 GiB.
const LONGEST_RANGE: u64 = 1 << 33;

/// A set of message numbers. In JSON it is a list of ranges, each `[first, last]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pieces: BTreeMap<u64, Box<[u64; WORDS]>>,
    length: u64,
}

impl Numbers {
    /// Adds a number; false when it was there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let piece = self.pieces.entry(number / PIECE).or_insert_with(|| Box::new([0; WORDS]));
        let (word, bit) = place(number);
        let new = piece[word] & bit == 0;
        piece[word] |= bit;
        self.length += u64::from(new);
        new
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.pieces.get(&(number / PIECE)).is_some_and(|piece| piece[word] & bit != 0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.pieces.iter().flat_map(|(index, piece)| {
            let bits = move |(word, &bits): (usize, &u64)| {
                let first = index * PIECE + word as u64 * 64;
                (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| first + bit)
            };
            piece.iter().enumerate().filter(|(_, bits)| **bits != 0).flat_map(bits)
        })
    }

    /// Adds all of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (index, theirs) in &other.pieces {
            let ours = self.pieces.entry(*index).or_insert_with(|| Box::new([0; WORDS]));
            for (ours, theirs) in ours.iter_mut().zip(theirs.iter()) {
                self.length += u64::from((theirs & !*ours).count_ones());
                *ours |= theirs;
            }
        }
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        serializer.collect_seq(ranges)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ranges;
        impl<'de> Visitor<'de> for Ranges {
            type Value = Numbers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of [first, last]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ranges: A) -> Result<Numbers, A::Error> {
                let mut numbers = Numbers::default();
                while let Some((first, last)) = ranges.next_element::<(u64, u64)>()? {
                    if last.saturating_sub(first) > LONGEST_RANGE {
                        return Err(serde::de::Error::custom("more numbers than anybody sends"));
                    }
                    for number in first..=last {
                        numbers.insert(number);
                    }
                }
                Ok(numbers)
            }
        }
        deserializer.deserialize_seq(Ranges)
    }
}

/// Where a number is in its piece.
fn place(number: u64) -> (usize, u64) {
    let within = number % PIECE;
    ((within / 64) as usize, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_once() {
        let wild = [0, 63, 64, PIECE - 1, PIECE, 5 * PIECE + 7, u64::MAX];
        let mut numbers: Numbers = wild.into_iter().collect();
        assert!(wild.iter().all(|number| numbers.contains(*number) && !numbers.insert(*number)));
        assert!(!numbers.contains(1) && !numbers.contains(u64::MAX - 1));
        assert_eq!(numbers.len(), wild.len() as u64);
        assert_eq!(numbers.iter().collect::<Vec<_>>(), wild);
    }

    #[test]
    fn sets_are_joined() {
        let mut ours: Numbers = (0..100).collect();
        ours.extend(&(50..PIECE + 50).collect());
        assert_eq!(ours, (0..PIECE + 50).collect());
    }

    #[test]
    fn json_holds_ranges() {
        let numbers: Numbers = (0..1000).chain([2000]).chain(PIECE - 2..PIECE + 2).collect();
        let json = serde_json::to_string(&numbers).unwrap();
        assert_eq!(json, "[[0,999],[2000,2000],[32766,32769]]");
        assert_eq!(serde_json::from_str::<Numbers>(&json).unwrap(), numbers);
    }
}
