//! Accepting connections: sockets, connection caps, the PROXY protocol and TLS from the first byte. What is said on a
//! connection is the session's business.

mod accept;
mod cap;
mod pressure;
pub mod proxy_protocol;
mod tls;
mod workers;

pub use accept::{BindError, Bound, Listeners, bind};
pub use pressure::{Pressure, Stress};
pub(crate) use tls::take_server_name;
pub use tls::{CertificateStore, TlsError};
pub use workers::{Crew, Workers};
