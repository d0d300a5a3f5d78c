//! Read buffers of messages that are passed on while they arrive, kept for the next such message: their pages are there
//! already, and memory that is given back and taken again costs as much as copying it.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers that a thread keeps.
const MOST: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of this size.
pub(super) fn take(size: usize) -> BytesMut {
    let mut spare = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if !spare.try_reclaim(size) {
        spare.reserve(size);
    }
    spare
}

/// Keeps a buffer that is of no use to its owner any more, if it is empty, of this size at least, and nobody else's.
pub(super) fn put(mut buffer: BytesMut, size: usize) {
    if buffer.is_empty() && buffer.try_reclaim(size) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_kept_when_nothing_of_it_is_in_use() {
        const SIZE: usize = 64 * 1024;
        let mut buffer = take(SIZE);
        let memory = buffer.as_ptr();
        buffer.extend_from_slice(&[b'x'; SIZE]);
        let piece = buffer.split().freeze();
        put(buffer, SIZE);
        let mut another = take(SIZE);
        assert_ne!(another.as_ptr(), memory, "the piece is in it");
        assert_eq!(piece.len(), SIZE);
        let memory = another.as_ptr();
        another.extend_from_slice(&[b'y'; SIZE]);
        drop(another.split());
        put(another, SIZE);
        assert_eq!(take(SIZE).as_ptr(), memory);
        for _ in 0..=MOST {
            put(BytesMut::with_capacity(SIZE), SIZE);
        }
        assert_eq!(SPARE.with_borrow(Vec::len), MOST);
    }
}
