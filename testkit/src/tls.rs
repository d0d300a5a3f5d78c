//! TLS as a client.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use rustls::ClientConfig;

/// The handshake over a connection, for a server of this name.
///
/// # Errors
/// When the name is none, or the handshake fails.
pub async fn connect(
    config: &Arc<ClientConfig>,
    name: &str,
    stream: TcpStream,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned())?;
    Ok(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
}
