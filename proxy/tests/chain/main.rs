//! Transactions through chains of filters that say what a test wants them to say.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../guests/mod.rs"]
#[expect(dead_code, reason = "the tests of the host use the rest")]
mod guests;
#[path = "../host/support.rs"]
#[expect(dead_code, reason = "the tests of the host use the rest")]
mod support;
mod script;
mod stage;

mod verdicts;
mod phases;
mod failures;
mod edits;
mod pushing;
mod breaker;
mod served;
