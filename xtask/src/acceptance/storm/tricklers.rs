//! Clients that hold a connection for as long as they may: they say nothing, or a byte now and then.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Listeners;
use crate::acceptance::client::connect;

/// Addresses that they come from: 127.1.0.1 to 127.1.0.250.
const SOURCES: usize = 250;
/// The longest pause between two bytes.
const PAUSE: Duration = Duration::from_secs(3);
/// The longest before a connection that was ended is opened again.
const AGAIN: Duration = Duration::from_millis(500);
/// Between the first connections, so that they do not overrun the listener's backlog.
const SPREAD: Duration = Duration::from_millis(1);

/// What a client trickles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Nothing,
    Command,
    Data,
    Chunk,
    ProxyHeader,
    TlsHandshake,
    StartTls,
}

/// Of twenty clients. Nearly half of them trickle commands, nearly half message data.
const MIX: [Kind; 20] = [
    Kind::Command,
    Kind::Data,
    Kind::Command,
    Kind::Chunk,
    Kind::Command,
    Kind::Data,
    Kind::Command,
    Kind::Data,
    Kind::Nothing,
    Kind::Command,
    Kind::Data,
    Kind::ProxyHeader,
    Kind::Command,
    Kind::Chunk,
    Kind::Command,
    Kind::Data,
    Kind::TlsHandshake,
    Kind::Command,
    Kind::StartTls,
    Kind::Data,
];

/// The clients; they hang up when dropped.
pub(super) struct Tricklers {
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    listeners: Listeners,
    open: AtomicUsize,
    is_over: AtomicBool,
    ended: Mutex<Ended>,
}

/// How often connections of a kind ended in a way.
pub(super) type Ended = BTreeMap<(Kind, String), u64>;

impl Tricklers {
    /// Opens them one after another.
    pub(super) async fn open(count: u32, listeners: Listeners) -> Self {
        let state = Arc::new(State { listeners, ..State::default() });
        let mut tasks = JoinSet::new();
        for number in 0..count as usize {
            tasks.spawn(trickle(Arc::clone(&state), number));
            tokio::time::sleep(SPREAD).await;
        }
        Self { state, _tasks: tasks }
    }

    /// How many have a connection.
    pub(super) fn count(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Hangs up; how connections had ended before.
    pub(super) fn hang_up(self) -> Ended {
        self.state.is_over.store(true, Ordering::Relaxed);
        std::mem::take(&mut *self.state.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One client, one connection after another.
async fn trickle(state: Arc<State>, number: usize) {
    let kind = MIX[number % MIX.len()];
    let octet = u8::try_from(number / MIX.len() % SOURCES).unwrap_or_default() + 1;
    let source = IpAddr::V4(Ipv4Addr::new(127, 1, 0, octet));
    loop {
        if let Ok(stream) = connect(source, kind.server(&state.listeners)).await {
            state.open.fetch_add(1, Ordering::Relaxed);
            let end = hold(stream, kind).await;
            state.open.fetch_sub(1, Ordering::Relaxed);
            if !state.is_over.load(Ordering::Relaxed) {
                let mut ended = state.ended.lock().unwrap_or_else(PoisonError::into_inner);
                *ended.entry((kind, end)).or_default() += 1;
            }
        }
        tokio::time::sleep(AGAIN.mul_f64(fastrand::f64())).await;
    }
}

/// Says what comes before at once and then a byte at a time, until the server has had enough. Its last word.
async fn hold(mut stream: TcpStream, kind: Kind) -> String {
    let mut last = String::from("closed without a word");
    let mut said = Vec::new();
    let mut tail = kind.trickled().iter().cycle();
    if stream.write_all(kind.beginning()).await.is_err() {
        return last;
    }
    loop {
        // What is heard does not speed the client up.
        let pause = tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64() / 2.0));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                read = stream.read_buf(&mut said) => match read {
                    Ok(0) => return last,
                    Ok(_) => last = last_reply(&mut said).unwrap_or(last),
                    Err(error) if last.starts_with("closed") => return error.kind().to_string(),
                    Err(_) => return last,
                },
                () = &mut pause => break,
            }
        }
        if let Some(byte) = tail.next()
            && stream.write_all(&[*byte]).await.is_err()
        {
            return last;
        }
    }
}

/// Code and enhanced code of the last line, if it ends a connection.
fn last_reply(said: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8_lossy(said).into_owned();
    said.clear();
    let line = text.lines().next_back()?;
    line.starts_with("421").then(|| line.chars().take(9).collect())
}

impl Kind {
    fn server(self, listeners: &Listeners) -> SocketAddr {
        match self {
            Self::ProxyHeader => listeners.balanced,
            Self::TlsHandshake => listeners.implicit,
            _ => listeners.inbound,
        }
    }

    fn beginning(self) -> &'static [u8] {
        match self {
            Self::Nothing | Self::ProxyHeader | Self::TlsHandshake => b"",
            Self::Command => b"EHLO trickle.test\r\n",
            Self::Data => {
                b"EHLO trickle.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\n"
            }
            Self::Chunk => {
                b"EHLO trickle.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.com>\r\nBDAT 100000 LAST\r\n"
            }
            Self::StartTls => b"EHLO trickle.test\r\nSTARTTLS\r\n",
        }
    }

    fn trickled(self) -> &'static [u8] {
        match self {
            Self::Nothing => b"",
            Self::Command => b"MAIL FROM:<somebody.with.a.long.name@sender.test> SIZE=1",
            Self::Data | Self::Chunk => b"one byte after another \r\n",
            Self::ProxyHeader => b"PROXY TCP4 192.0.2.1",
            // A handshake record of 512 bytes that begins with a ClientHello of 508.
            Self::TlsHandshake | Self::StartTls => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        }
    }
}
