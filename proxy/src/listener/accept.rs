//! The accept loops: one task a socket, one socket an address and worker, one task a connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::admin::metrics::{self, Refusal};
use crate::config::{Listener, ServerTls};
use crate::generation::{Listening, Proxy};
use crate::session::{ClientStream, Connection, Session};

use super::cap::{ConnectionCap, Place};
use super::pressure::{Pressure, Stress};
use super::proxy_protocol;
use super::workers::{Assigned, Crew};

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;

/// For telling a client that there is no place for it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The sockets of all listeners. A reload adds and removes some; connections go on.
pub struct Listeners {
    sockets: BTreeMap<(String, SocketAddr), Served>,
    caps: BTreeMap<String, ConnectionCap>,
    /// Tasks that log and count when a listener is nearly full.
    reports: JoinSet<()>,
    crew: Crew,
}

/// The sockets of one address, one a worker.
type Sockets = Arc<[TcpListener]>;

/// The sockets of one address, and the loops that accept on them.
struct Served {
    sockets: Sockets,
    accepting: JoinSet<()>,
}

impl Served {
    /// Accepts nothing more. Once it returns, the loops have let go of the sockets.
    async fn stop(mut self) {
        self.accepting.shutdown().await;
    }
}

/// An address that is bound and not served yet, or not yet under this listener's name.
pub struct Bound {
    name: String,
    address: SocketAddr,
    sockets: Sockets,
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

/// Binds an address, which nobody else may have.
///
/// # Errors
///
/// The operating system's, such as an address in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Sharing::Nobody)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Binds an address once for each worker.
fn bind_for(crew: &Crew, address: SocketAddr) -> io::Result<Sockets> {
    let mut alone = Some(socket(address, Sharing::Nobody)?);
    let address =
        alone.as_ref().map(Socket::local_addr).transpose()?.and_then(|local| local.as_socket()).unwrap_or(address);
    if crew.workers().count() > 1 {
        // All processes of a user may share an address; that another one has this address already would go unnoticed
        // without the first attempt.
        alone = None;
    }
    let sockets = crew.workers().map(|worker| {
        let socket = alone.take().map_or_else(|| socket(address, Sharing::Workers), Ok)?;
        socket.listen(BACKLOG)?;
        // A socket belongs to the runtime in which it is registered.
        let _entered = worker.handle.enter();
        TcpListener::from_std(socket.into())
    });
    sockets.collect()
}

/// Who else may have an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Nobody,
    Workers,
}

/// A socket that is bound and does not listen yet.
fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // "[::]:25" beside "0.0.0.0:25" must not collide.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(sharing == Sharing::Workers)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Listeners {
    /// None yet; these workers will serve them.
    pub fn new(crew: Crew) -> Self {
        Self { sockets: BTreeMap::new(), caps: BTreeMap::new(), reports: JoinSet::new(), crew }
    }

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
                let sockets = match self.served_elsewhere(address) {
                    Some(sockets) => sockets,
                    None => bind_for(&self.crew, address).map_err(|error| BindError {
                        name: name.clone(),
                        address,
                        error,
                    })?,
                };
                bound.push(Bound { name: name.clone(), address, sockets });
            }
        }
        Ok(bound)
    }

    /// The sockets with this address of a listener with another name. No two configured listeners share an address, so
    /// that one has lost it to this one, and the sockets change hands without being closed.
    fn served_elsewhere(&self, address: SocketAddr) -> Option<Sockets> {
        let is_any = address.port() == 0;
        let mut sockets = self.sockets.iter().filter(|((_, served), _)| *served == address && !is_any);
        sockets.next().map(|(_, served)| Arc::clone(&served.sockets))
    }

    /// Serves what was bound, and stops accepting on what is not configured any more.
    pub async fn serve(&mut self, proxy: &Arc<Proxy>, bound: Vec<Bound>, configured: &BTreeMap<String, Listener>) {
        let is_gone = |(name, address): &(String, SocketAddr)| {
            !configured.get(name).is_some_and(|listener| listener.listen.contains(address))
        };
        for (_, served) in self.sockets.extract_if(.., |place, _| is_gone(place)).collect::<Vec<_>>() {
            served.stop().await;
        }
        for Bound { name, address, sockets } in bound {
            let cap = match self.caps.get(&name) {
                Some(cap) => cap.clone(),
                None => {
                    let cap = self.caps.entry(name.clone()).or_default().clone();
                    self.reports.spawn(report_stress(Arc::clone(proxy), name.clone(), cap.pressure()));
                    cap
                }
            };
            let local = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(address);
            tracing::info!(listener = name, address = %local, "listening");
            let mut accepting = JoinSet::new();
            for (number, worker) in self.crew.workers().enumerate() {
                let entrance = Entrance {
                    proxy: Arc::clone(proxy),
                    name: name.as_str().into(),
                    cap: cap.clone(),
                    crew: self.crew.clone(),
                };
                accepting.spawn_on(entrance.accept(number, Arc::clone(&sockets)), &worker.handle);
            }
            self.sockets.insert((name, address), Served { sockets, accepting });
        }
    }

    /// Stops accepting everywhere. Once it returns, the sockets are closed.
    pub async fn close(&mut self) {
        for served in std::mem::take(&mut self.sockets).into_values() {
            served.stop().await;
        }
    }
}

/// What the accept loops of one listener need.
#[derive(Clone)]
struct Entrance {
    proxy: Arc<Proxy>,
    name: Arc<str>,
    cap: ConnectionCap,
    crew: Crew,
}

impl Entrance {
    /// Accepts on this worker's socket, for ever.
    async fn accept(self, number: usize, sockets: Sockets) {
        loop {
            let accepted = sockets[number].accept().await.and_then(|(stream, peer)| {
                let assigned = self.crew.assign(number);
                self.serve(number, assigned, stream, peer)
            });
            if let Err(error) = accepted {
                // Out of descriptors, most likely: the connections we have go on, and some will end.
                crate::bounds::accept_failed();
                tracing::warn!(listener = &*self.name, %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Serves a connection on the worker that it is assigned to.
    fn serve(&self, here: usize, assigned: Assigned, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let worker = &self.crew.worker(assigned.worker()).handle;
        let stream = if assigned.worker() == here {
            stream
        } else {
            let _entered = worker.enter();
            TcpStream::from_std(stream.into_std()?)?
        };
        let Self { proxy, name, cap, .. } = self.clone();
        // Counted here, so that a drain which begins now waits for it.
        let counted = (proxy.session(), assigned);
        worker.spawn(serve_connection(proxy, name, stream, peer, cap, counted));
        Ok(())
    }
}

/// Says when a listener is nearly full, and when it is not any more.
async fn report_stress(proxy: Arc<Proxy>, name: String, mut pressure: Pressure) {
    let mut stress = Stress::None;
    loop {
        pressure.changed(stress).await;
        stress = pressure.now();
        let generation = proxy.generation();
        let Some(listening) = generation.listening(&name) else { continue };
        listening.metrics.stressed(stress);
        let limit = listening.settings.limits.connections;
        match stress {
            Stress::NearlyFull => {
                tracing::warn!(
                    listener = name,
                    connections = limit,
                    "nearly all connections are taken: waiting less long"
                );
            }
            Stress::None => tracing::info!(listener = name, "there is room for connections again"),
        }
    }
}

/// One connection, from the socket to its end, at which `counted` is dropped.
///
/// There are many connections, and most of them wait. What is needed only at their beginning or end is in futures of its
/// own, and what this future holds meanwhile is held once: the arguments of an `async fn` would stay in it to the end.
fn serve_connection<C>(
    proxy: Arc<Proxy>,
    name: Arc<str>,
    stream: TcpStream,
    peer: SocketAddr,
    cap: ConnectionCap,
    counted: C,
) -> impl Future<Output = ()> {
    let admission = Box::pin(admit(proxy, name, stream, peer, cap));
    async move {
        if let Some(mut admitted) = admission.await {
            admitted.session.run().await;
            Box::pin(admitted.session.close()).await;
        }
        drop(counted);
    }
}

/// A connection that is served.
struct Admitted {
    session: Box<Session>,
    /// Given back at its end.
    _place: Place,
    _counted: metrics::Connection,
}

/// What comes before the session; `None` for a connection that there is no place for, or nothing to be done with.
async fn admit(
    proxy: Arc<Proxy>,
    name: Arc<str>,
    mut stream: TcpStream,
    peer: SocketAddr,
    cap: ConnectionCap,
) -> Option<Admitted> {
    let generation = proxy.generation();
    let listening = generation.listening(&name).cloned()?;
    let Listening { settings, tls, metrics, .. } = &*listening;
    // Replies are corked by the session; what it writes is meant to leave at once.
    let _ = stream.set_nodelay(true);
    let limits = &settings.limits;
    let hostname = &generation.config.server.hostname;
    // A place is taken before anything is waited for, so that connections which say nothing are counted too.
    let Ok(mut place) = cap.enter(limits.connections) else {
        metrics.refused(Refusal::Connections);
        refuse(stream, hostname).await;
        return None;
    };
    let pressure = cap.pressure();
    let patience = limits.for_handshake(pressure.now());
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let (client, is_vouched_for) = if settings.proxy_protocol.iter().any(|network| network.contains(&peer.ip())) {
        let mut drain = proxy.drain();
        let known = tokio::select! {
            biased;
            known = client_address(&mut stream, peer, patience) => known,
            // Nothing was said yet that a client could miss.
            () = drain.begun() => return None,
        };
        match known {
            Ok(known) => known,
            Err(error) => {
                metrics.refused(Refusal::ProxyProtocol);
                tracing::warn!(listener = &*name, %peer, %error, "no usable PROXY protocol header");
                return None;
            }
        }
    } else {
        (peer, true)
    };
    // A proxy that speaks for many clients is one address.
    let speaks_for_others = is_vouched_for && settings.xclient.iter().any(|network| network.contains(&client.ip()));
    if !speaks_for_others && place.claim(client.ip(), limits.connections_per_ip).is_err() {
        metrics.refused(Refusal::ConnectionsPerIp);
        tracing::debug!(listener = &*name, %client, "too many connections from one client");
        refuse(stream, hostname).await;
        return None;
    }
    let counted = metrics.connection();
    let mut stream = ClientStream::Plain(stream);
    let mut secured = None;
    if let (ServerTls::Implicit(_), Some(tls)) = (&settings.tls, tls) {
        let patience = limits.for_handshake(pressure.now());
        let mut drain = proxy.drain();
        let handshake = tokio::select! {
            biased;
            handshake = stream.handshake(Arc::clone(tls), patience, metrics) => handshake,
            () = drain.begun() => return None,
        };
        match handshake {
            Ok(facts) => secured = Some(facts),
            Err(error) => {
                tracing::debug!(listener = &*name, %client, %error, "the TLS handshake failed");
                return None;
            }
        }
    }
    let connection =
        Connection { proxy, generation, listener: name, client, is_vouched_for, stream, tls: secured, pressure };
    Some(Admitted { session: Box::new(Session::new(connection, listening)), _place: place, _counted: counted })
}

/// The client's address as a trusted load balancer says it, and whether it can be trusted to be the client's own. A
/// balancer that names nobody (a health check) lends its own address, and none of its rights.
async fn client_address(
    stream: &mut TcpStream,
    peer: SocketAddr,
    patience: Duration,
) -> io::Result<(SocketAddr, bool)> {
    let client = tokio::time::timeout(patience, proxy_protocol::read(stream))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F, O: Future>(_: fn(A, B, C, D, E, F) -> O) -> usize {
        size_of::<O>()
    }

    #[test]
    fn a_connection_that_waits_takes_little_memory() {
        let (task, session) = (size_of_future(serve_connection::<()>), size_of::<Session>());
        assert!(task <= 1152 && session <= 768, "{task} and {session} bytes");
    }
}
