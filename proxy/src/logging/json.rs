//! One JSON object a line: time, level, target and message first, then the event's fields in their order.

use std::fmt::{self, Write};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::message_line;
use super::printable::{is_hostile, is_plain};
use crate::append;

pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = String::with_capacity(1024);
        line.push_str("{\"time\":\"");
        append::log_time(&mut line, Timestamp::now());
        line.push_str("\",\"level\":\"");
        line.push_str(metadata.level().as_str());
        line.push('"');
        let mut object = Object { line: &mut line, is_message_line: metadata.name() == message_line::NAME };
        object.text("target", format_args!("{}", metadata.target()));
        event.record(&mut object);
        if let Some(scope) = context.event_scope() {
            let mut spans = String::new();
            for span in scope.from_root() {
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str());
                let separator = if spans.is_empty() { "" } else { ":" };
                write!(spans, "{separator}{}{{{fields}}}", span.name())?;
            }
            object.text("span", format_args!("{spans}"));
        }
        line.push_str("}\n");
        writer.write_str(&line)
    }
}

/// An object that is being written.
struct Object<'l> {
    line: &'l mut String,
    /// The event's one field is a [`super::MessageLine`].
    is_message_line: bool,
}

impl Object<'_> {
    /// A member whose value is a text.
    fn text(&mut self, key: &str, value: fmt::Arguments<'_>) {
        self.key(key);
        self.line.push('"');
        // Writing to a string cannot fail, and a value that fails to print itself ends where it does.
        let _ = Escaping(self.line).write_fmt(value);
        self.line.push('"');
    }

    /// A member whose value is JSON already.
    fn raw(&mut self, key: &str, json: fmt::Arguments<'_>) {
        self.key(key);
        let _ = self.line.write_fmt(json);
    }

    fn key(&mut self, key: &str) {
        self.line.push_str(",\"");
        self.line.push_str(key);
        self.line.push_str("\":");
    }
}

/// Writes the inside of a JSON string, hostile characters escaped as well.
pub(super) struct Escaping<'l>(pub(super) &'l mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_literal(text) {
            self.0.push_str(text);
            return Ok(());
        }
        text.chars().try_for_each(|character| self.write_char(character))
    }

    fn write_char(&mut self, character: char) -> fmt::Result {
        match character {
            '"' => self.0.push_str("\\\""),
            '\\' => self.0.push_str("\\\\"),
            '\u{8}' => self.0.push_str("\\b"),
            '\t' => self.0.push_str("\\t"),
            '\n' => self.0.push_str("\\n"),
            '\u{c}' => self.0.push_str("\\f"),
            '\r' => self.0.push_str("\\r"),
            // All of them have four hexadecimal digits.
            hostile if is_hostile(hostile) => write!(self.0, "\\u{:04x}", u32::from(hostile))?,
            character => self.0.push(character),
        }
        Ok(())
    }
}

/// Whether a text stands in a JSON string as it is. May be wrong the other way round.
pub(super) fn is_literal(text: &str) -> bool {
    is_plain(text) && text.bytes().fold(true, |literal, octet| literal & (octet != b'"') & (octet != b'\\'))
}

impl Visit for Object<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.is_message_line {
            self.line.push(',');
            let _ = write!(self.line, "{value:#?}");
        } else {
            self.text(field.name(), format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field.name(), format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field.name(), format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field.name(), format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // NaN and the infinities become null.
        self.raw(field.name(), format_args!("{}", serde_json::Value::from(value)));
    }
}
