//! One session with clamd (IDSESSION): several INSTREAMs, one after another.
//!
//! The reply is read while a stream is written: clamd may answer and close early, over a size limit for instance, and
//! writing on would then hide its reply behind an EPIPE, or wait for ever when neither side reads.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::{ScanResult, WRITE_STALL, parse_reply};
use crate::config::ClamdAddress;

/// Bytes of a reply; clamd's have a few dozen.
const REPLY_LIMIT: usize = 4096;
/// Bytes of one chunk of the stream.
const CHUNK: usize = 256 * 1024;

pub(super) struct Connection {
    socket: Socket,
    reply: Vec<u8>,
    /// Streams begun: clamd numbers its replies by them.
    streams: u64,
    /// A stream is under way.
    is_open: bool,
    /// The reply is whole, or the connection is closed.
    ended: bool,
    /// clamd did not take a write in time: part of it may be on the way, so nothing can follow.
    stalled: bool,
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// clamd takes no more: its reply is there, or the connection is gone.
pub(super) struct Ended;

impl Connection {
    /// Connect and begin a session.
    pub(super) async fn open(address: &ClamdAddress) -> Result<Self, String> {
        let socket = match address {
            ClamdAddress::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
            ClamdAddress::Tcp(address) => TcpStream::connect(address).await.map(Socket::Tcp),
        };
        let socket = socket.map_err(|error| format!("clamd cannot be reached: {error}"))?;
        let mut connection =
            Self { socket, reply: Vec::new(), streams: 0, is_open: false, ended: false, stalled: false };
        // An early end shows in the reply.
        let _ = connection.write(b"zIDSESSION\0").await;
        Ok(connection)
    }

    /// Write the next bytes of a stream; the first ones begin it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.begin().await?;
        for chunk in bytes.chunks(CHUNK) {
            // At most CHUNK, so it fits.
            let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            self.write(&length.to_be_bytes()).await?;
            self.write(chunk).await?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Ended> {
        if self.is_open {
            return Ok(());
        }
        self.is_open = true;
        self.streams += 1;
        self.write(b"zINSTREAM\0").await
    }

    /// End the stream and wait for the verdict. After an error nothing can follow.
    pub(super) async fn finish(&mut self) -> Result<ScanResult, String> {
        let complete = self.begin().await.is_ok() && self.write(&0_u32.to_be_bytes()).await.is_ok();
        self.is_open = false;
        if self.stalled {
            return Err("clamd does not take the message".to_owned());
        }
        while !self.ended {
            if let Err(error) = std::future::poll_fn(|context| self.poll_reply(context)).await {
                if self.reply.is_empty() {
                    return Err(format!("clamd closed the connection without a reply: {error}"));
                }
                break;
            }
        }
        if self.reply.len() > REPLY_LIMIT {
            return Err("clamd's reply is too long".to_owned());
        }
        let reply = std::mem::take(&mut self.reply);
        if let Some(reply) = reply.strip_suffix(b"\0") {
            // A further stream may follow.
            self.ended = false;
            let number = format!("{}: ", self.streams);
            return match parse_reply(reply.strip_prefix(number.as_bytes()).unwrap_or(reply)) {
                ScanResult::Clean if !complete => Err("clamd answered before the end of the message".to_owned()),
                ScanResult::Clean if !reply.starts_with(number.as_bytes()) => {
                    Err("clamd's reply is not for this stream".to_owned())
                }
                result => Ok(result),
            };
        }
        match reply.strip_suffix(b"\n") {
            // Its complaints about the protocol come like this; a verdict never does.
            Some(complaint) => Err(format!("clamd: {}", String::from_utf8_lossy(complaint))),
            None if reply.is_empty() => Err("clamd closed the connection without a reply".to_owned()),
            None => Err("clamd's reply was cut off".to_owned()),
        }
    }

    /// Write while watching for a reply.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        let written = async {
            while !bytes.is_empty() && !self.ended {
                let count = std::future::poll_fn(|context| {
                    // The reply first: what it says holds, also when there is room to write on.
                    while let Poll::Ready(read) = self.poll_reply(context) {
                        if read.is_err() || self.ended {
                            self.ended = true;
                            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                        }
                    }
                    self.socket.write_half().poll_write(context, bytes)
                })
                .await;
                match count {
                    Ok(0) | Err(_) => return Err(Ended),
                    Ok(count) => bytes = &bytes[count..],
                }
            }
            if bytes.is_empty() { Ok(()) } else { Err(Ended) }
        };
        // A clamd that takes nothing hangs; the caller's own timeout ends the rest.
        let written = tokio::time::timeout(WRITE_STALL, written).await;
        self.stalled |= written.is_err();
        written.unwrap_or(Err(Ended))
    }

    /// Read some of the reply.
    fn poll_reply(&mut self, context: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; 512];
        let mut buffer = ReadBuf::new(&mut space);
        match self.socket.read_half().poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let read = buffer.filled();
                self.reply.extend_from_slice(read);
                let ends = read.is_empty() || self.reply.contains(&0) || self.reply.ends_with(b"\n");
                self.ended = ends || self.reply.len() > REPLY_LIMIT;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Close without waiting for anything.
    pub(super) async fn abandon(mut self) {
        let _ = self.socket.write_half().shutdown().await;
    }
}

impl Socket {
    fn read_half(&mut self) -> Pin<&mut dyn AsyncReadSend> {
        match self {
            Self::Unix(socket) => Pin::new(socket),
            Self::Tcp(socket) => Pin::new(socket),
        }
    }

    fn write_half(&mut self) -> Pin<&mut dyn AsyncWriteSend> {
        match self {
            Self::Unix(socket) => Pin::new(socket),
            Self::Tcp(socket) => Pin::new(socket),
        }
    }
}

trait AsyncReadSend: AsyncRead + Send + Unpin {}
impl<T: AsyncRead + Send + Unpin> AsyncReadSend for T {}
trait AsyncWriteSend: AsyncWrite + Send + Unpin {}
impl<T: AsyncWrite + Send + Unpin> AsyncWriteSend for T {}
