//! The accept loops: one task a socket, one task a connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::admin::metrics::Refusal;
use crate::config::{Listener, ServerTls};
use crate::generation::{Listening, Proxy};
use crate::session::{ClientStream, Connection, Session};

use super::cap::ConnectionCap;
use super::proxy_protocol;

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;

/// For a PROXY protocol header or a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// For telling a client that there is no place for it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The sockets of all listeners. A reload adds and removes some; connections go on.
#[derive(Default)]
pub struct Listeners {
    sockets: BTreeMap<(String, SocketAddr), AbortHandle>,
    caps: BTreeMap<String, ConnectionCap>,
    loops: JoinSet<()>,
}

/// A socket that is bound and not served yet.
pub struct Bound {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

/// An address that cannot be bound. The operator's to mend.
#[derive(Debug, thiserror::Error)]
#[error("[listener.{name}] listen {address}: {error}")]
pub struct BindError {
    /// The listener.
    pub name: String,
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

/// Binds an address.
///
/// # Errors
///
/// The operating system's, such as an address in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // "[::]:25" beside "0.0.0.0:25" must not collide.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Listeners {
    /// Binds every address that is configured and not served yet. Nothing is served, and nothing changed, until `serve`.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn bind_new(&self, configured: &BTreeMap<String, Listener>) -> Result<Vec<Bound>, BindError> {
        let mut bound = Vec::new();
        for (name, listener) in configured {
            for &address in &listener.listen {
                if self.sockets.contains_key(&(name.clone(), address)) {
                    continue;
                }
                let listener = bind(address).map_err(|error| BindError { name: name.clone(), address, error })?;
                bound.push(Bound { name: name.clone(), address, listener });
            }
        }
        Ok(bound)
    }

    /// Serves what was bound, and stops accepting on what is not configured any more.
    pub fn serve(&mut self, proxy: &Arc<Proxy>, bound: Vec<Bound>, configured: &BTreeMap<String, Listener>) {
        self.sockets.retain(|(name, address), accepting| {
            let wanted = configured.get(name).is_some_and(|listener| listener.listen.contains(address));
            if !wanted {
                accepting.abort();
            }
            wanted
        });
        for Bound { name, address, listener } in bound {
            let cap = self.caps.entry(name.clone()).or_default().clone();
            let local = listener.local_addr().unwrap_or(address);
            tracing::info!(listener = name, address = %local, "listening");
            let accepting = self.loops.spawn(accept(Arc::clone(proxy), name.clone(), listener, cap));
            self.sockets.insert((name, address), accepting);
        }
    }

    /// Stops accepting everywhere.
    pub fn close(&mut self) {
        self.sockets.clear();
        self.loops.abort_all();
    }
}

async fn accept(proxy: Arc<Proxy>, name: String, listener: TcpListener, cap: ConnectionCap) {
    let name: Arc<str> = name.into();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let proxy = Arc::clone(&proxy);
                let name = Arc::clone(&name);
                let cap = cap.clone();
                tokio::spawn(async move { serve_connection(proxy, name, stream, peer, cap).await });
            }
            Err(error) => {
                // Out of descriptors, most likely: the connections we have go on, and some will end.
                tracing::warn!(listener = &*name, %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, from the socket to its end.
async fn serve_connection(
    proxy: Arc<Proxy>,
    name: Arc<str>,
    mut stream: TcpStream,
    peer: SocketAddr,
    cap: ConnectionCap,
) {
    let generation = proxy.generation();
    let Some(listening) = generation.listening(&name).cloned() else {
        return;
    };
    let Listening { settings, tls, metrics, .. } = &*listening;
    // Replies are corked by the session; what it writes is meant to leave at once.
    let _ = stream.set_nodelay(true);
    let limits = &settings.limits;
    let hostname = &generation.config.server.hostname;
    // A place is taken before anything is waited for, so that connections which say nothing are counted too.
    let Ok(mut place) = cap.enter(limits.connections) else {
        metrics.refused(Refusal::Connections);
        return refuse(stream, hostname).await;
    };
    let (client, is_vouched_for) = match client_address(settings, &mut stream, peer).await {
        Ok(known) => known,
        Err(error) => {
            metrics.refused(Refusal::ProxyProtocol);
            tracing::warn!(listener = &*name, %peer, %error, "no usable PROXY protocol header");
            return;
        }
    };
    // A proxy that speaks for many clients is one address.
    let speaks_for_others = settings.xclient.iter().any(|network| network.contains(&client.ip()));
    if !speaks_for_others && place.claim(client.ip(), limits.connections_per_ip).is_err() {
        metrics.refused(Refusal::ConnectionsPerIp);
        tracing::debug!(listener = &*name, %client, "too many connections from one client");
        return refuse(stream, hostname).await;
    }
    let (_counted, _session) = (metrics.connection(), proxy.session());
    let mut stream = ClientStream::Plain(stream);
    let mut secured = None;
    if let (ServerTls::Implicit(_), Some(tls)) = (&settings.tls, tls) {
        match stream.handshake(Arc::clone(tls), HANDSHAKE_TIMEOUT, metrics).await {
            Ok(facts) => secured = Some(facts),
            Err(error) => {
                tracing::debug!(listener = &*name, %client, %error, "the TLS handshake failed");
                return;
            }
        }
    }
    let connection = Connection { proxy, generation, listener: name, client, is_vouched_for, stream, tls: secured };
    Session::new(connection, Arc::clone(&listening)).run().await;
}

/// The client's address: the socket's, or what a trusted load balancer says; and whether it can be trusted to be the
/// client's own. A balancer that names nobody (a health check) lends its own address, and none of its rights.
async fn client_address(
    listener: &Listener,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> io::Result<(SocketAddr, bool)> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !listener.proxy_protocol.iter().any(|network| network.contains(&peer.ip())) {
        return Ok((peer, true));
    }
    let client = tokio::time::timeout(HANDSHAKE_TIMEOUT, proxy_protocol::read(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(client.map_or((peer, false), |client| (SocketAddr::new(client.ip().to_canonical(), client.port()), true)))
}

/// Tells a client that there is no place for it, without holding anything for it.
async fn refuse(mut stream: TcpStream, hostname: &str) {
    let reply = format!("421 4.7.0 {hostname} Too many connections, try again later\r\n");
    let write = async {
        stream.write_all(reply.as_bytes()).await?;
        stream.shutdown().await
    };
    // A client that does not take even this has its connection closed all the same.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, write).await;
}
