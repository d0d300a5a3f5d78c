//! An SMTP server that takes everything, or refuses as it is told to: for trying the proxy and for load tests.
//!
//! `mailweir sink` runs it as a process; tests and the demo [start](Sink::start) it within theirs. It relays nothing
//! and believes everybody, so it belongs on addresses that only a test can reach.

mod session;
mod store;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mailweir_smtp::data::BareNewline;
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::reply::Reply;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// How a sink behaves. Rates are shares of messages, from 0 to 1.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Its name, in the greeting and the answer to EHLO.
    pub hostname: String,
    /// Each message is written there, as NUMBER.eml with its envelope in NUMBER.json, and brought to the disk before it
    /// is answered. What is there already stays, and numbers go on behind it.
    pub store: Option<PathBuf>,
    /// Whether messages are kept in memory for [`Sink::messages`].
    pub keep: Keep,
    /// Answered 451 at their end.
    pub tempfail: f64,
    /// Answered 550 at their end.
    pub reject: f64,
    /// Not answered at all: the connection is closed.
    pub drop: f64,
    /// Waited before each answer to a message.
    pub delay: Duration,
    /// EHLO keywords not offered, such as `CHUNKING`.
    pub without: Vec<String>,
    /// Bytes a message.
    pub message_size: u64,
    /// What a bare CR or LF in a message leads to. Framing is strict whatever is said here.
    pub bare_newline: BareNewline,
    /// STARTTLS is offered with this.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Told of each message taken, without its content unless that is stored or kept. When it is full the sink waits.
    pub report: Option<mpsc::Sender<Received>>,
}

/// What becomes of messages taken, beyond being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// They are kept in memory.
    Messages,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            hostname: "sink.example.test".to_owned(),
            store: None,
            keep: Keep::Nothing,
            tempfail: 0.0,
            reject: 0.0,
            drop: 0.0,
            delay: Duration::ZERO,
            without: Vec::new(),
            message_size: 1 << 30,
            bare_newline: BareNewline::Keep,
            tls: None,
            report: None,
        }
    }
}

/// What a sink has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Messages taken: answered 250.
    pub messages: u64,
    /// Their bytes, without stuffing.
    pub bytes: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Messages answered 451 or 550 as the options say, or refused for their content.
    pub refused: u64,
    /// Messages not answered.
    pub dropped: u64,
}

/// A message taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// 1 is the first.
    pub number: u64,
    /// Where it came from.
    pub client: SocketAddr,
    /// What the client called itself.
    pub helo: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// The envelope's sender; empty for the null reverse-path.
    pub sender: String,
    /// The parameters of MAIL.
    pub parameters: String,
    /// The envelope's recipients, in order.
    pub recipients: Vec<String>,
    /// Bytes of the message.
    pub size: u64,
    /// The message, without stuffing; empty unless it is stored or kept.
    #[serde(skip)]
    pub content: Bytes,
}

/// A running sink; it ends when dropped, and its connections with it.
pub struct Sink {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    /// Held for the listeners' and connections' tasks, which end with it.
    _tasks: JoinSet<()>,
}

struct Shared {
    options: Options,
    offer: Extensions,
    /// Message numbers given out.
    numbers: AtomicU64,
    connections: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    recipients: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    kept: Mutex<Vec<Received>>,
    arrived: Notify,
}

impl Sink {
    /// Listens, and serves in the background.
    ///
    /// # Errors
    /// When an address cannot be bound or the directory not be made.
    pub async fn start(options: Options) -> io::Result<Self> {
        let last = match &options.store {
            Some(directory) => store::open(directory)?,
            None => 0,
        };
        let shared = Arc::new(Shared::new(options, last));
        let mut addresses = Vec::new();
        let mut tasks = JoinSet::new();
        for address in &shared.options.listen {
            let listener = TcpListener::bind(address).await?;
            addresses.push(listener.local_addr()?);
            tasks.spawn(accept(listener, Arc::clone(&shared)));
        }
        Ok(Self { addresses, shared, _tasks: tasks })
    }

    /// Where it listens, in the order of the options.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of them.
    ///
    /// # Panics
    /// When the options named none.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Messages taken so far.
    pub fn count(&self) -> u64 {
        self.shared.messages.load(Ordering::Acquire)
    }

    /// The messages taken so far, with [`Keep::Messages`].
    pub fn messages(&self) -> Vec<Received> {
        // Pushing to a vector leaves it whole even if it panics.
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` messages were taken.
    pub async fn taken(&self, count: u64) {
        loop {
            let arrived = self.shared.arrived.notified();
            if self.count() >= count {
                return;
            }
            arrived.await;
        }
    }
}

impl Shared {
    /// Numbers go on behind `last`.
    fn new(options: Options, last: u64) -> Self {
        let all = Extensions {
            size: Some(options.message_size),
            pipelining: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            binary_mime: true,
            enhanced_status_codes: true,
            dsn: true,
            start_tls: options.tls.is_some(),
            xclient: None,
        };
        let is_offered = |line: &String| {
            let keyword = line.split(' ').next().unwrap_or_default();
            !options.without.iter().any(|without| without.eq_ignore_ascii_case(keyword))
        };
        let lines: Vec<String> = all.lines().into_iter().filter(is_offered).collect();
        let lines: Vec<&str> = std::iter::once("").chain(lines.iter().map(String::as_str)).collect();
        Self {
            offer: Extensions::from_reply(&Reply::multi(250, "", &lines)),
            options,
            numbers: AtomicU64::new(last),
            connections: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            recipients: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            kept: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Counts {
            connections: read(&self.connections),
            messages: read(&self.messages),
            bytes: read(&self.bytes),
            recipients: read(&self.recipients),
            refused: read(&self.refused),
            dropped: read(&self.dropped),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(session::serve(stream, client, Arc::clone(&shared)));
            }
            Err(error) => {
                // Out of file descriptors, most likely: some connection has to end first.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests;
