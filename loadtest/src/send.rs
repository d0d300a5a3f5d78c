//! `mailweir-load send`: a closed loop of sessions.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mailweir_smtp::address::{ClientName, ForwardPath, Mailbox, ReversePath};
use tokio::task::JoinSet;

use crate::arguments::SendArguments;
use crate::content::Content;
use crate::measure::{Measurements, Sample};
use crate::report::model::Results;
use crate::session::Session;

/// What all sessions have in common.
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) helo: ClientName,
    pub(crate) from: ReversePath,
    pub(crate) recipients: Vec<ForwardPath>,
    pub(crate) pipelining: bool,
    pub(crate) chunking: bool,
    pub(crate) patience: Duration,
    messages_per_connection: u64,
    contents: Vec<Content>,
    /// Messages begun so far, and how many there are to be.
    begun: AtomicU64,
    messages: u64,
    measurements: Mutex<Measurements>,
}

/// Sends as the arguments say, until every message was tried once or SIGINT comes.
///
/// # Errors
///
/// When it cannot begin: no content, no such host.
pub(crate) async fn send(arguments: &SendArguments) -> anyhow::Result<Results> {
    let plan = Arc::new(Plan::new(arguments).await?);
    let start = Instant::now();
    let mut sessions = JoinSet::new();
    for _ in 0..u64::from(arguments.sessions.get()).min(plan.messages) {
        sessions.spawn(session(Arc::clone(&plan)));
    }
    loop {
        tokio::select! {
            ended = sessions.join_next() => match ended {
                Some(ended) => ended.context("a session panicked")?,
                None => break,
            },
            // What was begun is ended, and reported.
            Ok(()) = tokio::signal::ctrl_c() => plan.stop(),
        }
    }
    let mut results = Results::new("send");
    results.seconds = start.elapsed().as_secs_f64();
    let run = plan.measurements().run("send", plan.messages, arguments.sessions.get().into(), start.elapsed());
    results.runs.push(run);
    Ok(results)
}

impl Plan {
    async fn new(arguments: &SendArguments) -> anyhow::Result<Self> {
        let contents = match arguments.eml.as_slice() {
            [] => vec![Content::generated(arguments.size)?],
            files => files.iter().map(|file| Content::from_file(file)).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            server: resolve(&arguments.server).await?,
            helo: arguments.helo.clone(),
            from: arguments.from.clone(),
            recipients: recipients(&arguments.to, arguments.recipients)?,
            pipelining: !arguments.no_pipelining,
            chunking: arguments.chunking,
            patience: arguments.timeout,
            messages_per_connection: arguments.messages_per_connection.map_or(u64::MAX, Into::into),
            contents,
            begun: AtomicU64::new(0),
            messages: arguments.messages.into(),
            measurements: Mutex::default(),
        })
    }

    /// The next message, if there is one left to send.
    fn next(&self) -> Option<&Content> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        // The remainder is less than the length, which is a usize.
        (number < self.messages).then(|| &self.contents[(number % self.contents.len() as u64) as usize])
    }

    /// No message is begun any more.
    fn stop(&self) {
        self.begun.fetch_max(self.messages, Ordering::Relaxed);
    }

    fn measurements(&self) -> MutexGuard<'_, Measurements> {
        // Counts stay counts even if somebody panicked while adding to them.
        self.measurements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends messages until none is left.
async fn session(plan: Arc<Plan>) {
    let mut samples = Vec::new();
    let mut next = plan.next();
    while let Some(content) = next {
        next = connection(&plan, content, &mut samples).await;
    }
}

/// Sends one message and then others over one connection, and gives back the first that is left for another.
async fn connection<'a>(plan: &'a Plan, first: &'a Content, samples: &mut Vec<Sample>) -> Option<&'a Content> {
    let mut session = match Session::open(plan, samples).await {
        Ok(session) => session,
        Err(failure) => {
            plan.measurements().lost(&failure, samples);
            return plan.next();
        }
    };
    plan.measurements().connections += 1;
    let mut next = Some(first);
    while let Some(content) = next {
        if session.messages == plan.messages_per_connection || session.is_closing() {
            break;
        }
        match session.send(content).await {
            Ok(outcome) => plan.measurements().answered(outcome, content.plain.len(), session.samples()),
            Err(failure) => {
                plan.measurements().lost(&failure, session.samples());
                return plan.next();
            }
        }
        next = plan.next();
    }
    if !session.is_closing()
        && let Err(failure) = session.quit().await
    {
        plan.measurements().failure(&failure);
    }
    plan.measurements().absorb(samples);
    next
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
        let mailbox = Mailbox::parse(address.as_bytes()).with_context(|| format!("--to: {address}"))?;
        Ok(ForwardPath::Mailbox(mailbox))
    };
    (1..=count).map(numbered).collect()
}
