//! An authoritative DNS server for tests and the demo: a zone in memory, served over UDP and TCP on the loopback
//! interface by tasks of this process.
//!
//! It answers any name: what the zone does not hold does not exist. It knows wildcards, though not in signed zones, and
//! can sign what it serves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

mod signed;
mod zone;

pub use signed::{Spoilt, ZoneKey};
use zone::Reply;
pub use zone::{Zone, ZoneError};

/// What a UDP answer may have without EDNS (RFC 1035 section 4.2.1).
const UDP_SIZE: usize = 512;
/// The largest UDP answer whatever EDNS says.
const UDP_LIMIT: usize = 4096;
/// How long an idle TCP connection is kept.
const IDLE: Duration = Duration::from_secs(10);

/// A running server. It stops when it is dropped.
pub struct ZoneServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    zone: RwLock<Arc<Zone>>,
    key: Option<ZoneKey>,
    udp: AtomicU64,
    tcp: AtomicU64,
}

impl ZoneServer {
    /// Serve `zone` at `addr`; with port 0 on a free one, the same for UDP and TCP.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(zone: Zone, addr: SocketAddr) -> std::io::Result<Self> {
        Self::serve(zone, None, addr).await
    }

    /// As [`ZoneServer::start`], with the zone signed by `key` for those who ask with the DO bit (RFC 3225).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_signed(zone: Zone, key: ZoneKey, addr: SocketAddr) -> std::io::Result<Self> {
        Self::serve(zone, Some(key), addr).await
    }

    async fn serve(zone: Zone, key: Option<ZoneKey>, addr: SocketAddr) -> std::io::Result<Self> {
        let (udp, tcp) = bind(addr).await?;
        let addr = udp.local_addr()?;
        let shared =
            Arc::new(Shared { zone: RwLock::new(Arc::new(zone)), key, udp: AtomicU64::new(0), tcp: AtomicU64::new(0) });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&shared)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&shared)));
        Ok(Self { addr, shared, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serve another zone from now on. Resolvers keep what they have cached.
    pub fn replace(&self, zone: Zone) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }

    /// Queries that came, over UDP and TCP, unanswered ones included.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.udp_queries() + self.tcp_queries()
    }

    /// Queries over UDP.
    #[must_use]
    pub fn udp_queries(&self) -> u64 {
        self.shared.udp.load(Ordering::Relaxed)
    }

    /// Queries over TCP.
    #[must_use]
    pub fn tcp_queries(&self) -> u64 {
        self.shared.tcp.load(Ordering::Relaxed)
    }
}

/// A free UDP port need not be free for TCP: try again then.
async fn bind(addr: SocketAddr) -> std::io::Result<(Arc<UdpSocket>, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(addr).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((Arc::new(udp), tcp)),
            Err(_) if addr.port() == 0 && tries < 16 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        shared.udp.fetch_add(1, Ordering::Relaxed);
        let Some((query, answer)) = shared.answer(&buffer[..length]) else { continue };
        let room = usize::from(query.max_payload()).clamp(UDP_SIZE, UDP_LIMIT);
        let Ok(mut bytes) = answer.to_vec() else { continue };
        if bytes.len() > room {
            let mut truncated = answer.truncate();
            truncated.metadata.id = answer.metadata.id;
            let Ok(shorter) = truncated.to_vec() else { continue };
            bytes = shorter;
        }
        // A client that is gone is not our concern.
        let _ = socket.send_to(&bytes, peer).await;
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(Ok(length)) = tokio::time::timeout(IDLE, stream.read_u16()).await {
        let mut bytes = vec![0; usize::from(length)];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        shared.tcp.fetch_add(1, Ordering::Relaxed);
        let Some((_, answer)) = shared.answer(&bytes) else { continue };
        let Ok(bytes) = answer.to_vec() else { return };
        let Ok(length) = u16::try_from(bytes.len()) else { return };
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// The query and its answer; none when there shall be no answer.
    fn answer(&self, bytes: &[u8]) -> Option<(Message, Message)> {
        let query = Message::from_vec(bytes).ok()?;
        if query.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        // A stub resolver would not believe a server that does not recurse.
        answer.metadata.recursion_available = true;
        answer.metadata.authoritative = true;
        answer.add_queries(query.queries.iter().cloned());
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            answer.set_edns(edns);
        }
        let [Query { name, query_type, .. }] = &query.queries[..] else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return Some((query, answer));
        };
        if query.metadata.op_code != OpCode::Query {
            answer.metadata.response_code = ResponseCode::NotImp;
            return Some((query, answer));
        }
        let zone = Arc::clone(&self.zone.read().unwrap_or_else(PoisonError::into_inner));
        match zone.answer(name, *query_type) {
            Reply::Silence => return None,
            Reply::Failure => answer.metadata.response_code = ResponseCode::ServFail,
            Reply::Records { records, exists } => {
                if !exists {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                if !exists || records.iter().all(|record| record.record_type() != *query_type) {
                    answer.add_authority(zone.soa());
                }
                answer.add_answers(records);
            }
        }
        let wants_signatures = query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        if let Some(key) = self.key.as_ref().filter(|_| wants_signatures) {
            key.sign(&zone, name, *query_type, &mut answer);
        }
        Some((query, answer))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    async fn ask(server: &ZoneServer, name: &str, kind: RecordType) -> Message {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.send_to(&query(name, kind), server.addr()).await.unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    #[tokio::test]
    async fn names_exist_or_not_as_the_zone_says() {
        let zone = Zone::new().a("a.b.example", [192, 0, 2, 1]).cname("c.example", "a.b.example").servfail("f.example");
        let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        assert_eq!(ask(&server, "A.b.Example.", RecordType::A).await.answers.len(), 1);
        assert_eq!(ask(&server, "c.example.", RecordType::A).await.answers.len(), 2);
        let empty = ask(&server, "b.example.", RecordType::A).await;
        assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(ask(&server, "z.example.", RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(ask(&server, "f.example.", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(server.udp_queries(), 5);
    }

    #[tokio::test]
    async fn a_wildcard_stands_for_what_does_not_exist() {
        let zone = Zone::new().a("*.list.example", [127, 0, 0, 2]).a("a.b.list.example", [192, 0, 2, 1]);
        let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let mut found = Vec::new();
        for name in
            ["x.list.example.", "x.y.list.example.", "a.b.list.example.", "b.list.example.", "c.b.list.example."]
        {
            found.push(ask(&server, name, RecordType::A).await.answers.len());
        }
        // The last two: a name that others stand below exists, and stops the wildcard above it.
        assert_eq!(found, [1, 1, 1, 0, 0]);
    }

    #[tokio::test]
    async fn what_is_too_large_for_udp_is_served_over_tcp() {
        let zone = Zone::new().txt("big.example", &"x".repeat(3000));
        let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let short = ask(&server, "big.example.", RecordType::TXT).await;
        assert!(short.metadata.truncation && short.answers.is_empty() && short.metadata.id == 7);
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let bytes = query("big.example.", RecordType::TXT);
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        let whole = Message::from_vec(&bytes).unwrap();
        assert!(!whole.metadata.truncation && whole.answers.len() == 1 && server.tcp_queries() == 1);
    }
}
