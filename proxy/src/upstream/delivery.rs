//! One message on its way to an upstream.

mod relay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mailweir_smtp::address::{Domain, ReversePath};
use mailweir_smtp::client::BdatChunk;
use mailweir_smtp::parameter::MailParameters;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::xclient::XClient;

use super::body::{self, BodyError};
use super::connection::{Connection, answer};
use super::conversion::ContentLimits;
use super::envelope::{self, Accepted, Recipient, Transaction, add_recipients};
use super::error::{ConnectionError, UpstreamError, for_client};
use super::introduction::introduce;
use super::route::{Candidates, Reuse, RouteHandle};
use crate::message::{Framing, Message};

pub use relay::{NotBegun, Relay};

/// How long to listen for the reason after an upstream has hung up on us in the middle of a message. It is in our
/// receive buffer or nowhere.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A connection in the hands of one session, for one transaction after another.
///
/// Dropped, it goes back to the pool when its connection is in a known state, and is closed otherwise: in particular
/// when a method's future was dropped before it was done. A transaction left open is reset by whoever uses the
/// connection next, in the same write as the next MAIL.
pub struct Delivery {
    route: Arc<RouteHandle>,
    domain: Domain,
    /// Whom we speak for.
    client: Arc<XClient>,
    candidates: Candidates,
    /// `None`: it broke, or a method is at work on it.
    connection: Option<Box<Connection>>,
    transaction: Transaction,
}

/// Why there is no answer to a message.
enum Failure {
    /// The connection died before; another may do.
    Unsent(Unsent),
    /// The message is lost for this session.
    Final(UpstreamError),
}

/// A connection that died before any of the content was sent.
struct Unsent {
    host: String,
    cause: ConnectionError,
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::Final(error)
    }
}

impl Delivery {
    pub(super) fn new(
        route: Arc<RouteHandle>,
        domain: Domain,
        client: Arc<XClient>,
        candidates: Candidates,
        connection: Box<Connection>,
    ) -> Self {
        Self { route, domain, client, candidates, connection: Some(connection), transaction: Transaction::None }
    }

    /// The upstream's name, while there is a connection.
    pub fn host(&self) -> Option<&str> {
        self.connection.as_ref().map(|connection| connection.host.host.as_str())
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_encrypted())
    }

    /// The route.
    pub fn route(&self) -> &Arc<RouteHandle> {
        &self.route
    }

    /// Recipients that the upstream has accepted in this transaction.
    pub fn accepted(&self) -> usize {
        match &self.transaction {
            Transaction::Open(accepted) => accepted.recipients.len(),
            Transaction::None | Transaction::Refused(_) => 0,
        }
    }

    /// Begins a transaction, or begins anew with another envelope: RSET where one was open, MAIL, and RCPT for each
    /// recipient, in one write if the upstream has PIPELINING. A refused MAIL is the answer to each recipient.
    ///
    /// When the connection turns out to be dead, or the upstream shuts down, all is said again to the next one: nothing
    /// of a message has been sent so far, and nobody was told anything.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`] when no host is left.
    pub async fn mail_and_rcpt(
        &mut self,
        sender: &ReversePath,
        parameters: &MailParameters,
        recipients: &[Recipient],
    ) -> Result<Vec<Reply>, UpstreamError> {
        self.begin(sender, parameters, recipients, Reuse::Allowed).await
    }

    async fn begin(
        &mut self,
        sender: &ReversePath,
        parameters: &MailParameters,
        recipients: &[Recipient],
        mut reuse: Reuse,
    ) -> Result<Vec<Reply>, UpstreamError> {
        self.transaction = Transaction::None;
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                // Rare, and larger than all the rest.
                None => Box::pin(self.replacement(reuse)).await?,
            };
            match self.open(&mut connection, sender, parameters, recipients).await {
                Ok((transaction, replies)) => {
                    connection.is_reused = true;
                    self.transaction = transaction;
                    self.connection = Some(connection);
                    return Ok(replies);
                }
                Err(cause) => {
                    let is_reused = connection.is_reused;
                    tracing::debug!(host = connection.host.host, %cause, is_reused, "MAIL failed");
                    reuse = Reuse::Avoided;
                    if is_reused {
                        // It says nothing about the host, which may have closed a connection that was idle for long.
                        self.candidates = Box::pin(self.route.candidates(&self.domain)).await?;
                        continue;
                    }
                    self.route.failed(&connection.host);
                    match cause {
                        ConnectionError::ShuttingDown(reply) if self.candidates.is_empty() => {
                            let refusal = for_client(reply);
                            self.transaction = Transaction::Refused(refusal.clone());
                            return Ok(vec![refusal; recipients.len()]);
                        }
                        cause if self.candidates.is_empty() => return Err(self.unreachable(&connection, &cause)),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Says whom we speak for, and opens the transaction.
    async fn open(
        &self,
        connection: &mut Connection,
        sender: &ReversePath,
        parameters: &MailParameters,
        recipients: &[Recipient],
    ) -> Result<(Transaction, Vec<Reply>), ConnectionError> {
        let config = self.route.config();
        let limit = config.command_timeout;
        if config.xclient
            && let Some(refusal) = introduce(connection, &self.client, self.route.own_name(), limit).await?
        {
            let replies = vec![refusal.clone(); recipients.len()];
            return Ok((Transaction::Refused(refusal), replies));
        }
        envelope::open(connection, sender, parameters, recipients, limit).await
    }

    /// Further recipients of the transaction, pipelined where the upstream has that.
    ///
    /// Where MAIL was refused, that refusal is the answer to each of them. After a message, there is no transaction.
    ///
    /// # Errors
    /// [`UpstreamError::Lost`]; the transaction is gone then.
    pub async fn rcpt(&mut self, recipients: &[Recipient]) -> Result<Vec<Reply>, UpstreamError> {
        let mut transaction = match self.transaction.take() {
            Ok(transaction) => transaction,
            Err(refusal) => return Ok(vec![refusal; recipients.len()]),
        };
        let limit = self.route.config().command_timeout;
        let mut connection = self.take()?;
        let mut replies = Vec::with_capacity(recipients.len());
        match add_recipients(&mut connection, &mut transaction, recipients, &mut replies, limit).await {
            Ok(()) => {
                self.transaction = Transaction::Open(transaction);
                self.connection = Some(connection);
                Ok(replies)
            }
            Err(ConnectionError::ShuttingDown(reply)) => {
                // The last answer there is. Those that were accepted are asked for again when the message is there.
                self.transaction = Transaction::Open(transaction);
                replies.resize(recipients.len(), for_client(reply));
                Ok(replies)
            }
            Err(cause) => Err(self.lost(&connection, cause, false)),
        }
    }

    /// Sends the message and returns the upstream's answer word for word. A 2xx means that it has the message; it is
    /// never made up. The transaction is over then, whatever the answer.
    ///
    /// The connection was idle while the client sent its message, perhaps for longer than the upstream waits. When it
    /// turns out to be dead before any of the content was sent, the envelope is repeated over a fresh one, and the
    /// message is sent there if all recipients are accepted as before. This happens once. After the first octet of the
    /// content nothing is repeated: the upstream may have taken the message.
    ///
    /// Where MAIL was refused, nothing is sent and that refusal is the answer.
    ///
    /// # Errors
    /// [`UpstreamError::Lost`] when there is no answer; [`UpstreamError::Store`] when the message cannot be read.
    pub async fn message(&mut self, message: &Message) -> Result<Reply, UpstreamError> {
        let transaction = match self.transaction.take() {
            Ok(transaction) => transaction,
            Err(refusal) => return Ok(refusal),
        };
        if transaction.recipients.is_empty() {
            return Ok(Reply::new(554, "5.5.1", "No valid recipients"));
        }
        let unsent = match self.attempt(transaction.content, message).await {
            Ok(reply) => return Ok(reply),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Unsent(unsent)) => unsent,
        };
        tracing::info!(host = unsent.host, cause = %unsent.cause, "the connection died before the message: once more");
        match Box::pin(self.begin_again(&transaction)).await {
            Ok(content) => match self.attempt(content, message).await {
                Ok(reply) => Ok(reply),
                Err(Failure::Final(error)) => Err(error),
                Err(Failure::Unsent(unsent)) => self.give_up(unsent),
            },
            Err(Some(refusal)) => Ok(refusal),
            Err(None) => self.give_up(unsent),
        }
    }

    /// The same envelope over a fresh connection. Without that, or where the recipients cannot be had as before, the
    /// refusal for the client, if there is one that holds for all of them.
    async fn begin_again(&mut self, before: &Accepted) -> Result<ContentLimits, Option<Reply>> {
        let Accepted { sender, parameters, recipients, .. } = before;
        let candidates = self.route.candidates(&self.domain).await;
        self.candidates = candidates.map_err(|_| None)?;
        let replies = self.begin(sender, parameters, recipients, Reuse::Avoided).await.map_err(|error| {
            tracing::info!(%error, "there is no other connection");
            None
        })?;
        let refused = |reply: &&Reply| !reply.is_positive();
        // The client takes the answer to the message for that to all recipients. So a permanent one, which makes it give
        // up, will not do as long as any of them may yet get the message.
        let refusal = match replies.iter().find(|reply| reply.is_transient()) {
            Some(reply) => Some(reply),
            None if replies.iter().all(|reply| refused(&reply)) => replies.first(),
            None => None,
        };
        match self.transaction.take() {
            Ok(again) if !replies.iter().any(|reply| refused(&reply)) => Ok(again.content),
            _ => Err(refusal.cloned()),
        }
    }

    /// Sends the message over the connection there is.
    async fn attempt(&mut self, content: ContentLimits, message: &Message) -> Result<Reply, Failure> {
        if let Some(refusal) = content.check(message).map_err(UpstreamError::from)? {
            return Ok(refusal);
        }
        let Some(mut connection) = self.connection.take() else {
            let host = self.route.name().to_owned();
            return Err(Failure::Unsent(Unsent { host, cause: ConnectionError::Closed }));
        };
        // Nothing is lost by finding out late with DATA, whose answer comes before the content. A BDAT command and its
        // content leave in one write.
        if let Err(cause) = connection.check(LAST_WORD).await {
            return Err(self.unsent(&connection, cause));
        }
        let extensions = connection.client.extensions();
        let framing = if extensions.chunking { message.framing() } else { Framing::DotStuffed };
        match framing {
            Framing::DotStuffed => self.send_data(connection, message).await,
            Framing::Plain => Ok(self.send_chunk(connection, message).await?),
        }
    }

    /// DATA, 354, the content, the dot.
    async fn send_data(&mut self, mut connection: Box<Connection>, message: &Message) -> Result<Reply, Failure> {
        connection.client.data();
        let answered = connection.ask(self.route.config().command_timeout).await;
        match answered.and_then(answer) {
            Ok(reply) if reply.is_positive() => {}
            Ok(refusal) => {
                self.connection = Some(connection);
                return Ok(refusal);
            }
            Err(cause) => return Err(self.unsent(&connection, cause)),
        }
        connection.client.end_of_data();
        Ok(self.send_content(connection, message, Framing::DotStuffed).await?)
    }

    /// BDAT with everything in one chunk, which needs no round trip of its own.
    async fn send_chunk(&mut self, mut connection: Box<Connection>, message: &Message) -> Result<Reply, UpstreamError> {
        connection.client.bdat(message.size(), BdatChunk::Last);
        self.send_content(connection, message, Framing::Plain).await
    }

    async fn send_content(
        &mut self,
        mut connection: Box<Connection>,
        message: &Message,
        framing: Framing,
    ) -> Result<Reply, UpstreamError> {
        let limit = self.route.config().command_timeout;
        let started = Instant::now();
        let sent = match connection.has_unread() {
            // Said before the first byte was sent, so not about the message.
            true => Err(BodyError::Interrupted),
            false => body::send(&mut connection, message.wire(framing), framing, limit).await,
        };
        match sent {
            Ok(()) => self.verdict(connection).await,
            Err(error) => self.objection(connection, error, started).await,
        }
    }

    /// What the upstream has against a message that it has not seen the end of. The connection is in the middle of it and
    /// is not used again.
    async fn objection(
        &self,
        mut connection: Box<Connection>,
        error: BodyError,
        started: Instant,
    ) -> Result<Reply, UpstreamError> {
        let (cause, limit) = match error {
            BodyError::Store(error) => return Err(error.into()),
            BodyError::Interrupted => (ConnectionError::Closed, self.route.config().command_timeout),
            BodyError::Broken(cause) => (cause, LAST_WORD),
        };
        match connection.reply(limit).await.and_then(answer) {
            Ok(refusal) if !refusal.is_positive() => {
                self.route.observer().answered(self.route.name(), refusal.code(), started.elapsed());
                Ok(refusal)
            }
            Err(ConnectionError::ShuttingDown(reply)) => Ok(for_client(reply)),
            Ok(reply) => Err(self.lost(&connection, ConnectionError::Early(reply), false)),
            Err(_) => Err(self.lost(&connection, cause, false)),
        }
    }

    /// The upstream's answer to a message that it has as a whole.
    async fn verdict(&mut self, mut connection: Box<Connection>) -> Result<Reply, UpstreamError> {
        let sent_at = Instant::now();
        match connection.reply(self.route.config().data_timeout).await.and_then(answer) {
            Ok(reply) => {
                self.route.observer().answered(self.route.name(), reply.code(), sent_at.elapsed());
                connection.messages += 1;
                // RFC 5321 section 4.1.1.4: the transaction is over either way. A RSET costs nothing, and not every
                // server that refuses a message has read that far.
                connection.needs_reset = !reply.is_positive();
                self.connection = Some(connection);
                Ok(reply)
            }
            Err(ConnectionError::ShuttingDown(reply)) => {
                self.route.observer().answered(self.route.name(), reply.code(), sent_at.elapsed());
                Ok(for_client(reply))
            }
            Err(cause) => Err(self.lost(&connection, cause, true)),
        }
    }

    /// The connection, for as long as an exchange lasts: should that be abandoned halfway, so is the connection.
    fn take(&mut self) -> Result<Box<Connection>, UpstreamError> {
        self.connection.take().ok_or_else(|| self.gone())
    }

    fn gone(&self) -> UpstreamError {
        let host = self.route.name().to_owned();
        UpstreamError::Lost { host, cause: ConnectionError::Closed, in_doubt: false }
    }

    /// Another connection: of the hosts not tried yet, or, long after `begin`, of all of them.
    async fn replacement(&mut self, reuse: Reuse) -> Result<Box<Connection>, UpstreamError> {
        if self.candidates.is_empty() {
            self.candidates = self.route.candidates(&self.domain).await?;
        }
        self.route.connection(&mut self.candidates, reuse).await
    }

    fn lost(&self, connection: &Connection, cause: ConnectionError, in_doubt: bool) -> UpstreamError {
        self.route.observer().lost(self.route.name(), in_doubt);
        UpstreamError::Lost { host: connection.host.host.clone(), cause, in_doubt }
    }

    /// The connection failed before any of the content was sent.
    fn unsent(&self, connection: &Connection, cause: ConnectionError) -> Failure {
        if cause.is_end() {
            Failure::Unsent(Unsent { host: connection.host.host.clone(), cause })
        } else {
            Failure::Final(self.lost(connection, cause, false))
        }
    }

    /// No other connection will do either.
    fn give_up(&self, unsent: Unsent) -> Result<Reply, UpstreamError> {
        match unsent.cause {
            ConnectionError::ShuttingDown(reply) => Ok(for_client(reply)),
            cause => {
                self.route.observer().lost(self.route.name(), false);
                Err(UpstreamError::Lost { host: unsent.host, cause, in_doubt: false })
            }
        }
    }

    fn unreachable(&self, connection: &Connection, cause: &ConnectionError) -> UpstreamError {
        let detail = format!("{}: {cause}", connection.host.host);
        UpstreamError::Unreachable { route: self.route.name().to_owned(), detail }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.route.put(connection);
        }
    }
}
