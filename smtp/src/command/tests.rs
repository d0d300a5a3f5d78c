//! Command lines, beyond what the dialogs show.

use super::*;

#[test]
fn any_line_parses_or_is_refused_politely() {
    let refused: &[(&[u8], u16)] = &[
        (b"", 500),
        (b"\0", 500),
        (b"MAILFROM:<>", 500),
        (b"MAIL\tFROM:<>", 500),
        (b"MAIL FROM <>", 501),
        (b"MAIL FROM:<> =", 501),
        (b"MAIL FROM:<> \0", 501),
        (b"MAIL FROM:<a>b@c>", 501),
        (b"MAIL FROM:a@b>", 501),
        (b"MAIL FROM:\"a", 501),
        (b"RCPT TO:", 501),
        (b"RCPT TO: SIZE=1", 501),
        (b"BDAT", 501),
        (b"BDAT +1", 501),
        (b"BDAT -1", 501),
        (b"BDAT 1 LAST LAST", 501),
        (b"BDAT 99999999999999999999999999", 501),
        (b"GET / HTTP/1.1", 502),
        (b"EHLO \xc3\xbc", 501),
    ];
    for (line, code) in refused {
        let reply = Command::parse(line).unwrap_err().reply();
        assert_eq!(reply.code(), *code, "{}", line.escape_ascii());
    }
}

#[test]
fn spaces_and_case_change_nothing() {
    let lines: &[&[u8]] = &[
        b"MAIL FROM:<a@b> SIZE=1",
        b"mail from:<a@b> size=1",
        b"MAIL  FROM: <a@b>  SIZE=1  ",
        b"MAIL FROM:a@b SIZE=1",
        b"MAIL FROM:<@x:a@b> SIZE=1",
    ];
    let commands: Vec<_> = lines.iter().map(|line| Command::parse(line).unwrap()).collect();
    assert!(commands.windows(2).all(|pair| pair[0] == pair[1]), "{commands:?}");
}

#[test]
fn the_longest_chunk() {
    let command = Command::parse(b"BDAT 18446744073709551615 Last");
    assert_eq!(command, Ok(Command::Bdat { size: u64::MAX, last: true }));
    assert_eq!(Command::parse(b"BDAT 000000000000000000000000001"), Ok(Command::Bdat { size: 1, last: false }));
}
