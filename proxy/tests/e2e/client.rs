//! A client that says what it is told to.

use std::net::SocketAddr;
use std::path::Path;

use mailweir_testkit::certificates;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::stage::PATIENCE;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    input: Vec<u8>,
    address: Option<SocketAddr>,
    /// The certificate that the server showed, DER.
    pub(crate) certificate: Vec<u8>,
}

impl Client {
    /// A connection on which nothing was read.
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        // Pieces leave as they are said.
        stream.set_nodelay(true).unwrap();
        let address = stream.local_addr().ok();
        Self { address, ..Self::over(stream) }
    }

    /// A connection at hand.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self::over(stream)
    }

    fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), input: Vec::new(), address: None, certificate: Vec::new() }
    }

    /// Our own end, of a connection without TLS.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// A client that was greeted and has said EHLO.
    pub(crate) async fn greeted(server: SocketAddr) -> Self {
        let mut client = Self::connect(server).await;
        expect(&client.reply().await, "220");
        expect(&client.say("EHLO client.example").await, "250");
        client
    }

    /// TLS from the first byte, with a server of this name.
    pub(crate) async fn connect_tls(server: SocketAddr, ca: &Path, name: &str) -> Self {
        Self::connect(server).await.shake_hands(ca, name).await
    }

    /// STARTTLS, then the handshake. EHLO has to be said again.
    pub(crate) async fn start_tls(mut self, ca: &Path, name: &str) -> Self {
        expect(&self.say("STARTTLS").await, "220");
        self.shake_hands(ca, name).await
    }

    pub(crate) async fn shake_hands(self, ca: &Path, name: &str) -> Self {
        assert!(self.input.is_empty(), "said before the handshake: {}", self.input.escape_ascii());
        let connector = TlsConnector::from(certificates::client_config(ca).unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let handshake = tokio::time::timeout(PATIENCE, connector.connect(name, self.stream));
        let stream = handshake.await.unwrap().unwrap();
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        Self { certificate, ..Self::over(stream) }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// As `send`, to a server that may have hung up.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Sends a line and waits for the reply.
    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// The next reply, its lines joined by LF. Panics when the connection ends.
    pub(crate) async fn reply(&mut self) -> String {
        self.next_reply().await.unwrap_or_else(|| panic!("closed after {}", self.input.escape_ascii()))
    }

    /// The next reply, or `None` at the end of the connection.
    pub(crate) async fn next_reply(&mut self) -> Option<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if is_last {
                return Some(lines.join("\n"));
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.input.drain(..end + 2).take(end).collect()).unwrap();
                return Some(line);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input));
            let read = read.await.unwrap_or_else(|_| panic!("no reply; so far: {}", self.input.escape_ascii()));
            // A reset is an end too.
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// MAIL, RCPT for each, DATA: up to the 354.
    pub(crate) async fn begin_data(&mut self, sender: &str, recipients: &[&str]) {
        expect(&self.say(&format!("MAIL FROM:<{sender}>")).await, "250");
        for recipient in recipients {
            expect(&self.say(&format!("RCPT TO:<{recipient}>")).await, "250");
        }
        expect(&self.say("DATA").await, "354");
    }

    /// A whole transaction, its recipients accepted; the reply to the message. `content` is stuffed here.
    pub(crate) async fn deliver(&mut self, sender: &str, recipients: &[&str], content: &[u8]) -> String {
        self.begin_data(sender, recipients).await;
        self.send(stuffed(content)).await;
        self.send(".\r\n").await;
        self.reply().await
    }

    /// A small message from alice to bob with this subject; the reply to it.
    pub(crate) async fn deliver_to_bob(&mut self, subject: &str) -> String {
        self.deliver("alice@sender.test", &["bob@example.com"], small_message(subject).as_bytes()).await
    }
}

/// A small message with this subject.
pub(crate) fn small_message(subject: &str) -> String {
    format!("From: alice@sender.test\r\nTo: bob@example.com\r\nSubject: {subject}\r\n\r\nAt noon?\r\n")
}

/// Lines that begin with a dot get another one.
pub(crate) fn stuffed(content: &[u8]) -> Vec<u8> {
    content.split_inclusive(|byte| *byte == b'\n').fold(Vec::new(), |mut wire, line| {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
        wire
    })
}

/// Panics unless a reply begins so.
#[track_caller]
pub(crate) fn expect(reply: &str, beginning: &str) {
    assert!(reply.starts_with(beginning), "expected {beginning}, got {reply}");
}
