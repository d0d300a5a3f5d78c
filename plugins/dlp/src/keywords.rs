//! Keyword lists: which way each keyword is searched for.
//!
//! A word is a literal. A phrase is a regular expression, because a mail program may have wrapped or quoted the line
//! in its middle. Scripts that do not put spaces between words cannot be searched for whole words.
//!
//! A word can be written in more than one way and look the same: with accents as characters of their own, in full-width
//! letters, with characters between that nobody sees. Text that has any of these is searched once more, for all of them.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::decompose_canonical;

/// Characters that are not seen, within brackets of a regular expression.
const INVISIBLE: &str =
    r"\x{ad}\x{34f}\x{61c}\x{180e}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{fe00}-\x{fe0f}\x{feff}";

/// A text without any of these characters has no word in disguise: invisible ones, combining marks, full-width forms.
pub(crate) fn disguise() -> String {
    format!(r"[{INVISIBLE}\x{{300}}-\x{{36f}}\x{{ff01}}-\x{{ff5e}}]")
}

/// A regular expression for all spellings of a keyword that look the same.
pub(crate) fn disguised(keyword: &str) -> String {
    let word = |word: &str| {
        let characters: Vec<String> = word.nfc().map(spellings).collect();
        characters.join(&format!("[{INVISIBLE}]*"))
    };
    let words: Vec<String> = keyword.split_whitespace().map(word).collect();
    words.join(&format!(r"[\s>{INVISIBLE}]+"))
}

/// One character in all its forms.
fn spellings(character: char) -> String {
    if character == '\u{df}' {
        return "(?:\u{df}|ss)".to_owned();
    }
    let plain = escape(&character.to_string());
    if character.is_ascii_graphic() {
        let full_width = char::from_u32(u32::from(character) - 0x21 + 0xff01).unwrap_or(character);
        return format!("(?:{plain}|{full_width})");
    }
    let mut parts = String::new();
    decompose_canonical(character, |part| parts.push(part));
    let (base, marks) = parts.split_at(parts.chars().next().map_or(0, char::len_utf8));
    if marks.is_empty() { plain } else { format!("(?:{plain}|{}[{INVISIBLE}]*{marks})", escape(base)) }
}

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
        let keyword: String = keyword.trim().nfc().collect();
        if keyword.contains('\u{df}') {
            // Capitals have SS in its place, and Switzerland has no other way to write it.
            let words: Vec<String> =
                keyword.split_whitespace().map(|word| escape(word).replace('\u{df}', "(?:\u{df}|ss)")).collect();
            return Self::Phrase(words.join(r"[\s>]+"));
        }
        let words: Vec<String> = keyword.split_whitespace().map(escape).collect();
        match words.as_slice() {
            [_] => Self::Literal(keyword),
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
    fn spellings_that_look_the_same() {
        let matches = |keyword: &str, text: &str| {
            let expression = regex::RegexBuilder::new(&disguised(keyword)).case_insensitive(true).build();
            expression.expect("an expression").is_match(text)
        };
        for (keyword, text) in [
            ("secret", "s\u{ad}ec\u{200b}ret"),
            ("secret", "\u{ff53}\u{ff45}\u{ff43}\u{ff52}\u{ff45}\u{ff54}"),
            ("r\u{e9}serv\u{e9}", "RE\u{301}SERVE\u{301}"),
            ("re\u{301}serve\u{301}", "r\u{e9}serv\u{e9}"),
            ("top secret", "top\u{a0}\u{200b}secret"),
            ("stra\u{df}e", "STRASSE"),
            ("a.b", "a\u{ff0e}b"),
        ] {
            assert!(matches(keyword, text), "{keyword} {text}");
        }
        assert!(!matches("a.b", "axb") && !matches("secret", "sec ret"));
        let disguise = regex::Regex::new(&disguise()).expect("an expression");
        assert!(disguise.is_match("s\u{ad}x") && disguise.is_match("e\u{301}") && !disguise.is_match("plain \u{e9}"));
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
