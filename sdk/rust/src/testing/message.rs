//! The message as the harness shows it to a filter, parsed with mail-parser.

use std::rc::Rc;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{Encoding, MessageParser, MessagePart, MimeHeaders, PartType};

use super::urls;
use crate::authentication::AuthorFault;
use crate::mail::{Disposition, Part, Url, UrlSource};
use crate::{Session, Tag};

/// A part with its content.
#[derive(Debug)]
struct Content {
    part: Part,
    bytes: Vec<u8>,
    text: Option<String>,
}

/// What the `mail` resource shows. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    raw: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    header_size: usize,
    contents: Vec<Content>,
    urls: Vec<Url>,
    envelope: Envelope,
}

/// What the filter is told besides the message.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) session: Session,
    pub(super) sender: Vec<u8>,
    pub(super) recipients: Vec<Vec<u8>>,
    pub(super) tags: Vec<Tag>,
}

impl Mail {
    /// Parse the message, whose lines end in CRLF; `scripted` are URLs to find besides those that are seen.
    pub(super) fn new(raw: Vec<u8>, envelope: Envelope, scripted: &[Url]) -> Self {
        let header_size = header_size(&raw);
        let fields = fields(&raw[..header_size]);
        let mut contents = Vec::new();
        if let Some(message) = MessageParser::default().parse(&raw) {
            collect(&message, None, Some(&raw), &mut contents);
        }
        let mut inner = Inner { raw, fields, header_size, contents, urls: Vec::new(), envelope };
        inner.urls = inner.find_urls();
        inner.urls.extend_from_slice(scripted);
        Self { inner: Rc::new(inner) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.inner.raw
    }

    pub(crate) fn session(&self) -> Session {
        self.inner.envelope.session.clone()
    }

    pub(crate) fn sender(&self) -> Vec<u8> {
        self.inner.envelope.sender.clone()
    }

    pub(crate) fn recipients(&self) -> Vec<Vec<u8>> {
        self.inner.envelope.recipients.clone()
    }

    pub(crate) fn size(&self) -> u64 {
        self.inner.raw.len() as u64
    }

    pub(crate) fn header(&self, name: &str) -> Vec<Vec<u8>> {
        let named = self.inner.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn header_text(&self, name: &str) -> Vec<String> {
        self.header(name).iter().map(|value| decode(value)).collect()
    }

    pub(crate) fn headers_raw(&self) -> Vec<u8> {
        self.inner.raw[..self.inner.header_size].to_vec()
    }

    pub(crate) fn parts(&self) -> Vec<Part> {
        self.inner.contents.iter().map(|content| content.part.clone()).collect()
    }

    pub(crate) fn part_body(&self, index: u32, offset: u64, max: u32) -> Vec<u8> {
        self.inner.contents.get(index as usize).map_or_else(Vec::new, |content| window(&content.bytes, offset, max))
    }

    pub(crate) fn part_text(&self, index: u32, offset: u64, max: u32) -> String {
        let text = self.inner.contents.get(index as usize).and_then(|content| content.text.as_deref()).unwrap_or("");
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        let start = text.ceil_char_boundary(start);
        text[start..text.floor_char_boundary(start.saturating_add(max as usize))].to_owned()
    }

    pub(crate) fn urls(&self) -> Vec<Url> {
        self.inner.urls.clone()
    }

    pub(crate) fn raw(&self, offset: u64, max: u32) -> Vec<u8> {
        window(&self.inner.raw, offset, max)
    }

    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.inner.envelope.tags.clone()
    }

    /// The header section, unfolded and decoded.
    pub(super) fn decoded_headers(&self) -> String {
        self.inner.fields.iter().map(|(name, value)| format!("{name}: {}\n", decode(value))).collect()
    }

    /// The text of each text part, HTML without its markup.
    pub(super) fn texts(&self) -> Vec<(u32, String)> {
        let plain = |content: &Content| {
            let text = content.text.as_deref()?;
            let is_html = content.part.content_type == "text/html";
            Some((content.part.index, if is_html { html_to_text(text) } else { text.to_owned() }))
        };
        self.inner.contents.iter().filter_map(plain).collect()
    }

    /// The pieces of text that `push-decoded-text` pushes.
    pub(super) fn pushed_texts(&self) -> Vec<&str> {
        self.inner.contents.iter().filter_map(|content| content.text.as_deref()).collect()
    }

    /// The addresses of the one From field.
    pub(super) fn authors(&self) -> Result<Vec<String>, AuthorFault> {
        let values = self.header("from");
        let value = match values.as_slice() {
            [] => return Err(AuthorFault::Missing),
            [value] => value,
            several => return Err(AuthorFault::Several(u32::try_from(several.len()).unwrap_or(u32::MAX))),
        };
        let line = [value.as_slice(), b"\r\n"].concat();
        let parsed = MessageStream::new(&line).parse_address();
        let addresses = parsed.as_address().into_iter().flat_map(|list| list.iter());
        let authors: Vec<String> = addresses
            .filter_map(|address| address.address())
            .filter(|text| text.contains('@'))
            .map(Into::into)
            .collect();
        if authors.is_empty() { Err(AuthorFault::Unparsable(decode(value))) } else { Ok(authors) }
    }
}

impl Inner {
    fn find_urls(&self) -> Vec<Url> {
        let mut found = Vec::new();
        for (_, value) in &self.fields {
            urls::find(&decode(value), UrlSource::Header, None, &mut found);
        }
        for content in &self.contents {
            let Some(text) = &content.text else { continue };
            let source = if content.part.content_type == "text/html" { UrlSource::Html } else { UrlSource::Text };
            urls::find(text, source, Some(content.part.index), &mut found);
        }
        found
    }
}

/// Bytes of the header section, without the empty line.
pub(super) fn header_size(raw: &[u8]) -> usize {
    if raw.starts_with(b"\r\n") {
        return 0;
    }
    raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |position| position + 2)
}

/// Names and values of the fields of a header section; the values are still folded.
pub(super) fn fields(section: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in section.split_inclusive(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        if let (Some(b' ' | b'\t'), Some((_, value))) = (text.first(), fields.last_mut()) {
            value.extend_from_slice(b"\r\n");
            value.extend_from_slice(text);
        } else if let Some(colon) = text.iter().position(|&byte| byte == b':') {
            let value = &text[colon + 1..];
            let value = value.strip_prefix(b" ").unwrap_or(value);
            fields.push((String::from_utf8_lossy(text[..colon].trim_ascii_end()).into_owned(), value.to_vec()));
        }
    }
    fields
}

/// Unfold and decode a field's value.
fn decode(value: &[u8]) -> String {
    let line = [value, b"\r\n"].concat();
    MessageStream::new(&line).parse_unstructured().as_text().unwrap_or_default().to_owned()
}

fn window(bytes: &[u8], offset: u64, max: u32) -> Vec<u8> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes[start..start.saturating_add(max as usize).min(bytes.len())].to_vec()
}

/// Flatten the parts of a message, those of attached messages included. `raw` is what the offsets refer to, for the
/// outermost message.
fn collect(message: &mail_parser::Message<'_>, outer: Option<u32>, raw: Option<&[u8]>, into: &mut Vec<Content>) {
    let mut parents = vec![outer; message.parts.len()];
    for (id, part) in message.parts.iter().enumerate() {
        let index = u32::try_from(into.len()).unwrap_or(u32::MAX);
        into.push(content(part, index, parents[id], raw));
        match &part.body {
            PartType::Multipart(children) => {
                for &child in children {
                    parents[child as usize] = Some(index);
                }
            }
            PartType::Message(inner) => collect(inner, Some(index), None, into),
            _ => {}
        }
    }
}

fn content(part: &MessagePart<'_>, index: u32, parent: Option<u32>, raw: Option<&[u8]>) -> Content {
    let text = part.text_contents().map(ToOwned::to_owned);
    let bytes = match (&part.body, raw) {
        (PartType::Multipart(_), _) => Vec::new(),
        (PartType::Text(_) | PartType::Html(_), Some(raw)) => {
            let encoded = raw.get(part.offset_body as usize..part.offset_end as usize).unwrap_or_default();
            undo_encoding(part.encoding, encoded).unwrap_or_else(|| part.contents().to_vec())
        }
        _ => part.contents().to_vec(),
    };
    let content_type = part.content_type().map_or_else(
        || "text/plain".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).to_ascii_lowercase(),
    );
    let attached = part.content_disposition().is_some_and(mail_parser::ContentType::is_attachment);
    Content {
        part: Part {
            index,
            parent,
            content_type,
            charset: part.content_type().and_then(|kind| kind.attribute("charset")).map(str::to_ascii_lowercase),
            name: part.attachment_name().map(ToOwned::to_owned),
            disposition: if attached { Disposition::Attachment } else { Disposition::Inline },
            size: bytes.len() as u64,
            is_text: text.is_some(),
        },
        bytes,
        text,
    }
}

fn undo_encoding(encoding: Encoding, encoded: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        Encoding::None => Some(encoded.to_vec()),
        Encoding::Base64 => base64_decode(encoded),
        Encoding::QuotedPrintable => quoted_printable_decode(encoded),
    }
}
