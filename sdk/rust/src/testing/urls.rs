//! A simple URL finder: enough to test a filter that looks at URLs, not to find disguised ones as mailweir does.

use std::sync::LazyLock;

use regex::Regex;

use crate::mail::{Url, UrlSource};

static URL: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?i)\b(?:(?:https?|ftp)://[^\s<>"']+|(?:[\p{L}\p{N}-]+\.)+[\p{L}]{2,63}\b(?:/[^\s<>"']*)?)"#;
    Regex::new(pattern).expect("the pattern is a constant")
});

/// Add the URLs of a text to those found so far, each once.
pub(super) fn find(text: &str, source: UrlSource, part: Option<u32>, found: &mut Vec<Url>) {
    let text = if source == UrlSource::Html { text.replace("&amp;", "&") } else { text.to_owned() };
    for hit in URL.find_iter(&text) {
        // The local part of an address is not a domain; its domain is one.
        if text[hit.end()..].starts_with('@') {
            continue;
        }
        let url = hit.as_str().trim_end_matches(['.', ',', ';', ')', ']']);
        let Some(host) = host(url) else { continue };
        if !found.iter().any(|known| known.text == url) {
            found.push(Url { text: url.to_owned(), host, source, part });
        }
    }
}

fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.trim_end_matches('.').to_lowercase())
}
