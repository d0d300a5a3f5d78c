//! One session: a connection after another, a message after another.

use std::time::Instant;

use mailweir_smtp::client::{BdatChunk, ClientEvent};
use mailweir_smtp::parameter::{BodyType, MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;

use crate::connection::{Connection, Failure};
use crate::content::Content;
use crate::measure::{Outcome, Phase, Sample};
use crate::send::Plan;

/// The most content in the write that the end of data is measured from.
const LAST_PIECE: usize = 64 * 1024;

/// A session that has a connection, at the point between two messages.
pub(crate) struct Session<'a> {
    plan: &'a Plan,
    connection: Connection,
    samples: &'a mut Vec<Sample>,
    /// Whether the server has said 421.
    closing: bool,
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
    /// Connects, and says EHLO.
    pub(crate) async fn open(plan: &'a Plan, samples: &'a mut Vec<Sample>) -> Result<Self, Failure> {
        let start = Instant::now();
        let connection = Connection::open(plan.server, plan.patience).await?;
        let mut session = Self { plan, connection, samples, closing: false, messages: 0 };
        let greeting = session.reply(start).await?;
        if !greeting.is_positive() {
            return Err(Failure::TurnedAway(greeting.code()));
        }
        session.connection.client.hello(&plan.helo);
        let hello = session.flush_and_reply().await?;
        if hello.is_positive() { Ok(session) } else { Err(Failure::TurnedAway(hello.code())) }
    }

    /// Whether the connection takes no more messages: the server said 421.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// What was measured, to be emptied.
    pub(crate) fn samples(&mut self) -> &mut Vec<Sample> {
        self.samples
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, content: &Content) -> Result<Outcome, Failure> {
        self.messages += 1;
        let start = Instant::now();
        let extensions = self.connection.client.extensions();
        let chunking = self.plan.chunking && extensions.chunking;
        let pipelining = self.plan.pipelining && extensions.pipelining;
        let parameters = MailParameters {
            size: extensions.size.is_some().then_some(content.plain.len() as u64),
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
            Envelope { accepted: 1.., .. } if chunking && !self.closing => Some(self.bdat(content).await?),
            _ => None,
        };
        if end.as_ref().is_some_and(Reply::is_positive) && envelope.refused == 0 && envelope.accepted > 0 {
            self.samples.push(Sample { phase: Phase::Message, duration: start.elapsed(), code: None });
            return Ok(Outcome::Sent);
        }
        if end.is_none() && !envelope.sender_refused && !self.closing {
            self.connection.client.reset();
            self.flush_and_reply().await?;
        }
        Ok(Outcome::Refused)
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
        let mut first = content.stuffed.clone();
        let last = first.split_off(first.len().saturating_sub(LAST_PIECE));
        self.connection.write_before_commands(first).await?;
        self.connection.client.end_of_data();
        let start = Instant::now();
        self.connection.write_before_commands(last).await?;
        self.reply(start).await
    }

    /// The content in one chunk.
    async fn bdat(&mut self, content: &Content) -> Result<Reply, Failure> {
        let mut first = content.plain.clone();
        let last = first.split_off(first.len().saturating_sub(LAST_PIECE));
        self.connection.client.bdat(content.plain.len() as u64, BdatChunk::Last);
        if !first.is_empty() {
            self.connection.write_after_commands(first).await?;
        }
        let start = Instant::now();
        self.connection.write_after_commands(last).await?;
        self.reply(start).await
    }

    async fn flush_and_reply(&mut self) -> Result<Reply, Failure> {
        let start = Instant::now();
        self.connection.flush().await?;
        self.reply(start).await
    }

    /// The next reply, to what was written at `start`.
    async fn reply(&mut self, start: Instant) -> Result<Reply, Failure> {
        let (phase, reply) = match self.connection.reply().await? {
            ClientEvent::Greeting(reply) => (Phase::Connect, reply),
            ClientEvent::Hello(reply) => (Phase::Hello, reply),
            ClientEvent::Mail(reply) => (Phase::Mail, reply),
            ClientEvent::Rcpt(reply) => (Phase::Rcpt, reply),
            ClientEvent::Data(reply) => (Phase::Data, reply),
            ClientEvent::Message(reply) => (Phase::EndOfData, reply),
            ClientEvent::Reset(reply) => (Phase::Reset, reply),
            ClientEvent::Quit(reply) => (Phase::Quit, reply),
            // Nothing else is sent, so nothing else is answered; and a reply is due whenever this is called.
            ClientEvent::Closing(reply)
            | ClientEvent::StartTls(reply)
            | ClientEvent::XClient(reply)
            | ClientEvent::Chunk(reply)
            | ClientEvent::Noop(reply) => return Err(Failure::TurnedAway(reply.code())),
        };
        self.samples.push(Sample { phase, duration: start.elapsed(), code: Some(reply.code()) });
        self.closing |= reply.code() == 421;
        Ok(reply)
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
