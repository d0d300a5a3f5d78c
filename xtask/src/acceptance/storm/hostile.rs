//! Hostile connections, so many a second, each with one attack: what is said, and how it ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use crate::acceptance::client::connect;

/// Addresses that they come from: 127.3.0.1 to 127.3.3.250.
const SOURCES: u32 = 1000;
/// How often some of them are started.
const TICK: Duration = Duration::from_millis(20);
/// Under way at once, at most: the process has descriptors for its tricklers and for these.
const AT_ONCE: usize = 5000;
/// The longest that one waits for an end.
const PATIENCE: Duration = Duration::from_secs(20);
const ENVELOPE: &str = "EHLO hostile.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
/// More than the listener takes.
pub(super) const OVERSIZE: usize = 300_000;

/// The attacks under way.
pub(super) struct Hostile {
    ended: Arc<Mutex<Ended>>,
    starting: JoinSet<()>,
}

/// How often an attack ended in a way.
pub(super) type Ended = BTreeMap<(&'static str, String), u64>;

/// What an attack says, after the greeting, in one go.
type Attack = (&'static str, fn() -> Vec<u8>);

const ATTACKS: [Attack; 12] = [
    ("smuggling", smuggling),
    ("bare newlines", || format!("{ENVELOPE}Subject: x\n\nbody\nwithout\rreturns\r\n.\r\nQUIT\r\n").into_bytes()),
    ("header flood", || format!("{ENVELOPE}{}\r\n.\r\nQUIT\r\n", "X-Flood: x\r\n".repeat(5000)).into_bytes()),
    ("deep MIME", deep_mime),
    ("many parts", many_parts),
    ("oversize", || format!("{ENVELOPE}\r\n{}\r\n.\r\nQUIT\r\n", "x".repeat(998).repeat(OVERSIZE / 998)).into_bytes()),
    ("oversize declared", || b"EHLO h.test\r\nMAIL FROM:<a@sender.test> SIZE=99999999999\r\nQUIT\r\n".to_vec()),
    ("malformed BDAT", malformed_bdat),
    ("bad addresses", bad_addresses),
    ("garbage", || (0..4096).map(|_| fastrand::u8(..)).chain(*b"\r\nQUIT\r\n").collect()),
    ("command flood", || format!("EHLO h.test\r\n{}QUIT\r\n", "NOOP\r\n".repeat(500)).into_bytes()),
    ("instant disconnect", Vec::new),
];

impl Hostile {
    /// So many connections a second, until it is told to stop.
    pub(super) fn start(rate: u32, server: SocketAddr) -> Self {
        let ended = Arc::new(Mutex::new(Ended::new()));
        let mut starting = JoinSet::new();
        let log = Arc::clone(&ended);
        starting.spawn(async move {
            let mut attacks = JoinSet::new();
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut number, mut due) = (0, 0.0);
            loop {
                ticks.tick().await;
                due += f64::from(rate) * TICK.as_secs_f64();
                while attacks.try_join_next().is_some() {}
                while due >= 1.0 {
                    due -= 1.0;
                    number += 1;
                    if attacks.len() < AT_ONCE {
                        attacks.spawn(attack(number, server, Arc::clone(&log)));
                    } else {
                        *log.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .entry(("any", "left out: too many are held".to_owned()))
                            .or_default() += 1;
                    }
                }
            }
        });
        Self { ended, starting }
    }

    /// Stops; how those that had come to an end did.
    pub(super) async fn stop(mut self) -> Ended {
        self.starting.shutdown().await;
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn attack(number: u32, server: SocketAddr, ended: Arc<Mutex<Ended>>) {
    let (name, said) = ATTACKS[number as usize % ATTACKS.len()];
    let [high, low] = [number / 250 % (SOURCES / 250), number % 250].map(|part| u8::try_from(part).unwrap_or_default());
    let source = IpAddr::V4(Ipv4Addr::new(127, 3, high, low + 1));
    let end = match connect(source, server).await {
        Ok(stream) => {
            let (reading, mut writing) = stream.into_split();
            let said = said();
            if said.is_empty() {
                "left at once".to_owned()
            } else {
                let listening = tokio::spawn(timeout(PATIENCE, listen(reading)));
                let write = timeout(PATIENCE, writing.write_all(&said)).await;
                let heard = listening.await.unwrap_or(Ok("-".to_owned())).unwrap_or("still held".to_owned());
                if matches!(write, Ok(Ok(()))) { heard } else { format!("{heard}, cut off") }
            }
        }
        Err(error) => error.kind().to_string(),
    };
    *ended.lock().unwrap_or_else(PoisonError::into_inner).entry((name, end)).or_default() += 1;
}

/// The worst that was heard before the end: what the attack came to.
async fn listen(mut reading: OwnedReadHalf) -> String {
    let mut heard = Vec::new();
    // A reset is an end too.
    while !matches!(reading.read_buf(&mut heard).await, Ok(0) | Err(_)) {}
    let text = String::from_utf8_lossy(&heard);
    let taken = text.lines().filter(|line| line.starts_with("250 2.0.0 Ok: message")).count();
    if taken > 0 {
        return format!("TAKEN {taken} times");
    }
    let refusals = text.lines().filter(|line| line.starts_with(['4', '5']));
    let code = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    refusals.map(code).next_back().unwrap_or_else(|| "let go without harm".to_owned())
}

fn smuggling() -> Vec<u8> {
    let ends = ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r\n\0.\r\n", "\n.\r"];
    let end = ends[fastrand::usize(..ends.len())];
    let second = "MAIL FROM:<admin@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nx";
    // A NUL makes no line end of what is none; the message is then refused for its size.
    let padding = if end.contains('\0') { "x\r\n".repeat(OVERSIZE / 3) } else { String::new() };
    format!("{ENVELOPE}Subject: x\r\n\r\nfirst{end}{second}\r\n{padding}.\r\nQUIT\r\n").into_bytes()
}

fn deep_mime() -> Vec<u8> {
    let mut message = String::from("From: a@sender.test\r\nSubject: deep\r\nMIME-Version: 1.0\r\n");
    for depth in 0..200 {
        message += &format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n");
    }
    format!("{ENVELOPE}{message}\r\nx\r\n.\r\nQUIT\r\n").into_bytes()
}

fn many_parts() -> Vec<u8> {
    let head = "From: a@sender.test\r\nSubject: many\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    format!("{ENVELOPE}{head}{}--b--\r\n.\r\nQUIT\r\n", "--b\r\n\r\nx\r\n".repeat(3000)).into_bytes()
}

fn malformed_bdat() -> Vec<u8> {
    let commands = ["BDAT x\r\n", "BDAT 99999999999999999999999 LAST\r\n", "BDAT -1\r\n", "BDAT 5 FIRST\r\nhello"];
    let command = commands[fastrand::usize(..commands.len())];
    let before = ENVELOPE.trim_end_matches("DATA\r\n");
    format!("{before}{command}QUIT\r\n").into_bytes()
}

fn bad_addresses() -> Vec<u8> {
    let mut said = b"EHLO h.test\r\nMAIL FROM:<a@b\0c>\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<@@@>\r\n".to_vec();
    said.extend(b"RCPT TO:<victim@elsewhere.test>\r\n".repeat(200));
    said.extend(b"QUIT\r\n");
    said
}
