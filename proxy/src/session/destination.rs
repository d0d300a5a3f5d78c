//! Where recipients lead, and which of them get a message together.

use std::sync::Arc;

use mailweir_smtp::address::{AddressError, Domain, ForwardPath, Mailbox, ReversePath};
use mailweir_smtp::parameter::RcptParameters;
use mailweir_smtp::reply::Reply;

use crate::chain::Envelope;
use crate::generation::Generation;
use crate::upstream::{Recipient, RouteHandle};

use super::outcome::Outcome;
use super::transaction::Transaction;

/// Where recipients lead: a route and, where it follows MX records, a domain.
#[derive(Clone)]
pub(super) struct Destination {
    pub(super) route: Arc<RouteHandle>,
    pub(super) domain: Domain,
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.route.name() == other.route.name() && (!self.route.depends_on_domain() || self.domain == other.domain)
    }
}

/// Recipients with one destination.
pub(super) type Group = (Destination, Vec<Recipient>);

/// Where a recipient leads.
pub(super) fn destination(generation: &Generation, route: &str, recipient: &ForwardPath) -> Result<Destination, Reply> {
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
pub(super) fn plan(
    transaction: &Transaction,
    route: &str,
    envelope: &Envelope,
) -> Result<(ReversePath, Vec<Group>), Box<Outcome>> {
    let unusable = |address: &str, error: AddressError| {
        let reply = Reply::new(451, "4.3.0", "The message cannot be handled now, try again later");
        Box::new(Outcome::failed(reply, &format!("a filter's address {address:?}: {error}")))
    };
    let sender = match envelope.sender.as_str() {
        same if same == transaction.sender.as_str() => transaction.sender.clone(),
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
