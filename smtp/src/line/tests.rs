//! Lines out of hostile input.

use super::*;

type Line = Result<String, LineError>;

/// What a reader with a limit of 10 makes of `wire`, the same octet by octet and at once.
fn read(wire: &[u8]) -> Vec<Line> {
    let collect = |size: usize| {
        let (mut reader, mut input, mut lines) = (LineReader::new(10), BytesMut::new(), Vec::new());
        for bytes in wire.chunks(size) {
            input.extend_from_slice(bytes);
            while let Some(found) = reader.find(&mut input) {
                lines.push(found.map(|length| String::from_utf8(input[..length].to_vec()).unwrap()));
                if let Ok(length) = found {
                    reader.consume(&mut input, length);
                }
            }
            assert!(input.len() <= 10, "what is left in the input is bounded");
        }
        lines
    };
    let whole = collect(usize::MAX);
    assert_eq!(collect(1), whole, "{}", wire.escape_ascii());
    whole
}

#[test]
fn lines() {
    let long = Err(LineError::TooLong);
    let bare = Err(LineError::BareNewline);
    let ok = |text: &str| Ok(text.to_owned());
    let cases: &[(&[u8], &[Line])] = &[
        (b"", &[]),
        (b"NOOP", &[]),
        (b"NOOP\r", &[]),
        (b"NOOP\r\n\r\nQUIT\r\n", &[ok("NOOP"), ok(""), ok("QUIT")]),
        (b"12345678\r\n", &[ok("12345678")]),
        (b"123456789\r\nNOOP\r\n", &[long.clone(), ok("NOOP")]),
        (b"123456789123456789123456789", std::slice::from_ref(&long)),
        (b"a\nNOOP\r\nRSET\r\n", &[bare.clone(), ok("RSET")]),
        (b"a\rNOOP\r\nRSET\r\n", &[bare.clone(), ok("RSET")]),
        (b"a\r\r\nRSET\r\n", &[bare.clone(), ok("RSET")]),
        (b"\n\n\n\r\nRSET\r\n", &[bare.clone(), ok("RSET")]),
        (b"a\nb\rc\r\r\nRSET\r\n", &[bare, ok("RSET")]),
        (b"123456789\nNOOP\r\nRSET\r\n", &[long.clone(), ok("RSET")]),
    ];
    for (wire, expected) in cases {
        assert_eq!(read(wire), *expected, "{}", wire.escape_ascii());
    }
}
