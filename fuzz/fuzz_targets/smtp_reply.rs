//! Replies of servers: bounded, the same however they arrive, and safe to pass on to a client.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mailweir_fuzz::{Cut, split_settings};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::reply::{MAX_TEXT, Reply, ReplyParser};

fuzz_target!(|data: &[u8]| {
    let Some(([cut], bytes)) = split_settings(data) else { return };
    let (replies, failed) = read(std::iter::once(bytes));
    assert_eq!(read(Cut::new(cut).pieces(bytes)), (replies.clone(), failed));
    for reply in &replies {
        check(reply);
        let lines: Vec<&str> = reply.lines().iter().map(String::as_str).collect();
        let passed_on = Reply::multi(reply.code(), "", &lines);
        check(&passed_on);
        assert!(passed_on.lines().iter().all(|line| line.len() <= MAX_TEXT));
        // What is read is written in a way that is read alike.
        let extensions = Extensions::from_reply(reply);
        let written: Vec<String> = std::iter::once("mx".to_owned()).chain(extensions.lines()).collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        assert_eq!(Extensions::from_reply(&Reply::multi(250, "", &written)), extensions);
    }
    // The same bytes as texts, which come from plugins and configurations too.
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('|').take(20).collect();
    check(&Reply::multi(u16::from(cut) * 3, "5.7.1", &lines));
    check(&Reply::new(u16::from(cut) * 3, &text, &text));
});

/// The replies, and whether the last of it was none.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, bool) {
    let mut parser = ReplyParser::default();
    let mut input = BytesMut::new();
    let mut replies = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match parser.next(&mut input) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(_) => return (replies, true),
            }
        }
    }
    (replies, false)
}

/// On the wire it is one reply, and says the same.
fn check(reply: &Reply) {
    assert!((200..600).contains(&reply.code()) && !reply.lines().is_empty());
    let mut wire = BytesMut::new();
    reply.write_to(&mut wire);
    let lines: Vec<&[u8]> = wire.strip_suffix(b"\r\n").expect("a last line").split(|octet| *octet == b'\n').collect();
    assert_eq!(lines.len(), reply.lines().len());
    assert_eq!(wire.iter().filter(|octet| **octet == b'\r').count(), lines.len());
    assert!(!wire.contains(&0));
    for (index, line) in lines.iter().enumerate() {
        assert!(line.starts_with(reply.code().to_string().as_bytes()));
        assert_eq!(line[3] == b' ', index + 1 == lines.len());
    }
    if reply.lines().iter().all(|line| line.len() <= MAX_TEXT) {
        assert_eq!(ReplyParser::default().next(&mut wire).as_ref(), Ok(&Some(reply.clone())));
        assert!(wire.is_empty());
    }
}
