//! One session: a connection after another, a message after another.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use mailweir_smtp::client::{BdatChunk, ClientEvent};
use mailweir_smtp::parameter::{BodyType, MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;

use crate::connection::{Connection, Failure};
use crate::content::Content;
use crate::measure::{Measurements, Outcome, Phase, Standing};
use crate::options::TlsMode;
use crate::plan::Plan;
use crate::pool::Job;
use crate::proof::ProofLine;
use crate::tls::Connector;

/// The most content in the write that the end of data is measured from.
const LAST_PIECE: usize = 64 * 1024;

/// A session that has a connection, at the point between two messages.
pub(crate) struct Session<'a> {
    plan: &'a Plan,
    measurements: &'a Mutex<Measurements>,
    connection: Connection,
    /// Whether the server has said 421.
    closing: bool,
    /// The number of the message at hand.
    current: Option<u64>,
    standing: Standing,
    /// The line of proof of the message at hand; empty without.
    proof: BytesMut,
    pub(crate) messages: u64,
}

/// What the replies before the content came to.
#[derive(Debug, Clone, Copy, Default)]
struct Envelope {
    sender_refused: bool,
    accepted: u16,
    refused: u16,
    /// DATA, pipelined or not, was answered 354.
    data_accepted: bool,
}

impl<'a> Session<'a> {
    /// Connects, shakes hands if there is to be TLS, and says EHLO.
    pub(crate) async fn open(
        plan: &'a Plan,
        measurements: &'a Mutex<Measurements>,
        connector: Option<&Connector>,
    ) -> Result<Self, Failure> {
        let start = Instant::now();
        let connection = Connection::open(plan.server, plan.source(), plan.patience, plan.trickle).await?;
        let proof = BytesMut::new();
        let standing = Standing::NotTaken;
        let mut session =
            Self { plan, measurements, connection, closing: false, current: None, standing, proof, messages: 0 };
        {
            let mut measured = session.measured();
            measured.open += 1;
            measured.took(Phase::Connect, start.elapsed());
        }
        let mode = plan.tls.as_ref().map_or(TlsMode::Off, |tls| tls.mode);
        if mode == TlsMode::Implicit {
            session.encrypt(connector).await?;
        }
        positive(session.reply(Instant::now()).await?)?;
        session.hello().await?;
        if mode == TlsMode::Starttls {
            if !session.connection.client.extensions().start_tls {
                return Err(Failure::NoTls);
            }
            session.connection.client.start_tls();
            positive(session.flush_and_reply().await?)?;
            session.encrypt(connector).await?;
            session.connection.forget_plaintext();
            session.hello().await?;
        }
        session.measured().connections += 1;
        Ok(session)
    }

    async fn hello(&mut self) -> Result<(), Failure> {
        self.connection.client.hello(&self.plan.helo);
        positive(self.flush_and_reply().await?)
    }

    async fn encrypt(&mut self, connector: Option<&Connector>) -> Result<(), Failure> {
        let start = Instant::now();
        // There is a connector whenever there is a mode.
        let resumed = self.connection.encrypt(connector.ok_or(Failure::NoTls)?).await?;
        let mut measured = self.measured();
        measured.took(Phase::Tls, start.elapsed());
        let count = if resumed { &mut measured.handshakes.resumed } else { &mut measured.handshakes.full };
        *count += 1;
        Ok(())
    }

    /// Whether the connection takes no more messages: the server said 421.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Returns when the server breaks the silence between two messages.
    pub(crate) async fn disturbed(&mut self) -> Failure {
        self.connection.disturbed().await
    }

    /// Nothing is sent for a long time.
    pub(crate) fn rest(&mut self) {
        self.connection.rest();
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, job: Job, content: &Content) -> Result<Outcome, Failure> {
        self.messages += 1;
        (self.current, self.standing) = (Some(job.number), Standing::NotTaken);
        let outcome = self.transaction(job, content).await;
        self.settle();
        outcome
    }

    async fn transaction(&mut self, job: Job, content: &Content) -> Result<Outcome, Failure> {
        self.proof.clear();
        if let Some(run) = self.plan.proof {
            ProofLine { run, number: job.number, digest: content.digest }.write(&mut self.proof);
        }
        let start = Instant::now();
        let size = content.size + self.proof.len() as u64;
        let extensions = self.connection.client.extensions();
        let chunking = self.plan.chunking && extensions.chunking;
        let pipelining = self.plan.pipelining && extensions.pipelining;
        let parameters = MailParameters {
            size: extensions.size.is_some().then_some(size),
            body: (content.eight_bit && extensions.eight_bit_mime).then_some(BodyType::EightBitMime),
            ..MailParameters::default()
        };
        let envelope = if pipelining {
            self.envelope_at_once(&parameters, chunking).await?
        } else {
            self.envelope_step_by_step(&parameters, chunking).await?
        };
        let end = match envelope {
            // RFC 2920 section 3.1: DATA that was accepted for nobody is ended at once.
            Envelope { data_accepted: true, accepted: 0, .. } => {
                self.connection.client.end_of_data();
                Some(self.flush_and_reply().await?)
            }
            Envelope { data_accepted: true, .. } => Some(self.data(content).await?),
            Envelope { accepted: 1.., .. } if chunking && !self.closing => Some(self.bdat(content, size).await?),
            _ => None,
        };
        let ended = Instant::now();
        if envelope.accepted > 0 && end.as_ref().is_some_and(Reply::is_positive) {
            self.standing = Standing::Acknowledged;
            if envelope.refused == 0 {
                self.taken(job, size, start, ended);
                return Ok(Outcome::Sent);
            }
        }
        let begun = job.intended.unwrap_or(start);
        self.measured().took(Phase::Refused, ended.saturating_duration_since(begun));
        if end.is_none() && !envelope.sender_refused && !self.closing {
            self.connection.client.reset();
            self.flush_and_reply().await?;
        }
        Ok(Outcome::Refused)
    }

    /// The message at hand is over, or given up.
    fn settle(&mut self) {
        if let Some(number) = self.current.take()
            && self.plan.proof.is_some()
        {
            self.measured().account(number, self.standing);
        }
    }

    fn taken(&self, job: Job, size: u64, start: Instant, end: Instant) {
        let mut measured = self.measured();
        let mut latency = end - start;
        measured.took(Phase::Message, latency);
        if let Some(intended) = job.intended {
            latency = end.saturating_duration_since(intended);
            measured.took(Phase::Intended, latency);
        }
        measured.taken(size, latency);
    }

    /// Says QUIT, and waits for the reply, so that no connection is reset.
    pub(crate) async fn quit(mut self) -> Result<(), Failure> {
        self.connection.client.quit();
        self.flush_and_reply().await.map(drop)
    }

    /// MAIL, each RCPT, and DATA in one write (RFC 2920). BDAT is not pipelined: a message is not to be sent in vain.
    async fn envelope_at_once(&mut self, parameters: &MailParameters, chunking: bool) -> Result<Envelope, Failure> {
        let client = &mut self.connection.client;
        client.mail(&self.plan.from, parameters);
        for recipient in &self.plan.recipients {
            client.rcpt(recipient, &RcptParameters::default());
        }
        if !chunking {
            client.data();
        }
        let mut envelope = Envelope::default();
        let start = Instant::now();
        self.connection.flush().await?;
        envelope.sender_refused = !self.reply(start).await?.is_positive();
        for _ in &self.plan.recipients {
            // After a 421 no reply is to be hoped for.
            if !self.closing {
                envelope.count(&self.reply(start).await?);
            }
        }
        if !chunking && !self.closing {
            envelope.data_accepted = self.reply(start).await?.code() == 354;
        }
        Ok(envelope)
    }

    async fn envelope_step_by_step(
        &mut self,
        parameters: &MailParameters,
        chunking: bool,
    ) -> Result<Envelope, Failure> {
        let mut envelope = Envelope::default();
        self.connection.client.mail(&self.plan.from, parameters);
        envelope.sender_refused = !self.flush_and_reply().await?.is_positive();
        if envelope.sender_refused {
            return Ok(envelope);
        }
        for recipient in &self.plan.recipients {
            if !self.closing {
                self.connection.client.rcpt(recipient, &RcptParameters::default());
                envelope.count(&self.flush_and_reply().await?);
            }
        }
        if !chunking && !self.closing && envelope.accepted > 0 {
            self.connection.client.data();
            envelope.data_accepted = self.flush_and_reply().await?.code() == 354;
        }
        Ok(envelope)
    }

    /// The content after 354.
    async fn data(&mut self, content: &Content) -> Result<Reply, Failure> {
        let [one, two, three] = content.stuffed.each_ref().map(|piece| &piece[..]);
        let mut last = [&self.proof[..], one, two, three];
        let first = split_off_first(&mut last);
        if first.iter().any(|piece| !piece.is_empty()) {
            self.connection.write_before_commands(&first).await?;
        }
        self.connection.client.end_of_data();
        self.standing = Standing::InDoubt;
        let start = Instant::now();
        self.connection.write_before_commands(&last).await?;
        self.end(start).await
    }

    /// The content in one chunk.
    async fn bdat(&mut self, content: &Content, size: u64) -> Result<Reply, Failure> {
        let [one, two, three] = content.plain.each_ref().map(|piece| &piece[..]);
        let mut last = [&self.proof[..], one, two, three];
        let first = split_off_first(&mut last);
        self.connection.client.bdat(size, BdatChunk::Last);
        if first.iter().any(|piece| !piece.is_empty()) {
            self.connection.write_after_commands(&first).await?;
        }
        self.standing = Standing::InDoubt;
        let start = Instant::now();
        self.connection.write_after_commands(&last).await?;
        self.end(start).await
    }

    /// The reply to the end of the content.
    async fn end(&mut self, start: Instant) -> Result<Reply, Failure> {
        let reply = self.reply(start).await?;
        if !reply.is_positive() {
            self.standing = Standing::NotTaken;
        }
        Ok(reply)
    }

    async fn flush_and_reply(&mut self) -> Result<Reply, Failure> {
        let start = Instant::now();
        self.connection.flush().await?;
        self.reply(start).await
    }

    /// The next reply, to what was written at `start`.
    async fn reply(&mut self, start: Instant) -> Result<Reply, Failure> {
        let (phase, reply) = match self.connection.reply().await? {
            ClientEvent::Greeting(reply) => (Phase::Greeting, reply),
            ClientEvent::Hello(reply) => (Phase::Hello, reply),
            ClientEvent::StartTls(reply) => (Phase::StartTls, reply),
            ClientEvent::Mail(reply) => (Phase::Mail, reply),
            ClientEvent::Rcpt(reply) => (Phase::Rcpt, reply),
            ClientEvent::Data(reply) => (Phase::Data, reply),
            ClientEvent::Message(reply) => (Phase::EndOfData, reply),
            ClientEvent::Reset(reply) => (Phase::Reset, reply),
            ClientEvent::Quit(reply) => (Phase::Quit, reply),
            // Nothing else is sent, so nothing else is answered; and a reply is due whenever this is called.
            ClientEvent::Closing(reply)
            | ClientEvent::XClient(reply)
            | ClientEvent::Chunk(reply)
            | ClientEvent::Noop(reply) => return Err(Failure::TurnedAway(reply)),
        };
        let code = reply.code();
        let mut measured = self.measured();
        measured.replied(phase, start.elapsed(), code);
        if code >= 400 {
            measured.example(phase, code, || reply.to_string().trim_end().to_owned());
        }
        drop(measured);
        self.closing |= code == 421;
        Ok(reply)
    }

    fn measured(&self) -> MutexGuard<'a, Measurements> {
        // Counts stay counts even if somebody panicked while adding to them.
        self.measurements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.settle();
        self.measured().open -= 1;
    }
}

impl Envelope {
    fn count(&mut self, reply: &Reply) {
        if reply.is_positive() {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
    }
}

fn positive(reply: Reply) -> Result<(), Failure> {
    if reply.is_positive() { Ok(()) } else { Err(Failure::TurnedAway(reply)) }
}

/// Takes all but the last [`LAST_PIECE`] octets.
fn split_off_first<'a>(pieces: &mut [&'a [u8]; 4]) -> [&'a [u8]; 4] {
    let mut excess = pieces.iter().map(|piece| piece.len()).sum::<usize>().saturating_sub(LAST_PIECE);
    pieces.each_mut().map(|piece| {
        let (first, last) = piece.split_at(excess.min(piece.len()));
        excess -= first.len();
        *piece = last;
        first
    })
}
