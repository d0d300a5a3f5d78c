//! What is counted of the traffic with upstreams.

use std::time::Duration;

/// Told of what happens; every method does nothing unless written. The metrics are one, tests bring others.
pub trait Observer: Send + Sync + 'static {
    /// A connection stands, EHLO and TLS included, after this long.
    fn connected(&self, route: &str, took: Duration) {
        let _ = (route, took);
    }

    /// A host could not be connected to, or was no use as a mail server.
    fn connect_failed(&self, route: &str) {
        let _ = route;
    }

    /// All connections that the route may have were in use for too long.
    fn full(&self, route: &str) {
        let _ = route;
    }

    /// An idle connection was used again.
    fn reused(&self, route: &str) {
        let _ = route;
    }

    /// The upstream answered a message with this code, this long after it was sent to its end.
    fn answered(&self, route: &str, code: u16, took: Duration) {
        let _ = (route, code, took);
    }

    /// A connection was lost in the middle of a transaction; `in_doubt` when the whole message had been sent.
    fn lost(&self, route: &str, in_doubt: bool) {
        let _ = (route, in_doubt);
    }
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
