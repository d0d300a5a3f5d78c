//! A scan that begins while the message arrives.
//!
//! A task of its own talks to clamd; the session hands it the message's chunks through a short queue. When that does
//! not work out, because the client trickles or clamd is slow, the stream is given up, and the stored message is
//! scanned at the end instead. Nothing is kept for a stream that was given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::{Clamd, ScanResult, Session, failed};
use crate::message::Message;

/// Chunks in the queue; they share the message's own memory.
const QUEUE: usize = 8;
/// How long a session waits for room in the queue; then the stream is given up.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a message may stand still. clamd gives up after 5 to 30 seconds (its CommandReadTimeout and ReadTimeout)
/// and holds one of its threads until then.
const STANDSTILL: Duration = Duration::from_secs(4);

/// A scan under way. Dropping it ends it.
pub struct Stream {
    clamd: Clamd,
    task: Option<Task>,
    fed: u64,
    /// Over `max_scan`, or too slow: the task is gone and the rest of the message is not looked at.
    given_up: bool,
}

struct Task {
    chunks: mpsc::Sender<Bytes>,
    whole: oneshot::Sender<Message>,
    result: watch::Receiver<Option<ScanResult>>,
    abort: AbortOnDrop,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The result of a scan, perhaps still to come. Clones share it; dropping the last one ends the scan.
#[derive(Clone)]
pub struct Scan(Arc<Pending>);

struct Pending {
    result: watch::Receiver<Option<ScanResult>>,
    _abort: AbortOnDrop,
}

impl Stream {
    pub(super) const fn new(clamd: Clamd) -> Self {
        Self { clamd, task: None, fed: 0, given_up: false }
    }

    /// The next bytes of the message, header section included, without dot-stuffing. Waits while clamd is behind; two
    /// seconds without any progress end the streaming.
    pub async fn feed(&mut self, chunk: Bytes) {
        if self.given_up || chunk.is_empty() {
            return;
        }
        self.fed += chunk.len() as u64;
        if self.fed > self.clamd.0.max_scan {
            self.give_up();
            return;
        }
        let clamd = &self.clamd;
        let task = self.task.get_or_insert_with(|| Task::start(clamd.clone()));
        // The task ends its queue when it has given up itself; that is no news for the session.
        if tokio::time::timeout(PATIENCE, task.chunks.send(chunk)).await.is_err() {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.task = None;
    }

    /// The message is whole, and it is the one that was fed. The scan goes on by itself; ask its handle for the result.
    #[must_use]
    pub fn finish(mut self, message: &Message) -> Scan {
        let task = self.task.take().filter(|_| self.fed == message.size());
        // Nothing was streamed, or not all of it: the stored message is scanned.
        let Task { chunks, whole, result, abort } = task.unwrap_or_else(|| Task::start(self.clamd.clone()));
        // The task may have ended already; its result is there then.
        let _ = whole.send(message.clone());
        drop(chunks);
        Scan(Arc::new(Pending { result, _abort: abort }))
    }
}

impl Scan {
    /// Wait for the result.
    pub async fn result(&self) -> ScanResult {
        let mut result = self.0.result.clone();
        match result.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or_else(|| failed("no result")),
            Err(_) => failed("the scan was ended"),
        }
    }
}

impl Task {
    fn start(clamd: Clamd) -> Self {
        let (chunks, arriving) = mpsc::channel(QUEUE);
        let (whole, stored) = oneshot::channel::<Message>();
        let (publish, result) = watch::channel(None);
        let run = async move {
            let streamed = stream(&clamd, arriving).await;
            // The session hung up before the end: nobody wants the result.
            let Ok(message) = stored.await else { return };
            let found = match streamed {
                Some((session, bytes)) if bytes == message.size() => end(&clamd, session, &message).await,
                // What is left of it has to be given back first.
                streamed => {
                    drop(streamed);
                    clamd.scan(&message).await
                }
            };
            publish.send_replace(Some(found));
        };
        let abort = AbortOnDrop(tokio::spawn(run).abort_handle());
        Self { chunks, whole, result, abort }
    }
}

/// Write what arrives. None when the stream had to be given up; the queue is closed then, so nothing waits in it.
async fn stream(clamd: &Clamd, mut arriving: mpsc::Receiver<Bytes>) -> Option<(Session, u64)> {
    let first = arriving.recv().await?;
    let mut session = clamd.connect_early().await?;
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(chunk) = next {
        bytes += chunk.len() as u64;
        if session.connection.send(&chunk).await.is_err() {
            // clamd said something before the end. What it says of a part is not for the whole: see `end`.
            return None;
        }
        drop(chunk);
        match tokio::time::timeout(STANDSTILL, arriving.recv()).await {
            Ok(more) => next = more,
            Err(_) => {
                session.connection.abandon().await;
                return None;
            }
        }
    }
    Some((session, bytes))
}

/// End the stream; when the connection broke, ask again with the stored message.
async fn end(clamd: &Clamd, mut session: Session, message: &Message) -> ScanResult {
    match tokio::time::timeout(clamd.0.timeout, clamd.conclude(&mut session, message)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            drop(session);
            clamd.scan(message).await
        }
        Err(_) => clamd.timed_out(),
    }
}
