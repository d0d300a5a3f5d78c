//! Clients with mail: each sends a message every now and then.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::Client;

/// Addresses that they come from: 127.2.0.1 to 127.2.0.8.
const SOURCES: usize = 8;
/// Before a client that was turned away comes again.
const AGAIN: Duration = Duration::from_millis(500);

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Messages sent over one connection.
    pub(super) messages: usize,
    /// Between the messages of a client, in the middle.
    pub(super) pause: Duration,
}

/// The clients.
pub(super) struct Good {
    state: Arc<State>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

struct State {
    server: SocketAddr,
    habits: Habits,
    measured: Mutex<Measured>,
    numbers: AtomicU64,
}

/// What a phase was like for them.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// From the first attempt to connect or MAIL to the last reply, of messages that were taken.
    messages: Vec<Duration>,
    /// From the attempt to connect to the answer to EHLO.
    connects: Vec<Duration>,
    /// Attempts that ended before a message had begun (no connection, or 421 after a pause), and were made again.
    pub(super) turned_away: u64,
    /// Messages that were not taken, by what happened.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Good {
    pub(super) fn start(count: u32, server: SocketAddr, habits: Habits) -> Self {
        let state = Arc::new(State { server, habits, measured: Mutex::default(), numbers: AtomicU64::new(0) });
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for number in 0..count as usize {
            let octet = u8::try_from(number % SOURCES).unwrap_or_default() + 1;
            let source = IpAddr::V4(Ipv4Addr::new(127, 2, 0, octet));
            tasks.spawn(send(Arc::clone(&state), source, stop.subscribe()));
        }
        Self { state, stop, tasks }
    }

    /// What was measured since this was asked last.
    pub(super) fn measured(&self) -> Measured {
        std::mem::take(&mut *self.state.measured())
    }

    /// Lets every client end the message it is at; what was measured since.
    pub(super) async fn finish(mut self) -> Measured {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        self.measured()
    }
}

impl State {
    fn measured(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(state: Arc<State>, source: IpAddr, mut stop: watch::Receiver<bool>) {
    let Habits { messages, pause: between } = state.habits;
    // They do not all begin at once.
    pause(&mut stop, between.mul_f64(fastrand::f64())).await;
    let mut left = messages;
    let mut open = None;
    while !*stop.borrow() {
        let number = state.numbers.fetch_add(1, Ordering::Relaxed);
        open = message(&state, source, open.filter(|_| left > 0), &content(number), &stop).await;
        left = if open.is_some() { left.saturating_sub(1) } else { messages };
        if left == 0
            && let Some(client) = open.take()
        {
            client.quit().await;
            left = messages;
        }
        pause(&mut stop, between.mul_f64(0.5 + fastrand::f64())).await;
    }
    if let Some(client) = open {
        client.quit().await;
    }
}

/// Sends a message, over a new connection if there is none, and over another as long as none of it was sent. The
/// connection, if it is still good.
async fn message(
    state: &State,
    source: IpAddr,
    mut open: Option<Client>,
    content: &str,
    stop: &watch::Receiver<bool>,
) -> Option<Client> {
    let begin = Instant::now();
    loop {
        let attempt = async {
            let mut client = match open.take() {
                Some(client) => client,
                None => {
                    let begin = Instant::now();
                    let client = Client::greeted(source, state.server).await?;
                    state.measured().connects.push(begin.elapsed());
                    client
                }
            };
            client.deliver("user@example.com", content.as_bytes()).await.map(|_| client)
        };
        match attempt.await {
            Ok(client) => {
                state.measured().messages.push(begin.elapsed());
                return Some(client);
            }
            Err(failure) if failure.is_before_the_message() => state.measured().turned_away += 1,
            Err(failure) => {
                *state.measured().failures.entry(failure.to_string()).or_default() += 1;
                return None;
            }
        }
        if *stop.borrow() {
            return None;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits, or returns at once when it is time to stop.
async fn pause(stop: &mut watch::Receiver<bool>, pause: Duration) {
    let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
}

fn content(number: u64) -> String {
    let line = "An ordinary message with a link, https://www.example.org/page, and a few words more.\r\n";
    format!(
        "From: Load <load@sender.test>\r\nTo: user@example.com\r\nSubject: number {number}\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{number}@sender.test>\r\n\r\n{}",
        line.repeat(40)
    )
}

impl Measured {
    /// Messages that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Of the messages: the quantile, from 0 to 100.
    pub(super) fn message(&mut self, quantile: usize) -> Duration {
        at(&mut self.messages, quantile)
    }

    /// Count and latencies in words.
    pub(super) fn in_words(&mut self) -> String {
        let [p50, p99, max] = [50, 99, 100].map(|quantile| self.message(quantile));
        let [connect50, connect99, connect100] = [50, 99, 100].map(|quantile| at(&mut self.connects, quantile));
        format!(
            "{} messages taken, {} failed; message p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}; connect and EHLO p50 \
             {connect50:.1?}, p99 {connect99:.1?}, max {connect100:.1?}; turned away and come again {}",
            self.taken(),
            self.failed(),
            self.turned_away
        )
    }
}

fn at(durations: &mut [Duration], quantile: usize) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len().saturating_sub(1) * quantile / 100).copied().unwrap_or_default()
}
