//! SMTP servers that do as a script says: what an upstream may do to us, as data.
//!
//! A script is a dialog, one line a step:
//!
//! ```text
//! S: 220 mx.example.test      send the line
//! C: EHLO                     expect a line that begins so
//! C: *                        expect any line
//! -- quiet                    expect that nothing has come beyond that
//! -- message                  read up to the line with the dot
//! -- octets 12                read so many octets
//! -- tls                      shake hands as a server
//! -- send 250 not a whole l   send that, without CRLF
//! -- inject 220 go|250 more    send several lines in one segment
//! -- repeat 1000 250-more     send that line so many times
//! -- half-close               close for writing
//! -- close                    close
//! -- stall                    do nothing until the client closes
//! -- deaf                     keep the connection open and read nothing more
//! -- end                      expect that the client closes, with or without QUIT
//! ```
//!
//! Lines beginning with `#` are left out. Each connection takes the next script; after the last, connections are
//! closed at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a step may take.
const STEP: Duration = Duration::from_secs(10);
/// How long nothing has to come for it to be quiet.
const QUIET: Duration = Duration::from_millis(50);

/// A server with a script for each connection.
pub struct ScriptedServer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

/// What came about.
#[derive(Default)]
struct Log {
    /// What each connection's client said: lines, and messages as one.
    connections: Vec<Vec<String>>,
    finished: usize,
    failures: Vec<String>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

struct Actor {
    stream: Box<dyn Duplex>,
    input: Vec<u8>,
    tls: Option<Arc<rustls::ServerConfig>>,
    log: Arc<Mutex<Log>>,
    number: usize,
}

impl ScriptedServer {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start(scripts: &[&str]) -> anyhow::Result<Self> {
        Self::start_with_tls(scripts, None).await
    }

    /// As `start`, with what `-- tls` needs.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start_with_tls(scripts: &[&str], tls: Option<Arc<rustls::ServerConfig>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let scripts: Vec<String> = scripts.iter().map(|script| (*script).to_owned()).collect();
        let task = tokio::spawn(serve(listener, scripts, tls, Arc::clone(&log)));
        Ok(Self { address, log, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.log).connections.len()
    }

    /// What the client of a connection said so far, line by line.
    pub fn heard(&self, connection: usize) -> Vec<String> {
        lock(&self.log).connections.get(connection).cloned().unwrap_or_default()
    }

    /// Waits until `count` connections went through their scripts.
    ///
    /// # Errors
    /// When a client did not keep to a script, or they take too long.
    pub async fn finished(&self, count: usize) -> anyhow::Result<()> {
        let wait = async {
            loop {
                {
                    let log = lock(&self.log);
                    if let Some(failure) = log.failures.first() {
                        bail!("{failure}");
                    }
                    if log.finished >= count {
                        return Ok(());
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(STEP, wait).await.context("scripts are not through")?
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    scripts: Vec<String>,
    tls: Option<Arc<rustls::ServerConfig>>,
    log: Arc<Mutex<Log>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        lock(&log).connections.push(Vec::new());
        let script = scripts.get(number).cloned().unwrap_or_default();
        let actor = Actor::new(stream, tls.clone(), Arc::clone(&log), number);
        connections.spawn(actor.play(script));
        number += 1;
    }
}

impl Actor {
    fn new(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, log: Arc<Mutex<Log>>, number: usize) -> Self {
        Self { stream: Box::new(stream), input: Vec::new(), tls, log, number }
    }

    async fn play(mut self, script: String) {
        for (index, line) in script.lines().enumerate() {
            let step = line.trim_start();
            if step.is_empty() || step.starts_with('#') {
                continue;
            }
            let result = tokio::time::timeout(STEP, self.step(step)).await;
            match result.unwrap_or_else(|_| Err(anyhow::anyhow!("timed out"))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let failure = format!("connection {}, step {}: {step}: {error:#}", self.number + 1, index + 1);
                    lock(&self.log).failures.push(failure);
                    break;
                }
            }
        }
        lock(&self.log).finished += 1;
    }

    /// Says whether to go on.
    async fn step(&mut self, step: &str) -> anyhow::Result<bool> {
        if let Some(reply) = step.strip_prefix("S: ") {
            self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
            return Ok(true);
        }
        if let Some(expected) = step.strip_prefix("C: ") {
            let line = self.line().await?;
            ensure!(expected == "*" || line.starts_with(expected), "the client said {line:?}");
            return Ok(true);
        }
        let directive = step.strip_prefix("-- ").context("not a step")?;
        let (verb, argument) = directive.split_once(' ').unwrap_or((directive, ""));
        match verb {
            "quiet" => self.expect_quiet().await?,
            "message" => self.message().await?,
            "octets" => self.octets(argument.parse()?).await?,
            "tls" => self.shake_hands().await?,
            "send" => self.stream.write_all(argument.as_bytes()).await?,
            "inject" => self.stream.write_all(format!("{}\r\n", argument.replace('|', "\r\n")).as_bytes()).await?,
            "repeat" => self.repeat(argument).await?,
            "half-close" => self.stream.shutdown().await?,
            "close" => return Ok(false),
            "stall" => {
                // However long the client takes to give up: reads, so that a client that writes is not held up.
                while self.read().await.is_ok_and(|count| count > 0) {}
                return Ok(false);
            }
            "deaf" => std::future::pending().await,
            "end" => self.expect_end().await?,
            _ => bail!("unknown directive"),
        }
        Ok(true)
    }

    async fn read(&mut self) -> anyhow::Result<usize> {
        Ok(self.stream.read_buf(&mut self.input).await?)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let end = loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            ensure!(self.read().await? > 0, "the client closed after {:?}", String::from_utf8_lossy(&self.input));
        };
        Ok(self.take(end, 2))
    }

    async fn message(&mut self) -> anyhow::Result<()> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.input.len());
            if self.input.starts_with(b".\r\n") {
                self.take(0, 3);
                return Ok(());
            }
            if let Some(end) = self.input[from..].windows(5).position(|window| window == b"\r\n.\r\n") {
                self.take(from + end + 2, 3);
                return Ok(());
            }
            searched = self.input.len().saturating_sub(4);
            ensure!(self.read().await? > 0, "the client closed within the message");
        }
    }

    async fn octets(&mut self, count: usize) -> anyhow::Result<()> {
        while self.input.len() < count {
            ensure!(self.read().await? > 0, "the client closed after {} octets", self.input.len());
        }
        self.take(count, 0);
        Ok(())
    }

    /// Logs the first bytes of the input and removes them with what ends them.
    fn take(&mut self, length: usize, ending: usize) -> String {
        let text = String::from_utf8_lossy(&self.input[..length]).into_owned();
        self.input.drain(..length + ending);
        lock(&self.log).connections[self.number].push(text.clone());
        text
    }

    async fn expect_quiet(&mut self) -> anyhow::Result<()> {
        // Only time can tell that a client waits.
        let more = tokio::time::timeout(QUIET, self.stream.read_buf(&mut self.input)).await;
        ensure!(self.input.is_empty(), "the client said {:?}", String::from_utf8_lossy(&self.input));
        ensure!(more.is_err(), "the client closed");
        Ok(())
    }

    async fn expect_end(&mut self) -> anyhow::Result<()> {
        // A client that hangs up on unread bytes resets the connection.
        while self.read().await.is_ok_and(|count| count > 0) {}
        let rest = String::from_utf8_lossy(&self.input);
        ensure!(rest.is_empty() || rest == "QUIT\r\n", "the client said {rest:?}");
        Ok(())
    }

    async fn repeat(&mut self, argument: &str) -> anyhow::Result<()> {
        let (count, line) = argument.split_once(' ').context("repeat COUNT LINE")?;
        let line = format!("{line}\r\n");
        for _ in 0..count.parse::<u64>()? {
            // A client that has had enough closes: that is what such a script is for.
            if self.stream.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn shake_hands(&mut self) -> anyhow::Result<()> {
        ensure!(self.input.is_empty(), "bytes before the handshake");
        let config = self.tls.clone().context("started without TLS")?;
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        self.stream = Box::new(tokio_rustls::TlsAcceptor::from(config).accept(stream).await?);
        Ok(())
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn talk(script: &str, said: &[u8]) -> (String, anyhow::Result<()>, Vec<String>) {
        let server = ScriptedServer::start(&[script]).await.unwrap();
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        // Reset or closed, whichever comes of the script.
        let _ = stream.read_to_string(&mut answer).await;
        let result = server.finished(1).await;
        (answer, result, server.heard(0))
    }

    #[tokio::test]
    async fn plays_its_part() {
        let script = "S: 220 mx\nC: EHLO\nS: 250 mx\nC: *\n-- message\nS: 250 taken\n-- octets 3\n-- send bye\n-- end";
        let (answer, result, heard) = talk(script, b"EHLO a\r\nDATA\r\nx\r\n.\r\nabcQUIT\r\n").await;
        result.unwrap();
        assert_eq!(answer, "220 mx\r\n250 mx\r\n250 taken\r\nbye");
        assert_eq!(heard, ["EHLO a", "DATA", "x\r\n", "abc"]);
    }

    #[tokio::test]
    async fn tells_when_the_client_departs_from_the_script() {
        let (_, result, _) = talk("C: EHLO", b"HELO a\r\n").await;
        assert_eq!(result.unwrap_err().to_string(), "connection 1, step 1: C: EHLO: the client said \"HELO a\"");
        let (_, result, _) = talk("C: EHLO\n-- quiet", b"EHLO a\r\nMAIL").await;
        assert!(result.unwrap_err().to_string().contains("the client said \"MAIL\""));
    }
}
