//! MAIL and RCPT towards an upstream, pipelined (RFC 2920) or in lock-step, in a known order of replies.

use std::time::Duration;

use mailweir_smtp::address::{ForwardPath, ReversePath};
use mailweir_smtp::parameter::{MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;

use super::connection::{Connection, answer};
use super::conversion::{ContentLimits, MailPlan, plan_mail, plan_rcpt};
use super::error::ConnectionError;

/// A recipient and its parameters.
pub type Recipient = (ForwardPath, RcptParameters);

/// Where things stand between us and the upstream.
#[derive(Debug)]
pub(super) enum Transaction {
    /// There is none of ours: MAIL was not said, or all is over.
    ///
    /// Nothing may be sent then. On a connection with a past, the transaction of whoever used it before may still be
    /// open: a recipient would be added to those, and a message would go to them.
    None,
    /// There is none either: MAIL was not accepted. This is the answer to whatever needs one.
    Refused(Reply),
    /// MAIL was accepted.
    Open(Accepted),
}

/// A transaction whose sender the upstream has accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    /// What the message has to be.
    pub(super) content: ContentLimits,
    smtp_utf8: bool,
    /// As it was asked for, so that it can be asked for again.
    pub(super) sender: ReversePath,
    /// As they were asked for.
    pub(super) parameters: MailParameters,
    /// Those that were accepted.
    pub(super) recipients: Vec<Recipient>,
}

impl Transaction {
    /// The transaction, if there is one; until it is put back there is none. Otherwise the refusal, which stays.
    pub(super) fn take(&mut self) -> Result<Accepted, Reply> {
        match std::mem::replace(self, Self::None) {
            Self::Open(accepted) => Ok(accepted),
            Self::Refused(refusal) => {
                *self = Self::Refused(refusal.clone());
                Err(refusal)
            }
            Self::None => Err(Reply::new(451, "4.3.0", "There is no transaction with the next mail server, try again")),
        }
    }
}

/// RSET where needed, MAIL and RCPT. Gives an answer for each recipient: MAIL's if that was refused.
pub(super) async fn open(
    connection: &mut Connection,
    sender: &ReversePath,
    parameters: &MailParameters,
    recipients: &[Recipient],
    limit: Duration,
) -> Result<(Transaction, Vec<Reply>), ConnectionError> {
    let refused = |reply: Reply| {
        let replies = vec![reply.clone(); recipients.len()];
        Ok((Transaction::Refused(reply), replies))
    };
    let paths = recipients.iter().map(|(path, _)| path);
    let MailPlan { parameters: converted, smtp_utf8, content } =
        match plan_mail(sender, parameters, paths, connection.client.extensions()) {
            Ok(plan) => plan,
            Err(refusal) => return refused(refusal),
        };
    let is_pipelining = connection.client.extensions().pipelining;
    let is_reset = connection.needs_reset;
    if is_reset {
        connection.client.reset();
        if !is_pipelining {
            reset_done(connection, limit).await?;
        }
    }
    connection.needs_reset = true;
    connection.client.mail(sender, &converted);
    let planned = plan_recipients(connection, recipients, smtp_utf8);
    if is_pipelining {
        queue_recipients(connection, recipients, &planned);
    }
    connection.send(limit).await?;
    if is_reset && is_pipelining {
        reset_done(connection, limit).await?;
    }
    let mail = answer(connection.reply(limit).await?)?;
    if mail.is_positive() {
        let mut replies = Vec::with_capacity(recipients.len());
        answers(connection, recipients, planned, is_pipelining, &mut replies, limit).await?;
        let recipients = accepted(recipients, &replies).collect();
        let accepted =
            Accepted { content, smtp_utf8, sender: sender.clone(), parameters: parameters.clone(), recipients };
        return Ok((Transaction::Open(accepted), replies));
    }
    if is_pipelining {
        // All refused for want of a sender; the answer that counts is MAIL's.
        for _ in planned.iter().filter(|plan| plan.is_ok()) {
            answer(connection.reply(limit).await?)?;
        }
    }
    refused(mail)
}

/// The recipients that got a positive reply.
fn accepted<'a>(recipients: &'a [Recipient], replies: &'a [Reply]) -> impl Iterator<Item = Recipient> + 'a {
    recipients.iter().zip(replies).filter(|(_, reply)| reply.is_positive()).map(|(recipient, _)| recipient.clone())
}

pub(super) async fn reset_done(connection: &mut Connection, limit: Duration) -> Result<(), ConnectionError> {
    let reply = answer(connection.ask(limit).await?)?;
    // A server that refuses RSET is in a state that nobody knows.
    if reply.is_positive() { Ok(()) } else { Err(ConnectionError::ShuttingDown(reply)) }
}

/// RCPT for each, in a transaction that is open.
pub(super) async fn add_recipients(
    connection: &mut Connection,
    transaction: &mut Accepted,
    recipients: &[Recipient],
    replies: &mut Vec<Reply>,
    limit: Duration,
) -> Result<(), ConnectionError> {
    let is_pipelining = connection.client.extensions().pipelining;
    let planned = plan_recipients(connection, recipients, transaction.smtp_utf8);
    if is_pipelining {
        queue_recipients(connection, recipients, &planned);
        connection.send(limit).await?;
    }
    let result = answers(connection, recipients, planned, is_pipelining, replies, limit).await;
    transaction.recipients.extend(accepted(recipients, replies));
    result
}

/// What to send for each recipient, or why nothing is sent.
fn plan_recipients(
    connection: &Connection,
    recipients: &[Recipient],
    smtp_utf8: bool,
) -> Vec<Result<RcptParameters, Reply>> {
    let extensions = connection.client.extensions();
    recipients.iter().map(|(path, parameters)| plan_rcpt(path, parameters, smtp_utf8, extensions)).collect()
}

fn queue_recipients(connection: &mut Connection, recipients: &[Recipient], planned: &[Result<RcptParameters, Reply>]) {
    for ((path, _), plan) in recipients.iter().zip(planned) {
        if let Ok(parameters) = plan {
            connection.client.rcpt(path, parameters);
        }
    }
}

/// The answer to each recipient, in order; ours where nothing was sent.
async fn answers(
    connection: &mut Connection,
    recipients: &[Recipient],
    planned: Vec<Result<RcptParameters, Reply>>,
    is_pipelining: bool,
    replies: &mut Vec<Reply>,
    limit: Duration,
) -> Result<(), ConnectionError> {
    for ((path, _), plan) in recipients.iter().zip(planned) {
        let reply = match plan {
            Err(refusal) => refusal,
            Ok(_) if is_pipelining => answer(connection.reply(limit).await?)?,
            Ok(parameters) => {
                connection.client.rcpt(path, &parameters);
                answer(connection.ask(limit).await?)?
            }
        };
        replies.push(reply);
    }
    Ok(())
}
