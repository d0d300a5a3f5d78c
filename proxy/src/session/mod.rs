//! One SMTP connection from its greeting to its end: what the server machine reports is carried out here.
//!
//! What a filter, the operator or the upstream makes of a command is decided in `transaction` and, once its message
//! is whole, in `concluding`; this file only walks through the dialog.

mod patience;
mod lines;
mod spare;
mod stream;
mod introduction;
mod recipients;
mod received;
mod transaction;
mod receiving;
mod relaying;
mod outcome;
mod destination;
mod offering;
mod concluding;
mod outgoing;
mod keeping;
mod delivering;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{BareNewline, ClientName, Event, Server, ServerPolicy, TlsPolicy};
use mailweir_smtp::xclient::XClient;

use crate::admin::metrics::Limit;
use crate::chain::{Refusal, Ruling, Run};
use crate::config::{self, Listener, ServerTls};
use crate::generation::{Generation, Listening, Proxy};
use crate::host::{Phases, TlsFacts, TransactionFacts};
use crate::listener::{Pressure, Stress};
use crate::timer::Timer;

use introduction::{Peer, Said};
use patience::Progress;
use stream::{Expecting, Parting, ReadEnd};
use transaction::Transaction;

pub use stream::ClientStream;

/// A connection that was accepted.
pub struct Connection {
    /// What all sessions share.
    pub proxy: Arc<Proxy>,
    /// The generation it was accepted under.
    pub generation: Arc<Generation>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client, behind a load balancer too.
    pub client: SocketAddr,
    /// Whether that address is the client's own. It is not when a load balancer names nobody.
    pub is_vouched_for: bool,
    /// The connection.
    pub stream: ClientStream,
    /// TLS from the first byte.
    pub tls: Option<TlsFacts>,
    /// How full its listener is.
    pub pressure: Pressure,
}

/// One SMTP session.
pub struct Session {
    connection: Connection,
    listening: Arc<Listening>,
    server: Server,
    input: BytesMut,
    trusted: bool,
    hello: Option<Hello>,
    /// The client's name in the DNS and in EHLO, where a proxy in front of us has said them.
    said: Said,
    peer: Peer,
    /// The first transaction's way through the chain, begun when the client connected, if there was anything to do.
    first_run: Option<Box<FirstRun>>,
    transaction: Option<Box<Transaction>>,
    messages: usize,
    progress: Progress,
    /// Spent waiting for commands since the last message that was accepted.
    waited: Duration,
    timer: Timer,
}

/// A way through the chain before MAIL, and what filters have been told of the session.
struct FirstRun {
    run: Run,
    facts: Arc<TransactionFacts>,
}

/// What the client said it is.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) name: String,
    pub(super) extended: bool,
    /// What an upstream is told of the client.
    pub(super) introduction: Arc<XClient>,
}

/// How long a client may take for its next command, or piece of a message, before it counts as resting.
const AT_WORK: Duration = Duration::from_millis(500);

/// What ended a wait.
enum Woken {
    /// The client has sent something, or it is to be waited for anew.
    ToGoOn,
    /// The process is to end.
    ToClose,
}

/// Why a session ended before QUIT.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error("{0}")]
    Read(#[from] ReadEnd),
    #[error("writing: {0}")]
    Write(std::io::Error),
    #[error("the TLS handshake: {0}")]
    Handshake(std::io::Error),
    /// Nothing is wrong: the last reply is written.
    #[error("closed")]
    Closed,
}

impl Session {
    /// A session on a connection that nothing was said on, with its listener's settings in the generation.
    pub fn new(connection: Connection, listening: Arc<Listening>) -> Self {
        let settings = &listening.settings;
        let trusted = is_trusted(settings, &connection);
        let server = Server::new(policy(&connection, settings));
        Self {
            listening,
            server,
            input: BytesMut::new(),
            trusted,
            hello: None,
            said: Said::default(),
            peer: Peer::of(&connection),
            first_run: None,
            transaction: None,
            messages: 0,
            progress: Progress::default(),
            waited: Duration::ZERO,
            timer: Timer::default(),
            connection,
        }
    }

    /// Serves the connection until it is to be closed. There are many sessions, and most of them wait: each is meant to
    /// be boxed, and the future holds a reference to it and not another copy.
    pub async fn run(&mut self) {
        let end = self.serve().await;
        let over = self.server.over_limits();
        self.listening.metrics.over_limit(Limit::Errors, over.errors);
        self.listening.metrics.over_limit(Limit::Recipients, over.recipients);
        if self.transaction.is_some() || self.first_run.is_some() {
            Box::pin(async {
                self.abandon_transaction().await;
                self.abandon_first_run().await;
            })
            .await;
        }
        match end {
            SessionEnd::Closed => {}
            end => tracing::debug!(
                listener = &*self.connection.listener,
                client = %self.connection.client,
                %end,
                "the connection ended"
            ),
        }
    }

    /// Closes the connection.
    pub async fn close(mut self) {
        let parting = self.parting();
        self.connection.stream.close(self.server.output(), parting).await;
    }

    fn parting(&self) -> Parting {
        if self.server.has_quit() && self.input.is_empty() { Parting::Agreed } else { Parting::Open }
    }

    async fn serve(&mut self) -> SessionEnd {
        if let Err(end) = Box::pin(self.greet()).await {
            return end;
        }
        loop {
            let step = match self.server.next(&mut self.input) {
                Some(Event::Close) => {
                    if self.parting() == Parting::Open {
                        let _ = self.flush().await;
                    }
                    return SessionEnd::Closed;
                }
                Some(event) => {
                    let done = self.carry_out(event).await;
                    self.progress = Progress::default();
                    done
                }
                None => match self.server.content_fault() {
                    Some(fault) => {
                        Box::pin(self.refuse_faulty(fault)).await;
                        Ok(())
                    }
                    None => self.wait_for_client().await,
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// What a command leads to needs several times the memory of waiting for it, and is boxed so that it is there for
    /// that time only, and each apart, so that the smaller ones cost less: thousands of sessions wait.
    async fn carry_out(&mut self, event: Event) -> Result<(), SessionEnd> {
        match event {
            Event::Hello { name, extended } => Box::pin(self.hello(name, extended)).await,
            Event::Mail { path, parameters } => Box::pin(self.mail(path, parameters)).await,
            Event::Rcpt { path, parameters } => Box::pin(self.rcpt(path, parameters)).await,
            Event::MessageBegin { framing } => self.begin_message(framing),
            Event::MessageChunk(chunk) => Box::pin(self.take_chunk(chunk)).await,
            Event::MessageEnd(summary) => Box::pin(self.end_message(summary)).await,
            Event::Reset => Box::pin(self.abandon_transaction()).await,
            Event::StartTls => return Box::pin(self.start_tls()).await,
            Event::XClient(said) => Box::pin(self.introduced(*said)).await,
            Event::Close => {}
        }
        Ok(())
    }

    /// The greeting, after the filters of the connect phase.
    async fn greet(&mut self) -> Result<(), SessionEnd> {
        match self.greeting().await {
            Ok(reply) => self.server.greet(reply),
            Err(Refusal { reply, disconnect: true }) => self.server.close(reply),
            Err(Refusal { reply, disconnect: false }) => self.server.greet(reply),
        }
        self.flush().await
    }

    async fn greeting(&mut self) -> Result<Reply, Refusal> {
        // Where nobody asks for the phase, the way through the chain begins when somebody has something to do.
        if self.listening.chain.phases().contains(Phases::CONNECT) {
            let (mut run, facts) = self.new_run();
            let ruling = run.connect().await;
            rest(run.take_tarpit(), &self.connection.proxy).await;
            if let Ruling::Refuse(refusal) = ruling {
                self.report_phase("connect", run, &facts, &refusal.reply).await;
                return Err(refusal);
            }
            self.first_run = Some(Box::new(FirstRun { run, facts }));
        }
        let hostname = &self.connection.generation.config.server.hostname;
        Ok(Reply::new(220, "", &format!("{hostname} ESMTP mailweir")))
    }

    async fn hello(&mut self, name: ClientName, extended: bool) {
        self.abandon_transaction().await;
        let name = self.said.helo.clone().unwrap_or(name);
        let introduction = self.introduction(name.clone(), extended);
        let previous = self.hello.replace(Hello { name: name.as_str().to_owned(), extended, introduction });
        if previous.is_some() {
            // A client that gives another name begins anew: sandboxes and SPF have seen the first one.
            self.abandon_first_run().await;
        }
        if self.listening.chain.phases().intersects(Phases::CONNECT | Phases::HELO) {
            let (run, facts, ruling) = self.greeted_run().await;
            if let Ruling::Refuse(refusal) = ruling {
                self.report_phase("helo", run, &facts, &refusal.reply).await;
                self.hello = previous;
                return self.refuse(refusal);
            }
            self.first_run = Some(Box::new(FirstRun { run, facts }));
        }
        self.server.set_offer(self.offer());
        let hostname = &self.connection.generation.config.server.hostname;
        self.server.accept(Reply::new(250, "", hostname));
    }

    /// A way through the chain on which the phases up to EHLO are behind. Each sandbox sees its phases in order, whichever
    /// transaction of the connection it serves.
    async fn greeted_run(&mut self) -> (Run, Arc<TransactionFacts>, Ruling) {
        let (mut run, facts, mut ruling) = match self.first_run.take().map(|first| *first) {
            // When it began, the client had not said EHLO.
            Some(FirstRun { run, facts }) => (run, self.facts(facts.id.clone()), Ruling::Continue),
            None => {
                let (mut run, facts) = self.new_run();
                let ruling = run.connect().await;
                (run, facts, ruling)
            }
        };
        if ruling == Ruling::Continue {
            ruling = run.helo(Arc::clone(&facts)).await;
        }
        rest(run.take_tarpit(), &self.connection.proxy).await;
        (run, facts, ruling)
    }

    async fn start_tls(&mut self) -> Result<(), SessionEnd> {
        let Some(config) = self.listening.tls.clone() else {
            self.server.refuse(Reply::new(454, "4.7.0", "TLS is not available now"));
            return Ok(());
        };
        self.server.accept(Reply::new(220, "2.0.0", "Ready to start TLS"));
        self.flush().await?;
        // RFC 3207 section 6: what was sent in the clear before the handshake counts for nothing.
        self.input = BytesMut::new();
        let handshake = self
            .connection
            .stream
            .handshake(
                config,
                self.listening.settings.limits.for_handshake(self.connection.pressure.now()),
                &self.listening.metrics,
            )
            .await;
        self.connection.tls = Some(handshake.map_err(SessionEnd::Handshake)?);
        self.server.tls_established(&mut self.input);
        self.hello = None;
        self.abandon_first_run().await;
        Ok(())
    }

    /// Nothing is left to do with what was read: sends the replies and reads on.
    async fn wait_for_client(&mut self) -> Result<(), SessionEnd> {
        self.flush().await?;
        let limits = &self.listening.settings.limits;
        let stress = self.connection.pressure.now();
        let reading_content = self.server.is_reading_content();
        let expecting = match &self.transaction {
            _ if !reading_content => Expecting::Command,
            Some(transaction) => transaction.expecting(),
            None => Expecting::Message { received: 0 },
        };
        // What a slow client has sent takes the room that others wait for.
        let holds_room = matches!(expecting, Expecting::Message { .. });
        let is_in_the_way = holds_room && self.connection.proxy.budget().is_short();
        let counted = if is_in_the_way { Stress::NearlyFull } else { stress };
        let patience = if reading_content { limits.for_data(counted) } else { limits.for_command(stress) };
        let mut patience = patience.saturating_sub(self.progress.since());
        if !reading_content {
            patience = patience.min(limits.for_all_commands(stress).saturating_sub(self.waited));
        }
        if !reading_content && self.input.is_empty() {
            // An idle connection holds no buffer.
            self.input = BytesMut::new();
        }
        let upstream_waits = self.transaction.as_deref().and_then(Transaction::upstream_waits);
        // Whether somebody waits for the room is looked at from time to time.
        let looks_up = holds_room.then_some(limits.stress_timeout);
        let wakes = [upstream_waits, looks_up].into_iter().flatten().min().filter(|wakes| *wakes < patience);
        let patience = wakes.unwrap_or(patience);
        let held = self.input.len();
        let began = Instant::now();
        let read = self.read(expecting, patience, stress).await;
        if reading_content {
            self.progress.read(self.input.len().saturating_sub(held));
        } else {
            self.waited += began.elapsed();
        }
        match read {
            Ok(Woken::ToGoOn) => Ok(()),
            Ok(Woken::ToClose) => {
                self.server.close(Reply::new(421, "4.3.2", "Shutting down, try again"));
                Ok(())
            }
            Err(ReadEnd::Timeout) if wakes.is_some() => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.give_back_upstream();
                }
                Ok(())
            }
            Err(ReadEnd::Timeout) => {
                self.listening.metrics.timed_out(counted);
                let limit = if reading_content { Limit::DataTimeout } else { Limit::CommandTimeout };
                self.listening.metrics.over_limit(limit, 1);
                self.server.close(Reply::new(421, "4.4.2", "Nothing came for too long"));
                let _ = self.flush().await;
                Err(SessionEnd::Read(ReadEnd::Timeout))
            }
            Err(end) => Err(SessionEnd::Read(end)),
        }
    }

    /// Reads what the client sends. A client at work answers at once, and then nothing else is listened to: signals for
    /// all sessions are looked at before each of its commands, and only one that rests has to be woken by them.
    async fn read(&mut self, expecting: Expecting, patience: Duration, stress: Stress) -> Result<Woken, ReadEnd> {
        let between_messages = matches!(expecting, Expecting::Command);
        // Between messages nothing is lost by closing: the client comes back, to another edge.
        if between_messages && self.connection.proxy.is_draining() {
            return Ok(Woken::ToClose);
        }
        let Self { connection: Connection { stream, pressure, proxy, .. }, input, timer, .. } = self;
        let at_work = patience.min(AT_WORK);
        match stream.read(input, expecting, timer, at_work).await {
            Err(ReadEnd::Timeout) if patience > at_work => {}
            read => return read.map(|()| Woken::ToGoOn),
        }
        let mut drain = proxy.drain();
        tokio::select! {
            biased;
            () = drain.begun(), if between_messages => Ok(Woken::ToClose),
            // The other timeouts count from now on, for who has waited already too.
            () = pressure.changed(stress) => Ok(Woken::ToGoOn),
            read = stream.read(input, expecting, timer, patience - at_work) => read.map(|()| Woken::ToGoOn),
        }
    }

    async fn flush(&mut self) -> Result<(), SessionEnd> {
        let patience = self.listening.settings.limits.for_command(self.connection.pressure.now());
        self.connection.stream.write(self.server.output(), patience).await.map_err(SessionEnd::Write)
    }

    /// Answers a command with a filter's refusal.
    fn refuse(&mut self, refusal: Refusal) {
        if refusal.disconnect {
            self.server.close(refusal.reply);
        } else {
            self.server.refuse(refusal.reply);
        }
    }

    async fn abandon_first_run(&mut self) {
        if let Some(first) = self.first_run.take() {
            self.abandon(first.run).await;
        }
    }

    fn new_run(&self) -> (Run, Arc<TransactionFacts>) {
        let facts = self.facts(received::transaction_id());
        let chain = Arc::clone(&self.listening.chain);
        (Run::new(chain, Arc::clone(&facts), self.connection.generation.evaluation(self.connection.client.ip())), facts)
    }

    /// What filters learn of this session.
    fn facts(&self, id: String) -> Arc<TransactionFacts> {
        Arc::new(TransactionFacts {
            id,
            listener: self.connection.listener.to_string(),
            hostname: self.connection.generation.config.server.hostname.clone(),
            client: self.connection.client,
            helo: self.hello.as_ref().map(|hello| hello.name.clone().into_bytes()).unwrap_or_default(),
            tls: self.connection.tls.clone(),
            trusted: self.trusted,
        })
    }

    /// What EHLO offers: what we and the route's upstream can both do.
    fn offer(&self) -> Extensions {
        let ours = Extensions { size: Some(self.listening.settings.limits.message_size), ..ours() };
        let route = self.listening.settings.route.as_deref().and_then(|route| self.connection.generation.route(route));
        match route {
            Some(route) => ours.relayed_to(&route.extensions()),
            None => ours,
        }
    }
}

fn is_trusted(settings: &Listener, connection: &Connection) -> bool {
    let client = connection.client.ip();
    connection.is_vouched_for && settings.trusted_networks.iter().any(|network| network.contains(&client))
}

/// Waits as long as filters asked for, or until a drain begins: a client that is to leave is not held up.
async fn rest(delay: Duration, proxy: &Proxy) {
    if !delay.is_zero() {
        let _ = tokio::time::timeout(delay, proxy.drain().begun()).await;
    }
}

/// What we can do ourselves.
fn ours() -> Extensions {
    Extensions {
        pipelining: true,
        eight_bit_mime: true,
        smtp_utf8: true,
        chunking: true,
        enhanced_status_codes: true,
        dsn: true,
        ..Extensions::default()
    }
}

fn policy(connection: &Connection, settings: &Listener) -> ServerPolicy {
    ServerPolicy {
        bare_newline: match settings.bare_newline {
            config::BareNewline::Reject => BareNewline::Reject,
            config::BareNewline::Normalize => BareNewline::Normalize,
        },
        unremarkable: lines::passed,
        max_errors: settings.limits.errors,
        message_size: settings.limits.message_size,
        max_recipients: settings.limits.recipients,
        tls: match (&settings.tls, &connection.tls) {
            (_, Some(_)) => TlsPolicy::Active,
            (ServerTls::Off | ServerTls::Implicit(_), None) => TlsPolicy::Off,
            (ServerTls::Opportunistic(_), None) => TlsPolicy::Offered,
            (ServerTls::Required(_), None) => TlsPolicy::Required,
        },
        xclient: Peer::of(connection).may_introduce(settings),
        ..ServerPolicy::new(&connection.generation.config.server.hostname)
    }
}
