//! The client's connection: plain TCP, or TLS over it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admin::metrics::{ListenerMetrics, TlsOutcome};
use crate::host::TlsFacts;

/// What one read makes room for: enough for a whole small message with its commands, little enough for an idle client.
const READ_COMMANDS: usize = 8 * 1024;

/// What one read makes room for while a message begins to arrive, and once it is known to be large. Room that is not
/// filled is not counted by any budget, so it grows with the message.
const READ_MESSAGE: usize = 16 * 1024;
const READ_LARGE_MESSAGE: usize = 64 * 1024;

/// For the last bytes of a connection to leave.
const CLOSE: Duration = Duration::from_secs(5);

/// How long, and how much, is still read of a client after the last reply.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A read with less room than this is not worth a call.
const LEAST_ROOM: usize = 2 * 1024;

/// A client's connection.
pub enum ClientStream {
    /// No TLS yet, or never.
    Plain(TcpStream),
    /// After STARTTLS, or from the start.
    Tls(Box<TlsStream<TcpStream>>),
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
        patience: Duration,
    ) -> Result<(), ReadEnd> {
        let room = match expecting {
            Expecting::Command => READ_COMMANDS,
            Expecting::Message { received } if received < READ_LARGE_MESSAGE as u64 => READ_MESSAGE,
            Expecting::Message { .. } => READ_LARGE_MESSAGE,
        };
        if input.capacity() - input.len() < LEAST_ROOM {
            // What is kept of a message pins the whole buffer that it was read into and pays for its own bytes only, so
            // buffers are used to their end, and they are of a size that the allocator does not round up.
            input.reserve(room.saturating_sub(input.len()).max(LEAST_ROOM));
        }
        let read = async {
            match self {
                Self::Plain(stream) => stream.read_buf(input).await,
                Self::Tls(stream) => stream.read_buf(input).await,
                Self::Closed => Ok(0),
            }
        };
        match timeout(patience, read).await {
            Ok(Ok(0)) => Err(ReadEnd::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ReadEnd::Failed(error)),
            Err(_) => Err(ReadEnd::Timeout),
        }
    }

    /// How the client's side of the connection has ended, if it has; nothing is waited for. What the client has sent
    /// meanwhile is read into `input`.
    pub(super) async fn ended(&mut self, input: &mut BytesMut) -> Option<ReadEnd> {
        // A pipelined command hides the end from the first read.
        for _ in 0..2 {
            match self.read(input, Expecting::Command, Duration::ZERO).await {
                Ok(()) => {}
                Err(ReadEnd::Timeout) => return None,
                Err(end) => return Some(end),
            }
        }
        None
    }

    /// Writes all of `output` and empties it.
    pub(super) async fn write(&mut self, output: &mut BytesMut, patience: Duration) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            match self {
                Self::Plain(stream) => stream.write_all(output).await,
                Self::Tls(stream) => {
                    stream.write_all(output).await?;
                    stream.flush().await
                }
                Self::Closed => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        let written = timeout(patience, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        output.clear();
        written
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
        let handshake = timeout(patience, TlsAcceptor::from(config).accept(stream)).await;
        let stream = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).inspect_err(|_| {
            metrics.tls(TlsOutcome::Failed);
        })?;
        let connection = stream.get_ref().1;
        metrics.tls(match connection.handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => TlsOutcome::Resumed,
            _ => TlsOutcome::Established,
        });
        let facts = tls_facts(connection);
        *self = Self::Tls(Box::new(stream));
        Ok(facts)
    }

    /// Tells the client that nothing more comes, and reads what it still sends for a moment: a socket that is closed with
    /// bytes unread takes the last reply back.
    pub(super) async fn close(mut self) {
        let shutdown = async {
            match &mut self {
                Self::Plain(stream) => stream.shutdown().await,
                Self::Tls(stream) => stream.shutdown().await,
                Self::Closed => Ok(()),
            }
        };
        if !matches!(timeout(CLOSE, shutdown).await, Ok(Ok(()))) {
            return;
        }
        let mut rest = vec![0; READ_COMMANDS];
        let linger = async {
            let mut left = LINGER_BYTES;
            while left > 0 {
                let read = match &mut self {
                    Self::Plain(stream) => stream.read(&mut rest).await,
                    Self::Tls(stream) => stream.get_mut().0.read(&mut rest).await,
                    Self::Closed => Ok(0),
                };
                match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left = left.saturating_sub(count),
                }
            }
        };
        // A client that goes on beyond that has had its answer.
        let _ = timeout(LINGER, linger).await;
    }
}

fn tls_facts(connection: &rustls::ServerConnection) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let cipher_suite =
        connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    TlsFacts { version: version.to_owned(), cipher_suite, server_name: connection.server_name().map(str::to_owned) }
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
            drop(client);
            if let ClientStream::Plain(stream) = &stream {
                while !stream.ready(tokio::io::Interest::READABLE).await.unwrap().is_read_closed() {
                    tokio::task::yield_now().await;
                }
            }
            let end = stream.ended(&mut input).await;
            assert!(matches!(end, Some(ReadEnd::Closed)), "after {said:?}: {end:?}");
            assert_eq!(input, said, "nothing of it is lost");
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
            stream.read(&mut input, expecting, Duration::from_secs(10)).await.unwrap();
            size += input.len();
            kept.push(input.split().freeze());
        }
        send.await.unwrap();
        let is_new = |pair: &[Bytes]| pair[0].as_ptr_range().end != pair[1].as_ptr();
        let buffers = 1 + kept.windows(2).filter(|pair| is_new(pair)).count();
        assert!(buffers * READ_LARGE_MESSAGE <= SIZE * 21 / 20 + 4 * READ_LARGE_MESSAGE, "{buffers} buffers");
    }
}
