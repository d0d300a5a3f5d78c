//! What kind of thing a file is: by its declared type, by its name, and for text by a look at it.

use super::fields::TextKind;

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
const SNIFFED: usize = 4096;

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

/// Whether it looks like text: UTF-8 without control characters.
pub(super) fn sniff(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SNIFFED)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character that is cut at the end.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(|character| character.is_control() && !character.is_ascii_whitespace())
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
        ("image" | "audio" | "video" | "font", _) if subtype != "svg+xml" => None,
        _ if is_named(&HTML_NAMES) => Some(TextKind::Html),
        _ if subtype.ends_with("+json") || subtype.ends_with("+xml") || is_named(&TEXT_NAMES) => Some(TextKind::Plain),
        _ => None,
    }
}
