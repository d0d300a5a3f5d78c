//! What the tests, the demo and the benches share: an authoritative DNS zone, keys and certificates, real daemons and
//! programs, scripted servers.
//!
//! Everything here runs on the loopback interface, in temporary directories, and is gone when it is dropped. What
//! needs a program that is not installed answers `None`, so that a test can say that it is skipped.
//!
//! Nothing here depends on the proxy's crate: a test starts the built binary, or brings its own in-process pieces.

pub mod certificates;
pub mod clamd;
pub mod dkim;
pub mod dns;
pub mod mailweir;
pub mod peers;
pub mod ports;
pub mod postfix;
pub mod programs;
pub mod script;
pub mod sink;
pub mod tls;
