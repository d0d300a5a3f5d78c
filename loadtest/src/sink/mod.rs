//! A server that takes mail and gets rid of it, or fails as it is told, at next to no cost.
//!
//! Each thread has a runtime and listeners of its own (SO_REUSEPORT); the system spreads the connections. A client's flight is
//! one read and one write.

mod options;
mod faults;
mod unstuffing;
mod message;
mod tally;
mod conversation;
mod worker;
mod tls;
mod command;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use mailweir_smtp::extension::Extensions;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

pub(crate) use command::run;
pub(crate) use options::{Behaviour, SinkArguments};

use crate::proof::Received;
use crate::report::model::SinkCounts;
use message::{Keep, Store};
use worker::{Shared, Worker};

/// Connections that wait for the accept call.
const BACKLOG: i32 = 4096;

/// A sink at work. It ends when it is dropped.
pub(crate) struct Sink {
    addresses: Vec<SocketAddr>,
    workers: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    stop: watch::Sender<bool>,
    began: Instant,
}

/// What a sink saw, as it writes it in JSON. Readable as [`Received`] as well.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(flatten)]
    pub(crate) counts: SinkCounts,
    #[serde(flatten)]
    pub(crate) received: Received,
}

impl Sink {
    /// Listens, and serves on threads of its own.
    ///
    /// # Errors
    ///
    /// When it cannot listen, store, or use the certificate, or when the faults are none that can be meant.
    pub(crate) fn start(listen: &[SocketAddr], behaviour: &Behaviour) -> anyhow::Result<Self> {
        let shared = Arc::new(shared(behaviour)?);
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        listeners.resize_with(behaviour.threads.get().into(), Vec::new);
        for &address in listen {
            let mut address = address;
            for listeners in &mut listeners {
                let listener = bind(address).with_context(|| format!("listening on {address}"))?;
                // The first one has chosen the port when that is ours to choose.
                address = listener.local_addr()?;
                listeners.push(listener);
            }
            addresses.push(address);
        }
        let (stop, stopped) = watch::channel(false);
        let mut sink = Self { addresses, workers: Vec::new(), threads: Vec::new(), stop, began: Instant::now() };
        for listeners in listeners {
            let worker = Arc::new(Worker::new(Arc::clone(&shared)));
            sink.workers.push(Arc::clone(&worker));
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new().name("sink".to_owned());
            sink.threads.push(thread.spawn(move || worker.run(listeners, stopped)).context("starting a thread")?);
        }
        Ok(sink)
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Messages taken.
    pub(crate) fn messages(&self) -> u64 {
        self.workers.iter().map(|worker| worker.tally.messages()).sum()
    }

    /// What it counted so far, without a look at the proofs.
    pub(crate) fn counts(&self) -> SinkCounts {
        let mut counts = SinkCounts { seconds: self.began.elapsed().as_secs_f64(), ..SinkCounts::default() };
        self.workers.iter().for_each(|worker| worker.tally.add_to(&mut counts));
        counts
    }

    /// What it saw so far, with proofs.
    pub(crate) fn account(&self) -> Account {
        let mut received = Received::default();
        self.workers.iter().for_each(|worker| received.merge(&worker.received()));
        let mut counts = self.counts();
        for seen in received.runs.values() {
            counts.distinct += seen.numbers.len();
            counts.doubled += seen.doubled.len();
            counts.altered += seen.altered.len();
        }
        Account { counts, received }
    }

    /// Ends, once its threads have. Connections that are open are closed.
    ///
    /// # Errors
    ///
    /// When a thread could not serve.
    pub(crate) fn stop(mut self) -> anyhow::Result<Account> {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the sink panicked"))??;
        }
        Ok(self.account())
    }
}

fn shared(behaviour: &Behaviour) -> anyhow::Result<Shared> {
    let keep = match &behaviour.store {
        Some(folder) => Keep::Files(Store::new(folder).with_context(|| format!("{}", folder.display()))?),
        None if behaviour.discard => Keep::Nothing,
        None => Keep::Counts,
    };
    let offer = behaviour.extensions();
    let within_tls = Extensions { start_tls: false, ..offer.clone() };
    let name = &behaviour.name;
    Ok(Shared {
        seed: behaviour.seed,
        faults: behaviour.faults().map_err(anyhow::Error::msg)?,
        keep,
        greeting: format!("220 {name} ESMTP mailweir-load\r\n").into(),
        helo: format!("250 {name}\r\n").into(),
        ehlo: ehlo(name, &offer),
        ehlo_within_tls: ehlo(name, &within_tls),
        tls: (behaviour.implicit_tls || behaviour.offers_tls()).then(|| tls::acceptor(behaviour)).transpose()?,
        implicit_tls: behaviour.implicit_tls,
        offer,
        number: AtomicU64::new(0),
    })
}

fn ehlo(name: &str, offer: &Extensions) -> Vec<u8> {
    let mut lines = vec![name.to_owned()];
    lines.extend(offer.lines());
    let last = lines.len() - 1;
    let line = |(index, line)| format!("250{}{line}\r\n", if index == last { ' ' } else { '-' });
    lines.iter().enumerate().map(line).collect::<String>().into()
}

/// Several sockets listen on one address, and the system spreads the connections among them.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
