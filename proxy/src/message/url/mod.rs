//! URLs and bare domain names of a message: in header fields, in decoded text, and in the markup of HTML.
//!
//! What counts is that no link is missed which a client would make clickable or load; that some of what is found is no
//! link does little harm. Hosts are read as browsers read them (the WHATWG URL standard, by the `url` crate).

mod host;
mod plain;
mod markup;

use std::{collections::HashSet, sync::Arc};

use super::{
    StoreError,
    budget::{Budget, Permit},
    header::HeaderSection,
    mime::Mime,
};

/// URLs taken of one message, at most.
const URLS: usize = 10_000;
/// Bytes of their text and hosts together, at most.
const BYTES: usize = 1024 * 1024;
/// Bytes kept of the text of one.
const TEXT: usize = 2048;
/// The same once either of these caps is reached: from there on, until as many again were taken, one is kept for each
/// host that none was kept for, so that no host is hidden behind many URLs of another.
const SHORT: usize = 256;
/// Hosts that a message may have at least.
pub(super) const HOSTS: usize = URLS;

/// URLs that others are compared with one by one.
const FEW: usize = 32;

/// Fields that clients make links of, or that name whom a message is from.
const FIELDS: [&str; 15] = [
    "Subject",
    "From",
    "Sender",
    "Reply-To",
    "Return-Path",
    "List-Unsubscribe",
    "List-Help",
    "List-Archive",
    "List-Post",
    "List-Subscribe",
    "List-Owner",
    "List-Id",
    "Comments",
    "Organization",
    "Content-Location",
];

/// Where a URL was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlSource {
    /// In a header field.
    Header,
    /// In text, or in the visible text of HTML.
    Text,
    /// In the markup of HTML.
    Html,
}

/// A URL, or a bare domain name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// As found after decoding, at most 2048 bytes.
    pub text: String,
    /// Its host: lower case, percent-decoded, in A-labels; IPv4 in any notation as a dotted quad, IPv6 without brackets.
    pub host: String,
    /// Where it was found.
    pub source: UrlSource,
    /// The part it was found in; none for header fields.
    pub part: Option<u32>,
}

/// URLs with their charge.
#[derive(Debug, Clone)]
pub(super) struct UrlList {
    pub(super) urls: Arc<[Url]>,
    /// There are hosts for which no URL was kept.
    pub(super) is_cut: bool,
    _permit: Option<Arc<Permit>>,
}

impl UrlList {
    fn new(found: Found, budget: &Budget) -> Result<Self, StoreError> {
        let Found { urls, is_cut, .. } = found;
        if urls.is_empty() {
            return Ok(Self { urls: Arc::new([]), is_cut, _permit: None });
        }
        let bytes: usize = urls.iter().map(|url| size_of::<Url>() + url.text.len() + url.host.len()).sum();
        let permit = budget.memory(bytes as u64).ok_or(StoreError::Full)?;
        Ok(Self { urls: urls.into(), is_cut, _permit: Some(Arc::new(permit)) })
    }
}

/// The URLs of the header fields, and then those of the parts.
pub(super) fn of_message(header: &HeaderSection, body: &UrlList, budget: &Budget) -> Result<UrlList, StoreError> {
    let mut found = Found::new(UrlSource::Header, None);
    for field in header.fields().filter(|field| FIELDS.iter().any(|name| field.is(name))) {
        plain::find(&field.text(), &mut found);
    }
    if found.urls.is_empty() {
        return Ok(body.clone());
    }
    found.keep_all(&body.urls);
    found.is_cut |= body.is_cut;
    UrlList::new(found, budget)
}

/// The URLs of the parts.
pub(super) fn of_parts(mime: &Mime, budget: &Budget) -> Result<UrlList, StoreError> {
    let mut found = Found::new(UrlSource::Text, None);
    for (index, part) in mime.indexed() {
        found.part = Some(index);
        if let Some(text) = part.text()?.filter(|_| part.is_html() || part.is_xml()) {
            found.source = UrlSource::Html;
            markup::find(text.as_str(), &mut found);
        }
        found.source = UrlSource::Text;
        for text in part.visible_text()?.into_iter().chain(part.narrow_text()?) {
            plain::find(text.as_str(), &mut found);
        }
    }
    for stray in mime.strays() {
        let (index, text) = stray?;
        found.part = Some(index);
        plain::find(text.as_str(), &mut found);
    }
    UrlList::new(found, budget)
}

/// What was found so far, each once.
struct Found {
    urls: Vec<Url>,
    known: HashSet<(String, String)>,
    /// Theirs, once there are too many URLs for all to be kept.
    hosts: HashSet<String>,
    bytes: usize,
    is_cut: bool,
    source: UrlSource,
    part: Option<u32>,
}

impl Found {
    fn new(source: UrlSource, part: Option<u32>) -> Self {
        Self { urls: Vec::new(), known: HashSet::new(), hosts: HashSet::new(), bytes: 0, is_cut: false, source, part }
    }

    /// Whether nothing more is taken.
    fn is_full(&self) -> bool {
        self.is_cut
    }

    fn add(&mut self, text: &str, host: String) {
        let text = text[..text.floor_char_boundary(TEXT)].to_owned();
        self.keep(Url { text, host, source: self.source, part: self.part });
    }

    /// Others, each of which is there once.
    fn keep_all(&mut self, others: &[Url]) {
        let bytes: usize = others.iter().map(|url| url.text.len() + url.host.len()).sum();
        let is_much = self.urls.len() > FEW || self.urls.len() + others.len() > URLS || self.bytes + bytes > BYTES;
        if is_much {
            return others.iter().for_each(|url| self.keep(url.clone()));
        }
        let own = self.urls.len();
        for url in others {
            let is_own = |other: &Url| other.text == url.text && other.host == url.host;
            if !self.urls[..own].iter().any(is_own) {
                self.bytes += url.text.len() + url.host.len();
                self.urls.push(url.clone());
            }
        }
    }

    fn keep(&mut self, mut url: Url) {
        if self.urls.len() < URLS && self.bytes < BYTES {
            if self.known.insert((url.text.clone(), url.host.clone())) {
                self.bytes += url.text.len() + url.host.len();
                self.urls.push(url);
            }
            return;
        }
        if self.hosts.is_empty() {
            self.hosts = self.urls.iter().map(|url| url.host.clone()).collect();
        }
        if self.hosts.contains(&url.host) {
            return;
        }
        if self.urls.len() >= 2 * URLS || self.bytes >= 2 * BYTES {
            self.is_cut = true;
            return;
        }
        self.hosts.insert(url.host.clone());
        url.text.truncate(url.text.floor_char_boundary(SHORT));
        self.bytes += url.text.len() + url.host.len();
        self.urls.push(url);
    }
}

#[cfg(test)]
mod tests;
