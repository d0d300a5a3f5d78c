//! A connection to the server: the client machine on a socket, with or without TLS. It keeps no time but that of a server
//! that hangs, and that of an octet when octets are to trickle.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use mailweir_smtp::client::{Client, ClientError, ClientEvent};
use mailweir_smtp::reply::Reply;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::client::TlsStream;

use crate::options::SlowPart;
use crate::sys::choose_port_late;
use crate::tls::Connector;

/// Replies are short.
const INPUT_BUFFER: usize = 4096;

/// The most that is written at once: the line of proof, three pieces of content, and commands.
const PIECES: usize = 5;

/// Between two pieces that trickle.
const TRICKLE: Duration = Duration::from_millis(100);

/// Why a connection is of no more use.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// It did not come about.
    #[error("connect: {}", .0.kind())]
    Connect(io::Error),
    /// It did not come about: there is no port left.
    #[error("connect: no port is free (more source addresses: --bind)")]
    NoPort,
    /// It did not come about: there is no descriptor left.
    #[error("connect: no descriptor is free (ulimit -n)")]
    NoDescriptor,
    /// The socket failed.
    #[error("connection: {}", .0.kind())]
    Io(#[from] io::Error),
    /// There was to be TLS, and the server does not offer it.
    #[error("STARTTLS is not offered")]
    NoTls,
    /// TLS did not come about.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The server closed it while a reply was due.
    #[error("closed by the server")]
    Closed,
    /// The server neither read nor replied in time.
    #[error("timed out")]
    TimedOut,
    /// The server broke the protocol.
    #[error("protocol: {0}")]
    Protocol(#[from] ClientError),
    /// The server turned us away, or said good-bye.
    #[error("turned away with {}", .0.code())]
    TurnedAway(Reply),
}

impl Failure {
    fn connect(error: io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::AddrNotAvailable, _) => Self::NoPort,
            (_, Some(libc::EMFILE | libc::ENFILE)) => Self::NoDescriptor,
            _ => Self::Connect(error),
        }
    }

    /// All that is known of it, where the words for its kind say less.
    pub(crate) fn in_full(&self) -> String {
        match self {
            Self::Connect(error) | Self::Io(error) | Self::Tls(error) => error.to_string(),
            Self::TurnedAway(reply) => reply.to_string().trim_end().to_owned(),
            kind => kind.to_string(),
        }
    }

    /// Whether there was no connection to fail.
    pub(crate) fn is_no_connection(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::NoPort | Self::NoDescriptor)
    }
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    stream: Stream,
    input: BytesMut,
    patience: Patience,
    trickle: Option<Trickle>,
}

/// So slowly some of it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trickle {
    pub(crate) part: SlowPart,
    /// Octets a second.
    pub(crate) rate: u64,
}

/// How long the server may take for anything.
///
/// One timer for all waits: it is not set anew for each, which would cost more than the wait, but looked at when it goes off.
struct Patience {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

/// With or without TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between STARTTLS and the end of the handshake.
    Gone,
}

impl Connection {
    /// Connects, from an address if one is given; the greeting is the first event.
    pub(crate) async fn open(
        server: SocketAddr,
        source: Option<IpAddr>,
        limit: Duration,
        trickle: Option<Trickle>,
    ) -> Result<Self, Failure> {
        let mut patience = Patience { limit, timer: Box::pin(sleep(limit)) };
        let stream = patience.wait(connect(server, source)).await?.map_err(Failure::connect)?;
        // Where nobody listens on a port of the range that outgoing connections take theirs from, one of many meets itself.
        if stream.local_addr()? == server {
            return Err(Failure::Connect(io::ErrorKind::ConnectionRefused.into()));
        }
        stream.set_nodelay(true)?;
        Ok(Self { client: Client::new(), stream: Stream::Plain(stream), input: BytesMut::new(), patience, trickle })
    }

    /// Shakes hands; true when a session was resumed.
    pub(crate) async fn encrypt(&mut self, connector: &Connector) -> Result<bool, Failure> {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(Failure::NoTls);
        };
        let (stream, resumed) = self.patience.wait(connector.handshake(stream)).await?.map_err(Failure::Tls)?;
        self.stream = Stream::Tls(stream);
        Ok(resumed)
    }

    /// What a handshake after STARTTLS makes void is forgotten.
    pub(crate) fn forget_plaintext(&mut self) {
        self.client.tls_established(&mut self.input);
    }

    /// Writes the commands that are queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        self.write(&[], &[], SlowPart::Commands).await
    }

    /// Writes content in a few pieces, and then the commands that are queued, together.
    pub(crate) async fn write_before_commands(&mut self, content: &[&[u8]]) -> Result<(), Failure> {
        self.write(content, &[], SlowPart::Data).await
    }

    /// Writes the commands that are queued, and then content in a few pieces, together.
    pub(crate) async fn write_after_commands(&mut self, content: &[&[u8]]) -> Result<(), Failure> {
        self.write(&[], content, SlowPart::Data).await
    }

    /// Writes content, the commands that are queued, and content.
    async fn write(&mut self, before: &[&[u8]], after: &[&[u8]], part: SlowPart) -> Result<(), Failure> {
        let Self { client, stream, patience, trickle, .. } = self;
        let mut slices = [IoSlice::new(&[]); PIECES];
        let pieces = before.iter().copied().chain([&client.output()[..]]).chain(after.iter().copied());
        let pieces = pieces.filter(|piece| !piece.is_empty());
        let count = slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
        let mut left = &mut slices[..count];
        while !left.is_empty() {
            // Of a large message some goes out at a time: patience begins anew with each piece that the server takes.
            let written = match trickle {
                Some(trickle) if trickle.part == part => {
                    let (octets, pause) = trickle.piece();
                    sleep(pause).await;
                    let first = &left[0][..octets.min(left[0].len())];
                    patience.wait(stream.write(first)).await??
                }
                _ => patience.wait(stream.write_vectored(left)).await??,
            };
            if written == 0 {
                return Err(Failure::Closed);
            }
            IoSlice::advance_slices(&mut left, written);
        }
        client.output().clear();
        // Of TLS, what the socket did not take is still in a buffer.
        if let Stream::Tls(stream) = stream {
            patience.wait(stream.flush()).await??;
        }
        Ok(())
    }

    /// The next reply.
    pub(crate) async fn reply(&mut self) -> Result<ClientEvent, Failure> {
        loop {
            if let Some(event) = self.client.next(&mut self.input)? {
                return Ok(event);
            }
            self.input.reserve(INPUT_BUFFER);
            if self.patience.wait(self.stream.read_buf(&mut self.input)).await?? == 0 {
                return Err(Failure::Closed);
            }
        }
    }

    /// Returns when the server, from which nothing is due, says something or closes the connection.
    pub(crate) async fn disturbed(&mut self) -> Failure {
        let mut input = [0; 512];
        match self.stream.read(&mut input).await {
            Ok(0) => Failure::Closed,
            Ok(read) => {
                let mut input = BytesMut::from(&input[..read]);
                match self.client.next(&mut input) {
                    Ok(Some(ClientEvent::Closing(reply))) => Failure::TurnedAway(reply),
                    Ok(_) => Failure::Closed,
                    Err(error) => error.into(),
                }
            }
            Err(error) => error.into(),
        }
    }

    /// Gives back what a connection at rest does not need.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

impl Trickle {
    /// How many octets, after how long a pause.
    fn piece(&self) -> (usize, Duration) {
        let octets = (self.rate as f64 * TRICKLE.as_secs_f64()).floor().max(1.0);
        (octets as usize, Duration::from_secs_f64(octets / self.rate.max(1) as f64))
    }
}

impl Patience {
    async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        let mut began = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let began = *began.get_or_insert_with(Instant::now);
            while self.timer.as_mut().poll(context).is_ready() {
                let end = began + self.limit;
                if Instant::now() >= end {
                    return Poll::Ready(Err(Failure::TimedOut));
                }
                self.timer.set(sleep_until(end));
            }
            Poll::Pending
        })
        .await
    }
}

async fn connect(server: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(server).await };
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    choose_port_late(&socket)?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(server).await
}

impl Stream {
    fn gone() -> io::Error {
        io::ErrorKind::NotConnected.into()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Gone => Poll::Ready(Err(Self::gone())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Gone => Poll::Ready(Err(Self::gone())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Gone => Poll::Ready(Err(Self::gone())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Gone => Poll::Ready(Err(Self::gone())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Err(Self::gone())),
        }
    }
}
