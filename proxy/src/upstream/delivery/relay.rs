//! A message that goes upstream while it still arrives.
//!
//! Nothing is kept of it, so what breaks on the way cannot be begun again here: the client is told 451 and has the
//! message still. Whoever loses interest before [`Relay::finish`] drops the relay, and the connection with it: without
//! the final dot the upstream has no message.

use std::time::Instant;

use bytes::Bytes;
use mailweir_smtp::reply::Reply;

use super::super::body::{self, SLICES, Tail};
use super::super::connection::{Connection, answer};
use super::super::envelope::Transaction;
use super::super::error::UpstreamError;
use super::super::slots::RelayPlace;
use super::{Delivery, LAST_WORD};
use crate::message::{Message, StoreError};

/// A message under way, of which the upstream has not seen the end.
pub struct Relay {
    delivery: Delivery,
    /// `None` while a method is at work on it, so that a future that is dropped takes the connection along.
    connection: Option<Box<Connection>>,
    tail: Tail,
    /// The line that ends the message. It was taken from the client machine when the message began: whatever the upstream
    /// says from then on is its answer, and stands for a refusal if it comes too early.
    dot: Bytes,
    started: Instant,
    _place: RelayPlace,
}

/// Why a message has to be whole before it goes anywhere.
pub enum NotBegun {
    /// Nothing was said; the transaction stands. Boxed: it is most of what a session is.
    Unsuited(Box<Delivery>),
    /// The connection is of no use any more.
    Broken,
    /// The upstream refused DATA.
    Refused(Box<Delivery>, Reply),
}

impl Delivery {
    /// DATA for a message that begins so, and of which nobody has to see the rest first.
    ///
    /// # Errors
    /// See [`NotBegun`].
    pub async fn relay(mut self, beginning: &Message) -> Result<Relay, NotBegun> {
        let suits = match &self.transaction {
            Transaction::Open(open) => !open.recipients.is_empty() && open.content.allow_unseen(beginning),
            Transaction::None | Transaction::Refused(_) => false,
        };
        let place = if suits { self.route.try_relay() } else { None };
        let Some(place) = place else { return Err(NotBegun::Unsuited(Box::new(self))) };
        let mut connection = self.connection.take().ok_or(NotBegun::Broken)?;
        connection.check(LAST_WORD).await.map_err(|_| NotBegun::Broken)?;
        connection.client.data();
        let answered = connection.ask(self.route.config().command_timeout).await.and_then(answer);
        let go_ahead = answered.map_err(|cause| {
            tracing::debug!(host = connection.host.host, %cause, "DATA failed");
            NotBegun::Broken
        })?;
        self.transaction = Transaction::None;
        if !go_ahead.is_positive() {
            self.connection = Some(connection);
            return Err(NotBegun::Refused(Box::new(self), go_ahead));
        }
        if connection.has_unread() {
            return Err(NotBegun::Broken);
        }
        connection.client.end_of_data();
        let dot = connection.client.output().split().freeze();
        Ok(Relay {
            delivery: self,
            connection: Some(connection),
            tail: Tail::default(),
            dot,
            started: Instant::now(),
            _place: place,
        })
    }
}

impl Relay {
    /// The next of it, dot-stuffed.
    ///
    /// # Errors
    /// What there is to say to the client when the upstream will not take the message: its refusal, or why there is
    /// none. Nothing can be sent after that.
    pub async fn part(&mut self, bytes: Bytes) -> Result<(), Result<Reply, UpstreamError>> {
        self.send::<_, 1>(std::iter::once(Ok(bytes))).await
    }

    /// The next of it, in pieces.
    ///
    /// # Errors
    /// As for `part`.
    pub async fn parts(
        &mut self,
        pieces: impl Iterator<Item = Result<Bytes, StoreError>>,
    ) -> Result<(), Result<Reply, UpstreamError>> {
        self.send::<_, SLICES>(pieces).await
    }

    async fn send<I: Iterator<Item = Result<Bytes, StoreError>>, const AT_ONCE: usize>(
        &mut self,
        pieces: I,
    ) -> Result<(), Result<Reply, UpstreamError>> {
        // While it is at work it is nowhere else.
        let mut connection = self.connection.take().ok_or_else(|| Err(self.delivery.gone()))?;
        let limit = self.delivery.route.config().command_timeout;
        match body::send_part::<_, AT_ONCE>(&mut connection, pieces, self.tail, limit).await {
            Ok(tail) => {
                self.tail = tail;
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => Err(Box::pin(self.delivery.objection(connection, error, self.started)).await),
        }
    }

    /// The final dot, and the upstream's answer, as for [`Delivery::message`]. The delivery is done with.
    pub async fn finish(self) -> (Delivery, Result<Reply, UpstreamError>) {
        let Self { mut delivery, mut connection, tail, dot, started, _place } = self;
        let Some(mut connection) = connection.take() else {
            let gone = delivery.gone();
            return (delivery, Err(gone));
        };
        let limit = delivery.route.config().command_timeout;
        let answer = match body::send_end(&mut connection, dot, tail, limit).await {
            Ok(()) => delivery.verdict(connection).await,
            Err(error) => delivery.objection(connection, error, started).await,
        };
        (delivery, answer)
    }

    /// What it goes over.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}
