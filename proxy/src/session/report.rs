//! What is left of a message when it is over: one log line, and counters.

use std::borrow::Cow;
use std::time::Duration;

use mailweir_smtp::reply::Reply;

use crate::admin::metrics::{FailureCause, MessageOutcome};
use crate::append;
use crate::chain::{CONTENT, PluginRecord, Run};
use crate::generation::Generation;
use crate::host::{Cause, TransactionFacts};
use crate::logging::{MessageLine, PluginLine, Printable};

use super::Session;
use super::outcome::Outcome;
use super::transaction::Transaction;

impl Transaction {
    /// A recipient that is refused.
    pub(super) fn report_recipient(&self, recipient: &str, reply: &Reply, reason: &str) {
        tracing::info!(
            id = self.facts.id,
            listener = self.facts.listener,
            client = %self.facts.client,
            sender = %Printable(self.sender.as_str().as_bytes()),
            recipient = %Printable(recipient.as_bytes()),
            reply = %Printable(one_line(reply).as_bytes()),
            reason = %Printable(reason.as_bytes()),
            "recipient refused"
        );
    }
}

impl Session {
    /// A refusal that comes before there is a transaction.
    pub(super) async fn report_phase(&mut self, phase: &str, run: Run, facts: &TransactionFacts, reply: &Reply) {
        tracing::info!(
            id = facts.id,
            listener = facts.listener,
            client = %facts.client,
            helo = %Printable(&facts.helo),
            phase,
            reply = %Printable(one_line(reply).as_bytes()),
            reason = %Printable(against(&run.records()).as_bytes()),
            "refused"
        );
        self.abandon(run).await;
    }

    /// A way through the chain that leads to no message.
    pub(super) async fn abandon(&mut self, mut run: Run) {
        run.abort().await;
        count(&self.connection.generation, &run.records());
    }

    /// A transaction that ended with a refusal before its message was whole.
    pub(super) async fn report_refused(&mut self, mut transaction: Box<Transaction>, reply: &Reply) {
        transaction.run.abort().await;
        self.report(&transaction, transaction.received, &Outcome::refused(reply.clone()));
    }

    /// The log line and the counters of a transaction that is over.
    pub(super) fn report(&self, transaction: &Transaction, size: u64, outcome: &Outcome) {
        let records = transaction.run.records();
        count(&transaction.generation, &records);
        self.listening.metrics.message(outcome.kind, size);
        for tag in transaction.run.tags().iter().filter(|tag| tag.name == CONTENT) {
            self.listening.metrics.content(&tag.value);
        }
        let (upstream, upstream_reply) = match &outcome.upstream {
            Some((name, reply)) => (name.as_str(), one_line(reply)),
            None => ("", String::new()),
        };
        let mut client = String::with_capacity(64);
        append::socket_address(&mut client, self.connection.client);
        MessageLine {
            id: &transaction.facts.id,
            listener: &self.connection.listener,
            client: &client,
            helo: &String::from_utf8_lossy(&transaction.facts.helo),
            sender: transaction.sender.as_str(),
            recipients: transaction.recipients.iter().map(|(path, _)| path.as_str()).collect(),
            size,
            verdict: outcome.kind.as_str(),
            reason: &reason(outcome, &records),
            reply: &one_line(&outcome.reply),
            upstream,
            upstream_reply: &upstream_reply,
            plugins: records.iter().map(|record| plugin_line(record)).collect(),
            tags: transaction.run.tags(),
            micros: micros(transaction.started.elapsed()),
        }
        .emit();
    }
}

/// Adds up what filters did.
fn count(generation: &Generation, records: &[Cow<'_, PluginRecord>]) {
    for record in records.iter().filter(|record| record.called || record.failed.is_some()) {
        let Some(metrics) = generation.plugin_metrics(&record.name) else { continue };
        metrics.called(record.cost.wall, record.cost.host_calls, record.cost.bytes);
        if let Some(cause) = record.failed {
            metrics.failed(failure_cause(cause));
        }
    }
}

/// Why it ended so: our own reason, or that of the filter that spoke last against it.
fn reason<'a>(outcome: &'a Outcome, records: &[Cow<'_, PluginRecord>]) -> Cow<'a, str> {
    if !outcome.reason.is_empty() || outcome.kind == MessageOutcome::Delivered {
        return Cow::Borrowed(&outcome.reason);
    }
    Cow::Owned(against(records))
}

/// What the filter says that spoke last against the message.
pub(super) fn against(records: &[Cow<'_, PluginRecord>]) -> String {
    let against = records.iter().rev().find(|record| !matches!(record.verdict, "pass" | "accept"));
    against.map(|record| format!("{}: {}", record.name, record.reason)).unwrap_or_default()
}

fn plugin_line(record: &PluginRecord) -> PluginLine<'_> {
    PluginLine {
        name: &record.name,
        verdict: record.said(),
        reason: &record.reason,
        micros: micros(record.cost.wall),
        host_calls: record.cost.host_calls,
        bytes: record.cost.bytes,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn failure_cause(cause: Cause) -> FailureCause {
    match cause {
        Cause::Trap => FailureCause::Trap,
        Cause::Timeout => FailureCause::Timeout,
        Cause::Memory => FailureCause::Memory,
        Cause::Unavailable => FailureCause::Unavailable,
    }
}

/// A reply in a log line.
fn one_line(reply: &Reply) -> String {
    let mut line = String::with_capacity(128);
    append::number(&mut line, reply.code().into());
    for (index, text) in reply.lines().iter().enumerate() {
        line.push_str(if index == 0 { " " } else { " / " });
        line.push_str(text);
    }
    line
}
