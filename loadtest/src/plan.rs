//! What all sessions of a load have in common.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mailweir_smtp::address::{ClientName, ForwardPath, Mailbox, ReversePath};

use crate::arrivals::{Arrivals, Profile};
use crate::connection::Trickle;
use crate::content::Contents;
use crate::options::{self, LoadOptions};
use crate::proof::Run;
use crate::tls::Tls;
use crate::units::Rate;

/// What all sessions of a load have in common.
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) helo: ClientName,
    pub(crate) from: ReversePath,
    pub(crate) recipients: Vec<ForwardPath>,
    pub(crate) pipelining: bool,
    pub(crate) chunking: bool,
    pub(crate) patience: Duration,
    pub(crate) messages_per_connection: u64,
    pub(crate) contents: Contents,
    /// Messages are marked as those of this run.
    pub(crate) proof: Option<Run>,
    pub(crate) trickle: Option<Trickle>,
    /// The most at once.
    pub(crate) sessions: u32,
    pub(crate) loop_: Loop,
    /// Begin no message after this time.
    pub(crate) duration: Option<Duration>,
    sources: Vec<IpAddr>,
    connections: AtomicU64,
    /// Messages begun so far in a closed loop, and how many there are to be in any.
    begun: AtomicU64,
    messages: u64,
    ended: AtomicBool,
}

/// What decides when a message is sent.
pub(crate) enum Loop {
    /// A session sends its next message after the last was answered, and after a pause.
    Closed { think: Option<Duration> },
    /// Messages are sent when they are due.
    Open { kind: options::Arrivals, profile: Profile, seed: u64, drain: Duration },
    /// Nothing is sent.
    Idle,
}

impl Plan {
    /// # Errors
    ///
    /// When it cannot begin: no content, no such host, options that make no sense together.
    pub(crate) async fn new(server: &str, options: &LoadOptions) -> anyhow::Result<Self> {
        let contents = match options.eml.as_slice() {
            [] => Contents::generated(options.size, options.seed)?,
            paths => Contents::from_files(paths)?,
        };
        let endless = if options.duration.is_some() || options.idle || options.background { u64::MAX } else { 1000 };
        let slow = options.slow.map(|rate| Trickle { part: options.slow_part, rate: rate.0.max(1) });
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        Ok(Self {
            server: resolve(server).await?,
            tls: Tls::new(options, host)?,
            helo: options.helo.clone(),
            from: options.from.clone(),
            recipients: recipients(&options.to, options.recipients)?,
            pipelining: !options.no_pipelining,
            chunking: options.chunking,
            patience: options.timeout.0,
            messages_per_connection: options.messages_per_connection.map_or(u64::MAX, Into::into),
            contents,
            proof: options.proof.then(|| Run::new(RandomState::new().hash_one(0))),
            trickle: slow,
            sessions: u32::try_from(options.connections()).unwrap_or(u32::MAX),
            loop_: kind(options)?,
            duration: options.duration.map(|span| span.0),
            sources: options.bind.iter().flat_map(|sources| sources.0.iter().copied()).collect(),
            connections: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            messages: options.messages.map_or(endless, Into::into),
            ended: AtomicBool::new(false),
        })
    }

    /// Messages to be sent, where that is known beforehand.
    pub(crate) fn messages(&self) -> Option<u64> {
        (self.messages != u64::MAX).then_some(self.messages)
    }

    /// The number of the next message of a closed loop, if there is one left to send.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.has_ended() {
            return None;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.messages).then_some(number)
    }

    /// When one thread's part of an open loop is to be sent, and with which numbers. Numbers and times do not depend on how many
    /// threads there are.
    pub(crate) fn arrivals(&self, thread: u64, threads: u64) -> Option<impl Iterator<Item = (u64, Duration)> + use<>> {
        let Loop::Open { kind, profile, seed, .. } = self.loop_ else { return None };
        let arrivals = (0..self.messages).zip(Arrivals::new(kind, profile, seed, self.duration));
        Some(arrivals.filter(move |(number, _)| number % threads == thread))
    }

    /// The local address for the next connection.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        let count = self.sources.len() as u64;
        // The remainder is less than the length, which is a usize.
        (count > 0).then(|| self.sources[(self.connections.fetch_add(1, Ordering::Relaxed) % count) as usize])
    }

    /// No message is begun any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// How it sends, in words.
    pub(crate) fn description(&self) -> String {
        match &self.loop_ {
            Loop::Idle => "idle".to_owned(),
            Loop::Closed { .. } if let Some(trickle) = self.trickle => format!("slow, {} octets/s", trickle.rate),
            Loop::Closed { think: None } => "closed loop".to_owned(),
            Loop::Closed { think: Some(pause) } => format!("closed loop, pauses of {pause:?}"),
            Loop::Open { profile, .. } if profile.ramp > 0.0 => {
                format!("open loop, {:.0} to {:.0}/s", profile.from, profile.to)
            }
            Loop::Open { profile, .. } => format!("open loop, {:.0}/s", profile.to),
        }
    }

    /// Messages a second offered in an open loop once it is in full swing.
    pub(crate) fn offered(&self) -> Option<f64> {
        match &self.loop_ {
            Loop::Open { profile, .. } => Some(profile.to),
            Loop::Closed { .. } | Loop::Idle => None,
        }
    }
}

fn kind(options: &LoadOptions) -> anyhow::Result<Loop> {
    if options.idle {
        ensure!(options.rate.is_none() && options.slow.is_none(), "idle: connections that are held send nothing");
        return Ok(Loop::Idle);
    }
    let to = match &options.rate {
        None => {
            ensure!(options.ramp.is_none(), "ramp: there is no rate to reach");
            return Ok(Loop::Closed { think: options.think.map(|span| span.0) });
        }
        Some(Rate::PerSecond(rate)) => *rate,
        Some(Rate::Times { .. }) => anyhow::bail!("rate: a multiple needs an earlier step"),
    };
    ensure!(options.slow.is_none(), "slow: a slow sender has no rate of messages");
    ensure!(options.think.is_none(), "think: an open loop has no pauses");
    ensure!(options.ramp_from >= 0.0 && options.ramp_from.is_finite(), "ramp_from: {} is no rate", options.ramp_from);
    let ramp = options.ramp.unwrap_or_default().0.as_secs_f64();
    let profile = Profile { from: options.ramp_from, to, ramp };
    Ok(Loop::Open { kind: options.arrivals, profile, seed: options.seed, drain: options.drain.0 })
}

/// The first address of host:port.
async fn resolve(server: &str) -> anyhow::Result<SocketAddr> {
    let mut addresses = tokio::net::lookup_host(server).await.with_context(|| format!("{server:?}"))?;
    addresses.next().with_context(|| format!("{server:?} has no address"))
}

/// The recipients of each message.
fn recipients(to: &Mailbox, count: u16) -> anyhow::Result<Vec<ForwardPath>> {
    if count == 1 {
        return Ok(vec![ForwardPath::Mailbox(to.clone())]);
    }
    let numbered = |number: u16| {
        let address = format!("{}-{number}@{}", to.local_part(), to.domain());
        let mailbox = Mailbox::parse(address.as_bytes()).with_context(|| format!("to: {address}"))?;
        Ok(ForwardPath::Mailbox(mailbox))
    };
    (1..=count).map(numbered).collect()
}
