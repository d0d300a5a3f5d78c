//! What a part's header section says about it.

use mail_parser::{ContentType, HeaderValue, parsers::MessageStream};

use super::{Disposition, kinds::text_kind, readings, transfer::Encoding};
use crate::message::{MessageFault, header::with_newline};

/// More parameters than this in one field are an attack. (mail-parser compares each continuation with all others.)
const PARAMETERS: usize = 256;

/// The fields of a header section that matter here, without their names. There should be one of each; of several, some
/// clients take the first and some the last.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'a> {
    content_type: Option<&'a [u8]>,
    last_content_type: Option<&'a [u8]>,
    /// Each once, in order.
    encodings: Vec<Encoding>,
    disposition: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Takes a field, if it matters.
    pub(super) fn add(&mut self, name: &[u8], value: &'a [u8]) {
        if name.eq_ignore_ascii_case(b"content-type") {
            let is_first = self.content_type.is_none();
            *(if is_first { &mut self.content_type } else { &mut self.last_content_type }) = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let encoding = Encoding::named(value);
            if !self.encodings.contains(&encoding) {
                self.encodings.push(encoding);
            }
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            self.disposition.get_or_insert(value);
        }
    }
}

/// How the text of a part is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    Plain,
    Html,
    /// Of an office document.
    Xml,
}

/// What kind of node a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Leaf,
    /// With its boundary, if it declares one; of several, the first is what most clients take.
    Multipart(Vec<Vec<u8>>),
    Message,
}

#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) content_type: String,
    pub(super) charset: Option<String>,
    pub(super) name: Option<String>,
    pub(super) disposition: Disposition,
    pub(super) encoding: Encoding,
    pub(super) text: Option<TextKind>,
}

impl Declared {
    /// What holds without a header section (RFC 2045 section 5.2).
    pub(super) fn text() -> Self {
        Self {
            disposition: Disposition::Inline,
            ..Self::attachment("text/plain".to_owned(), None, Some(TextKind::Plain))
        }
    }

    /// What there is to say of a file that no header section describes.
    pub(super) fn attachment(content_type: String, name: Option<String>, text: Option<TextKind>) -> Self {
        Self {
            content_type,
            charset: None,
            name,
            disposition: Disposition::Attachment,
            encoding: Encoding::Identity,
            text,
        }
    }
}

/// Reads the fields; never empty, and what most clients take is the first. `in_digest`: the default is message/rfc822
/// (RFC 2046 section 5.1.5).
pub(super) fn declare(fields: &Fields<'_>, in_digest: bool) -> Result<Vec<(Declared, Node)>, MessageFault> {
    // What is encoded by one of them is decoded by most.
    let mut encodings = fields.encodings.clone();
    encodings.sort_by_key(|encoding| *encoding == Encoding::Identity);
    if encodings.is_empty() {
        encodings.push(Encoding::Identity);
    }
    let types = [fields.content_type, fields.last_content_type];
    let types = &types[..if fields.last_content_type.is_some() { 2 } else { 1 }];
    let mut readings = Vec::with_capacity(1);
    for content_type in types {
        let (declared, node) = declare_one(*content_type, fields.disposition, in_digest)?;
        for &encoding in &encodings {
            readings.push((Declared { encoding, ..declared.clone() }, node.clone()));
        }
    }
    Ok(readings)
}

fn declare_one(
    field: Option<&[u8]>,
    disposition: Option<&[u8]>,
    in_digest: bool,
) -> Result<(Declared, Node), MessageFault> {
    let content_type = parse(field)?;
    let disposition = parse(disposition)?;
    let parameter = |field: &Option<ContentType<'static>>, name: &str| {
        field.as_ref().and_then(|field| field.attribute(name)).map(|value| value.trim().to_owned())
    };
    let media_type = match &content_type {
        Some(ContentType { c_type, c_subtype: Some(subtype), .. }) => {
            format!("{}/{}", c_type.trim(), subtype.trim()).to_ascii_lowercase()
        }
        _ if in_digest => "message/rfc822".to_owned(),
        // RFC 2045 section 5.2: also where what is declared cannot be understood.
        _ => "text/plain".to_owned(),
    };
    let name = parameter(&disposition, "filename")
        .or_else(|| parameter(&content_type, "name"))
        .filter(|name| !name.is_empty());
    let node = node(&media_type, parameter(&content_type, "boundary"), field.unwrap_or_default());
    let is_attachment = disposition.as_ref().is_some_and(|field| !field.c_type.trim().eq_ignore_ascii_case("inline"));
    let declared = Declared {
        text: text_kind(&media_type, name.as_deref()),
        content_type: media_type,
        charset: parameter(&content_type, "charset").filter(|charset| !charset.is_empty()),
        name,
        disposition: if is_attachment { Disposition::Attachment } else { Disposition::Inline },
        encoding: Encoding::Identity,
    };
    Ok((declared, node))
}

fn parse(value: Option<&[u8]>) -> Result<Option<ContentType<'static>>, MessageFault> {
    let Some(value) = value else { return Ok(None) };
    // A parameter begins after a semicolon or, to mail-parser, on a new line.
    if memchr::memchr2_iter(b';', b'\n', value).nth(PARAMETERS).is_some() {
        return Err(MessageFault::TooManyParameters(PARAMETERS));
    }
    match with_newline(value, |value| MessageStream::new(value).parse_content_type()) {
        HeaderValue::ContentType(parsed) => Ok(Some(parsed)),
        _ => Ok(None),
    }
}

fn node(media_type: &str, boundary: Option<String>, field: &[u8]) -> Node {
    if media_type.starts_with("multipart/") {
        let boundary = boundary.map(|boundary| boundary.trim_end().as_bytes().to_vec());
        let mut boundaries: Vec<Vec<u8>> = boundary.filter(|boundary| !boundary.is_empty()).into_iter().collect();
        for other in readings::boundaries(field) {
            if !boundaries.contains(&other) {
                boundaries.push(other);
            }
        }
        return Node::Multipart(boundaries);
    }
    if is_message(media_type) { Node::Message } else { Node::Leaf }
}

/// Whether a message is in it.
pub(super) fn is_message(media_type: &str) -> bool {
    // A fragment has the beginning of a message in it, and of a body elsewhere there is a header section.
    let subtypes = ["rfc822", "global", "news", "partial", "external-body"];
    media_type.strip_prefix("message/").is_some_and(|subtype| subtypes.contains(&subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(content_type: &str, disposition: &str) -> (Declared, Node) {
        let fields = Fields {
            content_type: Some(content_type.as_bytes()).filter(|value| !value.is_empty()),
            disposition: Some(disposition.as_bytes()).filter(|value| !value.is_empty()),
            ..Fields::default()
        };
        declare(&fields, false).unwrap().remove(0)
    }

    #[test]
    fn types_names_and_charsets() {
        let (text, node) = declared(" Text/HTML (a (nested) comment); charset=\"UTF-8\"", "");
        assert_eq!((text.content_type.as_str(), text.charset.as_deref()), ("text/html", Some("UTF-8")));
        assert_eq!((text.text, node), (Some(TextKind::Html), Node::Leaf));
        let (file, _) = declared(
            "application/octet-stream; name=\"=?utf-8?q?=C3=A4.csv?=\"",
            "attachment; filename*0*=utf-8''na%C3%AFve; filename*1=\".json\"",
        );
        assert_eq!(file.name.as_deref(), Some("na\u{ef}ve.json"));
        assert_eq!((file.disposition, file.text), (Disposition::Attachment, Some(TextKind::Plain)));
        let (_, node) = declared("multipart/mixed;\r\n boundary=\"a b;c \"", "");
        assert_eq!(node, Node::Multipart(vec![b"a b;c".to_vec(), b"\"a b".to_vec()]));
        assert_eq!(declared("garbage", "").0.content_type, "text/plain");
        assert_eq!(declared("image/png; name=a.html", "").0.text, Some(TextKind::Html));
        assert_eq!(declared("image/png; name=a.png", "").0.text, None);
    }

    #[test]
    fn too_many_parameters() {
        let value = format!("text/plain{}", "; a*0=b".repeat(100_000));
        let fields = Fields { content_type: Some(value.as_bytes()), ..Fields::default() };
        assert!(matches!(declare(&fields, false), Err(MessageFault::TooManyParameters(_))));
    }
}
