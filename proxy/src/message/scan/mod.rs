//! Searching a message for a set of patterns, and digests of it.
//!
//! Time is linear in the text for literal patterns. For regular expressions each hit costs at most one pass, and hits
//! are capped.

mod blocks;
mod literal;
mod runs;
mod expression;

use std::sync::Arc;

use aws_lc_rs::digest;

use self::{expression::Expressions, literal::Literals};
use super::{Message, MessageFault};

/// Patterns in a set, at most.
const PATTERNS: usize = 4096;
/// Bytes of all patterns of a set, at most.
const PATTERN_BYTES: usize = 256 * 1024;
/// Hits of one search, at most.
const HITS: usize = 10_000;
/// Bytes of what matched that a hit shows, at most.
const MATCHED: usize = 256;

/// How patterns are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PatternOptions {
    /// Regular expressions (Rust syntax); otherwise the patterns are literal strings.
    pub regex: bool,
    /// Unicode simple case folding.
    pub case_insensitive: bool,
    /// Only where no letter or digit stands on either side.
    pub whole_word: bool,
}

/// What of a message is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The message as received, encoded.
    Raw,
    /// The header section, unfolded and decoded: a line for each field, "Name: text".
    Headers,
    /// The subject, and the decoded text of every text part and text attachment; HTML without its markup.
    Text,
}

/// Where a pattern was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The index of the pattern in its set.
    pub pattern: u32,
    /// The part it was found in; none for a header field and in scope raw.
    pub part: Option<u32>,
    /// Bytes from the start of that part's text, of the headers, or of the message.
    pub offset: u64,
    /// What matched, at most 256 bytes of it.
    pub matched: Vec<u8>,
}

/// The algorithms of [`digest()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// FIPS 180-4, 32 bytes.
    Sha256,
    /// FIPS 180-4, 20 bytes. For looking things up; it protects nothing.
    Sha1,
}

/// Compiled patterns. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PatternSet {
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Literals(Arc<Literals>),
    Expressions(Arc<Expressions>),
}

/// A match in some text: which pattern, and the bytes it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    pattern: u32,
    start: usize,
    end: usize,
}

impl PatternSet {
    /// Compiles at most 4096 patterns of together 256 KiB. The error names the pattern, counted from 0.
    pub fn compile(patterns: &[String], options: PatternOptions) -> Result<Self, String> {
        if patterns.len() > PATTERNS {
            return Err(format!("{} patterns, where {PATTERNS} are allowed", patterns.len()));
        }
        let bytes: usize = patterns.iter().map(String::len).sum();
        if bytes > PATTERN_BYTES {
            return Err(format!("patterns of together {bytes} bytes, where {PATTERN_BYTES} are allowed"));
        }
        if let Some(empty) = patterns.iter().position(String::is_empty) {
            return Err(format!("pattern {empty} is empty"));
        }
        let engine = if options.regex {
            Engine::Expressions(Arc::new(Expressions::compile(patterns, options)?))
        } else {
            Engine::Literals(Arc::new(Literals::compile(patterns, options)?))
        };
        Ok(Self { engine })
    }

    fn find_in(&self, text: &[u8], limit: usize) -> Vec<Match> {
        match &self.engine {
            Engine::Literals(literals) => literals.find(text, limit),
            Engine::Expressions(expressions) => expressions.find(text, limit),
        }
    }
}

/// Non-overlapping hits in order, at most `limit` and 10,000.
pub fn find(message: &Message, scope: Scope, patterns: &PatternSet, limit: u32) -> Result<Vec<Hit>, MessageFault> {
    let limit = usize::try_from(limit).unwrap_or(HITS).min(HITS);
    let mut hits = Vec::new();
    let mut search = |text: &[u8], part: Option<u32>| {
        let matches = patterns.find_in(text, limit - hits.len());
        hits.extend(matches.into_iter().map(|found| Hit {
            pattern: found.pattern,
            part,
            offset: found.start as u64,
            matched: text[found.start..found.end.min(found.start + MATCHED)].to_vec(),
        }));
        hits.len() < limit
    };
    match scope {
        Scope::Raw => _ = search(&message.contiguous()?, None),
        Scope::Headers => _ = search(decoded_headers(message).as_bytes(), None),
        Scope::Text => {
            let units = message.text_units()?;
            _ = units.iter().all(|unit| search(unit.text.as_str().as_bytes(), unit.part));
        }
    }
    Ok(hits)
}

fn decoded_headers(message: &Message) -> String {
    let mut text = String::with_capacity(message.headers().raw().len());
    for field in message.headers().fields() {
        text.push_str(&String::from_utf8_lossy(field.name()));
        text.push_str(": ");
        text.push_str(&field.text());
        text.push('\n');
    }
    text
}

/// The digest of the whole message, without stuffing.
pub fn digest(message: &Message, algorithm: Algorithm) -> Result<Vec<u8>, MessageFault> {
    let algorithm = match algorithm {
        Algorithm::Sha256 => &digest::SHA256,
        Algorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
    };
    let mut context = digest::Context::new(algorithm);
    for chunk in message.chunks() {
        context.update(&chunk?);
    }
    Ok(context.finish().as_ref().to_vec())
}

/// Whether a letter or digit stands right before or right after these bytes.
fn is_within_word(text: &[u8], start: usize, end: usize) -> bool {
    let before = text[start.saturating_sub(4)..start].utf8_chunks().last();
    let before = before.filter(|chunk| chunk.invalid().is_empty()).and_then(|chunk| chunk.valid().chars().next_back());
    let after = text[end..text.len().min(end + 4)].utf8_chunks().next();
    let after = after.and_then(|chunk| chunk.valid().chars().next());
    [before, after].into_iter().flatten().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests;
