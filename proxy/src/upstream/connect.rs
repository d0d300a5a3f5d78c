//! From an address to a connection that takes mail: TCP, greeting, EHLO or HELO, STARTTLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailweir_smtp::address::ClientName;
use mailweir_smtp::client::ClientEvent;
use mailweir_smtp::reply::Reply;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{Connection, reply_of};
use super::error::ConnectionError;
use super::tls::Tls;
use crate::config::UpstreamHost;

/// How connections of a route are made.
#[derive(Clone)]
pub(super) struct Connector {
    /// Our name in EHLO.
    pub(super) hostname: ClientName,
    /// `None`: never.
    pub(super) tls: Option<Tls>,
    /// For the TCP connection, for the greeting, and for the TLS handshake, each. Shorter than the five minutes RFC
    /// 5321 section 4.5.3.2.1 gives a greeting, because a client waits while we do.
    pub(super) connect_timeout: Duration,
    /// For each reply.
    pub(super) command_timeout: Duration,
}

/// Why a host is no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// It broke, or was never there.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// It answered the connection, EHLO and HELO, or STARTTLS with a refusal.
    #[error("refused: {0}")]
    Refused(Reply),
    /// The route requires TLS and the host does not offer it.
    #[error("STARTTLS is required and not offered")]
    TlsNotOffered,
    /// The handshake failed; with required TLS perhaps because of the certificate.
    #[error("TLS: {0}")]
    Handshake(std::io::Error),
}

impl Connector {
    /// Tries a host's addresses in order; after `deadline` no further one.
    ///
    /// # Errors
    /// That of the last address.
    pub(super) async fn connect(
        &self,
        host: &Arc<UpstreamHost>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let nowhere = std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, "no address");
        let mut last = ConnectError::Connection(nowhere.into());
        for address in addresses {
            match self.connect_address(host, *address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::debug!(host = host.host, %address, %error, "upstream address is no use");
                    last = error;
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(last)
    }

    async fn connect_address(&self, host: &Arc<UpstreamHost>, address: SocketAddr) -> Result<Connection, ConnectError> {
        match self.establish(host, address, self.tls.as_ref()).await {
            // Opportunistic TLS: without, then, over a connection that did not see half a handshake (RFC 7435).
            Err(ConnectError::Handshake(error)) if self.tls.as_ref().is_some_and(|tls| !tls.is_required()) => {
                tracing::info!(host = host.host, %address, %error, "TLS failed; going on without");
                self.establish(host, address, None).await
            }
            result => result,
        }
    }

    async fn establish(
        &self,
        host: &Arc<UpstreamHost>,
        address: SocketAddr,
        tls: Option<&Tls>,
    ) -> Result<Connection, ConnectError> {
        let stream = timeout(self.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| ConnectionError::TimedOut)?
            .map_err(ConnectionError::Io)?;
        // Everything is written in whole commands; waiting for more would only add to the latency.
        stream.set_nodelay(true).map_err(ConnectionError::Io)?;
        let mut connection = Connection::new(Arc::clone(host), stream);
        match connection.reply(self.connect_timeout).await? {
            ClientEvent::Greeting(reply) if reply.is_positive() => {}
            event => return Err(refused(event)),
        }
        self.hello(&mut connection).await?;
        match tls {
            None => Ok(connection),
            Some(tls) if connection.client.extensions().start_tls => self.start_tls(connection, tls).await,
            Some(tls) if tls.is_required() => Err(ConnectError::TlsNotOffered),
            Some(_) => Ok(connection),
        }
    }

    /// EHLO, and HELO when the answer is a permanent refusal (RFC 5321 section 3.2).
    async fn hello(&self, connection: &mut Connection) -> Result<(), ConnectError> {
        connection.client.hello(&self.hostname);
        match connection.ask(self.command_timeout).await? {
            ClientEvent::Hello(reply) if reply.is_positive() => return Ok(()),
            ClientEvent::Hello(reply) if reply.is_permanent() => {}
            event => return Err(refused(event)),
        }
        connection.client.helo(&self.hostname);
        match connection.ask(self.command_timeout).await? {
            ClientEvent::Hello(reply) if reply.is_positive() => Ok(()),
            event => Err(refused(event)),
        }
    }

    async fn start_tls(&self, mut connection: Connection, tls: &Tls) -> Result<Connection, ConnectError> {
        connection.client.start_tls();
        match connection.ask(self.command_timeout).await? {
            ClientEvent::StartTls(reply) if reply.is_positive() => {}
            // Offered and then refused: RFC 3207 section 4 leaves going on to the client's policy.
            ClientEvent::StartTls(reply) if !tls.is_required() && reply.code() != 421 => return Ok(connection),
            event => return Err(refused(event)),
        }
        let host = Arc::clone(&connection.host);
        let client = std::mem::take(&mut connection.client);
        let stream = connection.into_plain().ok_or_else(injected)?;
        let stream = timeout(self.connect_timeout, tls.handshake(&host.host, stream))
            .await
            .map_err(|_| ConnectError::Handshake(std::io::ErrorKind::TimedOut.into()))?
            .map_err(ConnectError::Handshake)?;
        let mut connection = Connection::encrypted(host, client, stream);
        self.hello(&mut connection).await?;
        Ok(connection)
    }
}

fn refused(event: ClientEvent) -> ConnectError {
    ConnectError::Refused(reply_of(event))
}

fn injected() -> ConnectError {
    let error = std::io::Error::new(std::io::ErrorKind::InvalidData, "bytes after the reply to STARTTLS");
    ConnectError::Connection(error.into())
}
