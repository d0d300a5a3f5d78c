//! A client that holds its message open until all others have come as far.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use mailweir_testkit::tls;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use super::content;

/// Bytes handed to the socket at once.
const PIECE: usize = 64 * 1024;
/// Bytes of a message that are kept back until all clients have come so far.
const KEPT_BACK: usize = 1024;
/// The longest that a reply, or room for a piece, is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Data,
    Bdat,
    StartTls,
}

/// What the clients of a run share.
pub(super) struct Clients {
    pub(super) server: SocketAddr,
    pub(super) transport: Transport,
    /// What follows the first line of each message.
    pub(super) rest: Bytes,
    pub(super) all: Barrier,
    pub(super) tls: Option<Arc<tls::ClientConfig>>,
}

impl Clients {
    /// Sends one message.
    pub(super) async fn send(&self, number: usize) -> Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(self.server).await?);
        reply(&mut stream, b"2").await?;
        match (self.transport, &self.tls) {
            (Transport::StartTls, Some(config)) => {
                command(&mut stream, "EHLO mx.sender.test\r\n", b"250").await?;
                command(&mut stream, "STARTTLS\r\n", b"220").await?;
                let stream = tls::connect(config, "mx.example.com", stream.into_inner()).await?;
                self.message(BufReader::new(stream), number).await
            }
            (Transport::StartTls, None) => bail!("no TLS configuration"),
            (Transport::Data | Transport::Bdat, _) => self.message(stream, number).await,
        }
    }

    async fn message<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: BufReader<S>, number: usize) -> Result<()> {
        command(&mut stream, "EHLO mx.sender.test\r\n", b"250").await?;
        command(&mut stream, "MAIL FROM:<load@sender.test>\r\n", b"250").await?;
        command(&mut stream, "RCPT TO:<user@example.com>\r\n", b"250").await?;
        let first = content::first_line(number);
        if self.transport == Transport::Bdat {
            let line = format!("BDAT {} LAST\r\n", first.len() + self.rest.len());
            write(&mut stream, line.as_bytes()).await?;
        } else {
            command(&mut stream, "DATA\r\n", b"354").await?;
        }
        write(&mut stream, first.as_bytes()).await?;
        let (most, last) = self.rest.split_at(self.rest.len() - KEPT_BACK);
        for piece in most.chunks(PIECE) {
            write(&mut stream, piece).await?;
        }
        stream.flush().await?;
        self.all.wait().await;
        write(&mut stream, last).await?;
        if self.transport != Transport::Bdat {
            write(&mut stream, b".\r\n").await?;
        }
        stream.flush().await?;
        reply(&mut stream, b"250").await?;
        command(&mut stream, "QUIT\r\n", b"221").await
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    Ok(tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await.context("the proxy does not read")??)
}

async fn command<S>(stream: &mut BufReader<S>, line: &str, expected: &[u8]) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    write(stream, line.as_bytes()).await?;
    stream.flush().await?;
    reply(stream, expected).await
}

/// Reads a reply that has to begin with `expected`.
async fn reply<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, expected: &[u8]) -> Result<()> {
    loop {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await.context("no reply")??;
        ensure!(read > 0, "closed by the proxy");
        if line.as_bytes().get(3) != Some(&b'-') {
            ensure!(line.as_bytes().starts_with(expected), "{}", line.trim_end());
            return Ok(());
        }
    }
}
