//! A client that knows what became of its message: taken, refused, lost, or in doubt.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// For each answer; longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// No reply is longer.
const LONGEST_REPLY: usize = 64 * 1024;

/// A connection on which EHLO was answered.
pub(super) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no connection, or a 4xx or 5xx in place of the greeting or the answer to EHLO.
    TurnedAway(String),
    /// The server said no.
    Refused(String),
    /// The connection was closed, with a 421 or without, before any of the message was sent.
    Closed(String),
    /// The connection broke before the final dot was sent.
    Lost(io::Error),
    /// The connection broke afterwards.
    InDoubt(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TurnedAway(why) => write!(formatter, "turned away: {why}"),
            Self::Refused(reply) => write!(formatter, "refused: {reply}"),
            Self::Closed(how) => write!(formatter, "closed: {how}"),
            Self::Lost(error) => write!(formatter, "lost: {error}"),
            Self::InDoubt(error) => write!(formatter, "no answer to the message: {error}"),
        }
    }
}

impl Failure {
    /// Whether nothing of the message was sent, and the server said nothing against it.
    pub(super) fn is_before_the_message(&self) -> bool {
        matches!(self, Self::TurnedAway(_) | Self::Closed(_))
    }
}

/// A connection from one of the loopback addresses; whatever port is free.
pub(super) async fn connect(from: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = timeout(PATIENCE, socket.connect(server)).await.unwrap_or_else(|_| Err(timed_out()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Client {
    /// Connects, is greeted and says EHLO.
    pub(super) async fn greeted(from: IpAddr, server: SocketAddr) -> Result<Self, Failure> {
        let turned_away = |error: io::Error| Failure::TurnedAway(error.to_string());
        let stream = connect(from, server).await.map_err(turned_away)?;
        let mut client = Self { stream, input: Vec::new() };
        for said in ["", "EHLO mx.sender.test\r\n"] {
            client.stream.write_all(said.as_bytes()).await.map_err(turned_away)?;
            let reply = client.reply().await.map_err(turned_away)?;
            if !reply.starts_with('2') {
                return Err(Failure::TurnedAway(reply));
            }
        }
        Ok(client)
    }

    /// Sends a message; `content` ends in CRLF and has no line that begins with a dot. The server's 250.
    pub(super) async fn deliver(&mut self, recipient: &str, content: &[u8]) -> Result<String, Failure> {
        let envelope = format!("MAIL FROM:<load@sender.test>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n");
        let closed = |error: io::Error| Failure::Closed(error.to_string());
        self.stream.write_all(envelope.as_bytes()).await.map_err(closed)?;
        let mut refused = None;
        for expected in ["250", "250", "354"] {
            let reply = self.reply().await.map_err(closed)?;
            if reply.starts_with("421") {
                return Err(Failure::Closed(reply));
            }
            if !reply.starts_with(expected) {
                refused = refused.or(Some(reply));
            }
        }
        if let Some(reply) = refused {
            self.stream.write_all(b"RSET\r\n").await.map_err(Failure::Lost)?;
            self.reply().await.map_err(Failure::Lost)?;
            return Err(Failure::Refused(reply));
        }
        self.stream.write_all(content).await.map_err(Failure::Lost)?;
        self.stream.write_all(b".\r\n").await.map_err(Failure::InDoubt)?;
        let reply = self.reply().await.map_err(Failure::InDoubt)?;
        if reply.starts_with("250") { Ok(reply) } else { Err(Failure::Refused(reply)) }
    }

    /// Says QUIT and does not care for the answer.
    pub(super) async fn quit(mut self) {
        if self.stream.write_all(b"QUIT\r\n").await.is_ok() {
            let _ = self.reply().await;
        }
    }

    /// The last line of the next reply.
    async fn reply(&mut self) -> io::Result<String> {
        loop {
            while let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(line);
                }
            }
            if self.input.len() > LONGEST_REPLY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input));
            if read.await.unwrap_or_else(|_| Err(timed_out()))? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}
