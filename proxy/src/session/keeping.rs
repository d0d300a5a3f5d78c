//! A message that is kept in the quarantine instead of being delivered.

use mailweir_smtp::reply::Reply;

use crate::admin::metrics::MessageOutcome;
use crate::chain::Envelope;
use crate::message::{Message, StoreError};
use crate::quarantine::{NewRecord, QuarantineError};

use super::Session;
use super::outcome::Outcome;
use super::transaction::Transaction;

impl Session {
    /// Keeps the message, and answers for it once it is on the disk.
    pub(super) async fn keep(
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
                reason: format!("{plugin}: {reason} (quarantine {id})"),
                ..Outcome::accepted(MessageOutcome::Quarantined, &facts.id)
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
