//! mailweir: a streaming SMTP proxy that runs every message through a chain of sandboxed WebAssembly filters.
//!
//! The modules stand in the order of the data path:
//!
//! ```text
//! listener -> session (smtp::server) -> message -> chain -> verdict -> signing -> upstream (smtp::client)
//! ```
//!
//! This crate is the `mailweir` binary's own; it is a library for its tests and benches, not an API.

pub mod config;
pub mod listener;
pub mod session;
pub mod message;
pub mod chain;
pub mod verdict;
pub mod host;
pub mod services;
pub mod signing;
pub mod upstream;
pub mod sink;
pub mod quarantine;
pub mod generation;
pub mod admin;
pub mod bounds;
pub mod logging;
mod timer;
pub mod clock;
mod append;
pub mod command;
