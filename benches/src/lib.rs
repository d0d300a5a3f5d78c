//! What the benches work on: sample messages, and a host with the `hello` filter.
//!
//! The benches are in `benches/`, one file for each layer: `smtp`, `message`, `chain`. docs/performance.md says how to
//! run them.

pub mod sample;
pub mod stage;
