//! What becomes of a message that is whole: delivered, kept, dropped or refused.
//!
//! The recipients were accepted by an upstream at RCPT, and that connection still waits for DATA. Unless a filter changed
//! the envelope or the route, the message just goes on there. Otherwise every group of recipients with a destination of
//! its own gets a transaction, all or none of their recipients accepted, the client's own destination last: the client is
//! told of success only when all have taken the message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mailweir_smtp::address::{AddressError, Domain, ForwardPath, Mailbox, ReversePath};
use mailweir_smtp::parameter::RcptParameters;
use mailweir_smtp::reply::Reply;

use crate::admin::metrics::MessageOutcome;
use crate::chain::{Conclusion, Disposition, Envelope, Refusal};
use crate::config::Listener;
use crate::generation::Generation;
use crate::message::{Message, Reservation, StoreError};
use crate::quarantine::{NewRecord, QuarantineError};
use crate::services::antivirus;
use crate::signing::Occasion;
use crate::upstream::{Delivery, Recipient, RouteHandle, UpstreamError};
use crate::verdict::Edit;

use super::received::Received;
use super::stream::ReadEnd;
use super::transaction::Transaction;
use super::{Session, tarpit};

/// Where recipients lead: a route and, where it follows MX records, a domain.
#[derive(Clone)]
pub(super) struct Destination {
    route: Arc<RouteHandle>,
    domain: Domain,
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.route.name() == other.route.name() && (!self.route.depends_on_domain() || self.domain == other.domain)
    }
}

/// How long an upstream connection waits for a client that has not sent all of its message yet. There are as many
/// connections as the route allows, and an upstream has only so many processes: a client that takes its time costs
/// nobody any, and its recipients are asked for again when the message is there.
const UPSTREAM_WAITS: Duration = Duration::from_secs(2);

/// The same while others wait for a connection; and how often that is looked at.
const UPSTREAM_WAITS_WHEN_WANTED: Duration = Duration::from_millis(100);

/// How long a whole message waits here for room and for its turn, all together, before its client is told 452. Clients
/// wait ten minutes (RFC 5321 section 4.5.3.2.6), for the filters and the upstream too, and then send it again.
const WAITS_AT_THE_END: Duration = Duration::from_secs(4 * 60);

/// A client that closes its half of the connection behind a pipelined command may still read the answer (`nc` does);
/// not after so long.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// Recipients with one destination.
type Group = (Destination, Vec<Recipient>);

/// An upstream transaction that has accepted recipients.
pub(super) struct Opened {
    delivery: Delivery,
    destination: Destination,
    /// Whose envelope it holds.
    envelope: Envelope,
    since: Instant,
}

/// What is left of it without the delivery.
pub(super) struct Rest {
    destination: Destination,
    envelope: Envelope,
    since: Instant,
}

impl Rest {
    pub(super) fn with(self, delivery: Delivery) -> Opened {
        let Self { destination, envelope, since } = self;
        Opened { delivery, destination, envelope, since }
    }
}

impl Opened {
    /// Whether it holds this envelope, for this destination.
    pub(super) fn is_for(&self, envelope: &Envelope, destination: Option<&Destination>) -> bool {
        self.envelope == *envelope && Some(&self.destination) == destination
    }

    pub(super) fn into_parts(self) -> (Delivery, Rest) {
        let Self { delivery, destination, envelope, since } = self;
        (delivery, Rest { destination, envelope, since })
    }

    fn waits(&self) -> Duration {
        let is_wanted = self.destination.route.is_short_of_connections();
        let limit = if is_wanted { UPSTREAM_WAITS_WHEN_WANTED } else { UPSTREAM_WAITS };
        limit.saturating_sub(self.since.elapsed())
    }
}

/// A message as it was received.
struct Whole {
    received: Message,
    /// Since when its client waits for the answer.
    since: tokio::time::Instant,
}

impl Whole {
    /// Up to when it may wait for its turn and for room.
    fn deadline(&self) -> tokio::time::Instant {
        self.since + WAITS_AT_THE_END
    }
}

/// How a message ended.
pub(super) struct Outcome {
    pub(super) kind: MessageOutcome,
    /// What the client is told.
    pub(super) reply: Reply,
    pub(super) disconnect: bool,
    /// The upstream's own reply and name, when it was asked.
    pub(super) upstream: Option<(String, Reply)>,
    pub(super) reason: String,
}

impl Transaction {
    /// How much longer the client may keep an upstream connection waiting until that is looked at again; `None` when
    /// none waits.
    pub(super) fn upstream_waits(&self) -> Option<Duration> {
        self.opened.as_ref().map(|opened| opened.waits().min(UPSTREAM_WAITS_WHEN_WANTED))
    }

    /// Lets others have the upstream connection if it has waited for long enough.
    pub(super) fn give_back_upstream(&mut self) {
        self.opened.take_if(|opened| opened.waits().is_zero());
    }

    /// Asks the upstream whether it takes this recipient. Its answer is the client's, word for word.
    pub(super) async fn offer_recipient(&mut self, settings: &Listener, recipient: Recipient) -> Result<Reply, Reply> {
        if self.recipients.iter().any(|(path, _)| *path == recipient.0) {
            // Once is enough: a filter that removes a recipient removes it whole.
            self.run.recipient_refused();
            return Ok(Reply::new(250, "2.1.5", "Recipient OK, as before"));
        }
        let offered = self.offer(settings, &recipient).await;
        match &offered {
            Ok(_) => self.recipients.push(recipient),
            Err(_) => self.run.recipient_refused(),
        }
        offered
    }

    async fn offer(&mut self, settings: &Listener, recipient: &Recipient) -> Result<Reply, Reply> {
        let Some(route) = self.run.route().or(settings.route.as_deref()) else {
            // The chain says at the end of the message where it goes; until then nobody can be asked.
            return self.accept_unasked(&recipient.0);
        };
        let destination = destination(&self.generation, route, &recipient.0)?;
        if !self.recipients.is_empty() && self.destination.as_ref() != Some(&destination) {
            return Err(another_destination());
        }
        let reply = self.ask(&destination, recipient).await.unwrap_or_else(|error| {
            tracing::warn!(id = self.facts.id, route = destination.route.name(), %error, "a recipient could not be asked for");
            // Recipients that were accepted before are asked for again at the end of the message.
            self.opened = None;
            error.reply()
        });
        if !reply.is_positive() {
            return Err(reply);
        }
        if let Some(opened) = &mut self.opened {
            opened.envelope.recipients.push(recipient.0.as_str().to_owned());
        }
        self.destination = Some(destination);
        Ok(reply)
    }

    /// Whatever route the chain will choose, one domain leads to one destination.
    fn accept_unasked(&self, recipient: &ForwardPath) -> Result<Reply, Reply> {
        let domain = |path: &ForwardPath| path.mailbox().map(|mailbox| mailbox.domain().as_str().to_lowercase());
        let is_another = self.recipients.first().is_some_and(|(first, _)| domain(first) != domain(recipient));
        if is_another || self.destination.is_some() {
            return Err(another_destination());
        }
        Ok(Reply::new(250, "2.1.5", "Recipient OK"))
    }

    async fn ask(&mut self, destination: &Destination, recipient: &Recipient) -> Result<Reply, UpstreamError> {
        let recipients = std::slice::from_ref(recipient);
        let mut replies = match &mut self.opened {
            Some(opened) if opened.destination == *destination => opened.delivery.rcpt(recipients).await?,
            _ => {
                let mut delivery = destination.route.begin(&destination.domain, Some(&self.client)).await?;
                let replies = delivery.mail_and_rcpt(&self.sender, &self.parameters, recipients).await?;
                // Without a recipient there is no transaction to go on with: the next one begins anew. Those that a
                // connection had accepted which was lost since are asked for at the end of the message.
                self.opened = (delivery.accepted() > 0).then(|| Opened {
                    delivery,
                    destination: destination.clone(),
                    envelope: Envelope { sender: self.sender.as_str().to_owned(), recipients: Vec::new() },
                    since: Instant::now(),
                });
                replies
            }
        };
        Ok(replies.pop().unwrap_or_else(|| Reply::new(451, "4.4.2", "The server behind gave no answer")))
    }
}

impl Session {
    /// The filters of the end of the message, and what follows.
    pub(super) async fn conclude(
        &mut self,
        mut transaction: Box<Transaction>,
        message: Message,
        scan: Option<antivirus::Stream>,
    ) {
        let size = message.size();
        let whole = Whole { received: message.clone(), since: tokio::time::Instant::now() };
        // While a message waits, others may have its upstream connection; its recipients are asked for again.
        let give_back = || transaction.opened = None;
        let outcome = match self.connection.proxy.budget().turn(size, whole.deadline(), give_back).await {
            Ok(turn) => {
                let scan = scan.map(|scan| scan.finish(&message));
                let conclusion = transaction.run.end(message, transaction.envelope(), scan).await;
                // From here on the message is only passed on.
                conclusion.message.forget_derived();
                transaction.run.evaluation().forget_derived();
                drop(turn);
                tarpit(&mut transaction.run, &self.connection.proxy).await;
                match undamaged(&conclusion.message) {
                    Ok(()) => self.dispose(&mut transaction, conclusion, &whole).await,
                    Err(outcome) => *outcome,
                }
            }
            Err(error) => Outcome::failed(error.reply(), "no turn came for work on the message"),
        };
        self.report(&transaction, size, &outcome);
        self.answer(outcome);
    }

    /// What the client is told at the end of its message, or before.
    pub(super) fn answer(&mut self, outcome: Outcome) {
        if outcome.disconnect {
            self.server.close(outcome.reply);
        } else if outcome.reply.is_positive() {
            self.waited = Duration::ZERO;
            self.server.accept(outcome.reply);
        } else {
            self.server.refuse(outcome.reply);
        }
    }

    async fn dispose(&mut self, transaction: &mut Transaction, conclusion: Conclusion, whole: &Whole) -> Outcome {
        let Conclusion { disposition, message, envelope } = conclusion;
        match disposition {
            Disposition::Refuse(Refusal { reply, disconnect }) => Outcome { disconnect, ..Outcome::refused(reply) },
            Disposition::Discard => Outcome { kind: MessageOutcome::Discarded, ..Outcome::ours(accepted(transaction)) },
            Disposition::Quarantine { plugin, reason } => {
                // It goes nowhere from here.
                transaction.opened = None;
                match self.outgoing(transaction, &message, whole).await {
                    Ok(_) if self.client_has_left(whole.since.into_std()).await => Outcome::aborted(),
                    Ok((message, _room)) => Box::pin(self.keep(transaction, &message, envelope, &plugin, reason)).await,
                    Err(outcome) => *outcome,
                }
            }
            Disposition::Deliver { route } => match self.outgoing(transaction, &message, whole).await {
                Ok((message, _room)) => self.deliver(transaction, route, envelope, &message, whole).await,
                Err(outcome) => *outcome,
            },
        }
    }

    /// Whether the client does not wait for the answer any more. It will send the message again, so that it must not be
    /// delivered now.
    pub(super) async fn client_has_left(&mut self, waits: Instant) -> bool {
        match self.connection.stream.ended(&mut self.input).await {
            None => false,
            Some(ReadEnd::Closed) if !self.input.is_empty() => waits.elapsed() >= HALF_CLOSED,
            Some(_) => true,
        }
    }

    /// The message as it leaves: with our Received field, and signed over all that. With room to read it back in.
    async fn outgoing(
        &mut self,
        transaction: &mut Transaction,
        message: &Message,
        whole: &Whole,
    ) -> Result<(Message, Option<Reservation>), Box<Outcome>> {
        let stamped = self.stamped(transaction, message).map_err(|reply| Box::new(Outcome::refused(reply)))?;
        let message = match transaction.generation.signing(self.listening.chain.name()) {
            None => stamped,
            Some(signing) => {
                let occasion = Occasion {
                    received: &whole.received,
                    evaluation: transaction.run.evaluation(),
                    sender: transaction.sender.as_str(),
                    is_trusted: transaction.facts.trusted,
                };
                Box::pin(signing.apply(stamped, &occasion)).await.map_err(|fault| {
                    tracing::warn!(id = transaction.facts.id, %fault, "the message cannot be signed");
                    Box::new(Outcome::failed(fault.reply(), &fault.to_string()))
                })?
            }
        };
        // Signing has read all of it once more.
        undamaged(&message)?;
        let give_back = || transaction.opened = None;
        match self.connection.proxy.budget().room_to_read(&message, whole.deadline(), give_back).await {
            Ok(room) => Ok((message, room)),
            Err(error) => Err(Box::new(Outcome::failed(error.reply(), "no room to read the message back"))),
        }
    }

    /// The message with our Received field on top.
    pub(super) fn stamped(&self, transaction: &Transaction, message: &Message) -> Result<Message, Reply> {
        let recipient = match transaction.recipients.as_slice() {
            [(path, _)] => Some(path.as_str()),
            _ => None,
        };
        let hello = self.hello.as_ref();
        let received = Received {
            helo: hello.map_or("unknown", |hello| hello.name.as_str()),
            client: self.connection.client,
            hostname: &transaction.facts.hostname,
            id: &transaction.facts.id,
            tls: self.connection.tls.as_ref(),
            extended: hello.is_some_and(|hello| hello.extended),
            smtp_utf8: transaction.parameters.smtp_utf8,
            recipient,
            now: jiff::Timestamp::now(),
        };
        let edit =
            Edit::InsertHeader { position: 0, name: "Received".to_owned(), value: received.value().into_bytes() };
        message.edited(&[edit]).map_err(|error| {
            tracing::error!(%error, "the Received field could not be added");
            Reply::new(451, "4.3.0", "The message cannot be handled now, try again later")
        })
    }

    async fn deliver(
        &mut self,
        transaction: &mut Transaction,
        chosen: Option<String>,
        envelope: Envelope,
        message: &Message,
        whole: &Whole,
    ) -> Outcome {
        let Some(route) = chosen.or_else(|| self.listening.settings.route.clone()) else {
            return Outcome::failed(Reply::new(451, "4.3.5", "No route is configured for this message"), "no route");
        };
        let (sender, groups) = match plan(transaction, &route, &envelope) {
            Ok(plan) => plan,
            Err(outcome) => return *outcome,
        };
        if let [(destination, _)] = groups.as_slice()
            && let Some(opened) =
                transaction.opened.take_if(|opened| opened.destination == *destination && opened.envelope == envelope)
        {
            if self.client_has_left(whole.since.into_std()).await {
                return Outcome::aborted();
            }
            return hand_over(opened.delivery, message).await;
        }
        // A connection that none of them can go on with is for others, who may wait for it; we ourselves may.
        transaction.opened.take_if(|opened| groups.iter().all(|(destination, _)| *destination != opened.destination));
        // All recipients of all groups are accepted before any server gets the message.
        let mut deliveries = Vec::with_capacity(groups.len());
        for (destination, recipients) in groups {
            match open(transaction, &destination, &sender, &recipients).await {
                Ok(delivery) => deliveries.push(delivery),
                Err(outcome) => return *outcome,
            }
        }
        if self.client_has_left(whole.since.into_std()).await {
            return Outcome::aborted();
        }
        let mut last = None;
        for delivery in deliveries {
            let outcome = hand_over(delivery, message).await;
            if !outcome.reply.is_positive() {
                return outcome;
            }
            last = Some(outcome);
        }
        last.unwrap_or_else(|| Outcome::failed(Reply::new(451, "4.3.0", "There is no recipient left"), "no recipient"))
    }

    async fn keep(
        &mut self,
        transaction: &mut Transaction,
        message: &Message,
        envelope: Envelope,
        plugin: &str,
        reason: String,
    ) -> Outcome {
        let facts = &transaction.facts;
        let route = transaction.run.route().or(self.listening.settings.route.as_deref());
        let record = NewRecord {
            transaction: facts.id.clone(),
            listener: facts.listener.clone(),
            client: facts.client.to_string(),
            helo: String::from_utf8_lossy(&facts.helo).into_owned(),
            sender: envelope.sender,
            recipients: envelope.recipients,
            smtp_utf8: transaction.parameters.smtp_utf8,
            route: route.unwrap_or_default().to_owned(),
            plugin: plugin.to_owned(),
            reason: reason.clone(),
        };
        match self.connection.proxy.quarantine().store(record, message.chunks()).await {
            Ok(id) => Outcome {
                kind: MessageOutcome::Quarantined,
                reason: format!("{plugin}: {reason} (quarantine {id})"),
                ..Outcome::ours(accepted(transaction))
            },
            Err(error) => {
                tracing::error!(%error, "a message could not be put into the quarantine");
                Outcome::failed(not_kept(&error), &error.to_string())
            }
        }
    }
}

/// What the client is told when its message could not be kept: without room, as for one that cannot be received.
fn not_kept(error: &QuarantineError) -> Reply {
    if error.is_full() {
        StoreError::Full.reply()
    } else {
        Reply::new(451, "4.3.0", "The message cannot be handled now, try again later")
    }
}

impl Outcome {
    fn ours(reply: Reply) -> Self {
        Self { kind: MessageOutcome::Delivered, reply, disconnect: false, upstream: None, reason: String::new() }
    }

    /// Refused by us or by a filter.
    pub(super) fn refused(reply: Reply) -> Self {
        let kind = if reply.is_permanent() { MessageOutcome::Rejected } else { MessageOutcome::TempFailed };
        Self { kind, ..Self::ours(reply) }
    }

    /// The client left in the middle of its message, or before the answer to it.
    pub(super) fn aborted() -> Self {
        let reply = Reply::new(451, "4.4.2", "The client left");
        Self { kind: MessageOutcome::Aborted, ..Self::ours(reply) }
    }

    fn failed(reply: Reply, reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Self::refused(reply) }
    }

    /// What the upstream said is what the client is told.
    fn upstream(name: String, reply: Reply) -> Self {
        let kind = if reply.is_positive() { MessageOutcome::Delivered } else { MessageOutcome::UpstreamRefused };
        Self { kind, upstream: Some((name, reply.clone())), ..Self::ours(reply) }
    }
}

/// Whatever was made of a message is worth nothing when bytes of it could not be read, a refusal as much as a delivery.
fn undamaged(message: &Message) -> Result<(), Box<Outcome>> {
    if !message.is_damaged() {
        return Ok(());
    }
    tracing::error!("a spill file could not be read; messages under way are refused for now");
    let reply = Reply::new(451, "4.3.0", "The message cannot be handled now, try again later");
    Err(Box::new(Outcome::failed(reply, "a spill file could not be read")))
}

fn another_destination() -> Reply {
    Reply::new(452, "4.5.3", "One destination a message: send to this recipient in a message of its own")
}

fn accepted(transaction: &Transaction) -> Reply {
    Reply::new(250, "2.0.0", &format!("OK {}", transaction.facts.id))
}

/// Where a recipient leads.
fn destination(generation: &Generation, route: &str, recipient: &ForwardPath) -> Result<Destination, Reply> {
    let Some(handle) = generation.route(route) else {
        tracing::error!(route, "a filter chose a route that is not configured");
        return Err(Reply::new(451, "4.3.5", "The route of this message is not configured"));
    };
    let domain = match recipient {
        ForwardPath::Mailbox(mailbox) => mailbox.domain().clone(),
        // RFC 5321 section 4.5.1: Postmaster without a domain is ours.
        ForwardPath::Postmaster => Domain::parse(generation.config.server.hostname.as_bytes())
            .map_err(|_| Reply::new(451, "4.3.5", "This server has no usable name"))?,
    };
    Ok(Destination { route: handle, domain })
}

/// The envelope as it goes upstream: the sender, and the recipients by destination, that of the client's own recipients
/// last, so that they do not get the message twice when an added recipient's server does not take it.
fn plan(
    transaction: &Transaction,
    route: &str,
    envelope: &Envelope,
) -> Result<(ReversePath, Vec<Group>), Box<Outcome>> {
    let unusable = |address: &str, error: AddressError| {
        let reply = Reply::new(451, "4.3.0", "The message cannot be handled now, try again later");
        Box::new(Outcome::failed(reply, &format!("a filter's address {address:?}: {error}")))
    };
    let sender = match envelope.sender.as_str() {
        "" => ReversePath::Null,
        address => ReversePath::Mailbox(Mailbox::parse(address.as_bytes()).map_err(|error| unusable(address, error))?),
    };
    let mut groups: Vec<Group> = Vec::new();
    for address in &envelope.recipients {
        let recipient = match transaction.recipients.iter().find(|(path, _)| path.as_str() == address) {
            Some(own) => own.clone(),
            None => {
                let mailbox = Mailbox::parse(address.as_bytes()).map_err(|error| unusable(address, error))?;
                (ForwardPath::Mailbox(mailbox), RcptParameters::default())
            }
        };
        let destination = destination(&transaction.generation, route, &recipient.0)
            .map_err(|reply| Box::new(Outcome::failed(reply, &format!("route {route:?}"))))?;
        match groups.iter_mut().find(|(known, _)| *known == destination) {
            Some((_, recipients)) => recipients.push(recipient),
            None => groups.push((destination, vec![recipient])),
        }
    }
    // Added recipients stand behind the client's own, so theirs is the first group.
    groups.reverse();
    Ok((sender, groups))
}

/// A transaction in which every recipient was accepted; otherwise the first refusal.
async fn open(
    transaction: &mut Transaction,
    destination: &Destination,
    sender: &ReversePath,
    recipients: &[Recipient],
) -> Result<Delivery, Box<Outcome>> {
    let unreachable = |error: UpstreamError| Box::new(Outcome::failed(error.reply(), &error.to_string()));
    let mut delivery = match transaction.opened.take_if(|opened| opened.destination == *destination) {
        Some(opened) => opened.delivery,
        None => {
            let client = Some(&transaction.client);
            destination.route.begin(&destination.domain, client).await.map_err(unreachable)?
        }
    };
    let replies = delivery.mail_and_rcpt(sender, &transaction.parameters, recipients).await.map_err(unreachable)?;
    let asked_before: &[Recipient] = match &transaction.destination {
        Some(before) if before == destination => &transaction.recipients,
        _ => &[],
    };
    match refusal(asked_before, recipients, &replies) {
        None => Ok(delivery),
        Some(refused) => Err(Box::new(Outcome::upstream(name(&delivery), refused))),
    }
}

/// What the client hears when not every recipient was accepted. It takes the answer to the message for that to all
/// recipients. So where some would have got the message, one that this upstream accepted before and refuses for good now
/// is no reason to give up: when the client tries again, RCPT tells it which one.
fn refusal(before: &[Recipient], asked: &[Recipient], replies: &[Reply]) -> Option<Reply> {
    let refused = || asked.iter().zip(replies).filter(|(_, reply)| !reply.is_positive());
    let (path, first) = refused().find(|(_, reply)| reply.is_transient()).or_else(|| refused().next())?;
    let was_accepted = before.iter().any(|(known, _)| *known == path.0);
    if first.is_transient() || !was_accepted || refused().count() == asked.len() {
        return Some(first.clone());
    }
    Some(Reply::new(451, "4.4.2", "The next mail server does not take a recipient any more, try again"))
}

/// The message goes to the upstream; its reply is the client's.
async fn hand_over(mut delivery: Delivery, message: &Message) -> Outcome {
    let answer = delivery.message(message).await;
    answered(&delivery, answer)
}

/// What became of a message that was sent.
pub(super) fn answered(delivery: &Delivery, answer: Result<Reply, UpstreamError>) -> Outcome {
    // Asked for afterwards: a connection that had died meanwhile may have been replaced by one to another host.
    let name = name(delivery);
    match answer {
        Ok(reply) => Outcome::upstream(name, reply),
        Err(error) => {
            tracing::warn!(upstream = name, %error, in_doubt = error.is_in_doubt(), "the upstream gave no answer to the message");
            Outcome::failed(error.reply(), &error.to_string())
        }
    }
}

/// Route and host, for the log.
fn name(delivery: &Delivery) -> String {
    let route = delivery.route().name();
    delivery.host().map_or_else(|| route.to_owned(), |host| format!("{route}/{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_refused_late_takes_the_others_along_only_for_now() {
        let recipient = |name: &str| {
            let mailbox = Mailbox::parse(format!("{name}@example.com").as_bytes()).unwrap();
            (ForwardPath::Mailbox(mailbox), RcptParameters::default())
        };
        let (bob, carol) = (recipient("bob"), recipient("carol"));
        let [taken, busy, unknown] =
            [(250, "2.1.5"), (452, "4.2.2"), (550, "5.1.1")].map(|(code, status)| Reply::new(code, status, "x"));
        let both = [bob.clone(), carol.clone()];
        for (before, replies, expected) in [
            (&both[..], [&taken, &taken], None),
            (&both[..], [&taken, &unknown], Some(451)),
            (&both[..], [&unknown, &busy], Some(452)),
            (&both[..], [&unknown, &unknown], Some(550)),
            (&both[..1], [&taken, &unknown], Some(550)),
        ] {
            let refused = refusal(before, &both, &replies.map(Reply::clone));
            assert_eq!(refused.map(|reply| reply.code()), expected, "{replies:?}");
        }
    }
}
