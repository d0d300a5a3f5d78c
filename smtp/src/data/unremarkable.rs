//! Passing over ordinary lines, many octets at a time.

/// Counts octets that can be passed over; [`unremarkable`], or the same compiled for a better processor.
///
/// Its answer is trusted: one that passes over what [`unremarkable`] stops at lets messages end where they do not.
pub type Unremarkable = fn(&[u8]) -> usize;

/// Octets that are looked at together.
const BLOCK: usize = 128;

/// How many of the first octets, in blocks of 128, hold nothing to stop at: each CR is followed by LF, each LF (but for
/// the first octet) follows a CR, and no line begins with `.` or NUL. Of what follows them one octet is looked at.
///
/// Without branches within a block, for the compiler to use vector instructions: several times as fast as going from line
/// to line. Inlined, so that a function which may use wider vectors has it compiled to them:
///
/// ```ignore
/// #[target_feature(enable = "avx2")]
/// fn unremarkable_avx2(bytes: &[u8]) -> usize {
///     mailweir_smtp::data::unremarkable(bytes)
/// }
/// ```
#[inline(always)]
pub fn unremarkable(bytes: &[u8]) -> usize {
    let mut passed = 0;
    while let (Some(block), Some(following)) =
        (bytes.get(passed..passed + BLOCK), bytes.get(passed + 1..=passed + BLOCK))
    {
        let remarkable = block.iter().zip(following).fold(false, |remarkable, (&octet, &next)| {
            let bare_newline = (octet == b'\r') != (next == b'\n');
            let line_to_look_at = (octet == b'\n') & ((next == b'.') | (next == 0));
            remarkable | bare_newline | line_to_look_at
        });
        if remarkable {
            break;
        }
        passed += BLOCK;
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says, octet by octet.
    fn is_remarkable(octet: u8, next: u8) -> bool {
        (octet == b'\r') != (next == b'\n') || (octet == b'\n' && (next == b'.' || next == 0))
    }

    #[test]
    fn it_stops_before_the_block_that_holds_something() {
        let ordinary = [&[b'x'; 40][..], b"\r\n"].concat().repeat(20);
        assert_eq!(unremarkable(&ordinary), ordinary.len() / BLOCK * BLOCK);
        for at in 0..ordinary.len() {
            for octet in [b'\r', b'\n', b'.', 0, b'y'] {
                let mut bytes = ordinary.clone();
                bytes[at] = octet;
                let first = bytes.windows(2).position(|pair| is_remarkable(pair[0], pair[1]));
                let whole = first.unwrap_or(bytes.len() - 1) / BLOCK * BLOCK;
                assert_eq!(unremarkable(&bytes), whole, "{octet} at {at}");
            }
        }
    }

    #[test]
    fn nothing_is_said_of_less_than_a_block_and_an_octet() {
        assert_eq!(
            [0, 1, BLOCK, BLOCK + 1, 2 * BLOCK].map(|size| unremarkable(&vec![b'x'; size])),
            [0, 0, 0, BLOCK, BLOCK]
        );
    }
}
