//! What a filter returns, whatever it is: refused, or a verdict that is one reply, and edits after which the message is
//! one message with just the fields that were asked for.
#![no_main]

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mailweir::host::output::{decision, edits, types};
use mailweir::message::{DecodingLimits, Framing, Message, MessageLimits, Wire};
use mailweir::verdict::{Edit, Verdict};
use mailweir_smtp::address::Mailbox;
use mailweir_smtp::reply::{Reply, ReplyParser};

#[path = "../../smtp/tests/support/mod.rs"]
mod support;

use support::lax;

#[derive(Debug, Arbitrary)]
struct Returned<'a> {
    verdict: Kind,
    code: Code,
    enhanced: &'a str,
    text: &'a str,
    score: Option<f32>,
    tags: Vec<(&'a str, &'a str)>,
    edits: Vec<Change<'a>>,
    message: &'a [u8],
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Pass,
    Accept,
    Reject,
    Tempfail,
    Discard,
    Disconnect,
    Quarantine,
    Tarpit(u32),
    Route,
}

#[derive(Debug, Arbitrary)]
enum Code {
    Any(u16),
    Permanent(u8),
    Transient(u8),
}

#[derive(Debug, Arbitrary)]
enum Change<'a> {
    Add(Name<'a>, &'a [u8]),
    Insert(u8, Name<'a>, &'a [u8]),
    Remove(Name<'a>, u8),
    Replace(Name<'a>, u8, &'a [u8]),
    AddRecipient(&'a [u8]),
    RemoveRecipient(&'a [u8]),
    ChangeSender(&'a [u8]),
    ReplaceBody(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Name<'a> {
    Any(&'a str),
    Subject,
    ContentType,
    Tag,
}

const LIMITS: MessageLimits = MessageLimits {
    header_size: 1 << 20,
    header_fields: 10_000,
    mime_parts: 100,
    mime_depth: 10,
    decoding: DecodingLimits::DEFAULT,
};

fuzz_target!(|returned: Returned<'_>| {
    check_decision(&returned);
    let asked: Vec<types::Edit> = returned.edits.iter().map(edit).collect();
    assert!(asked.is_empty() || edits(asked.clone(), false).is_err());
    let Ok(edits) = edits(asked, true) else { return };
    // What was received has no bare newlines, and its lines end.
    let content: Vec<u8> = returned.message.iter().copied().filter(|octet| *octet != 0 && *octet != b'\r').collect();
    let content = content.split(|octet| *octet == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    let content = [content.as_slice(), b"\r\n"].concat();
    let Ok(message) = Message::from_bytes(content.into(), LIMITS) else { return };
    check_edits(&message, &edits);
});

fn check_decision(returned: &Returned<'_>) {
    let code = match returned.code {
        Code::Any(code) => code,
        Code::Permanent(code) => 500 + u16::from(code),
        Code::Transient(code) => 400 + u16::from(code),
    };
    let reply = || types::Reply { code, enhanced: returned.enhanced.to_owned(), text: returned.text.to_owned() };
    let tag = |(name, value): &(&str, &str)| types::Tag { name: (*name).to_owned(), value: (*value).to_owned() };
    let checked = decision(types::Decision {
        verdict: match returned.verdict {
            Kind::Pass => types::Verdict::Pass,
            Kind::Accept => types::Verdict::Accept,
            Kind::Reject => types::Verdict::Reject(reply()),
            Kind::Tempfail => types::Verdict::Tempfail(reply()),
            Kind::Discard => types::Verdict::Discard,
            Kind::Disconnect => types::Verdict::Disconnect(reply()),
            Kind::Quarantine => types::Verdict::Quarantine(returned.text.to_owned()),
            Kind::Tarpit(milliseconds) => types::Verdict::Tarpit(milliseconds),
            Kind::Route => types::Verdict::Route(returned.text.to_owned()),
        },
        score: returned.score,
        reason: returned.text.to_owned(),
        tags: returned.tags.iter().map(tag).collect(),
    });
    let Ok(decision) = checked else { return };
    match &decision.verdict {
        Verdict::Reject(reply) => check_reply(reply, 5..=5),
        Verdict::TempFail(reply) => check_reply(reply, 4..=4),
        Verdict::Disconnect(reply) => check_reply(reply, 4..=5),
        Verdict::Quarantine(reason) => check_line(reason, 256),
        Verdict::Route(name) => check_line(name, 128),
        Verdict::Pass | Verdict::Accept | Verdict::Discard | Verdict::Tarpit(_) => {}
    }
    check_line(&decision.reason, 1024);
    assert!(decision.tags.len() <= 64 && decision.score.is_none_or(f32::is_finite));
    for tag in &decision.tags {
        check_line(&tag.name, 64);
        check_line(&tag.value, 512);
        assert!(!tag.name.is_empty() && !tag.name.contains(' '));
    }
}

/// One line on the wire, with an enhanced status code of the same class.
fn check_reply(reply: &Reply, classes: std::ops::RangeInclusive<u16>) {
    let mut wire = BytesMut::new();
    reply.write_to(&mut wire);
    assert_eq!(wire.iter().filter(|octet| matches!(octet, b'\r' | b'\n')).count(), 2);
    assert!(wire.len() <= 512);
    assert_eq!(ReplyParser::default().next(&mut wire).as_ref(), Ok(&Some(reply.clone())));
    assert!(classes.contains(&(reply.code() / 100)));
    assert!(reply.enhanced().is_some_and(|enhanced| enhanced.starts_with(&(reply.code() / 100).to_string())));
}

fn check_line(text: &str, limit: usize) {
    assert!(text.len() <= limit && !text.contains(char::is_control), "{text:?}");
}

fn edit(change: &Change<'_>) -> types::Edit {
    let name = |name: &Name<'_>| match name {
        Name::Any(name) => (*name).to_owned(),
        Name::Subject => "subject".to_owned(),
        Name::ContentType => "Content-Type".to_owned(),
        Name::Tag => "X-Tag".to_owned(),
    };
    match change {
        Change::Add(field, value) => types::Edit::AddHeader((name(field), value.to_vec())),
        Change::Insert(position, field, value) => {
            types::Edit::InsertHeader(((*position).into(), name(field), value.to_vec()))
        }
        Change::Remove(field, occurrence) => types::Edit::RemoveHeader((name(field), (*occurrence).into())),
        Change::Replace(field, occurrence, value) => {
            types::Edit::ReplaceHeader((name(field), (*occurrence).into(), value.to_vec()))
        }
        Change::AddRecipient(address) => types::Edit::AddRecipient(address.to_vec()),
        Change::RemoveRecipient(address) => types::Edit::RemoveRecipient(address.to_vec()),
        Change::ChangeSender(address) => types::Edit::ChangeSender(address.to_vec()),
        Change::ReplaceBody(body) => types::Edit::ReplaceBody(body.to_vec()),
    }
}

fn check_edits(message: &Message, edits: &[Edit]) {
    let mut fields = message.headers().fields().count();
    let mut body = None;
    for edit in edits {
        match edit {
            Edit::AddHeader { .. } | Edit::InsertHeader { .. } => fields += 1,
            // Saturating: of a message without that field, the edits as a whole are refused below.
            Edit::RemoveHeader { .. } => fields = fields.saturating_sub(1),
            Edit::ReplaceHeader { .. } => {}
            Edit::AddRecipient(address) => assert!(Mailbox::parse(address.as_bytes()).is_ok()),
            Edit::RemoveRecipient(address) => {
                assert!(address.eq_ignore_ascii_case("postmaster") || Mailbox::parse(address.as_bytes()).is_ok());
            }
            Edit::ChangeSender(address) => assert!(address.is_empty() || Mailbox::parse(address.as_bytes()).is_ok()),
            Edit::ReplaceBody(bytes) => body = Some(bytes.clone()),
        }
    }
    let Ok(edited) = message.edited(edits) else { return };
    let mut wire = joined(edited.wire(Framing::DotStuffed));
    assert!(edited.ends_with_newline());
    wire.extend_from_slice(b".\r\n");
    assert_eq!(lax::strict_end(&wire), Some(wire.len()));
    assert_eq!(lax::lax_end(&wire), Some(wire.len()));
    // Whoever reads it next finds the fields that were there, those that were added, and no other.
    let plain = Bytes::from(joined(edited.wire(Framing::Plain)));
    let Ok(read) = Message::from_bytes(plain.clone(), LIMITS) else { return };
    assert_eq!(read.headers().fields().count(), fields, "{}", plain.escape_ascii());
    assert_eq!(read.headers().raw(), edited.headers().raw());
    let offset = usize::try_from(edited.body_offset()).expect("a small message");
    assert_eq!(read.body_offset(), edited.body_offset());
    let original = joined(message.wire(Framing::Plain));
    let kept = &original[usize::try_from(message.body_offset()).expect("a small message")..];
    assert_eq!(&plain[offset..], body.as_deref().unwrap_or(kept));
}

fn joined(pieces: Wire) -> Vec<u8> {
    pieces.flat_map(|piece| piece.expect("memory")).collect()
}
