//! Virus scanning by clamd: a message goes to it as one INSTREAM, at the end or while it arrives.
//!
//! Only the reply `stream: OK` means clean. Everything else that is not a finding is a failure: no reply, a timeout, a
//! size limit, text that is not understood. What follows from a failure is the filter's business.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, ClamdAddress};
use crate::message::Message;
use crate::services::authentication::clean_text;

mod connection;
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

/// The daemon. Clones share its settings; every scan has a connection of its own.
#[derive(Clone)]
pub struct Clamd(Arc<Settings>);

struct Settings {
    address: ClamdAddress,
    max_scan: u64,
    timeout: Duration,
}

impl Clamd {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(config: &config::Antivirus) -> Self {
        Self(Arc::new(Settings { address: config.clamd.clone(), max_scan: config.max_scan, timeout: config.timeout }))
    }

    /// Scan a message that is whole.
    pub async fn scan(&self, message: &Message) -> ScanResult {
        if message.size() > self.0.max_scan {
            return self.too_large(message.size());
        }
        let scan = async {
            let mut connection = Connection::open(&self.0.address).await?;
            for chunk in message.chunks() {
                let chunk = chunk.map_err(|error| format!("the message cannot be read: {error}"))?;
                if connection.send(&chunk).await.is_err() {
                    // The reply says why, when there is one.
                    break;
                }
            }
            connection.finish().await
        };
        match tokio::time::timeout(self.0.timeout, scan).await {
            Ok(Ok(result)) => result,
            Ok(Err(reason)) => failed(&reason),
            Err(_) => failed(&format!("no answer from clamd within {:?}", self.0.timeout)),
        }
    }

    /// Begin a scan of a message that is still arriving. Nothing is connected before the first bytes.
    #[must_use]
    pub fn begin(&self) -> Stream {
        Stream::new(self.clone())
    }

    fn too_large(&self, size: u64) -> ScanResult {
        failed(&format!("{size} bytes are over max_scan, {}", self.0.max_scan))
    }
}

fn failed(reason: &str) -> ScanResult {
    ScanResult::Failed(clean_text(reason, 200))
}

/// What a reply means. It comes without its final NUL.
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
