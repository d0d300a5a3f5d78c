//! A message as it leaves: with our Received field on top, and signed over all that.

use mailweir_smtp::reply::Reply;

use crate::message::{Message, Reservation};
use crate::signing::Occasion;
use crate::verdict::Edit;

use super::Session;
use super::concluding::Whole;
use super::outcome::Outcome;
use super::received::Received;
use super::transaction::Transaction;

impl Session {
    /// The message as it leaves: with our Received field, and signed over all that. With room to read it back in.
    pub(super) async fn outgoing(
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
}

/// Whatever was made of a message is worth nothing when bytes of it could not be read, a refusal as much as a delivery.
pub(super) fn undamaged(message: &Message) -> Result<(), Box<Outcome>> {
    if !message.is_damaged() {
        return Ok(());
    }
    tracing::error!("a spill file could not be read; messages under way are refused for now");
    let reply = Reply::new(451, "4.3.0", "The message cannot be handled now, try again later");
    Err(Box::new(Outcome::failed(reply, "a spill file could not be read")))
}
