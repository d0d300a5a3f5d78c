//! One JSON object a line: time, level, target and message first, then the event's fields in their order.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::message_line;
use super::printable::{is_hostile, is_plain};

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
        SystemTime.format_time(&mut Writer::new(&mut line))?;
        write!(line, "\",\"level\":\"{}\"", metadata.level())?;
        let mut object = Object { line: &mut line, structured: metadata.target() == message_line::TARGET };
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
        write_guarded(&mut writer, &line)
    }
}

/// Hostile characters can only stand inside strings, where JSON has an escape for each.
fn write_guarded(writer: &mut Writer<'_>, line: &str) -> fmt::Result {
    let hostile = |character| is_hostile(character) && character != '\n';
    if is_plain(line.trim_end_matches('\n')) || !line.contains(hostile) {
        return writer.write_str(line);
    }
    for character in line.chars() {
        if hostile(character) {
            write!(writer, "\\u{:04x}", u32::from(character))?;
        } else {
            writer.write_char(character)?;
        }
    }
    Ok(())
}

/// An object that is being written.
struct Object<'l> {
    line: &'l mut String,
    /// The event is a message's, whose lists print themselves as JSON in the alternate form.
    structured: bool,
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

/// Writes the inside of a JSON string.
struct Escaping<'l>(&'l mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let needs_none = |octet: u8| octet >= b' ' && octet != b'"' && octet != b'\\';
        if text.bytes().all(needs_none) {
            self.0.push_str(text);
            return Ok(());
        }
        let quoted = serde_json::Value::from(text).to_string();
        self.0.push_str(&quoted[1..quoted.len() - 1]);
        Ok(())
    }
}

impl Visit for Object<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.structured && message_line::LISTS.contains(&field.name()) {
            self.raw(field.name(), format_args!("{value:#?}"));
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
