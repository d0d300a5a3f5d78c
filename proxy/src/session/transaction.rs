//! One mail transaction, from MAIL to the end of the message: each command is put to the filters, to the relay rules and
//! to the upstream, in this order, and answered with what the first of them has against it.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mailweir_smtp::address::{ForwardPath, ReversePath};
use mailweir_smtp::parameter::{MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Framing, MessageFault, MessageSummary};
use mailweir_smtp::xclient::XClient;

use crate::admin::metrics::Limit;
use crate::chain::{Envelope, Refusal, Ruling, Run};
use crate::generation::{Generation, Proxy};
use crate::host::TransactionFacts;
use crate::message::{Begun, Budget, Incoming, MessageLimits, StoreError};
use crate::signing::Signing;
use crate::upstream::Recipient;

use super::destination::Destination;
use super::offering::{Opened, UPSTREAM_WAITS};
use super::outcome::Outcome;
use super::receiving::{Hops, Onlookers, Receiving};
use super::relaying::Relaying;
use super::report::against;
use super::stream::Expecting;
use super::{FirstRun, Session, is_trusted, policy, recipients, rest};

/// A transaction under way.
pub(super) struct Transaction {
    /// The generation it began under; it stays with it whatever is reloaded.
    pub(super) generation: Arc<Generation>,
    pub(super) facts: Arc<TransactionFacts>,
    pub(super) run: Run,
    /// Whom an upstream is told that we speak for.
    pub(super) client: Arc<XClient>,
    pub(super) sender: ReversePath,
    pub(super) parameters: MailParameters,
    /// Those that were accepted.
    pub(super) recipients: Vec<Recipient>,
    /// The first recipient's, which all others must share.
    pub(super) destination: Option<Destination>,
    /// The upstream that accepted the recipients.
    pub(super) opened: Option<Opened>,
    pub(super) started: Instant,
    /// From when the message is known to be large until it is whole, where filters will work on it.
    pub(super) begun: Option<Begun>,
    /// Bytes of the message so far, as they came.
    pub(super) received: u64,
    pub(super) receiving: Option<Receiving>,
    /// Instead, where the message is passed on while it arrives.
    pub(super) relaying: Option<Relaying>,
}

impl Transaction {
    /// What to make room for when the client is read from, in the middle of its message.
    pub(super) fn expecting(&self) -> Expecting {
        match (&self.relaying, &self.receiving) {
            (Some(_), _) => Expecting::Relayed,
            (None, Some(_)) => Expecting::Message { received: self.received },
            // What comes is dropped.
            (None, None) => Expecting::Message { received: 0 },
        }
    }

    /// Whether its message has begun, and not ended.
    fn is_arriving(&self) -> bool {
        self.receiving.is_some() || self.relaying.is_some()
    }

    /// So much of the message has come that it will need a turn, if its client has not said so before.
    fn begin_if_large(&mut self, budget: &Budget) -> Result<(), StoreError> {
        if self.begun.is_none() && !self.run.is_without_filters() {
            self.begun = budget.begin(self.received)?;
        }
        Ok(())
    }

    /// The next bytes of a message that is kept.
    async fn take(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let Self { receiving, run, sender, recipients, .. } = self;
        match receiving {
            Some(receiving) => receiving.take(chunk, run, || envelope(sender, recipients)).await,
            None => Ok(()),
        }
    }

    /// Waits for as long as filters want it. If that is long, others may have the upstream connection meanwhile.
    pub(super) async fn tarpit(&mut self, proxy: &Proxy) {
        let delay = self.run.take_tarpit();
        self.opened.take_if(|_| delay > UPSTREAM_WAITS);
        rest(delay, proxy).await;
    }

    /// The envelope as filters see it.
    pub(super) fn envelope(&self) -> Envelope {
        envelope(&self.sender, &self.recipients)
    }
}

fn envelope(sender: &ReversePath, recipients: &[Recipient]) -> Envelope {
    Envelope {
        sender: sender.as_str().to_owned(),
        recipients: recipients.iter().map(|(path, _)| path.as_str().to_owned()).collect(),
    }
}

impl Session {
    pub(super) async fn mail(&mut self, sender: ReversePath, parameters: MailParameters) {
        if self.messages >= self.listening.settings.limits.messages {
            self.listening.metrics.over_limit(Limit::Messages, 1);
            return self.server.close(Reply::new(421, "4.7.0", "Too many messages on one connection"));
        }
        self.messages += 1;
        let started = Instant::now();
        let begun = match self.admit(parameters.size) {
            Ok(begun) => begun,
            Err(full) => return self.server.defer(full.reply()),
        };
        let (mut run, facts, ruling) = self.begin_run().await;
        let ruling = match ruling {
            Ruling::Continue => run.mail(sender.as_str()).await,
            refused => refused,
        };
        rest(run.take_tarpit(), &self.connection.proxy).await;
        let client = self.hello.as_ref().map(|hello| Arc::clone(&hello.introduction)).unwrap_or_default();
        let transaction = Box::new(Transaction {
            generation: Arc::clone(&self.connection.generation),
            facts,
            run,
            client,
            sender,
            parameters,
            recipients: Vec::new(),
            destination: None,
            opened: None,
            started,
            begun,
            received: 0,
            receiving: None,
            relaying: None,
        });
        match ruling {
            Ruling::Continue => {
                self.transaction = Some(transaction);
                self.server.accept(Reply::new(250, "2.1.0", "Sender OK"));
            }
            Ruling::Refuse(refusal) => {
                self.report_refused(transaction, &refusal.reply).await;
                self.refuse(refusal);
            }
        }
    }

    /// Whether there is room for a message of the size that its client declares.
    fn admit(&self, declared: Option<u64>) -> Result<Option<Begun>, StoreError> {
        let budget = self.connection.proxy.budget();
        budget.admit()?;
        if self.listening.chain.is_empty() { Ok(None) } else { budget.begin(declared.unwrap_or(0)) }
    }

    /// A way through the chain of the newest generation, with the phases behind it that came before MAIL.
    async fn begin_run(&mut self) -> (Run, Arc<TransactionFacts>, Ruling) {
        let newest = self.connection.proxy.generation();
        let mut reloaded = false;
        if newest.number != self.connection.generation.number
            && let Some(listening) = newest.listening(&self.connection.listener)
        {
            // A listener that is gone from the configuration serves its last connections as they began.
            self.listening = Arc::clone(listening);
            self.connection.generation = newest;
            self.trusted = is_trusted(&self.listening.settings, &self.connection);
            self.server.set_message_policy(&policy(&self.connection, &self.listening.settings));
            reloaded = true;
        }
        match self.first_run.take().map(|first| *first) {
            Some(FirstRun { run, facts }) if !reloaded => (run, facts, Ruling::Continue),
            begun => {
                if let Some(FirstRun { run, .. }) = begun {
                    self.abandon(run).await;
                }
                self.greeted_run().await
            }
        }
    }

    pub(super) async fn rcpt(&mut self, path: ForwardPath, parameters: RcptParameters) {
        let Some(mut transaction) = self.transaction.take() else {
            return self.server.refuse(Reply::new(503, "5.5.1", "MAIL comes first"));
        };
        let asked = path.as_str().to_owned();
        match self.rule_on_recipient(&mut transaction, &path).await {
            Ok(()) => match transaction.offer_recipient(&self.listening.settings, (path, parameters)).await {
                Ok(reply) => self.server.accept(reply),
                Err(reply) => {
                    transaction.report_recipient(&asked, &reply, "");
                    if reply.is_transient() {
                        // Another destination, or an upstream that is busy: no fault of the client's.
                        self.server.defer(reply);
                    } else {
                        self.server.refuse(reply);
                    }
                }
            },
            Err((refusal, reason)) => {
                transaction.report_recipient(&asked, &refusal.reply, &reason);
                self.refuse(refusal);
            }
        }
        self.transaction = Some(transaction);
    }

    /// What the relay rules and the filters say of a recipient: a refusal, and why if a filter knows.
    async fn rule_on_recipient(
        &mut self,
        transaction: &mut Transaction,
        path: &ForwardPath,
    ) -> Result<(), (Refusal, String)> {
        recipients::check(&self.listening.settings.relay_domains, self.trusted, path)
            .map_err(|reply| (Refusal { reply, disconnect: false }, String::new()))?;
        let ruling = transaction.run.rcpt(path.as_str()).await;
        transaction.tarpit(&self.connection.proxy).await;
        match ruling {
            Ruling::Continue => Ok(()),
            Ruling::Refuse(refusal) => Err((refusal, against(&transaction.run.records()))),
        }
    }

    pub(super) fn begin_message(&mut self, framing: Framing) {
        let Some(transaction) = &mut self.transaction else {
            return self.server.refuse(Reply::new(503, "5.5.1", "MAIL and RCPT come first"));
        };
        let limits = &self.listening.settings.limits;
        let incoming = Incoming::new(self.connection.proxy.budget(), framing, MessageLimits::from(limits));
        let chain = &self.listening.chain;
        let seals = || transaction.generation.signing(chain.name()).is_some_and(Signing::seals);
        let onlookers = Onlookers {
            scan: transaction.generation.begin_scan(chain),
            signatures: chain.checks_signatures() || seals(),
        };
        let hops = Hops { limit: limits.hops, metrics: Arc::clone(&self.listening.metrics) };
        transaction.receiving = Some(Receiving::new(incoming, framing, onlookers, hops));
        self.server.accept_message();
    }

    pub(super) async fn take_chunk(&mut self, chunk: Bytes) {
        let Some(mut transaction) = self.transaction.take() else { return };
        let size = chunk.len() as u64;
        transaction.received += size;
        if let Some(relaying) = &mut transaction.relaying {
            let sent = relaying.part(chunk).await;
            return self.go_on(transaction, sent);
        }
        let taken = match transaction.begin_if_large(self.connection.proxy.budget()) {
            Ok(()) => transaction.take(chunk).await,
            Err(full) => Err(Refusal { reply: full.reply(), disconnect: false }),
        };
        match taken {
            Ok(()) => {
                if transaction.begins_to_be_relayed(size, self.listening.chain.name()) {
                    // Once for a message, and only for some.
                    let begun = Box::pin(self.begin_relaying(&mut transaction)).await;
                    return self.go_on(transaction, begun);
                }
                self.transaction = Some(transaction);
            }
            Err(refusal) => {
                // What is held for the message is given back now; the machine reads the rest of it and drops it.
                self.report_refused(transaction, &refusal.reply).await;
                self.refuse(refusal);
            }
        }
    }

    /// The message goes on arriving, or is over: what the upstream has against it has been found out.
    fn go_on(&mut self, transaction: Box<Transaction>, sent: Result<(), Box<Outcome>>) {
        match sent {
            Ok(()) => self.transaction = Some(transaction),
            Err(outcome) => {
                self.report(&transaction, transaction.received, &outcome);
                self.leave_large_buffer();
                self.answer(*outcome);
            }
        }
    }

    /// The message is faulty, whether or not its end has come. What is held for it is given back now, and an upstream that
    /// has some of it is hung up on; the machine reads the rest and drops it.
    pub(super) async fn refuse_faulty(&mut self, fault: MessageFault) {
        self.listening.metrics.over_limit(Limit::MessageSize, u64::from(fault == MessageFault::TooLarge));
        let reply = fault.reply();
        if let Some(transaction) = self.transaction.take() {
            self.report_refused(transaction, &reply).await;
        }
        self.leave_large_buffer();
        self.server.refuse(reply);
    }

    /// What was read last may stand in a buffer of the size for messages that are passed on, whose room has just been given
    /// back.
    pub(super) fn leave_large_buffer(&mut self) {
        self.input = BytesMut::from(&self.input[..]);
    }

    pub(super) async fn end_message(&mut self, end: Result<MessageSummary, MessageFault>) {
        let summary = match end {
            Ok(summary) => summary,
            Err(fault) => return self.refuse_faulty(fault).await,
        };
        let Some(mut transaction) = self.transaction.take() else {
            return self.server.refuse(Reply::new(503, "5.5.1", "MAIL and RCPT come first"));
        };
        if let Some(relaying) = transaction.relaying.take() {
            return Box::pin(self.end_relaying(transaction, relaying, summary)).await;
        }
        let received = match transaction.receiving.take() {
            None => Err(Refusal { reply: Reply::new(503, "5.5.1", "DATA comes first"), disconnect: false }),
            Some(receiving) => {
                let envelope = transaction.envelope();
                receiving.finish(&mut transaction.run, &envelope).await
            }
        };
        match received {
            Ok((message, scan)) => self.conclude(transaction, message, scan).await,
            Err(refusal) => {
                self.report_refused(transaction, &refusal.reply).await;
                self.refuse(refusal);
            }
        }
    }

    /// The transaction ends without a message, or in the middle of one.
    pub(super) async fn abandon_transaction(&mut self) {
        if let Some(mut transaction) = self.transaction.take() {
            transaction.run.abort().await;
            if transaction.is_arriving() {
                self.report(&transaction, transaction.received, &Outcome::aborted());
            }
        }
    }
}
