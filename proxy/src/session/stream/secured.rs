//! TLS towards a client, over rustls' interface without buffers.
//!
//! Ciphertext is read into a buffer that all sessions of a thread share, and is decrypted there. A session that waits
//! holds its keys, and bytes only while a record of its client has come in part.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::listener;

/// A record's header, and what encryption adds to its content at most.
const HEADER: usize = 5;
const OVERHEAD: usize = 64;

/// What encryption adds to the content of a record at least: the tag, and for TLS 1.3 the type.
const LEAST_OVERHEAD: usize = 17;

/// The most content of a record, and the most ciphertext that one read takes: four whole records of TLS 1.3.
const RECORD: usize = 16 * 1024;
const READ: usize = 4 * (HEADER + RECORD + LEAST_OVERHEAD);

/// The most ciphertext that is kept until the rest of its record, or of its handshake message, has come.
const MOST_HELD: usize = 64 * 1024;

thread_local! {
    /// Ciphertext while it is being looked at. Nothing waits meanwhile.
    static CIPHERTEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A client's connection with TLS.
pub struct Secured {
    stream: TcpStream,
    connection: UnbufferedServerConnection,
    /// The name that the client asked for.
    server_name: Option<Box<str>>,
    /// Ciphertext of what has come in part.
    incoming: Vec<u8>,
    /// Plaintext that came together with the end of the handshake, and is read first.
    plaintext: BytesMut,
    /// Ciphertext that is to be sent before anything else.
    outgoing: Vec<u8>,
    /// The client has said that nothing more comes.
    ended: bool,
    /// The client has sent what cannot be: nothing is believed or said any more.
    broken: bool,
}

impl Secured {
    /// The handshake, as the server.
    pub(super) async fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut secured = Self {
            stream,
            connection,
            server_name: None,
            incoming: Vec::new(),
            plaintext: BytesMut::new(),
            outgoing: Vec::new(),
            ended: false,
            broken: false,
        };
        while secured.connection.is_handshaking() {
            let received = std::future::poll_fn(|context| {
                let mut plaintext = std::mem::take(&mut secured.plaintext);
                let received = secured.poll_receive(context, &mut plaintext, RECORD);
                secured.plaintext = plaintext;
                if let Some(name) = listener::take_server_name() {
                    secured.server_name = Some(name);
                }
                received
            });
            let received = received.await;
            // The last that a server of TLS 1.3 says are tickets. They have time until the first reply.
            let is_last_word = !secured.connection.is_handshaking() && secured.is_tls13();
            if received.is_err() || !is_last_word {
                std::future::poll_fn(|context| secured.poll_flush(context)).await?;
            }
            received?;
            if secured.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(secured)
    }

    pub(super) fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Reads what is there into `plaintext`, about `room` bytes at most; 0 when nothing more comes.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        plaintext: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let before = plaintext.len();
        if !self.plaintext.is_empty() {
            plaintext.unsplit(std::mem::take(&mut self.plaintext));
        }
        while plaintext.len() == before && !self.ended {
            ready!(self.poll_receive(context, plaintext, room))?;
        }
        Poll::Ready(Ok(plaintext.len() - before))
    }

    /// Encrypts `plaintext`, to be sent by the next [`Self::poll_flush`] after what is still to be sent.
    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.write_traffic(|mut traffic, outgoing| {
            let records = plaintext.len().div_ceil(RECORD);
            append(outgoing, plaintext.len() + records * OVERHEAD, |room| traffic.encrypt(plaintext, room))
        })
    }

    /// Says that nothing more comes from us, by the next [`Self::poll_flush`].
    pub(super) fn say_end(&mut self) -> io::Result<()> {
        self.write_traffic(|mut traffic, outgoing| {
            append(outgoing, HEADER + OVERHEAD, |room| traffic.queue_close_notify(room))
        })
    }

    /// Sends what was encrypted.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing))?;
            self.sent(count)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends of what was encrypted as much as goes without waiting; whether that was all.
    pub(super) fn flush_now(&mut self) -> io::Result<bool> {
        let count = super::send_now(&self.stream, &self.outgoing)?;
        if count > 0 {
            self.sent(count)?;
        }
        Ok(self.outgoing.is_empty())
    }

    fn sent(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.outgoing.drain(..count);
        if self.outgoing.is_empty() {
            self.outgoing = Vec::new();
        }
        Ok(())
    }

    /// Reads once, and decrypts what is whole.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        plaintext: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        ready!(self.stream.poll_read_ready(context))?;
        CIPHERTEXT.with_borrow_mut(|ciphertext| {
            ciphertext.resize(MOST_HELD + READ, 0);
            let held = self.incoming.len();
            ciphertext[..held].copy_from_slice(&self.incoming);
            // A record that has come in part is made whole, and a small one costs no more when there is room for a large.
            let most = if room > RECORD { READ.saturating_sub(held).max(RECORD) } else { RECORD + HEADER + OVERHEAD };
            let mut read = ReadBuf::new(&mut ciphertext[held..held + most]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            let count = read.filled().len();
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let arrived = &mut ciphertext[..held + count];
            // Its buffer is of the size of what comes into it: it may be held for as long as the message is.
            plaintext.reserve(content_of_records(arrived));
            let taken = self.process(arrived, plaintext)?;
            self.hold(&arrived[taken..])?;
            Poll::Ready(Ok(()))
        })
    }

    /// Keeps ciphertext for later.
    fn hold(&mut self, rest: &[u8]) -> io::Result<()> {
        if rest.len() > MOST_HELD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a handshake message is too large"));
        }
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Takes all whole records; how many bytes they were.
    fn process(&mut self, arrived: &mut [u8], plaintext: &mut BytesMut) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut arrived[taken..]);
            let is_over = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        plaintext.extend_from_slice(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    true
                }
                Ok(other) => {
                    self.ended |= aside(other, &mut self.outgoing)?;
                    false
                }
                Err(error) => {
                    self.broken = true;
                    self.queue_alert(&mut arrived[taken + discard..]);
                    return Err(invalid(error));
                }
            };
            taken += discard;
            if is_over {
                return Ok(taken);
            }
        }
    }

    /// What TLS has to say about an error, to be sent by the next [`Self::poll_flush`].
    fn queue_alert(&mut self, arrived: &mut [u8]) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(arrived).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if encode(&mut data, &mut self.outgoing).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Does something that takes an established connection.
    fn write_traffic(
        &mut self,
        write: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        loop {
            // What has come in part is shown again: the state of the connection may refer to it.
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.incoming);
            match state.map_err(invalid)? {
                ConnectionState::WriteTraffic(traffic) => return write(traffic, &mut self.outgoing),
                ConnectionState::BlockedHandshake | ConnectionState::Closed => {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        self.plaintext.extend_from_slice(record.map_err(invalid)?.payload);
                    }
                }
                other => self.ended |= aside(other, &mut self.outgoing)?,
            }
            self.incoming.drain(..discard);
        }
    }
}

/// States that ask for something on the side; whether the client has said that nothing more comes.
fn aside(state: ConnectionState<'_, '_, ServerConnectionData>, outgoing: &mut Vec<u8>) -> io::Result<bool> {
    match state {
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, outgoing)?,
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::PeerClosed => return Ok(true),
        // Data before the end of the handshake, which we do not offer.
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "an unexpected state of TLS")),
    }
    Ok(false)
}

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    append(outgoing, 0, |room| {
        data.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => EncryptError::InsufficientSize(size),
            EncodeError::AlreadyEncoded => EncryptError::EncryptExhausted,
        })
    })
}

/// Appends what `write` writes, which is about `expected` bytes.
fn append(
    outgoing: &mut Vec<u8>,
    expected: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<()> {
    let start = outgoing.len();
    let mut room = expected;
    // It asks for more room once at most.
    for _ in 0..2 {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) => room = size.required_size,
            Err(error @ EncryptError::EncryptExhausted) => return Err(io::Error::other(error)),
        }
    }
    Err(io::Error::other("TLS does not say what room it needs"))
}

/// What the content of all whole records amounts to at most.
fn content_of_records(ciphertext: &[u8]) -> usize {
    let (mut content, mut rest) = (0, ciphertext);
    while let [_, _, _, high, low, following @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(next) = following.get(length..) else { break };
        content += length.saturating_sub(LEAST_OVERHEAD);
        rest = next;
    }
    content
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
