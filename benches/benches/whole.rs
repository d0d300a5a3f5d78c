//! Whole messages in memory: what a client sends goes through the server machine, the rope, a chain and the client machine,
//! all but sockets, and what the session adds around them. And the last step alone.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailweir::chain::{Chain, Ruling, Run};
use mailweir::message::{Budget, Framing, Incoming, Message};
use mailweir_benches::harness::{self, Harness, finish};
use mailweir_benches::sample;
use mailweir_benches::stage::{self, Stage};
use mailweir_smtp::address::{ClientName, ForwardPath, ReversePath};
use mailweir_smtp::client::{BdatChunk, Client};
use mailweir_smtp::parameter::{MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Event, Server, ServerPolicy};

/// What the session reads at once.
const READ: usize = 64 * 1024;

fn main() {
    Harness::main(&[relay, whole]);
}

/// The proxy's side of a connection to an upstream that takes everything.
struct Upstream {
    client: Client,
    input: BytesMut,
}

impl Upstream {
    fn greeted() -> Self {
        let mut upstream = Self { client: Client::new(), input: BytesMut::new() };
        upstream.hear("220 mx.example\r\n");
        upstream.client.hello(&ClientName::parse(b"mx.receiver.example").expect("a name"));
        upstream.hear("250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING\r\n");
        upstream
    }

    /// What was to be written has been, and the upstream says this.
    fn hear(&mut self, replies: &str) {
        self.client.output().clear();
        self.input.extend_from_slice(replies.as_bytes());
        while let Some(event) = self.client.next(&mut self.input).expect("no upstream says so") {
            black_box(event);
        }
    }

    fn envelope(&mut self, sender: &ReversePath, recipient: &ForwardPath) {
        self.client.mail(sender, &MailParameters::default());
        self.client.rcpt(recipient, &RcptParameters::default());
        self.hear("250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n");
    }

    /// Sends a message, all but the system call. Bytes that there were to write.
    fn message(&mut self, message: &Message, framing: Framing) -> usize {
        match framing {
            Framing::DotStuffed => {
                self.client.data();
                self.hear("354 Go on\r\n");
            }
            Framing::Plain => self.client.bdat(message.size(), BdatChunk::Last),
        }
        let length = message.wire(framing).map(|piece| piece.map_or(0, |piece| piece.len())).sum();
        if framing == Framing::DotStuffed {
            self.client.end_of_data();
        }
        self.hear("250 2.0.0 Queued as 4XyZ0f1K2Lz9\r\n");
        length
    }
}

/// A message that was received by DATA, relayed.
fn relay(harness: &mut Harness) {
    let runtime = harness::runtime();
    let budget = budget();
    let sender = ReversePath::parse(b"alice@sender.example").expect("a path");
    let recipient = ForwardPath::parse(b"bob@receiver.example").expect("a path");
    harness.group("relay");
    for (size, name) in [(4096, "4KiB"), (1 << 20, "1MiB")] {
        let wire = sample::on_the_wire(&sample::plain(size));
        let mut incoming = Incoming::new(&budget, Framing::DotStuffed, sample::limits());
        for chunk in wire.slice(..wire.len() - b".\r\n".len()).chunks(READ) {
            finish(&runtime, incoming.push(Bytes::copy_from_slice(chunk))).expect("the budget is large");
        }
        let message = incoming.finish().expect("samples are within the caps");
        for (how, framing) in [("DATA", Framing::DotStuffed), ("BDAT", Framing::Plain)] {
            let mut upstream = Upstream::greeted();
            harness.case(&format!("{how}/{name}"), || {
                upstream.envelope(&sender, &recipient);
                upstream.message(&message, framing)
            });
        }
    }
}

/// A client that has been greeted, and the upstream that its mail goes to.
struct Session<'a> {
    stage: &'a Stage,
    chain: &'a Arc<Chain>,
    budget: &'a Budget,
    server: Server,
    input: BytesMut,
    upstream: Upstream,
    run: Option<Run>,
    incoming: Option<Incoming>,
    sender: ReversePath,
    headers_seen: bool,
}

impl<'a> Session<'a> {
    fn greeted(stage: &'a Stage, chain: &'a Arc<Chain>, budget: &'a Budget) -> Self {
        let mut server = Server::new(ServerPolicy::new("mx.receiver.example"));
        server.greet(Reply::new(220, "", "mx.receiver.example"));
        let input = BytesMut::with_capacity(2 * READ);
        let upstream = Upstream::greeted();
        let (run, incoming, sender) = (None, None, ReversePath::parse(b"").expect("a path"));
        let mut session =
            Self { stage, chain, budget, server, input, upstream, run, incoming, sender, headers_seen: false };
        finish(&stage.runtime, session.read(b"EHLO mx1.sender.example\r\n"));
        session
    }

    /// Takes what a read brought, and does what the client asks for.
    async fn read(&mut self, read: &[u8]) {
        self.input.extend_from_slice(read);
        while let Some(event) = self.server.next(&mut self.input) {
            self.handle(event).await;
        }
        self.server.output().clear();
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Mail { path, .. } => {
                let mut run = self.stage.run(self.chain);
                assert_eq!(run.mail(path.as_str()).await, Ruling::Continue);
                self.run = Some(run);
                self.sender = path;
                self.server.accept(Reply::new(250, "2.1.0", "Sender OK"));
            }
            Event::Rcpt { path, .. } => {
                if let Some(run) = &mut self.run {
                    assert_eq!(run.rcpt(path.as_str()).await, Ruling::Continue);
                }
                self.upstream.envelope(&self.sender, &path);
                self.server.accept(Reply::new(250, "2.1.5", "Recipient OK"));
            }
            Event::MessageBegin { framing } => {
                self.incoming = Some(Incoming::new(self.budget, framing, sample::limits()));
                self.headers_seen = false;
                self.server.accept_message();
            }
            Event::MessageChunk(chunk) => self.chunk(chunk).await,
            Event::MessageEnd(end) => {
                end.expect("samples are without faults");
                self.end().await;
                self.server.accept(Reply::new(250, "2.0.0", "Queued as 4XyZ0f1K2Lz9"));
            }
            Event::Hello { .. } => self.server.accept(Reply::new(250, "", "mx.receiver.example")),
            Event::Reset | Event::StartTls | Event::XClient(_) | Event::Close => {}
        }
    }

    async fn chunk(&mut self, chunk: Bytes) {
        let Some((incoming, run)) = self.incoming.as_mut().zip(self.run.as_mut()) else { return };
        incoming.push(chunk).await.expect("the budget is large");
        if self.headers_seen {
            return;
        }
        if let Some(headers) = incoming.headers() {
            self.headers_seen = true;
            let headers = headers.expect("samples are within the caps");
            assert_eq!(run.headers(&headers, &stage::envelope()).await, Ruling::Continue);
        }
    }

    async fn end(&mut self) {
        let Some((incoming, mut run)) = self.incoming.take().zip(self.run.take()) else { return };
        let message = incoming.finish().expect("samples are within the caps");
        let conclusion = run.end(message, stage::envelope(), None).await;
        black_box(self.upstream.message(&conclusion.message, Framing::DotStuffed));
    }
}

/// From MAIL to the reply to the final dot.
fn whole(harness: &mut Harness) {
    if !harness.wants("whole") {
        return;
    }
    let Some(stage) = Stage::set_up(&[0]) else { return };
    let budget = budget();
    let envelope = b"MAIL FROM:<alice@sender.example> SIZE=4096\r\nRCPT TO:<bob@receiver.example>\r\nDATA\r\n";
    let plain = [("plain-4KiB", sample::plain(4096)), ("plain-1MiB", sample::plain(1 << 20))];
    let signed = [("signed-4KiB", 4096), ("signed-64KiB", 65_536)]
        .map(|(name, size)| (name, stage.signed(&sample::multipart(size))));
    harness.group("whole");
    for (filters, chain) in [("no-filter", "hello-0"), ("auth-surbl-dlp", "three")] {
        let chain = stage.chain(chain);
        for (name, message) in plain.iter().chain(&signed) {
            let wire = sample::on_the_wire(message);
            harness.bytes(wire.len());
            let mut session = Session::greeted(&stage, &chain, &budget);
            harness.case(&format!("{filters}/{name}"), || {
                finish(&stage.runtime, async {
                    session.read(envelope).await;
                    for read in wire.chunks(READ) {
                        session.read(read).await;
                    }
                });
            });
        }
    }
}

fn budget() -> Budget {
    Budget::new(1 << 30, 1 << 30, Path::new("/nonexistent"))
}
