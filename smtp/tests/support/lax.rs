//! What other servers could make of a message that leaves here. A strict parser and a lax one must agree that it is
//! one message, and where it ends.

use mailweir_smtp::data::{DotUnstuffer, Framing, MessageSummary};

/// Checks a message taken whole against what was said of it, and against smuggling.
pub(crate) fn check_message(framing: Framing, content: &[u8], summary: &MessageSummary) {
    let ends_with_newline = content.is_empty() || content.ends_with(b"\r\n");
    assert_eq!(summary.ends_with_newline, ends_with_newline);
    let length = match framing {
        Framing::Plain => content.len(),
        Framing::DotStuffed => {
            assert!(ends_with_newline, "DATA ends lines");
            let wire = [content, b".\r\n"].concat();
            assert_eq!(strict_end(&wire), Some(wire.len()), "strict: {}", wire.escape_ascii());
            let without_nul: Vec<u8> = wire.iter().copied().filter(|byte| *byte != 0).collect();
            assert_eq!(lax_end(&without_nul), Some(without_nul.len()), "lax: {}", wire.escape_ascii());
            DotUnstuffer::default().pieces(content).map(<[u8]>::len).sum()
        }
    };
    assert_eq!(summary.bytes, length as u64);
}

/// Where a message ends for a server that knows CRLF only.
pub(crate) fn strict_end(wire: &[u8]) -> Option<usize> {
    if wire.starts_with(b".\r\n") {
        return Some(3);
    }
    wire.windows(5).position(|window| window == b"\r\n.\r\n").map(|start| start + 5)
}

/// Where a message ends for a server that drops NULs and takes CRLF, CR and LF alike for the end of a line. `wire` has
/// no NULs any more.
pub(crate) fn lax_end(wire: &[u8]) -> Option<usize> {
    let is_newline = |byte: Option<&u8>| matches!(byte, Some(b'\r' | b'\n'));
    (0..wire.len()).find_map(|dot| {
        let begins_line = dot == 0 || is_newline(wire.get(dot - 1));
        let ends_message = wire[dot] == b'.' && begins_line && is_newline(wire.get(dot + 1));
        ends_message.then(|| dot + 2 + usize::from(wire[dot + 1..].starts_with(b"\r\n")))
    })
}
