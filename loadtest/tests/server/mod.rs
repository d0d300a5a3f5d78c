//! A server that keeps what it takes and fails as it is told to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use mailweir_smtp::address::{ForwardPath, ReversePath};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::parameter::MailParameters;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Event, Framing, Server, ServerPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How the server behaves.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub(crate) offer: Extensions,
    /// Greets with 554.
    pub(crate) turns_away: bool,
    /// Recipients whose address begins so are refused.
    pub(crate) refused_recipients: &'static str,
    /// The message of this number, from 1, is answered 451.
    pub(crate) refused_message: usize,
    /// The connection is closed instead of answering the message of this number.
    pub(crate) dropped_message: usize,
    /// The connection of this number, from 1, is closed after EHLO.
    pub(crate) closes_connection: usize,
    /// The message of this number is answered after so long.
    pub(crate) stalled_message: (usize, Duration),
    /// MAIL after so many messages of one connection is answered 421.
    pub(crate) messages_per_connection: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            offer: Extensions {
                size: Some(0),
                pipelining: true,
                eight_bit_mime: true,
                chunking: true,
                enhanced_status_codes: true,
                ..Extensions::default()
            },
            turns_away: false,
            refused_recipients: "nobody-at-all",
            refused_message: 0,
            dropped_message: 0,
            closes_connection: 0,
            stalled_message: (0, Duration::ZERO),
            messages_per_connection: usize::MAX,
        }
    }
}

/// A message taken or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) helo: String,
    pub(crate) sender: Option<ReversePath>,
    pub(crate) parameters: MailParameters,
    pub(crate) recipients: Vec<ForwardPath>,
    pub(crate) framing: Option<Framing>,
    /// As it came over the wire.
    pub(crate) content: Vec<u8>,
}

/// A running server.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    received: Mutex<Vec<Received>>,
    peers: Mutex<Vec<IpAddr>>,
}

impl Sink {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let sink = Self { address, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                seen.peers.lock().unwrap().push(peer.ip());
                let number = seen.peers.lock().unwrap().len();
                let session = Session::new(behaviour.clone(), Arc::clone(&seen), number);
                tokio::spawn(async move {
                    // A client that goes away is the test's business.
                    let _ = session.run(stream).await;
                });
            }
        });
        sink
    }

    /// Every message that came to its end, whatever it was answered.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.seen.received.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.peers().len()
    }

    /// Where connections came from.
    pub(crate) fn peers(&self) -> Vec<IpAddr> {
        self.seen.peers.lock().unwrap().clone()
    }
}

struct Session {
    behaviour: Behaviour,
    seen: Arc<Seen>,
    number: usize,
    server: Server,
    message: Received,
    messages: usize,
}

impl Session {
    fn new(behaviour: Behaviour, seen: Arc<Seen>, number: usize) -> Self {
        let mut server = Server::new(ServerPolicy::new("sink.example"));
        server.set_offer(behaviour.offer.clone());
        let code = if behaviour.turns_away { 554 } else { 220 };
        server.greet(Reply::new(code, "", "sink.example"));
        Self { behaviour, seen, number, server, message: Received::default(), messages: 0 }
    }

    async fn run(mut self, mut stream: TcpStream) -> io::Result<()> {
        let mut input = BytesMut::with_capacity(64 * 1024);
        loop {
            while let Some(event) = self.server.next(&mut input) {
                if matches!(event, Event::Close) {
                    return stream.write_all(self.server.output()).await;
                }
                let ends_message = matches!(event, Event::MessageEnd(_));
                if !self.answer(event) {
                    return Ok(());
                }
                let (stalled, stall) = self.behaviour.stalled_message;
                if ends_message && self.seen.received.lock().unwrap().len() == stalled {
                    tokio::time::sleep(stall).await;
                }
            }
            stream.write_all(&self.server.output().split()).await?;
            if !self.message.helo.is_empty() && self.number == self.behaviour.closes_connection {
                return Ok(());
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    /// False: the connection is to be dropped.
    fn answer(&mut self, event: Event) -> bool {
        let ok = Reply::new(250, "2.0.0", "OK");
        match event {
            Event::Hello { name, .. } => {
                self.message.helo = name.to_string();
                self.server.accept(Reply::new(250, "", "sink.example"));
            }
            Event::Mail { .. } if self.messages >= self.behaviour.messages_per_connection => {
                self.server.close(Reply::new(421, "4.7.0", "Enough"));
            }
            Event::Mail { path, parameters } => {
                self.message =
                    Received { helo: self.message.helo.clone(), sender: Some(path), parameters, ..Received::default() };
                self.server.accept(ok);
            }
            Event::Rcpt { path, .. } if path.as_str().starts_with(self.behaviour.refused_recipients) => {
                self.server.refuse(Reply::new(550, "5.1.1", "Nobody"));
            }
            Event::Rcpt { path, .. } => {
                self.message.recipients.push(path);
                self.server.accept(ok);
            }
            Event::MessageBegin { framing } => {
                self.message.framing = Some(framing);
                self.server.accept_message();
            }
            Event::MessageChunk(chunk) => self.message.content.extend_from_slice(&chunk),
            Event::MessageEnd(result) => {
                result.unwrap();
                return self.take(ok);
            }
            Event::XClient(_) | Event::StartTls => self.server.refuse(Reply::new(454, "4.7.0", "No")),
            Event::Reset | Event::Close => {}
        }
        true
    }

    fn take(&mut self, ok: Reply) -> bool {
        self.messages += 1;
        let mut received = self.seen.received.lock().unwrap();
        received.push(self.message.clone());
        if received.len() == self.behaviour.refused_message {
            self.server.refuse(Reply::new(451, "4.3.0", "Not now"));
        } else {
            self.server.accept(ok);
        }
        received.len() != self.behaviour.dropped_message
    }
}
