//! Logs: human on a terminal, JSON otherwise, both on standard error. One line an event, whatever the network sent:
//! what would break a line or steer a terminal is escaped on the way out, in both formats.

mod batches;
mod printable;
mod json;
mod message_line;

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;

pub use message_line::{MessageLine, PluginLine};
pub use printable::Printable;

use printable::write_escaped;

/// What is logged when neither environment variable says otherwise.
const DEFAULT_FILTER: &str = "info,hickory_proto=warn,hickory_resolver=warn,wasmtime=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, text, then key=value.
    Human,
    /// For machines: one JSON object a line.
    Json,
}

impl Format {
    /// Human when standard error is a terminal.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// Sends the process's log to standard error, filtered as `MAILWEIR_LOG` says, or `RUST_LOG`, in the syntax of
/// tracing's `EnvFilter`. Called a second time it changes nothing.
pub fn init(format: Format) {
    let directives = ["MAILWEIR_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::new(directives.as_deref().unwrap_or(DEFAULT_FILTER));
    let ansi = std::io::stderr().is_terminal();
    // The only error is that a subscriber was set before, as by a test; that one stays.
    match format {
        Format::Human => drop(tracing::subscriber::set_global_default(human(filter, ansi, std::io::stderr))),
        // A test that has seen an answer looks for its line at once.
        Format::Json => match are_batched().then(batches::standard_error).flatten() {
            Some(batched) => drop(tracing::subscriber::set_global_default(machine(filter, batched))),
            None => drop(tracing::subscriber::set_global_default(machine(filter, std::io::stderr))),
        },
    }
}

fn are_batched() -> bool {
    std::env::var("MAILWEIR_LOG_BATCHES").map_or(true, |value| value != "off")
}

/// Writes what is still on its way; for the end of the process.
pub fn flush() {
    batches::flush();
}

fn human<W>(filter: EnvFilter, ansi: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write_escaped(writer, &format!("{value:?}")),
        name => {
            write!(writer, "{name}=")?;
            write_escaped(writer, &format!("{value:?}"))
        }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(writer)
        .fmt_fields(fields.delimited(" "))
        .finish()
}

fn machine<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer)
        .event_format(json::JsonLines)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::verdict::Tag;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What each format makes of the events of `log`.
    fn captured(format: Format, log: impl FnOnce()) -> String {
        let output = Captured::default();
        let writer = output.clone();
        let make_writer = move || writer.clone();
        match format {
            Format::Human => {
                tracing::subscriber::with_default(human(EnvFilter::new("info"), false, make_writer), log);
            }
            Format::Json => tracing::subscriber::with_default(machine(EnvFilter::new("info"), make_writer), log),
        }
        String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\r\nFAKE LINE \x1b[31mred\x07\x7f\u{9b}31m\u{202e}drawkcab\u{2028}\0";

    fn hostile_events() {
        let _span = tracing::info_span!("session", helo = HOSTILE).entered();
        tracing::info!(text = HOSTILE, display = %HOSTILE, debug = ?HOSTILE, "{HOSTILE}");
        MessageLine {
            helo: HOSTILE,
            sender: HOSTILE,
            recipients: vec![HOSTILE],
            size: 7,
            reply: HOSTILE,
            upstream_reply: HOSTILE,
            plugins: vec![PluginLine { name: "p", reason: HOSTILE, micros: 3, ..PluginLine::default() }],
            tags: &[Tag { name: HOSTILE.to_owned(), value: HOSTILE.to_owned() }],
            ..MessageLine::default()
        }
        .emit();
    }

    #[test]
    fn nothing_hostile_reaches_the_output() {
        for format in [Format::Human, Format::Json] {
            let output = captured(format, hostile_events);
            assert_eq!(output.lines().count(), 2, "{output}");
            let line = output.trim_end_matches('\n').replacen('\n', "", 1);
            assert!(!line.chars().any(char::is_control), "{output:?}");
            assert!(!line.contains(['\u{202e}', '\u{2028}', '\u{9b}']), "{output:?}");
            assert!(output.contains("FAKE LINE"));
        }
    }

    #[test]
    fn json_lines_are_json() {
        let output = captured(Format::Json, hostile_events);
        let lines: Vec<serde_json::Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["text"], HOSTILE);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["message"], "message");
        assert_eq!(lines[1]["size"], 7);
        assert_eq!(lines[1]["recipients"].as_array().unwrap().len(), 1);
        assert_eq!(lines[1]["plugins"][0]["micros"], 3);
        assert_eq!(lines[1]["tags"][0]["name"], HOSTILE);
    }

    #[test]
    fn a_message_reads_well_on_a_terminal() {
        let line = MessageLine {
            id: "0Q",
            listener: "inbound",
            client: "192.0.2.1:4242",
            helo: "client.example",
            sender: "a@example.com",
            recipients: vec!["b@example.net"],
            size: 42,
            verdict: "reject",
            reply: "554 5.7.0 no",
            plugins: vec![PluginLine {
                name: "dlp",
                verdict: "reject",
                reason: "2 cards",
                micros: 17,
                ..PluginLine::default()
            }],
            micros: 99,
            ..MessageLine::default()
        };
        let output = captured(Format::Human, || line.emit());
        assert!(output.contains("recipients=[<b@example.net>] "), "{output}");
        assert!(output.contains("plugins=[dlp: reject (2 cards) 17us] "), "{output}");
    }

    #[test]
    fn a_message_for_machines_octet_by_octet() {
        let line = MessageLine {
            id: "0Q",
            listener: "inbound",
            client: "192.0.2.1:4242",
            helo: "client.example",
            sender: "\"a b\"@example.com",
            recipients: vec!["b@example.net", "grüße@example.net"],
            size: 42,
            verdict: "reject",
            reason: "dlp: \u{202e}2 cards\r\n",
            reply: "554 5.7.0 no",
            upstream: "exchange/192.0.2.2",
            upstream_reply: "",
            plugins: vec![
                PluginLine { name: "auth", verdict: "pass", ..PluginLine::default() },
                PluginLine {
                    name: "dlp",
                    verdict: "reject",
                    reason: "\u{202e}2 cards\r\n",
                    micros: 17,
                    host_calls: 3,
                    bytes: 42,
                },
            ],
            tags: &[Tag { name: "dlp".to_owned(), value: "C:\\\u{1b}[1m".to_owned() }],
            micros: 99,
        };
        let output = captured(Format::Json, || line.emit());
        let (time, rest) = output.split_once(',').unwrap();
        assert_eq!(time.len(), "{\"time\":\"2026-01-31T23:59:59.000001Z\"".len());
        let expected = [
            r#""level":"INFO","target":"mailweir::message","message":"message","id":"0Q","listener":"inbound","#,
            r#""client":"192.0.2.1:4242","helo":"client.example","sender":"\"a b\"@example.com","#,
            r#""recipients":["b@example.net","grüße@example.net"],"recipient_count":2,"size":42,"verdict":"reject","#,
            r#""reason":"dlp: \\u{202e}2 cards\\u{d}\\u{a}","reply":"554 5.7.0 no","#,
            r#""upstream":"exchange/192.0.2.2","upstream_reply":"","#,
            r#""plugins":[{"bytes":0,"host_calls":0,"micros":0,"name":"auth","verdict":"pass"},{"bytes":42,"#,
            r#""host_calls":3,"micros":17,"name":"dlp","reason":"\u202e2 cards\r\n","verdict":"reject"}],"#,
            r#""tags":[{"name":"dlp","value":"C:\\\u001b[1m"}],"micros":99}"#,
        ];
        assert_eq!(rest, expected.concat() + "\n");
    }

    #[test]
    fn many_recipients_are_cut_and_counted() {
        let line = MessageLine { recipients: vec!["a@b"; 1000], ..MessageLine::default() };
        let output = captured(Format::Json, || line.emit());
        let value: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(value["recipients"].as_array().unwrap().len(), 50);
        assert_eq!(value["recipient_count"], 1000);
    }
}
