//! Keyword lists: which way each keyword is searched for.
//!
//! A word is a literal. A phrase is a regular expression, because a mail program may have wrapped or quoted the line
//! in its middle. Scripts that do not put spaces between words cannot be searched for whole words.

/// How a keyword goes into a pattern set of the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    /// Search for it as it stands.
    Literal(String),
    /// Search with this regular expression.
    Phrase(String),
}

impl Keyword {
    /// One word or several.
    pub(crate) fn new(keyword: &str) -> Self {
        let words: Vec<String> = keyword.split_whitespace().map(escape).collect();
        match words.as_slice() {
            [_] => Self::Literal(keyword.trim().to_owned()),
            // Line breaks and the marks of quoted lines may stand between two words.
            _ => Self::Phrase(words.join(r"[\s>]+")),
        }
    }
}

/// Whether the keyword begins and ends in a script whose words have spaces around them. Korean has them, but hangs
/// its particles on the noun.
pub(crate) fn has_word_boundaries(keyword: &str) -> bool {
    let is_spaced = |character: Option<char>| character.is_some_and(|character| !is_unspaced(character));
    is_spaced(keyword.trim().chars().next()) && is_spaced(keyword.trim().chars().next_back())
}

fn is_unspaced(character: char) -> bool {
    matches!(u32::from(character),
        0x0e00..=0x0eff       // Thai, Lao
        | 0x0f00..=0x0fff     // Tibetan
        | 0x1000..=0x109f     // Myanmar
        | 0x1100..=0x11ff     // Hangul Jamo
        | 0x1780..=0x17ff     // Khmer
        | 0x2e80..=0x31ff     // CJK radicals, kana, bopomofo
        | 0x3400..=0x9fff     // Han
        | 0xac00..=0xd7af     // Hangul
        | 0xf900..=0xfaff     // Han, compatibility
        | 0xff66..=0xff9f     // half-width kana
        | 0x20000..=0x3ffff)
}

/// A regular expression that matches this text alone.
fn escape(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for character in word.chars() {
        if character.is_ascii_punctuation() && !matches!(character, '<' | '>') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_literals_and_phrases_patterns() {
        assert_eq!(Keyword::new(" vertraulich "), Keyword::Literal("vertraulich".to_owned()));
        assert_eq!(Keyword::new("for your  eyes"), Keyword::Phrase(r"for[\s>]+your[\s>]+eyes".to_owned()));
        assert_eq!(Keyword::new("a.b c"), Keyword::Phrase(r"a\.b[\s>]+c".to_owned()));
    }

    #[test]
    fn scripts_without_spaces() {
        for keyword in ["confidential", "секретно", "سري", "εμπιστευτικό"] {
            assert!(has_word_boundaries(keyword), "{keyword}");
        }
        for keyword in ["機密", "ลับ", "기밀", "社外秘A"] {
            assert!(!has_word_boundaries(keyword), "{keyword}");
        }
    }
}
