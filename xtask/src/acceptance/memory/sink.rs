//! The server behind: compares each message with what was sent, byte by byte, while it arrives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::content::MARK;

/// Bytes that may stand above the number: what the proxy puts there.
const ABOVE: usize = 16 * 1024;

/// A server that runs; it ends when dropped.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    _serving: JoinSet<()>,
}

struct Seen {
    rest: Bytes,
    chunking: bool,
    /// How often each number came, unaltered.
    messages: Mutex<Vec<u32>>,
    wrong: Mutex<Vec<String>>,
}

impl Sink {
    /// Expects the numbers from 0 to `count`, each with `rest` below; `chunking` when BDAT is offered.
    pub(super) async fn start(rest: Bytes, count: usize, chunking: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Seen { rest, chunking, messages: Mutex::new(vec![0; count]), wrong: Mutex::default() };
        let seen = Arc::new(seen);
        let mut serving = JoinSet::new();
        let shared = Arc::clone(&seen);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Err(error) = serve(stream, &seen).await {
                        seen.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                    }
                });
            }
        });
        Ok(Self { address, seen, _serving: serving })
    }

    /// Messages that came once and unaltered, and what was wrong with others.
    pub(super) fn result(&self) -> (usize, Vec<String>) {
        let messages = self.seen.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = self.seen.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        (messages.iter().filter(|&&times| times == 1).count(), wrong.clone())
    }
}

async fn serve(stream: TcpStream, seen: &Seen) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    stream.write_all(b"220 sink.example.test ESMTP\r\n").await?;
    let mut arriving = Arriving::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let answer: &[u8] = match words.next().unwrap_or_default() {
            "EHLO" if seen.chunking => b"250-sink.example.test\r\n250-8BITMIME\r\n250 CHUNKING\r\n",
            "EHLO" => b"250-sink.example.test\r\n250 8BITMIME\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                arriving.data(&mut stream, seen).await?;
                b"250 taken\r\n"
            }
            "BDAT" => {
                let size = words.next().and_then(|size| size.parse().ok()).context("BDAT without a size")?;
                let is_last = words.next().is_some();
                arriving.bdat(&mut stream, size, is_last, seen).await?;
                b"250 taken\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 OK\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// A message as far as it has come.
#[derive(Default)]
struct Arriving {
    above: Vec<u8>,
    number: Option<usize>,
    /// Bytes of the rest that came as they should.
    matched: usize,
}

impl Arriving {
    async fn data(&mut self, stream: &mut BufReader<TcpStream>, seen: &Seen) -> Result<()> {
        loop {
            let bytes = stream.fill_buf().await?;
            ensure!(!bytes.is_empty(), "closed in the middle of a message");
            // What follows the message is the final dot.
            let length = bytes.len().min(self.wanted(&seen.rest));
            self.take(&bytes[..length], &seen.rest)?;
            stream.consume(length);
            if self.wanted(&seen.rest) == 0 {
                let mut dot = [0; 3];
                stream.read_exact(&mut dot).await?;
                ensure!(&dot == b".\r\n", "more than was sent");
                return self.end(seen);
            }
        }
    }

    async fn bdat(&mut self, stream: &mut BufReader<TcpStream>, size: usize, is_last: bool, seen: &Seen) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let bytes = stream.fill_buf().await?;
            ensure!(!bytes.is_empty(), "closed in the middle of a message");
            let length = bytes.len().min(left);
            self.take(&bytes[..length], &seen.rest)?;
            stream.consume(length);
            left -= length;
        }
        if is_last { self.end(seen) } else { Ok(()) }
    }

    /// How many bytes may be looked at without running into what follows the message.
    fn wanted(&self, rest: &[u8]) -> usize {
        match self.number {
            None => rest.len(),
            Some(_) => rest.len() - self.matched,
        }
    }

    fn take(&mut self, bytes: &[u8], rest: &[u8]) -> Result<()> {
        let bytes = match self.number {
            Some(_) => bytes,
            None => {
                self.above.extend_from_slice(bytes);
                let mark = self.above.windows(MARK.len()).take(ABOVE).position(|window| window == MARK);
                let Some(digits) = mark.map(|mark| mark + MARK.len()) else {
                    ensure!(self.above.len() < ABOVE, "no number");
                    return Ok(());
                };
                let Some(line) = self.above.get(digits..digits + 7) else { return Ok(()) };
                let number = std::str::from_utf8(&line[..5])?;
                self.number = Some(number.parse().context("the number")?);
                let above = std::mem::take(&mut self.above);
                return self.take(&above[digits + 7..], rest);
            }
        };
        let expected = rest.get(self.matched..self.matched + bytes.len());
        ensure!(expected == Some(bytes), "altered near byte {}", self.matched);
        self.matched += bytes.len();
        Ok(())
    }

    fn end(&mut self, seen: &Seen) -> Result<()> {
        let Self { number, matched, .. } = std::mem::take(self);
        ensure!(matched == seen.rest.len(), "only {matched} bytes came");
        let mut messages = seen.messages.lock().unwrap_or_else(PoisonError::into_inner);
        *messages.get_mut(number.context("no number")?).context("a number that nobody sent")? += 1;
        Ok(())
    }
}
