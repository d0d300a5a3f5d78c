//! The texts of a message that are searched: what a reader of it sees.

use bytes::Bytes;

use super::{
    StoreError,
    header::HeaderSection,
    mime::{Mime, Text},
};

/// A stretch of text that is searched by itself.
#[derive(Debug, Clone)]
pub struct TextUnit {
    /// The part it comes from; none for the subject.
    pub part: Option<u32>,
    /// The text: decoded, and HTML without its markup.
    pub text: Text,
}

/// The subject, and the text of each text part and text attachment, in order; after them, what some clients show
/// instead of a part (see [`super::Part::strays`]).
pub(super) fn units(header: &HeaderSection, mime: &Mime) -> Result<Vec<TextUnit>, StoreError> {
    let subjects = header.texts("Subject").map(|text| TextUnit { part: None, text: Text::lossy(Bytes::from(text)) });
    let mut units: Vec<TextUnit> = subjects.collect();
    for (index, part) in mime.indexed() {
        let texts = part.visible_text()?.into_iter().chain(part.narrow_text()?);
        units.extend(texts.map(|text| TextUnit { part: Some(index), text }));
    }
    for stray in mime.strays() {
        let (index, text) = stray?;
        units.push(TextUnit { part: Some(index), text });
    }
    Ok(units)
}
