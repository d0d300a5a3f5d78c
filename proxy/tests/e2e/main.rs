//! The built `mailweir` as a process between real clients and real upstreams.
//!
//! Each test starts a proxy of its own with a configuration of its own. What is a plain exchange of commands and replies
//! stands in `tests/dialogs/*.txt`; what needs more is a test here.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../guests/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the host, which use the rest")]
mod guests;

#[path = "../../../smtp/tests/support/lax.rs"]
#[expect(dead_code, reason = "shared with the tests of the SMTP machine")]
mod lax;

mod client;
mod filter;
mod interoperation;
mod stage;
mod upstream;

mod budget;
mod command;
mod dialogs;
mod drain;
mod edits;
mod floods;
mod hostile_configs;
mod hostile_filters;
mod hostile_upstreams;
mod limits;
mod observe;
mod postfix;
mod proxy_protocol;
mod python;
mod quarantine;
mod relayed;
mod relaying;
mod reload;
mod signing;
mod smuggling;
mod tls;
mod transparency;
mod upstreams;
mod xclient;
