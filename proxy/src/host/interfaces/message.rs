//! `message`: the `mail` resource.

use wasmtime::component::Resource;

use crate::host::bindings::mailweir::filter::message::{Disposition, Host, HostMail, Part, Url, UrlSource};
use crate::host::bindings::mailweir::filter::types::{Session, Tag};
use crate::host::context::{Context, work};
use crate::host::failure::HostFault;
use crate::host::resources::Mail;
use crate::message::{self, MessageFault};

/// Bytes that one call hands over at most, whatever it asks for.
const READ_LIMIT: u32 = 1 << 20;

impl Host for Context {}

impl HostMail for Context {
    fn session(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Session> {
        Ok(self.call_on(&mail)?.facts.session())
    }

    fn sender(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<u8>> {
        let sender = self.call_on(&mail)?.sender.clone().into_bytes();
        self.hand_over(sender.len());
        Ok(sender)
    }

    fn recipients(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<Vec<u8>>> {
        let view = self.call_on(&mail)?;
        let recipients: Vec<Vec<u8>> = view.recipients.iter().map(|address| address.clone().into_bytes()).collect();
        self.hand_over(recipients.iter().map(Vec::len).sum());
        Ok(recipients)
    }

    fn size(&mut self, mail: Resource<Mail>) -> wasmtime::Result<u64> {
        Ok(self.call_on(&mail)?.message.size())
    }

    fn header(&mut self, mail: Resource<Mail>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        let view = self.call_on(&mail)?;
        let values: Vec<Vec<u8>> = view.message.headers().values(&name).map(<[u8]>::to_vec).collect();
        self.hand_over(values.iter().map(Vec::len).sum());
        Ok(values)
    }

    fn header_text(&mut self, mail: Resource<Mail>, name: String) -> wasmtime::Result<Vec<String>> {
        let texts = self.call_on(&mail)?.message.header_text(&name);
        self.hand_over(texts.iter().map(String::len).sum());
        Ok(texts)
    }

    fn headers_raw(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<u8>> {
        let raw = self.call_on(&mail)?.message.headers().raw().to_vec();
        self.hand_over(raw.len());
        Ok(raw)
    }

    async fn parts(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<Part>> {
        let view = self.call_on(&mail)?;
        let parts = work(&view.message, |message| {
            let mime = message.mime()?;
            Ok((0..).zip(mime.parts()).map(|(index, part)| described(index, part)).collect::<Vec<_>>())
        });
        let parts = parts.await?;
        self.hand_over(parts.len() * size_of::<Part>());
        Ok(parts)
    }

    async fn part_body(&mut self, mail: Resource<Mail>, index: u32, at: u64, max: u32) -> wasmtime::Result<Vec<u8>> {
        let view = self.call_on(&mail)?;
        let body = work(&view.message, move |message| {
            let mime = message.mime()?;
            let Some(part) = mime.parts().get(index as usize) else { return Ok(Vec::new()) };
            Ok(piece(&part.body()?, at, max).to_vec())
        });
        let body = body.await?;
        self.hand_over(body.len());
        Ok(body)
    }

    async fn part_text(&mut self, mail: Resource<Mail>, index: u32, at: u64, max: u32) -> wasmtime::Result<String> {
        let view = self.call_on(&mail)?;
        let text = work(&view.message, move |message| {
            let mime = message.mime()?;
            let Some(part) = mime.parts().get(index as usize) else { return Ok(String::new()) };
            Ok(part.text()?.map_or_else(String::new, |text| piece_of_text(text.as_str(), at, max).to_owned()))
        });
        let text = text.await?;
        self.hand_over(text.len());
        Ok(text)
    }

    async fn urls(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<Url>> {
        let view = self.call_on(&mail)?;
        let urls = work(&view.message, |message| Ok(message.urls()?.iter().map(found).collect::<Vec<_>>()));
        let urls = urls.await?;
        self.hand_over(urls.iter().map(|url| url.text.len() + url.host.len()).sum());
        Ok(urls)
    }

    fn raw(&mut self, mail: Resource<Mail>, offset: u64, max: u32) -> wasmtime::Result<Vec<u8>> {
        let view = self.call_on(&mail)?;
        let raw = view.message.read(offset, max.min(READ_LIMIT) as usize);
        let raw = raw.map_err(|error| HostFault::Message(MessageFault::from(error)))?;
        self.hand_over(raw.len());
        Ok(raw.to_vec())
    }

    fn tags(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<Tag>> {
        let view = self.call_on(&mail)?;
        let copied = view.tags.iter().map(|tag| Tag { name: tag.name.clone(), value: tag.value.clone() });
        let tags: Vec<Tag> = copied.collect();
        self.hand_over(tags.iter().map(|tag| tag.name.len() + tag.value.len()).sum());
        Ok(tags)
    }

    fn drop(&mut self, _lent: Resource<Mail>) -> wasmtime::Result<()> {
        // Filters are only ever lent a message, so that there is nothing of theirs to drop.
        Ok(())
    }
}

fn described(index: u32, part: &message::Part) -> Part {
    Part {
        index,
        parent: part.parent(),
        content_type: part.content_type().to_owned(),
        charset: part.charset().map(str::to_owned),
        name: part.name().map(str::to_owned),
        disposition: match part.disposition() {
            message::Disposition::Inline => Disposition::Inline,
            message::Disposition::Attachment => Disposition::Attachment,
        },
        size: part.size(),
        is_text: part.is_text(),
    }
}

fn found(url: &message::Url) -> Url {
    Url {
        text: url.text.clone(),
        host: url.host.clone(),
        source: match url.source {
            message::UrlSource::Header => UrlSource::Header,
            message::UrlSource::Text => UrlSource::Text,
            message::UrlSource::Html => UrlSource::Html,
        },
        part: url.part,
    }
}

/// At most `max` bytes at `offset`; none past the end.
fn piece(bytes: &[u8], offset: u64, max: u32) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    &rest[..rest.len().min(max.min(READ_LIMIT) as usize)]
}

/// The same for text, cut at characters: an offset inside one counts as its start. A `max` too small for one
/// character still gives that one, so that a loop over a text, which adds up the bytes it got, always gets on.
fn piece_of_text(text: &str, offset: u64, max: u32) -> &str {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let rest = &text[text.floor_char_boundary(offset)..];
    if max == 0 {
        return "";
    }
    let first = rest.chars().next().map_or(0, char::len_utf8);
    &rest[..rest.floor_char_boundary(max.min(READ_LIMIT) as usize).max(first)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_the_bytes_do() {
        assert_eq!(piece(b"abc", 1, 1), b"b");
        assert_eq!(piece(b"abc", 1, u32::MAX), b"bc");
        assert_eq!(piece(b"abc", 3, 1), b"");
        assert_eq!(piece(b"abc", u64::MAX, u32::MAX), b"");
    }

    #[test]
    fn text_is_cut_at_characters_and_a_loop_gets_on() {
        let text = "aé€😀z";
        for max in 1..8 {
            let mut collected = String::new();
            loop {
                let piece = piece_of_text(text, collected.len() as u64, max);
                if piece.is_empty() {
                    break;
                }
                collected.push_str(piece);
            }
            assert_eq!(collected, text, "{max}");
        }
        assert_eq!(piece_of_text(text, u64::MAX, 10), "");
        assert_eq!(piece_of_text(text, 0, 0), "");
    }
}
