//! What kind of thing a file is: by its declared type, by its name, and for text by a look at it.

use super::fields::{TextKind, is_message};
use crate::message::decode::Kind;

/// Of a file that cannot be unpacked for want of a password.
pub(super) const ENCRYPTED: &str = "application/x-encrypted";
/// Of a file that cannot be unpacked for want of the method.
pub(super) const UNSUPPORTED: &str = "application/x-undecodable";
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Names of files that are text whatever their declared type.
const TEXT_NAMES: [&str; 14] =
    ["txt", "csv", "tsv", "json", "xml", "log", "md", "ics", "vcf", "rtf", "sql", "yaml", "yml", "svg"];
const HTML_NAMES: [&str; 5] = ["html", "htm", "xhtml", "shtml", "mht"];

/// Types by the end of a name, for files that come without one.
const TYPES: [(&str, &str); 33] = [
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("rels", "application/xml"),
    ("json", "application/json"),
    ("ics", "text/calendar"),
    ("vcf", "text/vcard"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("eml", "message/rfc822"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("jar", "application/java-archive"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("dat", "application/octet-stream"),
];

/// Ends of names of files that are opened by programs which know nothing of zip.
const NO_ARCHIVES: [&str; 16] = [
    "pdf", "png", "gif", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "heic", "mp3", "mp4", "mov", "wav", "avi", "ics",
];

/// Bytes of a file that are looked at to tell text.
pub(super) const SNIFFED: usize = 4096;

fn extension(name: &str) -> Option<String> {
    name.rsplit_once('.').map(|(_, extension)| extension.trim_end_matches([' ', '.']).to_ascii_lowercase())
}

/// The type that goes with a name.
pub(super) fn by_name(name: &str) -> &'static str {
    let extension = extension(name);
    TYPES.iter().find(|(known, _)| Some(*known) == extension.as_deref()).map_or(UNKNOWN, |(_, kind)| *kind)
}

pub(super) fn is_xml(media_type: &str) -> bool {
    media_type.ends_with("/xml") || media_type.ends_with("+xml")
}

/// Whether a file of this name in an archive says that the archive is a document of an office program.
pub(super) fn marks_package(name: &str) -> bool {
    name == "[Content_Types].xml" || name == "mimetype" || name == "META-INF/manifest.xml"
}

/// Whether a file that does not begin as an archive may be opened as one. Programs go by a file's name first.
pub(super) fn may_hide_archive(media_type: &str, name: Option<&str>) -> bool {
    if let Some(extension) = name.and_then(extension) {
        return !NO_ARCHIVES.contains(&extension.as_str());
    }
    !["image/", "audio/", "video/", "font/", "text/", "multipart/", "message/"]
        .iter()
        .any(|kind| media_type.starts_with(kind))
}

/// Whether a file's name says that it is this kind of archive.
pub(super) fn names_archive(name: Option<&str>, kind: Kind) -> bool {
    let names: &[&str] = match kind {
        Kind::Zip => &["zip"],
        Kind::Gzip => &["gz", "tgz"],
        Kind::Tar => &["tar"],
        Kind::Tnef => &["dat", "tnef"],
    };
    name.and_then(extension).is_some_and(|extension| names.contains(&extension.as_str()))
}

/// What a file is to those who open it.
pub(super) struct Class {
    /// An attached message.
    pub(super) is_message: bool,
    pub(super) text: Option<TextKind>,
}

/// Judges a file by its type, by its name and by its first bytes: some program goes by each.
pub(super) fn classify(media_type: &str, name: Option<&str>, bytes: &[u8]) -> Class {
    Class {
        is_message: is_message(media_type) || name.is_some_and(|name| by_name(name) == "message/rfc822"),
        text: text_kind(media_type, name).or_else(|| sniff(bytes).then_some(TextKind::Plain)),
    }
}

/// Whether it looks like text: UTF-8, or UTF-16 with a byte order mark, without control characters.
fn sniff(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SNIFFED)];
    let is_text = |text: &str| {
        !text.is_empty() && !text.chars().any(|character| character.is_control() && !character.is_ascii_whitespace())
    };
    let wide: Option<fn([u8; 2]) -> u16> = match head {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = wide {
        let (units, _) = head[2..].as_chunks::<2>();
        let characters = char::decode_utf16(units.iter().copied().map(unit));
        // Half a character may stand at the end.
        let text: String = characters.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        return is_text(&text);
    }
    match std::str::from_utf8(head) {
        Ok(text) => is_text(text),
        // A character that is cut at the end.
        Err(error) if error.error_len().is_none() => {
            is_text(std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or(""))
        }
        Err(_) => false,
    }
}

pub(super) fn text_kind(media_type: &str, name: Option<&str>) -> Option<TextKind> {
    let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
    let extension = name.and_then(extension);
    let is_named = |names: &[&str]| extension.as_deref().is_some_and(|extension| names.contains(&extension));
    match (kind, subtype) {
        (_, "html" | "xhtml+xml") => Some(TextKind::Html),
        ("text", _) if is_named(&HTML_NAMES) => Some(TextKind::Html),
        ("text", _) => Some(TextKind::Plain),
        // What is left of a multipart or message whose parts could not be found.
        ("multipart" | "message", _) => Some(TextKind::Plain),
        (_, "json" | "xml" | "csv" | "javascript" | "x-javascript" | "rtf" | "sql" | "x-yaml" | "yaml") => {
            Some(TextKind::Plain)
        }
        // Whatever the type: a browser goes by the name of a file that was saved.
        _ if is_named(&HTML_NAMES) => Some(TextKind::Html),
        _ if is_named(&TEXT_NAMES) => Some(TextKind::Plain),
        _ if subtype.ends_with("+json") || subtype.ends_with("+xml") => Some(TextKind::Plain),
        _ => None,
    }
}
