//! DEFLATE (RFC 1951), with what comes out counted before it is kept.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::{Allowance, Stop};

/// Bytes that come out at once.
const BLOCK: usize = 64 * 1024;
/// Bytes that go in at once, so that the work is counted as it is done.
const INPUT: usize = 64 * 1024;

pub(super) struct Inflated {
    pub(super) bytes: Bytes,
    /// Bytes of the input that belong to the stream.
    pub(super) consumed: usize,
    /// Whether the stream came to its end.
    pub(super) is_whole: bool,
}

/// Inflates a stream that begins at the beginning of `input`, and ends where it says. What is damaged gives what came
/// before the damage.
pub(super) fn inflate(input: &[u8], allowance: &mut Allowance) -> Result<Inflated, Stop> {
    let mut output = allowance.output();
    let (consumed, is_whole) = inflate_into(input, allowance, &mut |bytes| Ok(output.push(bytes)?))?;
    Ok(Inflated { bytes: output.finish()?, consumed, is_whole })
}

/// The same, giving blocks of bytes to `sink`.
pub(super) fn inflate_into(
    input: &[u8],
    allowance: &mut Allowance,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Stop>,
) -> Result<(usize, bool), Stop> {
    let mut stream = Decompress::new(false);
    let mut block = vec![0; BLOCK];
    let mut consumed = 0;
    loop {
        let rest = &input[consumed..];
        let rest = &rest[..rest.len().min(INPUT)];
        let (before_in, before_out) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(rest, &mut block, FlushDecompress::None);
        // Both are within the slices that were given.
        let taken = (stream.total_in() - before_in) as usize;
        let given = (stream.total_out() - before_out) as usize;
        consumed += taken;
        allowance.work(taken as u64)?;
        allowance.content(given as u64)?;
        sink(&block[..given])?;
        match status {
            Ok(Status::StreamEnd) => return Ok((consumed, true)),
            Ok(_) if taken > 0 || given > 0 => {}
            Ok(_) | Err(_) => return Ok((consumed, false)),
        }
    }
}
