//! The one line that says what became of a message.

use std::fmt::{self, Write};

use super::Printable;
use super::json::{Escaping, is_literal};
use super::printable::LIMIT;
use crate::append;
use crate::verdict::Tag;

const TARGET: &str = "mailweir::message";
/// The event's name, which no other has.
pub(super) const NAME: &str = "message line";

/// Recipients, plugins and tags listed in one line each; more are only counted.
const LISTED: usize = 50;

/// What became of one message. What comes from the network may be given as it came.
#[derive(Clone, Default)]
pub struct MessageLine<'a> {
    /// The transaction's id, as in the Received field.
    pub id: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The client's address and port.
    pub client: &'a str,
    /// What the client called itself.
    pub helo: &'a str,
    /// The reverse-path; empty for the null one.
    pub sender: &'a str,
    /// The recipients accepted.
    pub recipients: Vec<&'a str>,
    /// Bytes of the message, unstuffed, without the final dot.
    pub size: u64,
    /// What was decided, in a word.
    pub verdict: &'a str,
    /// Why, when a verdict ended the message.
    pub reason: &'a str,
    /// The reply given to the client.
    pub reply: &'a str,
    /// Route and host, as "exchange/192.0.2.1"; empty when none was reached.
    pub upstream: &'a str,
    /// Its reply to the end of data; empty when there was none.
    pub upstream_reply: &'a str,
    /// What each filter said, in the order of the chain.
    pub plugins: Vec<PluginLine<'a>>,
    /// Facts that filters, or the host, stated.
    pub tags: &'a [Tag],
    /// From MAIL to the reply, in microseconds.
    pub micros: u64,
}

/// What one filter said of a message.
#[derive(Debug, Clone, Default)]
pub struct PluginLine<'a> {
    /// The plugin's name.
    pub name: &'a str,
    /// Its verdict in a word, or `failed`.
    pub verdict: &'a str,
    /// Its reason, or what failed.
    pub reason: &'a str,
    /// Wall clock in all its phases, in microseconds.
    pub micros: u64,
    /// Calls it made to the host.
    pub host_calls: u64,
    /// Bytes of the message it was handed.
    pub bytes: u64,
}

impl MessageLine<'_> {
    /// Logs it, at the level info.
    pub fn emit(&self) {
        tracing::info!(name: NAME, target: TARGET, message = ?self);
    }

    /// Every field, in order.
    fn write(&self, form: &mut impl Form) {
        form.text("id", self.id);
        form.text("listener", self.listener);
        form.text("client", self.client);
        form.text("helo", self.helo);
        form.text("sender", self.sender);
        form.list("recipients", &self.recipients);
        form.number("recipient_count", self.recipients.len() as u64);
        form.number("size", self.size);
        form.text("verdict", self.verdict);
        form.text("reason", self.reason);
        form.text("reply", self.reply);
        form.text("upstream", self.upstream);
        form.text("upstream_reply", self.upstream_reply);
        form.list("plugins", &self.plugins);
        form.list("tags", self.tags);
        form.number("micros", self.micros);
    }
}

/// The whole line, since an event's field carries nothing but its Debug form: `{:?}` is for people, `{:#?}` is the members
/// of a JSON object.
impl fmt::Debug for MessageLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::with_capacity(1024);
        if formatter.alternate() {
            line.push_str("\"message\":\"message\"");
            self.write(&mut Members(&mut line));
        } else {
            line.push_str("message");
            self.write(&mut Human(&mut line));
        }
        formatter.write_str(&line)
    }
}

/// How fields are written.
trait Form {
    /// Escaped, and cut when it is long; see [`Printable`].
    fn text(&mut self, name: &str, text: &str);
    fn number(&mut self, name: &str, number: u64);
    /// The first [`LISTED`] of them.
    fn list<T: Item>(&mut self, name: &str, items: &[T]);
}

/// What a list holds.
trait Item {
    fn human(&self, human: &mut Human<'_>);
    /// A JSON value.
    fn json(&self, line: &mut String);
}

/// For people: ` name=value`.
struct Human<'l>(&'l mut String);

impl Human<'_> {
    fn name(&mut self, name: &str) {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push('=');
    }

    fn print(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{}", Printable(text.as_bytes()));
    }
}

impl Form for Human<'_> {
    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.print(text);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        append::number(self.0, number);
    }

    fn list<T: Item>(&mut self, name: &str, items: &[T]) {
        self.name(name);
        self.0.push('[');
        for (index, item) in items.iter().take(LISTED).enumerate() {
            self.0.push_str(if index == 0 { "" } else { ", " });
            item.human(self);
        }
        if items.len() > LISTED {
            let _ = write!(self.0, ", and {} more", items.len() - LISTED);
        }
        self.0.push(']');
    }
}

/// Members of a JSON object: `,"name":value`.
struct Members<'l>(&'l mut String);

impl Members<'_> {
    fn name(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }
}

impl Form for Members<'_> {
    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.0.push('"');
        if text.len() <= LIMIT && is_literal(text) {
            self.0.push_str(text);
        } else {
            let _ = write!(Escaping(self.0), "{}", Printable(text.as_bytes()));
        }
        self.0.push('"');
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        append::number(self.0, number);
    }

    fn list<T: Item>(&mut self, name: &str, items: &[T]) {
        self.name(name);
        self.0.push('[');
        for (index, item) in items.iter().take(LISTED).enumerate() {
            self.0.push_str(if index == 0 { "" } else { "," });
            item.json(self.0);
        }
        self.0.push(']');
    }
}

impl Item for &str {
    fn human(&self, human: &mut Human<'_>) {
        human.0.push('<');
        human.print(self);
        human.0.push('>');
    }

    fn json(&self, line: &mut String) {
        quote(line, self);
    }
}

impl Item for PluginLine<'_> {
    fn human(&self, human: &mut Human<'_>) {
        human.print(self.name);
        human.0.push_str(": ");
        human.print(self.verdict);
        if !self.reason.is_empty() {
            human.0.push_str(" (");
            human.print(self.reason);
            human.0.push(')');
        }
        let _ = write!(human.0, " {}us", self.micros);
    }

    fn json(&self, line: &mut String) {
        line.push_str("{\"bytes\":");
        append::number(line, self.bytes);
        line.push_str(",\"host_calls\":");
        append::number(line, self.host_calls);
        line.push_str(",\"micros\":");
        append::number(line, self.micros);
        line.push_str(",\"name\":");
        quote(line, self.name);
        if !self.reason.is_empty() {
            line.push_str(",\"reason\":");
            quote(line, self.reason);
        }
        line.push_str(",\"verdict\":");
        quote(line, self.verdict);
        line.push('}');
    }
}

impl Item for Tag {
    fn human(&self, human: &mut Human<'_>) {
        human.print(&self.name);
        human.0.push('=');
        human.print(&self.value);
    }

    fn json(&self, line: &mut String) {
        line.push_str("{\"name\":");
        quote(line, &self.name);
        line.push_str(",\"value\":");
        quote(line, &self.value);
        line.push('}');
    }
}

/// A JSON string of a whole text.
fn quote(line: &mut String, text: &str) {
    line.push('"');
    let _ = Escaping(line).write_str(text);
    line.push('"');
}
