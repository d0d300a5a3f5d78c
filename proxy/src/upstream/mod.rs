//! Delivering to the servers behind us, inside the client's session.
//!
//! A [`Routes`] holds the configuration's routes, each with its pool of idle connections and what is known of its hosts.
//! [`RouteHandle::begin`] finds a connection: an idle one, or a new one on the first host that answers, those that
//! failed lately last. The [`Delivery`] it gives speaks one transaction after another: `mail_and_rcpt`, `rcpt`,
//! `message`; dropped, it hands the connection back. A large message that nobody has to see first may go piece by piece
//! while it arrives: [`Delivery::relay`].
//!
//! Every answer of the upstream's goes to the client word for word, but that a line longer than SMTP allows is cut, and
//! that a 421, which would announce the end of the client's own connection, becomes a 451. Where there is no answer there is an [`UpstreamError`], whose reply is
//! never positive: a message is the upstream's only when the upstream said so, and until then the client keeps it.
//! Should the connection break after the final dot and before the answer, the message may be delivered twice, never
//! not at all (RFC 1047); such errors are marked as in doubt.
//!
//! What the upstream lacks is refused or converted, never silently dropped; the `conversion` module has the table.
//!
//! This module keeps no message and retries none: queueing is the client's business. Only a connection that died while
//! the client was still sending is replaced, before any of the message went out.

mod route;
mod delivery;
mod introduction;
mod envelope;
mod body;
mod conversion;
mod connect;
mod connection;
mod stream;
mod tls;
mod destination;
mod health;
mod pool;
mod slots;
mod error;
mod observer;

pub use delivery::{Delivery, NotBegun, Relay};
pub use envelope::Recipient;
pub use error::{ConnectionError, UpstreamError, for_client};
pub use observer::{Observer, Unobserved};
pub use route::{RouteError, RouteHandle, Routes, Settings};
pub use tls::TlsError;

#[cfg(test)]
mod tests;
