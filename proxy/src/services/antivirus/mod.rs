//! Virus scanning by clamd: a message goes to it as it came, at the end or while it arrives; and after it, in the same
//! session, each part that we decoded or unpacked, so that a message which clamd reads in another way than a mail client
//! hides nothing.
//!
//! Only the reply `stream: OK` means clean. Everything else that is not a finding is a failure: no reply, a timeout, a
//! size limit, text that is not understood. What follows from a failure is the filter's business.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{self, ClamdAddress};
use crate::message::Message;
use crate::services::authentication::clean_text;

mod connection;
mod parts;
mod stream;

use connection::Connection;
pub use stream::{Scan, Stream};

/// How long clamd may take to take the next piece: after that it hangs.
const WRITE_STALL: Duration = Duration::from_secs(10);

/// What came of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanResult {
    /// clamd read all of it and found nothing.
    Clean,
    /// The signature's name, printable.
    Infected(String),
    /// No answer that can be trusted; the reason, printable.
    Failed(String),
}

/// The daemon. Clones share its settings and the cap on its connections; every scan has a connection of its own.
#[derive(Clone)]
pub struct Clamd(Arc<Settings>);

struct Settings {
    address: ClamdAddress,
    max_scan: u64,
    timeout: Duration,
    connections: Arc<Semaphore>,
    /// Of those, as many as messages that are still arriving may hold: a client that trickles keeps nobody else waiting.
    arriving: Arc<Semaphore>,
}

/// A connection with its place among the connections.
struct Session {
    connection: Connection,
    _places: [Option<OwnedSemaphorePermit>; 2],
}

impl Clamd {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(config: &config::Antivirus) -> Self {
        let connections = config.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Settings {
            address: config.clamd.clone(),
            max_scan: config.max_scan,
            timeout: config.timeout,
            connections: Arc::new(Semaphore::new(connections)),
            arriving: Arc::new(Semaphore::new(connections / 2)),
        }))
    }

    /// Scan a message that is whole, and its parts.
    pub async fn scan(&self, message: &Message) -> ScanResult {
        if message.size() > self.0.max_scan {
            return self.too_large(message.size());
        }
        let scan = async {
            let mut session = self.connect().await?;
            for chunk in message.chunks() {
                let chunk = chunk.map_err(|error| format!("the message cannot be read: {error}"))?;
                if session.connection.send(&chunk).await.is_err() {
                    // The reply says why, when there is one.
                    break;
                }
            }
            self.conclude(&mut session, message).await
        };
        match tokio::time::timeout(self.0.timeout, scan).await {
            Ok(Ok(result)) => result,
            Ok(Err(reason)) => failed(&reason),
            Err(_) => self.timed_out(),
        }
    }

    /// The verdict on the message that was sent; when it is clean, that on its parts.
    async fn conclude(&self, session: &mut Session, message: &Message) -> Result<ScanResult, String> {
        match session.connection.finish().await? {
            ScanResult::Clean => self.scan_parts(session, message).await,
            result => Ok(result),
        }
    }

    async fn scan_parts(&self, session: &mut Session, message: &Message) -> Result<ScanResult, String> {
        let mut sent = message.size();
        for part in parts::of(message).await? {
            let bytes = part.bytes(message).await?;
            sent = sent.saturating_add(bytes.len() as u64);
            if sent > self.0.max_scan {
                return Ok(self.too_large(sent));
            }
            // The reply says why it ends, when there is one.
            let _ = session.connection.send(&bytes).await;
            match session.connection.finish().await? {
                ScanResult::Clean => {}
                ScanResult::Infected(name) => {
                    return Ok(ScanResult::Infected(clean_text(&format!("{name} in {}", part.name()), 200)));
                }
                failed => return Ok(failed),
            }
        }
        Ok(ScanResult::Clean)
    }

    /// Waits for a place. The caller has a timeout.
    async fn connect(&self) -> Result<Session, String> {
        let place = Arc::clone(&self.0.connections).acquire_owned().await.ok();
        Ok(Session { connection: Connection::open(&self.0.address).await?, _places: [place, None] })
    }

    /// For a message that is still arriving; none when there is no place for it now.
    async fn connect_early(&self) -> Option<Session> {
        let arriving = Arc::clone(&self.0.arriving).try_acquire_owned().ok()?;
        let place = Arc::clone(&self.0.connections).try_acquire_owned().ok()?;
        let opened = tokio::time::timeout(self.0.timeout, Connection::open(&self.0.address)).await;
        Some(Session { connection: opened.ok()?.ok()?, _places: [Some(place), Some(arriving)] })
    }

    /// Begin a scan of a message that is still arriving. Nothing is connected before the first bytes.
    #[must_use]
    pub fn begin(&self) -> Stream {
        Stream::new(self.clone())
    }

    fn timed_out(&self) -> ScanResult {
        failed(&format!("no answer from clamd within {:?}", self.0.timeout))
    }

    fn too_large(&self, size: u64) -> ScanResult {
        failed(&format!("{size} bytes, decoded parts included, are over max_scan, {}", self.0.max_scan))
    }
}

fn failed(reason: &str) -> ScanResult {
    ScanResult::Failed(clean_text(reason, 200))
}

/// What a reply means. It comes without its number and its final NUL.
fn parse_reply(reply: &[u8]) -> ScanResult {
    let text = String::from_utf8_lossy(reply);
    if text == "stream: OK" {
        return ScanResult::Clean;
    }
    match text.strip_prefix("stream: ").and_then(|rest| rest.strip_suffix(" FOUND")) {
        Some(name) if !name.is_empty() => ScanResult::Infected(clean_text(name, 200)),
        _ if text.is_empty() => failed("clamd closed the connection without a reply"),
        _ => failed(&format!("clamd: {text}")),
    }
}

#[cfg(test)]
mod tests;
