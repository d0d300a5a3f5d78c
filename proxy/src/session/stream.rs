//! The client's connection: plain TCP, or TLS over it.

mod secured;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::spare;
use crate::admin::metrics::{ListenerMetrics, TlsOutcome};
use crate::host::TlsFacts;
use crate::timer::Timer;

use secured::Secured;

/// What one read makes room for: enough for a whole small message with its commands.
const READ_COMMANDS: usize = 8 * 1024;

/// What one read makes room for while a message begins to arrive, and once it is known to be large. Room that is not
/// filled is not counted by any budget, so it grows with the message.
const READ_MESSAGE: usize = 16 * 1024;
const READ_LARGE_MESSAGE: usize = 64 * 1024;

/// What one read makes room for where nothing is kept: the same memory for the whole message, and small enough to stay
/// in the processor's cache until it is written.
pub(super) const READ_RELAYED: usize = 128 * 1024;

/// For the last bytes of a connection to leave.
const CLOSE: Duration = Duration::from_secs(5);

/// How long, and how much, all together and at once, is still read of a client after the last reply.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_READ: usize = 4 * 1024;

/// A read with less room than this is not worth a call.
const LEAST_ROOM: usize = 2 * 1024;

/// A client's connection.
pub enum ClientStream {
    /// No TLS yet, or never.
    Plain(TcpStream),
    /// After STARTTLS, or from the start.
    Tls(Box<Secured>),
    /// Taken apart by a handshake that failed.
    Closed,
}

/// How much the next read should make room for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expecting {
    Command,
    Message {
        /// Bytes of it so far.
        received: u64,
    },
    /// A message of which nothing is kept once it was passed on.
    Relayed,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// The client has said that it sends nothing more, and has had all replies but the last.
    Agreed,
    /// It may be in the middle of something.
    Open,
}

/// Why nothing more was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadEnd {
    #[error("the client closed the connection")]
    Closed,
    #[error("the client sent nothing for too long")]
    Timeout,
    #[error("reading: {0}")]
    Failed(io::Error),
}

impl ClientStream {
    /// Reads what is there into `input`.
    pub(super) async fn read(
        &mut self,
        input: &mut BytesMut,
        expecting: Expecting,
        timer: &mut Timer,
        patience: Duration,
    ) -> Result<(), ReadEnd> {
        let mut deadline = None;
        poll_fn(|context| match self.poll_read(context, input, expecting) {
            Poll::Ready(read) => Poll::Ready(outcome(read)),
            Poll::Pending => timer.poll_elapsed(context, &mut deadline, patience).map(|_| Err(ReadEnd::Timeout)),
        })
        .await
    }

    /// Whether bytes wait in the socket; none do at the end of the connection.
    fn peek(&self) -> io::Result<usize> {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket(),
            Self::Closed => return Ok(0),
        };
        SockRef::from(socket).peek(&mut [MaybeUninit::uninit()])
    }

    /// Memory is taken when there is something to put into it: thousands of clients that are waited for have no buffer.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
        expecting: Expecting,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => {
                ready!(stream.poll_read_ready(context))?;
                make_room(input, expecting, || readable(stream));
                let read = pin!(stream.read_buf(input)).poll(context);
                if read.is_pending() && input.is_empty() {
                    spare::put(std::mem::take(input), READ_RELAYED);
                }
                read
            }
            Self::Tls(stream) => stream.poll_read(context, input, room(expecting, || 0)),
            Self::Closed => Poll::Ready(Ok(0)),
        }
    }

    /// How the client's side of the connection has ended, if it has; nothing is waited for. What the client has sent
    /// meanwhile is read into `input`.
    pub(super) async fn ended(&mut self, input: &mut BytesMut) -> Option<ReadEnd> {
        // A pipelined command hides the end from the first read.
        for _ in 0..3 {
            match poll_fn(|context| Poll::Ready(self.poll_read(context, input, Expecting::Command))).await {
                Poll::Ready(read) => match outcome(read) {
                    Ok(()) => {}
                    Err(end) => return Some(end),
                },
                // The runtime knows what it has been told: the system is asked what has come since.
                Poll::Pending => match self.peek() {
                    Ok(0) => return Some(ReadEnd::Closed),
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    Err(error) => return Some(ReadEnd::Failed(error)),
                },
            }
        }
        None
    }

    /// Writes all of `output` and empties it.
    pub(super) async fn write(&mut self, output: &mut BytesMut, patience: Duration) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let written = match self.write_now(output) {
            Ok(true) => Ok(()),
            // Rare, and so in a future of its own.
            Ok(false) => Box::pin(self.write_rest(output, patience)).await,
            Err(error) => Err(error),
        };
        output.clear();
        written
    }

    /// Writes of `output` what goes without waiting, and takes that out of it; whether that was all.
    fn write_now(&mut self, output: &mut BytesMut) -> io::Result<bool> {
        match self {
            Self::Plain(stream) => {
                let count = send_now(stream, output)?;
                output.advance(count);
                Ok(output.is_empty())
            }
            Self::Tls(stream) => {
                stream.encrypt(output)?;
                output.clear();
                stream.flush_now()
            }
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn write_rest(&mut self, output: &[u8], patience: Duration) -> io::Result<()> {
        let write = async {
            match self {
                Self::Plain(stream) => stream.write_all(output).await,
                Self::Tls(stream) => poll_fn(|context| stream.poll_flush(context)).await,
                Self::Closed => Ok(()),
            }
        };
        timeout(patience, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The TLS handshake, as the server.
    pub async fn handshake(
        &mut self,
        config: Arc<ServerConfig>,
        patience: Duration,
        metrics: &ListenerMetrics,
    ) -> io::Result<TlsFacts> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Closed) else {
            return Err(io::Error::other("TLS is active already"));
        };
        let handshake = timeout(patience, Secured::accept(stream, config)).await;
        let stream = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).inspect_err(|_| {
            metrics.tls(TlsOutcome::Failed);
        })?;
        metrics.tls(match stream.connection().handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => TlsOutcome::Resumed,
            _ => TlsOutcome::Established,
        });
        let facts = tls_facts(&stream);
        *self = Self::Tls(Box::new(stream));
        Ok(facts)
    }

    /// Writes the last replies and tells the client that nothing more comes. Unless the client has agreed, what it still
    /// sends is read for a moment: a socket that is closed with bytes unread takes the last reply back.
    pub(super) async fn close(mut self, last: &mut BytesMut, parting: Parting) {
        let written = match &mut self {
            Self::Plain(stream) => send_now(stream, last).map(|count| {
                last.advance(count);
                last.is_empty()
            }),
            Self::Tls(stream) => {
                // In one write, where it can be. What cannot be said any more is left unsaid.
                let _ = stream.encrypt(last).and_then(|()| stream.say_end());
                last.clear();
                stream.flush_now()
            }
            Self::Closed => return,
        };
        match (written, parting) {
            (Ok(true), Parting::Agreed) | (Err(_), _) => {}
            (Ok(_), _) => Box::pin(self.linger(last)).await,
        }
    }

    async fn linger(&mut self, last: &[u8]) {
        if self.write_rest(last, CLOSE).await.is_err() {
            return;
        }
        let socket = match self {
            Self::Plain(stream) => &*stream,
            Self::Tls(stream) => stream.socket(),
            Self::Closed => return,
        };
        if SockRef::from(socket).shutdown(Shutdown::Write).is_err() {
            return;
        }
        let listen = async {
            let mut left = LINGER_BYTES;
            while left > 0 && socket.readable().await.is_ok() {
                match socket.try_read(&mut [0; LINGER_READ]) {
                    Ok(0) => return,
                    Ok(count) => left = left.saturating_sub(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        // A client that goes on beyond that has had its answer.
        let _ = timeout(LINGER, listen).await;
    }
}

/// Sends what goes without waiting; how many bytes that was. The runtime is not asked whether there is room in the
/// socket's buffer: there nearly always is, and of a new connection it does not know yet.
fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match SockRef::from(stream).send_with_flags(bytes, libc::MSG_NOSIGNAL) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        sent => sent,
    }
}

/// How much to read at once. A message of which little has come may get as much as waits to be read: room that is filled
/// at once is no risk, however small the message.
fn room(expecting: Expecting, readable: impl FnOnce() -> usize) -> usize {
    match expecting {
        Expecting::Command => READ_COMMANDS,
        Expecting::Message { received: 0 } => READ_MESSAGE,
        Expecting::Message { received } if received < READ_LARGE_MESSAGE as u64 => {
            readable().clamp(READ_MESSAGE, READ_LARGE_MESSAGE)
        }
        Expecting::Message { .. } => READ_LARGE_MESSAGE,
        Expecting::Relayed => READ_RELAYED,
    }
}

/// Bytes that wait to be read, as far as is known.
fn readable(stream: &TcpStream) -> usize {
    rustix::io::ioctl_fionread(stream).ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Makes room for a read.
fn make_room(input: &mut BytesMut, expecting: Expecting, readable: impl FnOnce() -> usize) {
    if matches!(expecting, Expecting::Relayed) && input.is_empty() && !input.try_reclaim(READ_RELAYED) {
        *input = spare::take(READ_RELAYED);
    }
    if input.capacity() - input.len() < LEAST_ROOM {
        // What is kept of a message pins the whole buffer that it was read into and pays for its own bytes only, so
        // buffers are used to their end, and they are of a size that the allocator does not round up.
        let room = room(expecting, readable);
        input.reserve(room.saturating_sub(input.len()).max(LEAST_ROOM));
    }
}

fn outcome(read: io::Result<usize>) -> Result<(), ReadEnd> {
    match read {
        Ok(0) => Err(ReadEnd::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(ReadEnd::Failed(error)),
    }
}

fn tls_facts(stream: &Secured) -> TlsFacts {
    let connection = stream.connection();
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let cipher_suite =
        connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    TlsFacts { version: version.to_owned(), cipher_suite, server_name: stream.server_name().map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_that_has_left_is_noticed_whatever_it_said_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for said in ["", "QUIT\r\n"] {
            let mut client = TcpStream::connect(address).await.unwrap();
            let stream = listener.accept().await.unwrap().0;
            let mut input = BytesMut::new();
            client.write_all(said.as_bytes()).await.unwrap();
            let mut stream = ClientStream::Plain(stream);
            assert!(stream.ended(&mut input).await.is_none(), "after {said:?}");
            // Nothing is awaited: the runtime has not heard of it.
            drop(client);
            let end = stream.ended(&mut input).await;
            assert!(matches!(end, Some(ReadEnd::Closed)), "after {said:?}: {end:?}");
            assert_eq!(input, said, "nothing of it is lost");
        }
    }

    #[tokio::test]
    async fn who_has_agreed_is_not_lingered_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (parting, is_over) in [(Parting::Agreed, true), (Parting::Open, false)] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let stream = ClientStream::Plain(listener.accept().await.unwrap().0);
            let mut last = BytesMut::from("221 bye\r\n");
            let mut closing = Box::pin(stream.close(&mut last, parting));
            let first = poll_fn(|context| Poll::Ready(closing.as_mut().poll(context))).await;
            assert_eq!(first.is_ready(), is_over, "{parting:?}");
            let reading = async move {
                let mut said = String::new();
                client.read_to_string(&mut said).await.unwrap();
                // It goes away first, and is not waited for any longer.
                said
            };
            let said = if is_over { reading.await } else { tokio::join!(reading, closing).0 };
            assert_eq!(said, "221 bye\r\n", "{parting:?}");
        }
    }

    #[tokio::test]
    async fn what_is_kept_of_a_message_pins_little_more_than_itself() {
        const SIZE: usize = 1024 * 1024;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let send = tokio::spawn(async move {
            let mut client = TcpStream::connect(address).await.unwrap();
            for _ in 0..SIZE / 4096 {
                client.write_all(&[b'x'; 4096]).await.unwrap();
            }
            client
        });
        let mut stream = ClientStream::Plain(listener.accept().await.unwrap().0);
        let (mut input, mut kept, mut size) = (BytesMut::new(), Vec::<Bytes>::new(), 0);
        while size < SIZE {
            let expecting = Expecting::Message { received: size as u64 };
            stream.read(&mut input, expecting, &mut Timer::default(), Duration::from_secs(10)).await.unwrap();
            size += input.len();
            kept.push(input.split().freeze());
        }
        send.await.unwrap();
        let is_new = |pair: &[Bytes]| pair[0].as_ptr_range().end != pair[1].as_ptr();
        let buffers = 1 + kept.windows(2).filter(|pair| is_new(pair)).count();
        assert!(buffers * READ_LARGE_MESSAGE <= SIZE * 21 / 20 + 4 * READ_LARGE_MESSAGE, "{buffers} buffers");
    }
}
