//! One SMTP connection to an upstream: the client machine of `mailweir_smtp` with a socket and timeouts.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use mailweir_smtp::client::{Client, ClientEvent};
use mailweir_smtp::reply::Reply;
use mailweir_smtp::xclient::XClient;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;
use tokio::runtime;

use super::error::ConnectionError;
use super::slots::Slot;
use super::stream::Stream;
use crate::config::UpstreamHost;
use crate::timer::Timer;

/// Bytes read while we cannot write. Replies to a thousand pipelined RCPT are some 50 KB; past this we stop reading,
/// and whoever neither reads nor stops talking runs into the timeout.
const UNREAD_REPLIES: usize = 1 << 20;
/// What the input buffer starts with; a reply is some 50 bytes, EHLO's some 300.
const INPUT_BUFFER: usize = 2048;

/// A connection, from its greeting on. It is boxed wherever it is handed on: each future that it passes through has room
/// for it, and that room is moved with the future.
pub(super) struct Connection {
    /// What it leads to.
    pub(super) host: Arc<UpstreamHost>,
    /// The machine that knows which reply answers which command.
    pub(super) client: Client,
    /// Messages sent over it.
    pub(super) messages: usize,
    /// A transaction may be open at the other end: RSET comes before the next.
    pub(super) needs_reset: bool,
    /// It was used for another session before this one.
    pub(super) is_reused: bool,
    /// The client that the upstream takes us for. Known only after an XCLIENT that went well.
    pub(super) speaks_for: Option<Arc<XClient>>,
    /// XCLIENT was said on it: it is not our own any more, whomever it speaks for.
    pub(super) is_introduced: bool,
    /// The right to use it; none while it is idle or being set up.
    pub(super) slot: Option<Slot>,
    /// The runtime that is told when something comes: other threads can use it, but each reply would wake two of them.
    home: Option<runtime::Id>,
    stream: Stream,
    input: BytesMut,
    timer: Timer,
}

/// What became of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes were taken.
    Wrote(usize),
    /// The peer takes nothing now, but says something: it is in the input buffer.
    Heard,
}

impl Connection {
    /// Over a TCP connection on which nothing was said yet.
    pub(super) fn new(host: Arc<UpstreamHost>, stream: TcpStream) -> Self {
        Self {
            host,
            client: Client::new(),
            messages: 0,
            needs_reset: false,
            is_reused: false,
            speaks_for: None,
            is_introduced: false,
            slot: None,
            home: here(),
            stream: Stream::Plain(stream),
            input: BytesMut::with_capacity(INPUT_BUFFER),
            timer: Timer::default(),
        }
    }

    /// The same, for whoever has the slot.
    pub(super) fn in_slot(mut self: Box<Self>, slot: Slot) -> Box<Self> {
        self.slot = Some(slot);
        self
    }

    /// Whether it belongs to the runtime of this thread.
    pub(super) fn is_at_home(&self) -> bool {
        self.home == here()
    }

    /// Whether another thread can take it over.
    pub(super) fn can_move(&self) -> bool {
        !self.is_encrypted()
    }

    /// The same connection, at home in the runtime of this thread.
    ///
    /// # Errors
    ///
    /// The operating system's, or that it is encrypted: the connection is gone then.
    pub(super) fn moved_here(mut self) -> io::Result<Self> {
        let Stream::Plain(stream) = self.stream else { return Err(io::Error::other("encrypted")) };
        self.stream = Stream::Plain(TcpStream::from_std(stream.into_std()?)?);
        self.home = here();
        self.timer.forget();
        Ok(self)
    }

    /// Whether it is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Whether the peer has said more than was asked for.
    pub(super) fn has_unread(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether the peer has closed the connection or said something since its last reply, as far as can be told
    /// without a round trip. The `last_word` is how long to wait for the rest of what it says.
    ///
    /// # Errors
    /// [`ConnectionError::ShuttingDown`] when it said 421; others when it closed without a word, or spoke nonsense.
    pub(super) async fn check(&mut self, last_word: Duration) -> Result<(), ConnectionError> {
        if !self.has_unread() {
            let heard = poll_fn(|context| {
                Poll::Ready(match poll_heard(&mut self.stream, &mut self.input, context) {
                    Poll::Ready(result) => result.map(|_| true),
                    Poll::Pending => Ok(false),
                })
            });
            if !heard.await? {
                return Ok(());
            }
        }
        Err(ConnectionError::Early(answer(self.reply(last_word).await?)?))
    }

    /// Whether it can be used again, as far as can be told without a round trip.
    pub(super) fn is_alive(&mut self) -> bool {
        self.input.is_empty() && self.stream.is_quiet()
    }

    /// The bare TCP connection, for a TLS handshake. `None` when it is encrypted already, or when bytes came after the
    /// reply to STARTTLS: those were not encrypted and must not be taken for what is (CVE-2021-38371).
    pub(super) fn into_plain(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream) if self.input.is_empty() => Some(stream),
            _ => None,
        }
    }

    /// The same connection, encrypted: a new SMTP session begins (RFC 3207 section 4.2), without a greeting.
    pub(super) fn encrypted(
        host: Arc<UpstreamHost>,
        mut client: Client,
        stream: tokio_rustls::client::TlsStream<TcpStream>,
    ) -> Self {
        let mut input = BytesMut::with_capacity(INPUT_BUFFER);
        client.tls_established(&mut input);
        Self {
            host,
            client,
            messages: 0,
            needs_reset: false,
            is_reused: false,
            speaks_for: None,
            is_introduced: false,
            slot: None,
            home: here(),
            stream: Stream::Tls(Box::new(stream)),
            input,
            timer: Timer::default(),
        }
    }

    /// Writes all queued commands.
    pub(super) async fn send(&mut self, limit: Duration) -> Result<(), ConnectionError> {
        let mut commands = self.client.output().split();
        while !commands.is_empty() {
            match self.write_some(&[IoSlice::new(&commands)], limit).await? {
                Progress::Wrote(count) => commands.advance(count),
                // RFC 2920 section 3.1: a client that only writes and a server that only writes wait for ever. What
                // was heard waits in the input buffer.
                Progress::Heard => {}
            }
        }
        while self.flush_some(limit).await? == Progress::Heard {}
        Ok(())
    }

    /// The next reply, which has to be whole within `limit`.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<ClientEvent, ConnectionError> {
        // The usual case of pipelining: it is there already, and no timer is needed.
        if let Some(event) = self.client.next(&mut self.input)? {
            return Ok(event);
        }
        let Self { client, stream, input, timer, .. } = self;
        let heard = timer.limit(limit, async {
            loop {
                if stream.read_buf(input).await? == 0 {
                    return Err(ConnectionError::Closed);
                }
                if let Some(event) = client.next(input)? {
                    return Ok(event);
                }
            }
        });
        heard.await.unwrap_or(Err(ConnectionError::TimedOut))
    }

    /// Sends the queued commands and waits for the reply to the first of them.
    pub(super) async fn ask(&mut self, limit: Duration) -> Result<ClientEvent, ConnectionError> {
        self.send(limit).await?;
        self.reply(limit).await
    }

    /// Writes some of `slices`; while the peer takes nothing, listens.
    pub(super) async fn write_some(
        &mut self,
        slices: &[IoSlice<'_>],
        limit: Duration,
    ) -> Result<Progress, ConnectionError> {
        let Self { stream, input, timer, .. } = self;
        let write = poll_fn(|context| match Pin::new(&mut *stream).poll_write_vectored(context, slices) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into())),
            Poll::Ready(result) => Poll::Ready(result.map(Progress::Wrote).map_err(ConnectionError::from)),
            Poll::Pending => poll_heard(stream, input, context),
        });
        timer.limit(limit, write).await.unwrap_or(Err(ConnectionError::TimedOut))
    }

    /// Has TLS write what it still holds; while the peer takes nothing, listens.
    pub(super) async fn flush_some(&mut self, limit: Duration) -> Result<Progress, ConnectionError> {
        if !self.is_encrypted() {
            return Ok(Progress::Wrote(0));
        }
        let Self { stream, input, timer, .. } = self;
        let flush = poll_fn(|context| match Pin::new(&mut *stream).poll_flush(context) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| Progress::Wrote(0)).map_err(ConnectionError::from)),
            Poll::Pending => poll_heard(stream, input, context),
        });
        timer.limit(limit, flush).await.unwrap_or(Err(ConnectionError::TimedOut))
    }

    /// Whether the peer has said something by now, without waiting for it.
    ///
    /// # Errors
    /// When it has hung up, or the connection is broken.
    pub(super) fn has_spoken(&mut self) -> Result<bool, ConnectionError> {
        if self.has_unread() {
            return Ok(true);
        }
        self.stream.has_bytes_waiting().map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ConnectionError::Closed,
            _ => error.into(),
        })
    }

    /// Says QUIT without waiting for the answer, and closes.
    pub(super) fn quit(mut self) {
        self.stream.write_parting(b"QUIT\r\n");
    }
}

/// Listens, as far as what is heard has room.
fn poll_heard(
    stream: &mut Stream,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Result<Progress, ConnectionError>> {
    if input.len() >= UNREAD_REPLIES {
        return Poll::Pending;
    }
    match ready!(pin!(stream.read_buf(input)).poll(context)) {
        Ok(0) => Poll::Ready(Err(ConnectionError::Closed)),
        Ok(_) => Poll::Ready(Ok(Progress::Heard)),
        Err(error) => Poll::Ready(Err(error.into())),
    }
}

/// The runtime of this thread.
fn here() -> Option<runtime::Id> {
    runtime::Handle::try_current().ok().map(|handle| handle.id())
}

/// The reply in an event, whatever it answers.
pub(super) fn reply_of(event: ClientEvent) -> Reply {
    match event {
        ClientEvent::Greeting(reply)
        | ClientEvent::Hello(reply)
        | ClientEvent::StartTls(reply)
        | ClientEvent::XClient(reply)
        | ClientEvent::Mail(reply)
        | ClientEvent::Rcpt(reply)
        | ClientEvent::Data(reply)
        | ClientEvent::Message(reply)
        | ClientEvent::Chunk(reply)
        | ClientEvent::Reset(reply)
        | ClientEvent::Noop(reply)
        | ClientEvent::Quit(reply)
        | ClientEvent::Closing(reply) => reply,
    }
}

/// The reply to a command; a 421, asked for or not, means that no other will come.
pub(super) fn answer(event: ClientEvent) -> Result<Reply, ConnectionError> {
    let reply = reply_of(event);
    if reply.code() == 421 { Err(ConnectionError::ShuttingDown(reply)) } else { Ok(reply) }
}
