//! A connection to the server: the client machine on a socket. It keeps no time but that of a server that hangs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mailweir_smtp::client::{Client, ClientError, ClientEvent};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Replies are short.
const INPUT_BUFFER: usize = 4096;

/// Why a connection is of no more use.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// It did not come about.
    #[error("connect: {}", .0.kind())]
    Connect(io::Error),
    /// The socket failed.
    #[error("connection: {}", .0.kind())]
    Io(#[from] io::Error),
    /// The server closed it while a reply was due.
    #[error("closed by the server")]
    Closed,
    /// The server neither read nor replied in time.
    #[error("timed out")]
    TimedOut,
    /// The server broke the protocol.
    #[error("protocol: {0}")]
    Protocol(#[from] ClientError),
    /// The server turned us away.
    #[error("turned away with {0}")]
    TurnedAway(u16),
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    stream: TcpStream,
    input: BytesMut,
    patience: Duration,
}

impl Connection {
    /// Connects; the greeting is the first event.
    pub(crate) async fn open(server: SocketAddr, patience: Duration) -> Result<Self, Failure> {
        let stream = timeout(patience, TcpStream::connect(server)).await.map_err(|_| Failure::TimedOut)?;
        let stream = stream.map_err(Failure::Connect)?;
        // Where nobody listens on a port of the range that outgoing connections take theirs from, one of many meets itself.
        if stream.local_addr()? == server {
            return Err(Failure::Connect(io::ErrorKind::ConnectionRefused.into()));
        }
        stream.set_nodelay(true)?;
        Ok(Self { client: Client::new(), stream, input: BytesMut::with_capacity(INPUT_BUFFER), patience })
    }

    /// Writes the commands that are queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        let mut commands = self.client.output().split();
        self.write(&mut commands).await
    }

    /// Writes content and then the commands that are queued, together.
    pub(crate) async fn write_before_commands(&mut self, content: Bytes) -> Result<(), Failure> {
        let commands = self.client.output().split();
        self.write(&mut content.chain(commands)).await
    }

    /// Writes the commands that are queued and then content, together.
    pub(crate) async fn write_after_commands(&mut self, content: Bytes) -> Result<(), Failure> {
        let commands = self.client.output().split();
        self.write(&mut commands.chain(content)).await
    }

    async fn write(&mut self, bytes: &mut impl Buf) -> Result<(), Failure> {
        while bytes.has_remaining() {
            // Of a large message some goes out at a time: patience begins anew with each piece that the server takes.
            let written =
                timeout(self.patience, self.stream.write_buf(bytes)).await.map_err(|_| Failure::TimedOut)??;
            if written == 0 {
                return Err(Failure::Closed);
            }
        }
        Ok(())
    }

    /// The next reply.
    pub(crate) async fn reply(&mut self) -> Result<ClientEvent, Failure> {
        loop {
            if let Some(event) = self.client.next(&mut self.input)? {
                return Ok(event);
            }
            let read = timeout(self.patience, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| Failure::TimedOut)?? == 0 {
                return Err(Failure::Closed);
            }
        }
    }
}
