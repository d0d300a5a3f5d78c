//! What a user of the machine does at unusual moments; what clients do is in the dialogs.

use super::*;
use crate::data::PIECE;

const ENVELOPE: &[u8] = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n";

fn ok() -> Reply {
    Reply::new(250, "2.0.0", "OK")
}

fn greeted(tls: TlsPolicy) -> Server {
    let mut server = Server::new(ServerPolicy { tls, ..ServerPolicy::new("mx") });
    server.greet(Reply::new(220, "", "mx"));
    server
}

/// A server that has taken an envelope, and nothing to say yet.
fn with_envelope() -> Server {
    let mut server = greeted(TlsPolicy::Off);
    let mut input = BytesMut::from(ENVELOPE);
    while server.next(&mut input).is_some() {
        server.accept(ok());
    }
    server.output().clear();
    server
}

/// Feeds `bytes`; the events, of which `MessageBegin` is accepted.
fn feed(server: &mut Server, bytes: &[u8]) -> Vec<Event> {
    let mut input = BytesMut::from(bytes);
    let mut events = Vec::new();
    while let Some(event) = server.next(&mut input) {
        if let Event::MessageBegin { .. } = event {
            server.accept_message();
        }
        events.push(event);
    }
    events
}

fn said(server: &mut Server) -> String {
    String::from_utf8(server.output().split().to_vec()).unwrap()
}

#[test]
fn nothing_is_read_before_the_greeting() {
    let mut server = Server::new(ServerPolicy::new("mx"));
    let mut input = BytesMut::from(&b"EHLO c\r\n"[..]);
    assert_eq!(server.next(&mut input), None);
    assert_eq!(&input[..], b"EHLO c\r\n");
}

#[test]
fn nothing_is_read_before_an_answer() {
    let mut server = greeted(TlsPolicy::Off);
    let mut input = BytesMut::from(ENVELOPE);
    assert!(matches!(server.next(&mut input), Some(Event::Hello { .. })));
    let left = input.clone();
    assert_eq!(server.next(&mut input), None);
    assert_eq!(input, left);
}

#[test]
fn nothing_is_read_before_tls() {
    let mut server = greeted(TlsPolicy::Offered);
    let mut input = BytesMut::from(&b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@example.org>\r\n"[..]);
    server.next(&mut input);
    server.accept(ok());
    assert_eq!(server.next(&mut input), Some(Event::StartTls));
    server.accept(Reply::new(220, "2.0.0", "Go ahead"));
    assert_eq!(server.next(&mut input), None);
    server.tls_established(&mut input);
    assert!(input.is_empty());
    assert_eq!(server.next(&mut input), None);
}

#[test]
fn a_message_refused_between_its_chunks() {
    let mut server = with_envelope();
    feed(&mut server, b"BDAT 2\r\nab");
    server.refuse(Reply::new(550, "5.7.1", "No"));
    assert_eq!(said(&mut server), "250 2.0.0 2 octets received\r\n");
    assert_eq!(feed(&mut server, b"BDAT 2\r\ncdBDAT 2 LAST\r\nefNOOP\r\n"), []);
    assert_eq!(said(&mut server), "550 5.7.1 No\r\n503 5.5.1 The message was refused\r\n250 2.0.0 OK\r\n");
}

#[test]
fn a_message_refused_while_it_trickles_in() {
    let mut server = with_envelope();
    feed(&mut server, b"DATA\r\na");
    server.output().clear();
    server.refuse(Reply::new(550, "5.7.1", "No"));
    assert_eq!(feed(&mut server, b"b\r\nQUIT\r\n.\r\nNOOP\r\n"), []);
    assert_eq!(said(&mut server), "550 5.7.1 No\r\n250 2.0.0 OK\r\n");
}

#[test]
fn a_faulty_message_cannot_be_accepted() {
    let mut server = with_envelope();
    let events = feed(&mut server, b"DATA\r\na\nb\r\n.\r\n");
    assert_eq!(events.last(), Some(&Event::MessageEnd(Err(MessageFault::BareNewline))));
    server.output().clear();
    server.accept(ok());
    assert!(said(&mut server).starts_with("554 5.6.0 "));
}

#[test]
fn a_fault_is_known_before_the_end_and_can_be_refused_then() {
    let mut server = with_envelope();
    feed(&mut server, b"DATA\r\n");
    let mut input = BytesMut::from(&b"a\r\n"[..]);
    assert_eq!((server.next(&mut input), server.content_fault()), (None, None));
    input.extend_from_slice(b"b\nc\r\n");
    assert_eq!((server.next(&mut input), server.content_fault()), (None, Some(MessageFault::BareNewline)));
    server.output().clear();
    server.refuse(MessageFault::BareNewline.reply());
    assert_eq!((server.content_fault(), said(&mut server)), (None, String::new()));
    input.extend_from_slice(b"d\r\n.\r\nNOOP\r\n");
    assert_eq!(server.next(&mut input), None);
    assert!(said(&mut server).starts_with("550 5.6.11 ") && server.content_fault().is_none());
}

#[test]
fn a_fault_in_a_chunk_is_known_before_the_chunk_ends() {
    for (last, then) in [("", "BDAT 2 LAST\r\nx\n"), (" LAST", "")] {
        let mut server = with_envelope();
        let mut input = BytesMut::from(format!("BDAT 50000{last}\r\na\nb\r\n").as_bytes());
        input.resize(input.len() + PIECE, b'x');
        assert!(matches!(server.next(&mut input), Some(Event::MessageBegin { .. })));
        server.accept_message();
        assert_eq!((server.next(&mut input), server.content_fault()), (None, Some(MessageFault::BareNewline)));
        server.output().clear();
        server.refuse(MessageFault::BareNewline.reply());
        assert_eq!((server.content_fault(), said(&mut server)), (None, String::new()), "the chunk is read to its end");
        assert!(input.is_empty());
        input.resize(50_000 - 5 - PIECE, b'x');
        input.extend_from_slice(then.as_bytes());
        input.extend_from_slice(b"NOOP\r\n");
        assert_eq!(server.next(&mut input), None);
        let said = said(&mut server);
        assert!(said.starts_with("550 5.6.11 ") && said.ends_with("250 2.0.0 OK\r\n"), "{said}");
        assert_eq!(said.contains("503 5.5.1 "), !then.is_empty(), "{said}");
    }
}

#[test]
fn what_is_pipelined_behind_a_mail_that_was_put_off_is_no_mistake() {
    for (put_off, recipients, goes_on) in [(true, 1000, true), (true, 1100, false), (false, 1000, false)] {
        let mut server = greeted(TlsPolicy::Off);
        let mut input = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\n".to_vec();
        input.extend(b"RCPT TO:<c@d.example>\r\n".repeat(recipients));
        input.extend(b"DATA\r\n");
        let mut input = BytesMut::from(&input[..]);
        assert!(matches!(server.next(&mut input), Some(Event::Hello { .. })));
        server.accept(ok());
        assert!(matches!(server.next(&mut input), Some(Event::Mail { .. })));
        let busy = Reply::new(452, "4.3.1", "busy");
        if put_off {
            server.defer(busy)
        } else {
            server.refuse(busy)
        }
        let event = server.next(&mut input);
        assert_eq!(event.is_none(), goes_on, "{recipients}: {event:?}");
    }
}

#[test]
fn a_reply_that_is_not_positive_refuses() {
    let mut server = with_envelope();
    feed(&mut server, b"DATA\r\n.\r\n");
    server.output().clear();
    server.accept(Reply::new(451, "4.3.0", "Later"));
    feed(&mut server, b"RCPT TO:<a@b>\r\n");
    assert_eq!(said(&mut server), "451 4.3.0 Later\r\n503 5.5.1 Send MAIL first\r\n");
}

#[test]
fn closing_takes_the_place_of_an_answer() {
    let mut server = with_envelope();
    feed(&mut server, b"RCPT TO:<c@d>\r\n");
    server.close(Reply::new(421, "4.3.2", "Shutting down"));
    server.close(Reply::new(421, "4.3.2", "Once is enough"));
    server.accept(ok());
    assert_eq!(feed(&mut server, b"NOOP\r\n"), [Event::Close]);
    assert_eq!(said(&mut server), "421 4.3.2 Shutting down\r\n");
    assert_eq!(feed(&mut server, b"NOOP\r\n"), []);
}

#[test]
fn what_is_put_off_does_not_count_against_the_client() {
    let mut server = with_envelope();
    for _ in 0..900 {
        feed(&mut server, b"RCPT TO:<c@d>\r\n");
        server.defer(Reply::new(452, "4.5.3", "One destination a message"));
    }
    assert_eq!(said(&mut server), "452 4.5.3 One destination a message\r\n".repeat(900));
    // The message goes to the recipient that was accepted.
    feed(&mut server, b"BDAT 1 LAST\r\na");
    server.accept(ok());
    for _ in 0..200 {
        feed(&mut server, b"MAIL FROM:<>\r\n");
        server.defer(Reply::new(451, "4.4.1", "Later"));
    }
    feed(&mut server, b"NOOP\r\n");
    assert!(said(&mut server).ends_with("451 4.4.1 Later\r\n250 2.0.0 OK\r\n"));
}

#[test]
fn a_message_can_be_put_off() {
    for (command, rest) in [("DATA\r\n", ""), ("BDAT 2 LAST\r\n", "ab")] {
        let mut server = with_envelope();
        let mut input = BytesMut::from(command);
        assert!(matches!(server.next(&mut input), Some(Event::MessageBegin { .. })));
        server.defer(Reply::new(451, "4.3.0", "Later"));
        assert_eq!(feed(&mut server, rest.as_bytes()), []);
        feed(&mut server, b"RCPT TO:<a@b>\r\n");
        assert_eq!(said(&mut server), "451 4.3.0 Later\r\n503 5.5.1 Send MAIL first\r\n");
    }
}

/// Whether content is being read after each of `pieces`, of which those that begin with `-` are refusals.
fn content_after(pieces: &[&str]) -> Vec<bool> {
    let mut server = with_envelope();
    let mut input = BytesMut::new();
    let mut reading = Vec::new();
    for piece in pieces {
        match piece.strip_prefix('-') {
            Some(text) => server.refuse(Reply::new(550, "5.7.1", text)),
            None => input.extend_from_slice(piece.as_bytes()),
        }
        while let Some(event) = server.next(&mut input) {
            if let Event::MessageBegin { .. } = event {
                server.accept_message();
            }
        }
        reading.push(server.is_reading_content());
    }
    reading
}

#[test]
fn content_is_told_from_commands() {
    assert_eq!(content_after(&["NOOP\r\n", "DATA\r\n", "a\r\n", ".\r\n"]), [false, true, true, false]);
    assert_eq!(content_after(&["DATA\r\n", "-No", "a\r\n", ".\r\n"]), [true, true, true, false]);
    assert_eq!(content_after(&["BDAT 2\r\n", "ab", "BDAT 1 LAST\r\n", "c"]), [true, true, true, false]);
    assert_eq!(content_after(&["BDAT 2\r\n", "-No", "ab", "BDAT 1 LAST\r\n", "c"]), [true, true, false, true, false]);
    assert_eq!(content_after(&["RSET\r\nBDAT 2\r\n", "ab"]), [true, false], "dropped");
}

#[test]
fn who_quits_after_all_replies_has_nothing_more_to_say() {
    for (before, is_written, expected) in [("", true, true), ("NOOP\r\n", true, true), ("NOOP\r\n", false, false)] {
        let mut server = greeted(TlsPolicy::Off);
        server.output().clear();
        assert!(!server.has_quit());
        feed(&mut server, before.as_bytes());
        if is_written {
            server.output().clear();
        }
        assert_eq!(feed(&mut server, b"QUIT\r\n"), [Event::Close]);
        assert_eq!(server.has_quit(), expected, "{before:?}, written: {is_written}");
    }
}
