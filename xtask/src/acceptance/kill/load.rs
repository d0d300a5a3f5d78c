//! Clients that send each message until it is taken, as a mail server's queue does, and keep a record of each attempt.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::acceptance::client::{Client, Failure};

/// Of one client, in milliseconds, before a message and before another attempt.
const PAUSE: u64 = 20;
/// One message of so many is large, and one of so many is for the quarantine.
const LARGE: u64 = 25;
const KEPT: u64 = 8;
/// What the quarantine rule looks for.
pub(super) const MARK: &str = "ZZKEEPZZ";
/// The line that ends a message: the hash of everything before it.
const SEAL: &str = "sha256: ";

/// The clients.
pub(super) struct Load {
    log: Arc<Mutex<Log>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What became of each message, by its id.
pub(super) type Log = BTreeMap<String, Attempts>;

/// The attempts at one message.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    /// The client was told 250; nothing is sent again then.
    pub(super) acknowledged: bool,
    /// For the quarantine.
    pub(super) is_kept: bool,
    /// The connection ended after the final dot, without an answer.
    pub(super) in_doubt: u64,
    /// The connection ended before, or there was none.
    pub(super) lost: u64,
    /// 4xx.
    pub(super) deferred: u64,
    /// 5xx, which nothing here deserves.
    pub(super) refused: Option<String>,
}

impl Load {
    pub(super) fn start(clients: u8, seed: u64, server: SocketAddr) -> Self {
        let log = Arc::new(Mutex::new(Log::new()));
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let rng = Rng::with_seed(seed.wrapping_add(u64::from(client) + 1));
            tasks.spawn(send(client, rng, server, Arc::clone(&log), stop.subscribe()));
        }
        Self { log, stop, tasks }
    }

    /// Lets each client have the message taken that it is at; the record.
    pub(super) async fn finish(mut self) -> Log {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn send(number: u8, mut rng: Rng, server: SocketAddr, log: Arc<Mutex<Log>>, stop: watch::Receiver<bool>) {
    let source = IpAddr::V4(Ipv4Addr::new(127, 2, 1, number + 1));
    let mut open = None;
    for message in 0.. {
        if *stop.borrow() {
            break;
        }
        let id = format!("{number}-{message}");
        let is_kept = rng.u64(..KEPT) == 0;
        let content = sealed(&id, is_kept, &mut rng);
        let mut attempts = Attempts { is_kept, ..Attempts::default() };
        while !attempts.acknowledged && attempts.refused.is_none() {
            tokio::time::sleep(Duration::from_millis(rng.u64(..PAUSE))).await;
            open = attempt(open.take(), source, server, &id, &content, &mut attempts).await;
        }
        log.lock().unwrap_or_else(PoisonError::into_inner).insert(id, attempts);
    }
    if let Some(client) = open {
        client.quit().await;
    }
}

/// One attempt; the connection, if it can still be used.
async fn attempt(
    open: Option<Client>,
    source: IpAddr,
    server: SocketAddr,
    id: &str,
    content: &str,
    attempts: &mut Attempts,
) -> Option<Client> {
    let mut client = match open {
        Some(client) => client,
        None => match Client::greeted(source, server).await {
            Ok(client) => client,
            Err(_) => {
                attempts.lost += 1;
                return None;
            }
        },
    };
    match client.deliver(&format!("m{id}@example.com"), content.as_bytes()).await {
        Ok(_) => attempts.acknowledged = true,
        Err(Failure::Refused(reply)) if reply.starts_with('4') => attempts.deferred += 1,
        Err(Failure::Refused(reply)) => attempts.refused = Some(reply),
        Err(Failure::InDoubt(_)) => {
            attempts.in_doubt += 1;
            return None;
        }
        Err(Failure::TurnedAway(_) | Failure::Closed(_) | Failure::Lost(_)) => {
            attempts.lost += 1;
            return None;
        }
    }
    Some(client)
}

/// A message that says who it is and what it must be.
fn sealed(id: &str, is_kept: bool, rng: &mut Rng) -> String {
    let size = if rng.u64(..LARGE) == 0 { rng.usize(500_000..1_500_000) } else { rng.usize(500..40_000) };
    let mut message = format!("From: load@sender.test\r\nTo: m{id}@example.com\r\nSubject: {id}\r\n\r\n");
    if is_kept {
        let _ = write!(message, "{MARK}\r\n");
    }
    while message.len() < size {
        message.extend((0..60).map(|_| rng.alphanumeric()));
        message.push_str("\r\n");
    }
    let seal = seal(message.as_bytes());
    let _ = write!(message, "{SEAL}{seal}\r\n");
    message
}

/// The id of a message that arrived, if it is whole and unchanged but for the fields that were added above it.
pub(super) fn id_of(content: &[u8]) -> Option<String> {
    const BEGIN: &[u8] = b"From: load@sender.test\r\n";
    let begin = content.windows(BEGIN.len()).position(|bytes| bytes == BEGIN)?;
    let content = &content[begin..];
    // 64 digits and CRLF.
    let (message, last) = content.split_at(content.len().checked_sub(SEAL.len() + 66)?);
    let expected = format!("{SEAL}{}\r\n", seal(message));
    let id = message.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Subject: "))?;
    (last == expected.as_bytes()).then(|| String::from_utf8_lossy(id.trim_ascii_end()).into_owned())
}

fn seal(message: &[u8]) -> String {
    Sha256::digest(message).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_missing_or_changed_shows() {
        let message = sealed("3-14", true, &mut Rng::with_seed(1));
        let arrived = format!("Received: by mx\r\n\tfor x\r\n{message}");
        assert_eq!(id_of(arrived.as_bytes()).as_deref(), Some("3-14"));
        let changed = arrived.replacen("ZZ", "zz", 1);
        for wrong in
            [&arrived[..arrived.len() - 1], &changed, &format!("{arrived}\r\n"), "", "From: load@sender.test\r\n"]
        {
            assert_eq!(id_of(wrong.as_bytes()), None);
        }
    }
}
