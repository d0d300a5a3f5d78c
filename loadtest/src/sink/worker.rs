//! A thread that serves: its listeners, its connections, its counters.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mailweir_smtp::extension::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::conversation::{Conversation, Step};
use super::faults::Faults;
use super::message::{Keep, Message};
use super::tally::Tally;
use crate::proof::Received;

/// What is read at once: a client's flight, or a good part of a large message. It stays in the processor's cache, as all
/// connections of a thread share it.
const INPUT: usize = 256 * 1024;
/// How long to wait when there is no descriptor for another connection.
const BREATH: Duration = Duration::from_millis(20);
/// For a handshake.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all threads share.
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) keep: Keep,
    pub(super) offer: Extensions,
    pub(super) greeting: Vec<u8>,
    pub(super) helo: Vec<u8>,
    pub(super) ehlo: Vec<u8>,
    pub(super) ehlo_within_tls: Vec<u8>,
    pub(super) tls: Option<TlsAcceptor>,
    /// Nothing is said before the handshake.
    pub(super) implicit_tls: bool,
    /// Connections so far.
    pub(super) number: AtomicU64,
}

/// What is one thread's.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) tally: Tally,
    received: Mutex<Received>,
}

struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { input: vec![0; INPUT].into_boxed_slice(), output: Vec::with_capacity(4096) });
}

/// Why the loop over a connection's input ended.
enum End {
    Closed,
    Handshake,
}

impl Shared {
    /// Whether the limit that was announced says so.
    pub(super) fn is_too_large(&self, bytes: u64) -> bool {
        matches!(self.offer.size, Some(limit) if limit > 0 && bytes > limit)
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tally: Tally::default(), received: Mutex::default() }
    }

    /// What arrived, by proof.
    pub(super) fn received(&self) -> MutexGuard<'_, Received> {
        // Counts stay counts even if somebody panicked while adding to them.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message, right before it is acknowledged.
    ///
    /// # Errors
    ///
    /// When it could not be stored.
    pub(super) fn take(&self, message: Message) -> io::Result<()> {
        let bytes = message.bytes();
        let arrival = message.finish().inspect_err(|_| self.tally.failed())?;
        self.tally.taken(bytes);
        if let Some(arrival) = arrival {
            self.received().count(arrival);
        }
        Ok(())
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    ///
    /// When there is no runtime, or it cannot watch the listeners.
    pub(super) fn run(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            for listener in listeners {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::spawn(accept(Arc::clone(self), listener));
            }
            // The other end is dropped when nobody wants the sink any more.
            let _ = stop.wait_for(|stop| *stop).await;
            Ok(())
        })
    }
}

async fn accept(worker: Arc<Worker>, listener: tokio::net::TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let worker = Arc::clone(&worker);
                tokio::spawn(async move {
                    worker.tally.connected();
                    // A client that goes away does so.
                    let _ = serve(&worker, stream).await;
                    worker.tally.closed();
                });
            }
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

async fn serve(worker: &Arc<Worker>, mut stream: TcpStream) -> io::Result<()> {
    let number = worker.shared.number.fetch_add(1, Ordering::Relaxed);
    let mut conversation = Conversation::new(Arc::clone(worker), number);
    let greeted = |conversation: &mut Conversation| {
        let mut output = Vec::new();
        (conversation.begin(&mut output), output)
    };
    let is_greeted = !worker.shared.implicit_tls;
    if is_greeted {
        let (step, output) = greeted(&mut conversation);
        match converse(&mut stream, &mut conversation, step, output).await? {
            End::Closed => return Ok(()),
            End::Handshake => {}
        }
    }
    let Some(acceptor) = &worker.shared.tls else { return Ok(()) };
    let handshake = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await;
    let mut stream = handshake.map_err(io::Error::from).flatten().inspect_err(|_| worker.tally.failed())?;
    worker.tally.secured();
    conversation.secured();
    let (step, output) = if is_greeted { (Step::Read, Vec::new()) } else { greeted(&mut conversation) };
    converse(&mut stream, &mut conversation, step, output).await?;
    stream.shutdown().await
}

/// Reads and answers, until the connection closes or goes on within TLS.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    conversation: &mut Conversation,
    mut step: Step,
    mut output: Vec<u8>,
) -> io::Result<End> {
    // Input that came after something that is answered late, and how much of it was looked at.
    let mut late = Vec::new();
    loop {
        if step == Step::Drop {
            return Ok(End::Closed);
        }
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
        stream.flush().await?;
        step = match step {
            Step::Close | Step::Drop => return Ok(End::Closed),
            Step::Handshake => return Ok(End::Handshake),
            Step::Wait(delay) => {
                tokio::time::sleep(delay).await;
                conversation.go_on(&mut output)
            }
            Step::Read if !late.is_empty() => {
                let input = std::mem::take(&mut late);
                let mut rest = input.as_slice();
                let step = conversation.read(&mut rest, &mut output);
                late = rest.to_vec();
                step
            }
            Step::Read => {
                let flight = Flight { conversation: &mut *conversation, output: &mut output, late: &mut late };
                match read_flight(stream, flight).await? {
                    Some(step) => step,
                    None => return Ok(End::Closed),
                }
            }
        };
    }
}

/// Where things of a client's flight go.
struct Flight<'a> {
    conversation: &'a mut Conversation,
    /// Replies that the socket did not take at once.
    output: &'a mut Vec<u8>,
    late: &'a mut Vec<u8>,
}

/// Reads what is there, and writes the replies, with the buffers that all connections of the thread share. None at the end.
async fn read_flight<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut flight: Flight<'_>,
) -> io::Result<Option<Step>> {
    std::future::poll_fn(|context| {
        BUFFERS.with_borrow_mut(|buffers| poll_flight(Pin::new(&mut *stream), context, &mut flight, buffers))
    })
    .await
}

fn poll_flight<S: AsyncRead + AsyncWrite>(
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
    flight: &mut Flight<'_>,
    buffers: &mut Buffers,
) -> Poll<io::Result<Option<Step>>> {
    let mut input = ReadBuf::new(&mut buffers.input);
    ready!(stream.as_mut().poll_read(context, &mut input))?;
    if input.filled().is_empty() {
        return Poll::Ready(Ok(None));
    }
    let mut rest = input.filled();
    buffers.output.clear();
    let step = flight.conversation.read(&mut rest, &mut buffers.output);
    flight.late.extend_from_slice(rest);
    if !buffers.output.is_empty() && step != Step::Drop {
        let written = match stream.poll_write(context, &buffers.output) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        flight.output.extend_from_slice(&buffers.output[written..]);
    }
    Poll::Ready(Ok(Some(step)))
}
