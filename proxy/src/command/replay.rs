//! `mailweir replay`: messages through a chain, offline. The same chain, host and services as in a session; nothing is
//! delivered.
#![expect(clippy::print_stdout, reason = "its result goes to standard output")]

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use mailweir_smtp::reply::Reply;
use memchr::memchr_iter;
use serde_json::{Value, json};

use super::arguments::ReplayArguments;
use super::run::all;
use crate::admin::metrics::Metrics;
use crate::chain::{Conclusion, Disposition, Envelope, PluginRecord, Refusal, Ruling, Run};
use crate::config::{Config, Limits};
use crate::generation::{Generation, Surroundings};
use crate::host::TransactionFacts;
use crate::message::{Message, MessageLimits};
use crate::verdict::{Edit, EditNote, Tag};

/// Runs messages through a chain and prints what each came to.
///
/// # Errors
///
/// When the chain cannot be set up or a message cannot be read.
pub async fn run(arguments: ReplayArguments, config: Config) -> Result<ExitCode> {
    let chains: Vec<String> = config.chains.keys().cloned().collect();
    let limits = limits(&config, &arguments.chain);
    let surroundings = Surroundings::offline(&Metrics::new());
    let generation = Generation::build(config, None, &surroundings).await.map_err(|errors| all(&errors))?;
    if generation.chain(&arguments.chain).is_none() {
        return Err(anyhow!("there is no chain {:?}; the configuration has: {}", arguments.chain, chains.join(", ")));
    }
    for file in &arguments.messages {
        let content = read(file).with_context(|| file.display().to_string())?;
        let result = replay(&generation, &arguments, limits, content).await;
        let name = file.display().to_string();
        if arguments.json {
            println!("{}", result.json(&name));
        } else {
            println!("{}", result.text(&name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The caps of the listener that uses the chain, so that a message is judged as it would be there.
fn limits(config: &Config, chain: &str) -> MessageLimits {
    let listener = config.listeners.values().find(|listener| listener.chain == chain);
    MessageLimits::from(&listener.map_or_else(Limits::default, |listener| listener.limits.clone()))
}

/// A message with CRLF line ends, which files seldom have.
fn read(file: &Path) -> Result<Bytes> {
    let mut raw = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut raw)?;
    } else {
        raw = std::fs::read(file)?;
    }
    let mut content = Vec::with_capacity(raw.len() + raw.len() / 32);
    let mut start = 0;
    for newline in memchr_iter(b'\n', &raw) {
        content.extend_from_slice(&raw[start..newline]);
        if content.last() != Some(&b'\r') {
            content.push(b'\r');
        }
        content.push(b'\n');
        start = newline + 1;
    }
    content.extend_from_slice(&raw[start..]);
    Ok(content.into())
}

/// What a message came to.
struct Replayed {
    verdict: &'static str,
    reply: Option<Reply>,
    reason: String,
    route: Option<String>,
    tags: Vec<Tag>,
    plugins: Vec<PluginRecord>,
    edits: Vec<(String, EditNote)>,
}

async fn replay(
    generation: &Generation,
    arguments: &ReplayArguments,
    limits: MessageLimits,
    content: Bytes,
) -> Replayed {
    let message = match Message::from_bytes(content, limits) {
        Ok(message) => message,
        Err(fault) => return Replayed::refused(fault.reply(), fault.to_string()),
    };
    let Some(chain) = generation.chain(&arguments.chain).cloned() else {
        return Replayed::refused(Reply::new(451, "4.3.5", "There is no such chain"), String::new());
    };
    let facts = Arc::new(TransactionFacts {
        id: "replay".to_owned(),
        listener: "replay".to_owned(),
        hostname: generation.config.server.hostname.clone(),
        client: SocketAddr::new(arguments.ip, 0),
        helo: arguments.helo.clone().into_bytes(),
        tls: None,
        trusted: false,
    });
    let envelope = envelope(generation, arguments, &message);
    let scan = generation.begin_scan(&chain).map(|scan| scan.finish(&message));
    let mut run = Run::new(chain, Arc::clone(&facts), generation.evaluation(arguments.ip));
    let conclusion = match before_the_end(&mut run, facts, &message, &envelope).await {
        Ruling::Continue => run.end(message, envelope, scan).await,
        Ruling::Refuse(refusal) => Conclusion { disposition: Disposition::Refuse(refusal), message, envelope },
    };
    run.abort().await;
    Replayed::new(&run, conclusion.disposition)
}

/// The phases before the message is whole, in the order of a session.
async fn before_the_end(run: &mut Run, facts: Arc<TransactionFacts>, message: &Message, envelope: &Envelope) -> Ruling {
    let mut ruling = run.connect().await;
    if ruling == Ruling::Continue {
        ruling = run.helo(facts).await;
    }
    if ruling == Ruling::Continue {
        ruling = run.mail(&envelope.sender).await;
    }
    for (index, recipient) in envelope.recipients.iter().enumerate() {
        if ruling == Ruling::Continue {
            ruling = run.rcpt(recipient).await;
            if index > 0 {
                // In a session, one with another route than the first has to wait for a message of its own.
                run.recipient_refused();
            }
        }
    }
    if ruling == Ruling::Continue {
        ruling = run.headers(message, envelope).await;
    }
    if run.pushes_early() {
        for chunk in message.chunks() {
            if ruling != Ruling::Continue {
                break;
            }
            ruling = match chunk {
                Ok(chunk) => run.body(&chunk).await,
                Err(error) => Ruling::Refuse(Refusal { reply: error.reply(), disconnect: false }),
            };
        }
    }
    ruling
}

/// What the command line says, and the message's own fields where it says nothing.
fn envelope(generation: &Generation, arguments: &ReplayArguments, message: &Message) -> Envelope {
    let sender = arguments.mail_from.clone().unwrap_or_else(|| {
        let field =
            |name| message.headers().values(name).next().map(|value| String::from_utf8_lossy(value).into_owned());
        let field = field("Return-Path").or_else(|| field("From")).unwrap_or_default();
        address(&field).to_owned()
    });
    let recipients = if arguments.rcpt.is_empty() {
        vec![format!("postmaster@{}", generation.config.server.hostname)]
    } else {
        arguments.rcpt.clone()
    };
    Envelope { sender, recipients }
}

/// The address in a field: what stands in angle brackets, or all of it.
fn address(field: &str) -> &str {
    let inner = field.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address);
    let address = inner.unwrap_or(field).trim();
    // Nothing else is an address that a client could have given in MAIL.
    if mailweir_smtp::address::Mailbox::parse(address.as_bytes()).is_ok() { address } else { "" }
}

impl Replayed {
    fn new(run: &Run, disposition: Disposition) -> Self {
        let plugins = run.records();
        let said = |verdict: &str| {
            let plugin = plugins.iter().rev().find(|record| record.verdict == verdict);
            plugin.map(|record| format!("{}: {}", record.name, record.reason)).unwrap_or_default()
        };
        let (verdict, reply, reason, route) = match disposition {
            Disposition::Deliver { route } => ("accept", None, String::new(), route),
            Disposition::Discard => ("discard", None, said("discard"), None),
            Disposition::Quarantine { plugin, reason } => ("quarantine", None, format!("{plugin}: {reason}"), None),
            Disposition::Refuse(Refusal { reply, .. }) => {
                let verdict = if reply.is_permanent() { "reject" } else { "tempfail" };
                let against = plugins
                    .iter()
                    .rev()
                    .find(|record| matches!(record.verdict, "reject" | "tempfail" | "disconnect" | "failed"));
                let reason = against.map(|record| format!("{}: {}", record.name, record.reason)).unwrap_or_default();
                (verdict, Some(reply), reason, None)
            }
        };
        Self { verdict, reply, reason, route, tags: run.tags().to_vec(), plugins, edits: run.edits().to_vec() }
    }

    fn refused(reply: Reply, reason: String) -> Self {
        let verdict = if reply.is_permanent() { "reject" } else { "tempfail" };
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        let (tags, plugins, edits) = nothing;
        Self { verdict, reply: Some(reply), reason, route: None, tags, plugins, edits }
    }

    fn json(&self, file: &str) -> Value {
        let tagged =
            |name: &str| self.tags.iter().filter(|tag| tag.name == name).map(|tag| tag.value.as_str()).collect();
        let first =
            |name: &str| -> Option<&str> { self.tags.iter().find(|tag| tag.name == name).map(|tag| &*tag.value) };
        let dkim: Vec<&str> = tagged("dkim");
        json!({
            "file": file,
            "verdict": self.verdict,
            "reply": self.reply.as_ref().map(one_line),
            "reason": self.reason,
            "route": self.route,
            "tags": self.tags.iter().map(|tag| json!({ "name": tag.name, "value": tag.value })).collect::<Vec<_>>(),
            "plugins": self.plugins.iter().map(plugin).collect::<Vec<_>>(),
            "authentication": { "spf": first("spf"), "dkim": dkim, "arc": first("arc"), "dmarc": first("dmarc") },
            "edits": self.edits.iter().map(|(plugin, edit)| described(plugin, edit)).collect::<Vec<_>>(),
        })
    }

    fn text(&self, file: &str) -> String {
        let mut lines = vec![format!("{file}: {}", self.verdict)];
        lines.extend(self.reply.as_ref().map(|reply| format!("  reply   {}", one_line(reply))));
        if !self.reason.is_empty() {
            lines.push(format!("  reason  {}", self.reason));
        }
        lines.extend(self.route.as_ref().map(|route| format!("  route   {route}")));
        for record in &self.plugins {
            let micros = record.cost.wall.as_micros();
            lines.push(format!("  plugin  {}: {} in {micros} µs; {}", record.name, record.said(), record.reason));
        }
        lines.extend(self.tags.iter().map(|tag| format!("  tag     {} = {}", tag.name, tag.value)));
        lines.extend(self.edits.iter().map(|(plugin, edit)| format!("  edit    {}", described(plugin, edit))));
        lines.join("\n")
    }
}

fn plugin(record: &PluginRecord) -> Value {
    json!({
        "name": record.name,
        "verdict": record.said(),
        "reason": record.reason,
        "score": record.score,
        "micros": u64::try_from(record.cost.wall.as_micros()).unwrap_or(u64::MAX),
        "fuel": record.cost.fuel,
        "bytes": record.cost.bytes,
    })
}

fn described(plugin: &str, note: &EditNote) -> Value {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let edit = match note {
        EditNote::Whole(edit) => edit,
        EditNote::ReplacedBody(bytes) => {
            return json!({ "plugin": plugin, "edit": "replace-body", "bytes": bytes });
        }
    };
    match edit {
        Edit::AddHeader { name, value } => {
            json!({ "plugin": plugin, "edit": "add-header", "name": name, "value": text(value) })
        }
        Edit::InsertHeader { position, name, value } => json!({
            "plugin": plugin, "edit": "insert-header", "position": position, "name": name, "value": text(value)
        }),
        Edit::RemoveHeader { name, occurrence } => {
            json!({ "plugin": plugin, "edit": "remove-header", "name": name, "occurrence": occurrence })
        }
        Edit::ReplaceHeader { name, occurrence, value } => json!({
            "plugin": plugin, "edit": "replace-header", "name": name, "occurrence": occurrence, "value": text(value)
        }),
        Edit::AddRecipient(address) => json!({ "plugin": plugin, "edit": "add-recipient", "address": address }),
        Edit::RemoveRecipient(address) => json!({ "plugin": plugin, "edit": "remove-recipient", "address": address }),
        Edit::ChangeSender(address) => json!({ "plugin": plugin, "edit": "change-sender", "address": address }),
        Edit::ReplaceBody(body) => json!({ "plugin": plugin, "edit": "replace-body", "bytes": body.len() }),
    }
}

fn one_line(reply: &Reply) -> String {
    format!("{} {}", reply.code(), reply.lines().join(" / "))
}
