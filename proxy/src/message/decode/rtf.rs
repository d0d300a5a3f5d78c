//! Compressed RTF (MS-OXRTFCP), and the text of RTF.

use bytes::Bytes;

use super::{Allowance, State, Stop, u32_at};

/// What the dictionary holds at first (section 2.1.3.1.2).
const DICTIONARY: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \
\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\
\\b\\i\\u\\tab\\tx";
const WINDOW: usize = 4096;
const COMPRESSED: u32 = 0x75_46_5a_4c;
const HEADER: usize = 16;
const BLOCK: usize = 64 * 1024;

/// The RTF, and whether all of it could be had.
pub(super) fn decompress(bytes: &Bytes, allowance: &mut Allowance) -> Result<(Bytes, State), Stop> {
    let Some(kind) = u32_at(bytes, 8) else { return Ok((Bytes::new(), State::Damaged)) };
    let input = bytes.slice(HEADER.min(bytes.len())..);
    if kind != COMPRESSED {
        allowance.content(input.len() as u64)?;
        return Ok((input, State::Whole));
    }
    let mut window = [0u8; WINDOW];
    window[..DICTIONARY.len()].copy_from_slice(DICTIONARY);
    let mut write = DICTIONARY.len();
    let mut output = allowance.output();
    let mut block = Vec::with_capacity(BLOCK + 32);
    let mut rest = input.iter().copied();
    let mut state = State::Damaged;
    'runs: while let Some(control) = rest.next() {
        for bit in 0..8 {
            if control & (1 << bit) == 0 {
                let Some(byte) = rest.next() else { break 'runs };
                put(byte, &mut window, &mut write, &mut block);
                continue;
            }
            let (Some(high), Some(low)) = (rest.next(), rest.next()) else { break 'runs };
            let reference = usize::from(u16::from_be_bytes([high, low]));
            let (offset, length) = (reference >> 4, (reference & 15) + 2);
            if offset == write {
                state = State::Whole;
                break 'runs;
            }
            for step in 0..length {
                put(window[(offset + step) % WINDOW], &mut window, &mut write, &mut block);
            }
        }
        if block.len() >= BLOCK {
            allowance.content(block.len() as u64)?;
            output.push(&block)?;
            block.clear();
        }
    }
    allowance.content(block.len() as u64)?;
    output.push(&block)?;
    Ok((output.finish()?, state))
}

fn put(byte: u8, window: &mut [u8; WINDOW], write: &mut usize, block: &mut Vec<u8>) {
    window[*write] = byte;
    *write = (*write + 1) % WINDOW;
    block.push(byte);
}
