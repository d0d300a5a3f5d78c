//! Replies written, and read back.

use super::*;

fn written(reply: &Reply) -> String {
    let mut output = BytesMut::new();
    reply.write_to(&mut output);
    String::from_utf8(output.to_vec()).unwrap()
}

/// What the parser makes of `wire`, given octet by octet and at once.
fn read(wire: &[u8]) -> Result<Vec<Reply>, ReplyError> {
    let collect = |size: usize| {
        let (mut parser, mut input, mut replies) = (ReplyParser::default(), BytesMut::new(), Vec::new());
        for bytes in wire.chunks(size) {
            input.extend_from_slice(bytes);
            while let Some(reply) = parser.next(&mut input)? {
                replies.push(reply);
            }
        }
        Ok(replies)
    };
    let whole = collect(usize::MAX);
    assert_eq!(collect(1), whole, "{}", wire.escape_ascii());
    whole
}

#[test]
fn replies_are_written_line_by_line() {
    assert_eq!(written(&Reply::new(250, "2.1.0", "OK")), "250 2.1.0 OK\r\n");
    assert_eq!(written(&Reply::new(220, "", "mx ready")), "220 mx ready\r\n");
    assert_eq!(written(&Reply::multi(550, "5.7.1", &["one", "two"])), "550-5.7.1 one\r\n550 5.7.1 two\r\n");
    assert_eq!(written(&Reply::multi(250, "2.0.0", &[])), "250 2.0.0\r\n");
    assert_eq!(Reply::multi(550, "5.7.1", &["one", "two"]).to_string(), "550 5.7.1 one 5.7.1 two");
}

#[test]
fn no_text_breaks_out_of_its_line() {
    let reply = Reply::new(550, "5.7.1\r\n250", "no\r\n250 2.0.0 OK\0\u{7f}\u{85}\tend");
    assert_eq!(written(&reply), "550 5.7.1??250 no??250 2.0.0 OK???\tend\r\n");
    let long = written(&Reply::new(550, "", &"ä".repeat(1000)));
    assert!(long.len() <= 512 && long.ends_with("ä\r\n"));
    assert_eq!(Reply::new(999, "", "?").code(), 451);
    assert_eq!(Reply::new(99, "", "?").code(), 451);
}

#[test]
fn classes_and_enhanced_codes() {
    let cases = [
        (250, "2.1.0 OK", Some("2.1.0"), [true, false, false]),
        (354, "go on", None, [true, false, false]),
        (451, "4.7.100 later", Some("4.7.100"), [false, true, false]),
        (550, "5.7.1", Some("5.7.1"), [false, false, true]),
        (550, "5.7.1.2 no", None, [false, false, true]),
        (550, "3.7.1 no", None, [false, false, true]),
        (550, "5.x.1 no", None, [false, false, true]),
        (550, "5.7 no", None, [false, false, true]),
        (550, "5.7.1000 no", None, [false, false, true]),
    ];
    for (code, text, enhanced, classes) in cases {
        let reply = Reply::new(code, "", text);
        assert_eq!(reply.enhanced(), enhanced, "{text}");
        assert_eq!([reply.is_positive(), reply.is_transient(), reply.is_permanent()], classes, "{text}");
    }
}

#[test]
fn replies_read_back_word_for_word() {
    let replies = [
        Reply::new(220, "", "mx.example.com  ESMTP  "),
        Reply::multi(550, "5.7.1", &["one", "", "drei \u{1f600}"]),
        Reply::new(354, "", ""),
    ];
    let wire: String = replies.iter().map(written).collect();
    assert_eq!(read(wire.as_bytes()), Ok(replies.to_vec()));
    assert_eq!(read(b"250\r\n"), Ok(vec![Reply::new(250, "", "")]));
    assert_eq!(read(b"550-a\r\n550\r\n"), Ok(vec![Reply::multi(550, "", &["a", ""])]));
    assert_eq!(read(b"550 a\x08b\0\xff\r\n"), Ok(vec![Reply::new(550, "", "a?b?\u{fffd}")]));
    assert_eq!(read(b"250-half"), Ok(vec![]));
    let long = format!("550 {}\r\n", "x".repeat(4000));
    assert_eq!(read(long.as_bytes()).unwrap()[0].lines()[0].len(), 4000);
}

#[test]
fn what_is_no_reply_is_an_error() {
    let endless = "250-x\r\n".repeat(129);
    let long = vec![b'2'; 5000];
    let cases: &[(&[u8], ReplyError)] = &[
        (b"\r\n", ReplyError::Malformed),
        (b"25\r\n", ReplyError::Malformed),
        (b"2x0 OK\r\n", ReplyError::Malformed),
        (b"100 OK\r\n", ReplyError::Malformed),
        (b"600 OK\r\n", ReplyError::Malformed),
        (b"250OK\r\n", ReplyError::Malformed),
        (b"250 OK\n", ReplyError::Malformed),
        (b"250 a\rb\r\n", ReplyError::Malformed),
        (b"250 a\n250 b\r\n", ReplyError::Malformed),
        (b"HTTP/1.1 200 OK\r\n", ReplyError::Malformed),
        (b"250-a\r\n251 b\r\n", ReplyError::CodeChanges),
        (b"250-a\r\nb\r\n", ReplyError::Malformed),
        (endless.as_bytes(), ReplyError::TooManyLines),
        (&long, ReplyError::LineTooLong),
    ];
    for (wire, expected) in cases {
        assert_eq!(read(wire), Err(*expected), "{}", wire.escape_ascii());
    }
}
