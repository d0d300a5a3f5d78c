//! URLs in the markup of HTML: attributes and styles.

use std::borrow::Cow;

use memchr::memchr2_iter;

use super::{Found, host, plain};
use crate::message::html::{Tag, Token, Tokens, decode_references};

/// Attributes that hold one URL.
const ATTRIBUTES: [&str; 15] = [
    "href",
    "src",
    "action",
    "formaction",
    "background",
    "data",
    "cite",
    "poster",
    "longdesc",
    "usemap",
    "classid",
    "codebase",
    "lowsrc",
    "dynsrc",
    "xlink:href",
];

/// Bytes of a URL in a style, at most.
const VALUE: usize = 4096;

pub(super) fn find(html: &str, found: &mut Found) {
    for token in Tokens::new(html) {
        if found.is_full() {
            return;
        }
        match token {
            Token::Tag(tag) if !tag.is_end => in_tag(&tag, found),
            Token::Style(style) => in_style(style, found),
            Token::Script(script) => plain::find_urls(script, found),
            Token::Tag(_) | Token::Text(_) => {}
        }
    }
}

fn in_tag(tag: &Tag<'_>, found: &mut Found) {
    for (name, value) in tag.attributes() {
        if value.is_empty() {
            continue;
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if ATTRIBUTES.iter().any(|attribute| is(attribute)) {
            in_value(&value, found);
        } else if is("srcset") || is("imagesrcset") || is("ping") || is("archive") {
            value.split([',', ' ', '\t', '\r', '\n']).for_each(|candidate| in_value(candidate, found));
        } else if is("style") {
            in_style(&value, found);
        } else if is("target") && tag.is("relationship") {
            // Of an office document: a link, or a template or picture that is loaded when it is opened. Those within the
            // document are paths without a scheme.
            plain::find_urls(&value, found);
        } else if is("content") && tag.is("meta") {
            in_refresh(&value, found);
        }
    }
}

/// `<meta http-equiv=refresh content="0; url=…">`.
fn in_refresh(value: &str, found: &mut Found) {
    let lower = value.to_ascii_lowercase();
    if let Some(at) = lower.find("url") {
        let target = value[at + 3..].trim_start();
        if let Some(target) = target.strip_prefix('=') {
            return in_value(target.trim_matches(|character: char| matches!(character, '\'' | '"' | ' ')), found);
        }
    }
    plain::find(value, found);
}

/// `url(…)`, and `@import "…"`.
fn in_style(style: &str, found: &mut Found) {
    let style = unescaped(decode_references(style));
    let bytes = style.as_bytes();
    for at in memchr2_iter(b'(', b'@', bytes) {
        let rest = &style[at + 1..style.floor_char_boundary(style.len().min(at + 1 + VALUE))];
        if at >= 3 && bytes[at - 3..=at].eq_ignore_ascii_case(b"url(") {
            let value = rest.split(')').next().unwrap_or_default().trim();
            in_value(value.trim_matches(['"', '\'']), found);
        } else if rest.get(..6).is_some_and(|keyword| keyword.eq_ignore_ascii_case("import"))
            && let Some(quoted) = rest[6..].trim_start().strip_prefix(['"', '\''])
        {
            in_value(quoted.split(['"', '\'']).next().unwrap_or_default(), found);
        }
    }
}

/// Without CSS escapes: a backslash and up to six hexadecimal digits, which one white space may end, or any other character
/// (CSS Syntax Module level 3, section 4.3.7).
fn unescaped(style: Cow<'_, str>) -> Cow<'_, str> {
    if !style.contains('\\') {
        return style;
    }
    let mut plain = String::with_capacity(style.len());
    let mut rest = &*style;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let digits = after.bytes().take(6).take_while(u8::is_ascii_hexdigit).count();
        let (code, tail) = after.split_at(digits);
        match u32::from_str_radix(code, 16) {
            Ok(code) => {
                plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix([' ', '\t', '\n'])).unwrap_or(tail);
            }
            // What follows stands for itself.
            Err(_) => rest = tail,
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The value of an attribute that holds a URL, as browsers read it (WHATWG URL standard, section 4.4): white space and
/// control characters around it do not count, nor do tabs and newlines within.
fn in_value(value: &str, found: &mut Found) {
    let value = value.trim_matches(|character: char| character <= ' ');
    let value = if value.contains(['\t', '\n', '\r', '\0']) {
        Cow::Owned(value.replace(['\t', '\n', '\r', '\0'], ""))
    } else {
        Cow::Borrowed(value)
    };
    if value.is_empty() || value.starts_with('#') {
        return;
    }
    let begins_authority = value.len() > 2 && value.bytes().take(2).all(|byte| byte == b'/' || byte == b'\\');
    let absolute: Cow<'_, str> = if begins_authority { format!("http:{value}").into() } else { Cow::Borrowed(&value) };
    match host::of_url(&absolute) {
        Some(host) => {
            found.add(&value, host);
            plain::inner(after_authority(&value), found);
        }
        // mailto:, data:, a path, or a host name without a scheme, which some clients complete.
        None => plain::find(&value, found),
    }
}

/// What follows the host: path, query and fragment.
fn after_authority(url: &str) -> &str {
    let scheme = url.find(':').map_or(0, |colon| colon + 1);
    let slashes = url[scheme..].bytes().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let authority = scheme + slashes;
    url[authority..].find(['/', '\\', '?', '#']).map_or("", |at| &url[authority + at..])
}
