//! A connection's byte stream, encrypted or not.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustls::ClientConnection;
use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Reads of what TLS says for itself, of some kilobytes each, while nothing is due. There are two tickets after a handshake.
const RECORDS: usize = 16;

/// What SMTP is spoken over.
#[derive(Debug)]
pub(super) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// After STARTTLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether nothing has come and the peer has not closed, as far as can be told without waiting.
    ///
    /// An idle SMTP server has nothing to say but that it closes; so anything at all means that this connection is of
    /// no further use. What TLS says for itself, such as session tickets, is not counted.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut context, &mut buffer).is_pending()
    }

    /// Whether the peer has said something by now, which waits to be read. The socket itself is asked: what came a moment
    /// ago the runtime may not have heard of yet.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer has hung up; others when the connection is broken.
    pub(super) fn has_bytes_waiting(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(stream) => match SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit()]) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            },
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                has_plaintext(&SockRef::from(&*socket), session)
            }
        }
    }

    /// Writes as much of `bytes` as goes without waiting; for a last word that nobody has to hear.
    pub(super) fn write_parting(&mut self, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        // Whether it worked or not, the stream is dropped next.
        let _ = Pin::new(&mut *self).poll_write(&mut context, bytes);
        let _ = Pin::new(&mut *self).poll_flush(&mut context);
        let _ = Pin::new(self).poll_shutdown(&mut context);
    }
}

/// Whether there is something to read within TLS, of which the socket alone tells nothing: the records that have come may
/// be session tickets. They are taken from it and decrypted; what was said in them stays with the session until it is read.
fn has_plaintext(mut socket: &Socket, session: &mut ClientConnection) -> io::Result<bool> {
    for _ in 0..RECORDS {
        let state = session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if state.plaintext_bytes_to_read() > 0 {
            return Ok(true);
        }
        if state.peer_has_closed() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match session.read_tls(&mut socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    // Whoever has so much to say for TLS alone is not to be waited for.
    Ok(true)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
