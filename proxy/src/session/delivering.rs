//! A message goes upstream.
//!
//! The recipients were accepted by an upstream at RCPT, and that connection still waits for DATA. Unless a filter changed
//! the envelope or the route, the message just goes on there. Otherwise every group of recipients with a destination of
//! its own gets a transaction, all or none of their recipients accepted, the client's own destination last: the client is
//! told of success only when all have taken the message.

use mailweir_smtp::address::ReversePath;
use mailweir_smtp::reply::Reply;

use crate::chain::Envelope;
use crate::message::Message;
use crate::upstream::{Delivery, Recipient, UpstreamError};

use super::Session;
use super::concluding::Whole;
use super::destination::{Destination, Group, plan};
use super::outcome::{Outcome, answered, name};
use super::transaction::Transaction;

impl Session {
    /// Delivers the message, which is as it leaves; `chosen` is the route that the chain chose, if it did.
    pub(super) async fn deliver(
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
            && let Some(opened) = transaction.opened.take_if(|opened| opened.is_for(&envelope, Some(destination)))
        {
            if self.client_has_left(whole.since.into_std()).await {
                return Outcome::aborted();
            }
            return hand_over(opened.into_delivery(), message).await;
        }
        // Rare, and larger than the way above.
        Box::pin(self.deliver_anew(transaction, &sender, groups, message, whole)).await
    }

    /// Delivers it in transactions that are still to be begun.
    async fn deliver_anew(
        &mut self,
        transaction: &mut Transaction,
        sender: &ReversePath,
        groups: Vec<Group>,
        message: &Message,
        whole: &Whole,
    ) -> Outcome {
        // A connection that none of them can go on with is for others, who may wait for it; we ourselves may.
        transaction.opened.take_if(|opened| !groups.iter().any(|(destination, _)| opened.leads_to(destination)));
        // All recipients of all groups are accepted before any server gets the message.
        let mut deliveries = Vec::with_capacity(groups.len());
        for (destination, recipients) in groups {
            match open(transaction, &destination, sender, &recipients).await {
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
}

/// A transaction in which every recipient was accepted; otherwise the first refusal.
async fn open(
    transaction: &mut Transaction,
    destination: &Destination,
    sender: &ReversePath,
    recipients: &[Recipient],
) -> Result<Delivery, Box<Outcome>> {
    let unreachable = |error: UpstreamError| Box::new(Outcome::failed(error.reply(), &error.to_string()));
    let mut delivery = match transaction.opened.take_if(|opened| opened.leads_to(destination)) {
        Some(opened) => opened.into_delivery(),
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

#[cfg(test)]
mod tests {
    use mailweir_smtp::address::{ForwardPath, Mailbox};
    use mailweir_smtp::parameter::RcptParameters;

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
