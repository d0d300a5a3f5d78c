//! A large message that nobody has to see as a whole is passed on while it arrives: without filters, signatures and
//! scans there is nothing to wait for but its end, and the upstream gets the final dot only then. What was read last is
//! still in the processor's cache when it is written, and no memory is taken for the rest.
//!
//! Nothing is kept of such a message. When the upstream's connection breaks the client is told 451, and has the message
//! still.

use std::time::Instant;

use bytes::Bytes;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Framing, MessageSummary};

use crate::message::Reservation;
use crate::upstream::{Delivery, NotBegun, Relay, UpstreamError};

use super::Session;
use super::outcome::{Outcome, answered};
use super::spare;
use super::stream::READ_RELAYED;
use super::transaction::Transaction;

/// Messages are kept up to this size: most are smaller, and a client whose first bytes take their time is served like
/// any other, when its message is there (the upstream's connection was given back meanwhile).
const KEPT: u64 = 96 * 1024;

/// What a message under way takes: what is read of it at a time, and as much again for what TLS makes of it.
const ROOM: u64 = 2 * READ_RELAYED as u64;

/// A message that is passed on while it arrives.
pub(super) struct Relaying {
    relay: Relay,
    _room: Reservation,
}

impl Relaying {
    /// The next bytes.
    pub(super) async fn part(&mut self, chunk: Bytes) -> Result<(), Box<Outcome>> {
        let sent = self.relay.part(chunk).await;
        sent.map_err(|answer| objection(self.relay.delivery(), answer))
    }
}

/// What the client hears when the upstream does not want to have the rest.
fn objection(delivery: &Delivery, answer: Result<Reply, UpstreamError>) -> Box<Outcome> {
    Box::new(answered(delivery, answer))
}

impl Transaction {
    /// Whether the chunk that came last has made the message a large one, and only its end is waited for.
    pub(super) fn begins_to_be_relayed(&self, last: u64, chain: &str) -> bool {
        let is_large = self.received >= KEPT && self.received - last < KEPT;
        is_large
            && self.run.is_without_filters()
            && self.generation.signing(chain).is_none()
            && self.receiving.as_ref().is_some_and(|receiving| receiving.is_only_kept(Framing::DotStuffed))
            && self.opened.as_ref().is_some_and(|opened| opened.is_for(&self.envelope(), self.destination.as_ref()))
    }
}

impl Session {
    /// Begins to pass the message on, unless something speaks for keeping it.
    pub(super) async fn begin_relaying(&mut self, transaction: &mut Transaction) -> Result<(), Box<Outcome>> {
        let budget = self.connection.proxy.budget();
        let Some(room) = budget.try_reserve_spare(ROOM) else { return Ok(()) };
        let refused = |reply: Reply| Box::new(Outcome::refused(reply));
        let Some(headers) = transaction.receiving.as_ref().and_then(|receiving| receiving.headers()) else {
            return Ok(());
        };
        let headers = headers.map_err(|fault| refused(fault.reply()))?;
        let Some(opened) = transaction.opened.take() else { return Ok(()) };
        let (delivery, rest) = opened.into_parts();
        let relay = match delivery.relay(&headers).await {
            Ok(relay) => relay,
            Err(NotBegun::Unsuited(delivery)) => {
                transaction.opened = Some(rest.with(*delivery));
                return Ok(());
            }
            // When the message is whole its recipients are asked for again.
            Err(NotBegun::Broken) => return Ok(()),
            Err(NotBegun::Refused(delivery, reply)) => return Err(objection(&delivery, Ok(reply))),
        };
        // What has arrived is a message like any other, but for its end.
        let Some(receiving) = transaction.receiving.take() else { return Ok(()) };
        let beginning = receiving.into_beginning().map_err(|fault| refused(fault.reply()))?;
        let stamped = self.stamped(transaction, &beginning).map_err(refused)?;
        let mut relaying = Relaying { relay, _room: room };
        let sent = relaying.relay.parts(stamped.wire(Framing::DotStuffed)).await;
        sent.map_err(|answer| objection(relaying.relay.delivery(), answer))?;
        transaction.relaying = Some(relaying);
        Ok(())
    }

    /// The end of such a message. Of one that turned out faulty the upstream has none: its connection was closed.
    pub(super) async fn end_relaying(
        &mut self,
        mut transaction: Box<Transaction>,
        relaying: Relaying,
        summary: MessageSummary,
    ) {
        if self.input.is_empty() {
            spare::put(std::mem::take(&mut self.input), READ_RELAYED);
        } else {
            self.leave_large_buffer();
        }
        let outcome = if self.client_has_left(Instant::now()).await {
            Outcome::aborted()
        } else {
            let (delivery, answer) = relaying.relay.finish().await;
            answered(&delivery, answer)
        };
        transaction.run.abort().await;
        self.report(&transaction, summary.bytes, &outcome);
        self.answer(outcome);
    }
}
