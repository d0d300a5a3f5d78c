//! Whom we speak for: XCLIENT, where the upstream offers it. Its rules and its log see the client then, and not us.
//!
//! An upstream offers it to those proxies only that its operator trusts. A connection is introduced anew whenever it
//! changes hands, and no connection on which that cannot be done is used for another client. Where an upstream offers
//! XCLIENT and does not understand ours, mail goes on as it does to one that offers none: over a connection that is our
//! own.

use std::sync::Arc;
use std::time::Duration;

use mailweir_smtp::address::ClientName;
use mailweir_smtp::client::ClientEvent;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::xclient::XClient;

use super::connection::{Connection, answer};
use super::envelope::reset_done;
use super::error::ConnectionError;

/// Makes a connection speak for `client`; `own_name` is what we say in EHLO when the client's name is not known. Gives
/// the upstream's refusal when it does not want to hear from that client.
pub(super) async fn introduce(
    connection: &mut Connection,
    client: &Arc<XClient>,
    own_name: &ClientName,
    limit: Duration,
) -> Result<Option<Reply>, ConnectionError> {
    if connection.speaks_for.as_ref() == Some(client) {
        return Ok(None);
    }
    // Without the address there is nothing to say that would matter.
    if !connection.client.extensions().xclient.is_some_and(|taken| taken.address) {
        // It would still be taken for whoever used it before.
        return if connection.is_introduced { Err(ConnectionError::Closed) } else { Ok(None) };
    }
    if connection.needs_reset {
        connection.client.reset();
        reset_done(connection, limit).await?;
    }
    connection.speaks_for = None;
    let was_introduced = std::mem::replace(&mut connection.is_introduced, true);
    connection.client.xclient(client);
    let greeting = answer(connection.ask(limit).await?)?;
    if !greeting.is_positive() {
        return match greeting.code() {
            500..=504 if was_introduced => Err(ConnectionError::Closed),
            // Offered, but not as we understand it: it is our own connection still.
            500..=504 => {
                tracing::warn!(host = connection.host.host, %greeting, "the upstream does not understand XCLIENT");
                connection.is_introduced = false;
                Ok(None)
            }
            _ => Ok(Some(greeting)),
        };
    }
    connection.needs_reset = false;
    connection.client.hello(client.helo.known().unwrap_or(own_name));
    match connection.ask(limit).await? {
        ClientEvent::Hello(reply) if reply.is_positive() => {
            connection.speaks_for = Some(Arc::clone(client));
            Ok(None)
        }
        event => answer(event).map(Some),
    }
}
