//! The one line that says what became of a message.

use std::fmt;

use serde::Serialize;

use super::Printable;
use crate::verdict::Tag;

pub(super) const TARGET: &str = "mailweir::message";
/// The fields that are lists; see [`List`].
pub(super) const LISTS: [&str; 3] = ["recipients", "plugins", "tags"];

/// Recipients, plugins and tags listed in one line each; more are only counted.
const LISTED: usize = 50;

/// What became of one message. What comes from the network may be given as it came.
#[derive(Debug, Clone, Default)]
pub struct MessageLine {
    /// The transaction's id, as in the Received field.
    pub id: String,
    /// The listener's name.
    pub listener: String,
    /// The client's address and port.
    pub client: String,
    /// What the client called itself.
    pub helo: String,
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// The recipients accepted.
    pub recipients: Vec<String>,
    /// Bytes of the message, unstuffed, without the final dot.
    pub size: u64,
    /// What was decided, in a word.
    pub verdict: String,
    /// Why, when a verdict ended the message.
    pub reason: String,
    /// The reply given to the client.
    pub reply: String,
    /// Route and host, as "exchange/192.0.2.1"; empty when none was reached.
    pub upstream: String,
    /// Its reply to the end of data; empty when there was none.
    pub upstream_reply: String,
    /// What each filter said, in the order of the chain.
    pub plugins: Vec<PluginLine>,
    /// Facts that filters, or the host, stated.
    pub tags: Vec<Tag>,
    /// From MAIL to the reply, in microseconds.
    pub micros: u64,
}

/// What one filter said of a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PluginLine {
    /// The plugin's name.
    pub name: String,
    /// Its verdict in a word, or `failed`.
    pub verdict: String,
    /// Its reason, or what failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Wall clock in all its phases, in microseconds.
    pub micros: u64,
    /// Calls it made to the host.
    pub host_calls: u64,
    /// Bytes of the message it was handed.
    pub bytes: u64,
}

impl MessageLine {
    /// Logs it, at the level info.
    pub fn emit(&self) {
        tracing::info!(
            target: TARGET,
            id = %text(&self.id),
            listener = %text(&self.listener),
            client = %text(&self.client),
            helo = %text(&self.helo),
            sender = %text(&self.sender),
            recipients = ?List(&self.recipients),
            recipient_count = self.recipients.len() as u64,
            size = self.size,
            verdict = %text(&self.verdict),
            reason = %text(&self.reason),
            reply = %text(&self.reply),
            upstream = %text(&self.upstream),
            upstream_reply = %text(&self.upstream_reply),
            plugins = ?List(&self.plugins),
            tags = ?List(&self.tags),
            micros = self.micros,
            "message"
        );
    }
}

fn text(text: &str) -> Printable<'_> {
    Printable(text.as_bytes())
}

/// A list in a log line: `{:?}` is for people, `{:#?}` is JSON. (An event's field carries nothing but its Debug form.)
struct List<'a, T>(&'a [T]);

impl<T: ListItem> fmt::Debug for List<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = &self.0[..self.0.len().min(LISTED)];
        if formatter.alternate() && listed.is_empty() {
            return formatter.write_str("[]");
        }
        if formatter.alternate() {
            let values: serde_json::Value = listed.iter().map(ListItem::json).collect();
            return formatter.write_str(&values.to_string());
        }
        formatter.write_str("[")?;
        for (index, item) in listed.iter().enumerate() {
            formatter.write_str(if index == 0 { "" } else { ", " })?;
            item.human(formatter)?;
        }
        let more = self.0.len() - listed.len();
        if more > 0 {
            write!(formatter, ", and {more} more")?;
        }
        formatter.write_str("]")
    }
}

/// What a [`List`] holds.
trait ListItem {
    /// The form for people.
    fn human(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// The form for machines.
    fn json(&self) -> serde_json::Value;
}

impl ListItem for String {
    fn human(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{}>", text(self))
    }

    fn json(&self) -> serde_json::Value {
        self.as_str().into()
    }
}

impl ListItem for PluginLine {
    fn human(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} ", text(&self.name), text(&self.verdict))?;
        if !self.reason.is_empty() {
            write!(formatter, "({}) ", text(&self.reason))?;
        }
        write!(formatter, "{}us", self.micros)
    }

    fn json(&self) -> serde_json::Value {
        // A struct of strings and integers has nothing that could fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl ListItem for Tag {
    fn human(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", text(&self.name), text(&self.value))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "name": self.name, "value": self.value })
    }
}
