//! The end of a message: the filters' last word on it, and what that means: delivered, kept, dropped or refused.

use std::time::{Duration, Instant};

use crate::admin::metrics::MessageOutcome;
use crate::chain::{Conclusion, Disposition, Refusal};
use crate::message::Message;
use crate::services::antivirus;

use super::Session;
use super::outcome::Outcome;
use super::outgoing::undamaged;
use super::stream::ReadEnd;
use super::transaction::Transaction;

/// How long a whole message waits here for room and for its turn, all together, before its client is told 452. Clients
/// wait ten minutes (RFC 5321 section 4.5.3.2.6), for the filters and the upstream too, and then send it again.
const WAITS_AT_THE_END: Duration = Duration::from_secs(4 * 60);

/// A client that closes its half of the connection behind a pipelined command may still read the answer (`nc` does);
/// not after so long.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// A message as it was received.
pub(super) struct Whole {
    pub(super) received: Message,
    /// Since when its client waits for the answer.
    pub(super) since: tokio::time::Instant,
}

impl Whole {
    /// Up to when it may wait for its turn and for room.
    pub(super) fn deadline(&self) -> tokio::time::Instant {
        self.since + WAITS_AT_THE_END
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
        transaction.begun = None;
        // Nobody works on it where there are no filters.
        let worked_on = if transaction.run.is_without_filters() { 0 } else { size };
        // While a message waits, others may have its upstream connection; its recipients are asked for again.
        let give_back = || transaction.opened = None;
        let outcome = match self.connection.proxy.budget().turn(worked_on, whole.deadline(), give_back).await {
            Ok(turn) => {
                let scan = scan.map(|scan| scan.finish(&message));
                let conclusion = transaction.run.end(message, transaction.envelope(), scan).await;
                // From here on the message is only passed on.
                conclusion.message.forget_derived();
                transaction.run.evaluation().forget_derived();
                drop(turn);
                transaction.tarpit(&self.connection.proxy).await;
                match undamaged(&conclusion.message) {
                    Ok(()) => self.dispose(&mut transaction, conclusion, &whole).await,
                    Err(outcome) => *outcome,
                }
            }
            Err(error) => {
                transaction.run.abort().await;
                Outcome::failed(error.reply(), "no turn came for work on the message")
            }
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
            Disposition::Discard => Outcome::accepted(MessageOutcome::Discarded, &transaction.facts.id),
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
}
