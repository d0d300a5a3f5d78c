//! What the benches share: the harness, sample messages, and a host with filters.
//!
//! The benches are in `benches/`, one file for each layer. docs/performance.md says how to run them.

pub mod harness;
pub mod sample;
pub mod stage;

/// As in the binary that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
