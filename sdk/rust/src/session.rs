//! The SMTP session as it is known when the sandbox is made.

use core::net::IpAddr;

pub use crate::bindings::mailweir::filter::types::{Session, TlsSession};

impl Session {
    /// The client's address. The host always gives one that parses.
    pub fn client(&self) -> Option<IpAddr> {
        self.client_address.parse().ok()
    }
}
