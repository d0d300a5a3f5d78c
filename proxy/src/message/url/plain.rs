//! URLs and bare domains in plain text.
//!
//! Every one has a dot or a colon in it: those are looked for, and what stands around them is looked at. What has been
//! looked at is not gone back to, but for the hosts within a URL, whose length is bounded.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2_iter};

use super::{Found, host};

/// Bytes looked at from the beginning of a URL on.
const LENGTH: usize = 4096;
/// Bytes of a host name looked at on each side of a dot: 253, and more for names that are not in A-labels.
const HOST: usize = 1024;
/// Bytes of a word before a full stop, fewer than this.
const WORD: usize = 64;
/// Bytes of a local part (RFC 5321 section 4.5.3.1.1).
const LOCAL_PART: usize = 64;
/// Percent-encoding within percent-encoding is undone so many times.
const ROUNDS: usize = 3;
/// Targets looked at within one URL, in each round.
const TARGETS: usize = 32;

pub(super) fn find(text: &str, found: &mut Found) {
    let mut done = 0;
    for at in memchr2_iter(b'.', b':', text.as_bytes()) {
        if at < done {
            continue;
        }
        if found.is_full() {
            return;
        }
        let end = match text.as_bytes()[at] {
            b':' => url_at(text, done, at, found),
            _ if ends_sentence(text.as_bytes(), done, at) => Some(at + 1),
            _ => domain_at(text, done, at, found),
        };
        done = end.unwrap_or(done);
    }
}

/// Whether this dot stands behind a single word and before none: the usual case, in which [`domain_at`] finds nothing.
fn ends_sentence(text: &[u8], done: usize, dot: usize) -> bool {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_apart = |byte: u8| byte.is_ascii() && !in_word(&byte) && byte != b'.';
    if text.get(dot + 1).is_some_and(|&after| !is_apart(after)) {
        return false;
    }
    let before = &text[done.max(dot.saturating_sub(HOST))..dot];
    let word = before.iter().rev().take(WORD).take_while(|&byte| in_word(byte)).count();
    word > 0 && word < WORD && (word == before.len() || is_apart(before[before.len() - word - 1]))
}

/// URLs alone: in program text nearly everything with a dot in it looks like a domain.
pub(super) fn find_urls(text: &str, found: &mut Found) {
    let mut done = 0;
    for colon in memchr_iter(b':', text.as_bytes()) {
        if found.is_full() {
            return;
        }
        if colon >= done {
            done = url_at(text, done, colon, found).unwrap_or(done);
        }
    }
}

/// A URL with its slashes escaped, as JSON and scripts have them; gives where it ends.
fn escaped_url_at(text: &str, done: usize, colon: usize, found: &mut Found) -> Option<usize> {
    let start = colon - scheme_before(&text[done..colon])?;
    let end = run_end(text, colon);
    let url = text[start..end].replace(r"\/", "/");
    let url = trim_end(url.split(['\'', '\\']).next().unwrap_or_default());
    if let Some(host) = url.find(':').and_then(|colon| host::of_url(&url[..authority_end(url, colon + 3)])) {
        found.add(url, host);
        inner(&url[authority_end(url, url.find(':')? + 3)..], found);
    }
    Some(end)
}

/// A URL whose scheme ends at `colon`; gives where it ends.
fn url_at(text: &str, done: usize, colon: usize, found: &mut Found) -> Option<usize> {
    if text[colon + 1..].starts_with(r"\/\/") {
        return escaped_url_at(text, done, colon, found);
    }
    if !text[colon + 1..].starts_with("//") && !text[colon + 1..].starts_with("\\\\") {
        return None;
    }
    let start = colon - scheme_before(&text[done..colon])?;
    let authority = colon + 3;
    let url = trim_end(&text[start..url_end(text, authority)]);
    let authority_end = authority_end(url, authority - start);
    let url = match cut_after_top_level(&url[authority - start..authority_end]) {
        Some(length) => {
            // It may be a name in several scripts all the same.
            let goes_on = url[authority - start + length..authority_end].contains('.');
            if let Some(host) = host::of_url(&url[..authority_end]).filter(|_| goes_on) {
                found.add(url, host);
            }
            &url[..authority - start + length]
        }
        None => url,
    };
    let authority_end = authority_end.min(url.len());
    // What follows the authority has no part in the host, and need not be parsed.
    if let Some(host) = host::of_url(&url[..authority_end]) {
        found.add(url, host);
        inner(&url[authority_end..], found);
    }
    Some(start + url.len())
}

/// A bare domain name around `dot`, with what follows it if that looks like the rest of a URL; gives where it ends.
fn domain_at(text: &str, done: usize, dot: usize, found: &mut Found) -> Option<usize> {
    let window_start = text.ceil_char_boundary(done.max(dot.saturating_sub(HOST)));
    let start = text[window_start..dot]
        .char_indices()
        .rev()
        .take_while(|&(_, character)| is_host_character(character))
        .last()
        .map(|(at, _)| window_start + at)?;
    let window_end = text.floor_char_boundary(text.len().min(dot + HOST));
    let end = text[dot..window_end].find(|character| !is_host_character(character)).map_or(window_end, |at| dot + at);
    if is_local_part(&text[end..]) {
        return Some(end.max(dot + 1));
    }
    let run = text[start..end].trim_end_matches(['.', '-', '_']);
    let mut name = run.trim_start_matches(['.', '-', '_']);
    if let Some(length) = cut_after_top_level(name) {
        // It may be a name in several scripts all the same; asked once for each run.
        let is_first = start == 0 || start > done;
        let goes_on = name[length..].contains('.');
        if is_first
            && goes_on
            && let Some(host) = host::of_plausible_name(name)
        {
            found.add(name, host);
        }
        name = &name[..length];
    }
    let name = cut_before_first_label(name);
    let start = name.as_ptr() as usize - text.as_ptr() as usize;
    let end_of_name = start + name.len();
    let Some(host) = host::of_plausible_name(name) else { return Some(end.max(dot + 1)) };
    let rest = &text[end_of_name..];
    let port = rest.strip_prefix(':').map_or(0, |rest| {
        let digits = rest.bytes().take(6).take_while(u8::is_ascii_digit).count();
        if digits > 0 { digits + 1 } else { 0 }
    });
    let has_path = rest[port..].starts_with(['/', '?', '#']);
    let url_end = if has_path { run_end(text, end_of_name + port) } else { end_of_name + port };
    let url = trim_end(&text[start..url_end]);
    let url = if url.len() < name.len() { name } else { url };
    found.add(url, host);
    inner(&url[name.len()..], found);
    Some((start + url.len()).max(dot + 1))
}

/// Whether a name is followed by the rest of an address's local part and its @: what is a link then is the address.
fn is_local_part(rest: &str) -> bool {
    let is_atext = |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&'*+-=^_{|}~.".contains(byte);
    let length = rest.bytes().take(LOCAL_PART).take_while(|byte| is_atext(byte)).count();
    rest.as_bytes().get(length) == Some(&b'@')
}

/// Targets within a URL, as redirectors have them: URLs, and bare domains that are the value of a parameter, under up
/// to three layers of percent-encoding.
pub(super) fn inner(rest: &str, found: &mut Found) {
    let mut rest = Cow::Borrowed(rest);
    for _ in 0..ROUNDS {
        let runs = rest.split(ends_url);
        let marks = runs.flat_map(|run| memchr2_iter(b':', b'=', run.as_bytes()).map(move |at| (run, at)));
        for (run, at) in marks.take(TARGETS) {
            let target = if run.as_bytes()[at] == b':' { inner_url(run, at) } else { inner_domain(&run[at + 1..]) };
            if let Some((text, host)) = target {
                found.add(text, host);
            }
        }
        match percent_decoded(&rest) {
            Some(decoded) => rest = Cow::Owned(decoded),
            None => return,
        }
    }
}

fn inner_domain(value: &str) -> Option<(&str, String)> {
    let window = &value[..value.floor_char_boundary(HOST)];
    let end = window.find(|character| !is_host_character(character)).unwrap_or(window.len());
    let name = &window[..end];
    let host = if name.contains('.') { host::of_plausible_name(name)? } else { return None };
    Some((name, host))
}

fn inner_url(run: &str, colon: usize) -> Option<(&str, String)> {
    if !run[colon..].starts_with("://") {
        return None;
    }
    let url = trim_end(&run[colon - scheme_before(&run[..colon])?..]);
    Some((url, host::of_url(&url[..authority_end(url, url.find(':')? + 3)])?))
}

/// The length of the scheme at the end of this text, if it is one that goes to a host.
fn scheme_before(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    ["https", "http", "ftp"].iter().map(|scheme| scheme.as_bytes()).find_map(|scheme| {
        let found = &bytes[bytes.len().checked_sub(scheme.len())?..];
        found.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    })
}

/// Where the authority of a URL ends that begins at `from`.
fn authority_end(url: &str, from: usize) -> usize {
    let rest = url.get(from..).unwrap_or_default();
    rest.find(['/', '\\', '?', '#']).map_or(url.len(), |length| from + length)
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    (decoded != text).then_some(decoded)
}

/// Where the characters that can stand in a URL in text end.
fn run_end(text: &str, from: usize) -> usize {
    let limit = text.floor_char_boundary(text.len().min(from + LENGTH));
    text[from.min(limit)..limit].find(ends_url).map_or(limit, |length| from + length)
}

/// The same for a URL whose authority begins at `authority`: in a host an ideographic full stop is a dot, behind it the
/// sentence's end.
fn url_end(text: &str, authority: usize) -> usize {
    let limit = text.floor_char_boundary(text.len().min(authority + LENGTH));
    let from = authority.min(limit);
    let mut is_behind_host = false;
    let end = text[from..limit].find(|character| {
        is_behind_host |= matches!(character, '/' | '\\' | '?' | '#');
        ends_url(character) || (is_behind_host && character == '\u{3002}')
    });
    end.map_or(limit, |length| from + length)
}

fn ends_url(character: char) -> bool {
    match character {
        '<' | '>' | '"' | '`' | '{' | '}' | '|' => true,
        '\u{3001}' | '\u{300a}'..='\u{3011}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0c}' | '\u{201c}' | '\u{201d}' => true,
        _ => character.is_control() || character.is_whitespace(),
    }
}

/// Without punctuation that ends a sentence, and closing brackets that were opened outside.
fn trim_end(url: &str) -> &str {
    let (has_round, has_square) = (url.contains('('), url.contains('['));
    let mut url = url;
    while let Some(last) = url.chars().next_back() {
        let is_outside = match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '\u{2026}' | '\u{2019}' => true,
            ')' => !has_round,
            ']' => !has_square,
            _ => false,
        };
        if !is_outside {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url
}

/// Letters, digits, hyphens, underscores, dots, and what is not ASCII but for punctuation and spaces.
fn is_host_character(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => true,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ff0e}' | '\u{ff61}' => true,
        _ => character.is_alphanumeric() && !character.is_ascii(),
    }
}

/// Text without spaces between words may go on right after a domain: a top-level domain that begins in ASCII ends where
/// ASCII does. Gives where that is, if something is to be cut.
fn cut_after_top_level(host: &str) -> Option<usize> {
    let labels = host.match_indices('.').map(|(dot, _)| dot + 1);
    labels.into_iter().find_map(|start| {
        let label = &host[start..];
        let ascii = label.bytes().take_while(u8::is_ascii_alphabetic).count();
        let next = label[ascii..].chars().next()?;
        (ascii >= 2 && is_ideographic(next)).then_some(start + ascii)
    })
}

/// The same before its first label: what is not ASCII there belongs to the text, if ASCII follows it.
fn cut_before_first_label(name: &str) -> &str {
    let dot = name.find('.').unwrap_or(name.len());
    match name[..dot].char_indices().rev().find(|&(_, character)| is_ideographic(character)) {
        Some((at, character)) if at + character.len_utf8() < dot => &name[at + character.len_utf8()..],
        _ => name,
    }
}

/// Scripts that are written without spaces.
fn is_ideographic(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{20000}'..='\u{3ffff}')
}
