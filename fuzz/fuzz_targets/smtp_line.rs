//! Command lines, held against a plain reading of the rules, however they arrive.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mailweir_fuzz::{Cut, split_settings};
use mailweir_smtp::line::{LineError, LineReader};

fuzz_target!(|data: &[u8]| {
    let Some(([cut, limit], bytes)) = split_settings(data) else { return };
    let limit = usize::from(limit) + 2;
    let expected = expected_lines(bytes, limit);
    assert_eq!(read(std::iter::once(bytes), limit), expected);
    assert_eq!(read(Cut::new(cut).pieces(bytes), limit), expected);
});

type Lines = Vec<Result<Vec<u8>, LineError>>;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Lines {
    let mut reader = LineReader::new(limit);
    let mut input = BytesMut::new();
    let mut lines = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(found) = reader.find(&mut input) {
            lines.push(found.map(|length| {
                let line = input[..length].to_vec();
                reader.consume(&mut input, length);
                line
            }));
        }
    }
    assert!(input.len() < limit, "no more than a line is kept");
    lines
}

/// Lines end in CRLF. In one that holds a bare CR or LF, what comes first of that and the limit decides.
fn expected_lines(bytes: &[u8], limit: usize) -> Lines {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let line = match end {
            Some(end) => &rest[..end],
            // The CR may be half a newline.
            None => rest.strip_suffix(b"\r").unwrap_or(rest),
        };
        let bare = line.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
        if bare.unwrap_or(line.len()) + 2 > limit {
            lines.push(Err(LineError::TooLong));
        } else if bare.is_some() {
            lines.push(Err(LineError::BareNewline));
        } else if end.is_some() {
            lines.push(Ok(line.to_vec()));
        }
        match end {
            Some(end) => rest = &rest[end + 2..],
            None => return lines,
        }
    }
}
