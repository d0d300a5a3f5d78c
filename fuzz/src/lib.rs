//! What the fuzz targets share: how an input is taken apart.
//!
//! Most targets take an input as a few octets of settings and then the bytes to be read, word for word, so that files
//! from elsewhere make seeds and dictionaries work.
#![forbid(unsafe_code)]

/// Cuts bytes into pieces whose lengths follow from one octet, so that an input says how it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Cut(u8);

impl Cut {
    /// 0: octet by octet; 1 to 127: pieces of that size; from 128: pieces of all sizes.
    pub fn new(seed: u8) -> Self {
        Self(seed)
    }

    /// `bytes`, in pieces none of which is empty.
    pub fn pieces(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = bytes;
        let mut state = u32::from(self.0);
        std::iter::from_fn(move || {
            let size = match self.0 {
                0 => 1,
                size @ 1..=127 => usize::from(size),
                _ => {
                    // Numerical Recipes' generator; its high bits, small numbers mostly.
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    1 << (state >> 28) | (state >> 24 & 15) as usize
                }
            };
            let (piece, left) = rest.split_at(size.min(rest.len()));
            rest = left;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// The settings that an input begins with, and the rest of it; `None` when it is too short to matter.
pub fn split_settings<const N: usize>(data: &[u8]) -> Option<([u8; N], &[u8])> {
    data.split_first_chunk::<N>().map(|(settings, rest)| (*settings, rest))
}

/// Whether bit `number` of `settings` is set.
pub fn bit(settings: u8, number: u32) -> bool {
    settings >> number & 1 == 1
}

/// Runs a future of the proxy's to its end, on a runtime of this thread.
#[cfg(feature = "proxy")]
pub fn run<F: Future>(future: F) -> F::Output {
    use tokio::runtime::{Builder, Runtime};
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
