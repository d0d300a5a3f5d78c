//! A recipient is put to the upstream while its client waits at RCPT. The upstream transaction that has accepted it waits
//! for the message, for as long as the connection is not worth more to others.

use std::time::{Duration, Instant};

use mailweir_smtp::address::ForwardPath;
use mailweir_smtp::reply::Reply;

use crate::chain::Envelope;
use crate::config::Listener;
use crate::upstream::{Delivery, Recipient, UpstreamError};

use super::destination::{Destination, destination};
use super::transaction::Transaction;

/// How long an upstream connection waits for a client that has not sent all of its message yet. There are as many
/// connections as the route allows, and an upstream has only so many processes: a client that takes its time costs
/// nobody any, and its recipients are asked for again when the message is there.
pub(super) const UPSTREAM_WAITS: Duration = Duration::from_secs(2);

/// The same while others wait for a connection; and how often that is looked at.
const UPSTREAM_WAITS_WHEN_WANTED: Duration = Duration::from_millis(100);

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

    /// Whether it leads there, whatever envelope it holds.
    pub(super) fn leads_to(&self, destination: &Destination) -> bool {
        self.destination == *destination
    }

    pub(super) fn into_parts(self) -> (Delivery, Rest) {
        let Self { delivery, destination, envelope, since } = self;
        (delivery, Rest { destination, envelope, since })
    }

    pub(super) fn into_delivery(self) -> Delivery {
        self.delivery
    }

    fn waits(&self) -> Duration {
        let is_wanted = self.destination.route.is_short_of_connections();
        let limit = if is_wanted { UPSTREAM_WAITS_WHEN_WANTED } else { UPSTREAM_WAITS };
        limit.saturating_sub(self.since.elapsed())
    }
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
            self.run.recipient_repeated();
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
            Some(opened) if opened.leads_to(destination) => opened.delivery.rcpt(recipients).await?,
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

fn another_destination() -> Reply {
    Reply::new(452, "4.5.3", "One destination a message: send to this recipient in a message of its own")
}
