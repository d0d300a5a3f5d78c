//! `mailweir replay`: messages through a chain, offline. The same chain, host, services and signatures as in a session;
//! nothing is delivered, but what would be can be written to files.
#![expect(clippy::print_stdout, reason = "its result goes to standard output")]

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use mailweir_smtp::reply::Reply;
use memchr::memchr_iter;
use serde_json::{Value, json};

use super::arguments::ReplayArguments;
use super::run::all;
use crate::admin::metrics::Metrics;
use crate::chain::{Conclusion, Disposition, Envelope, PluginRecord, Refusal, Ruling, Run};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::generation::{Generation, Surroundings};
use crate::host::TransactionFacts;
use crate::message::{Message, MessageLimits};
use crate::signing::Occasion;
use crate::verdict::{Edit, EditNote, Tag};

/// Runs messages through a chain and prints what each came to.
///
/// # Errors
///
/// When the chain cannot be set up or a message cannot be read.
pub async fn run(arguments: ReplayArguments, config: Config) -> Result<ExitCode> {
    let chains: Vec<String> = config.chains.keys().cloned().collect();
    let limits = limits(&config, &arguments.chain);
    let clock = arguments.time.map_or(Clock::System, Clock::Stopped);
    let surroundings = Surroundings { clock, ..Surroundings::offline(&Metrics::new()) };
    let generation = Generation::build(config, None, &surroundings).await.map_err(|errors| all(&errors))?;
    if generation.chain(&arguments.chain).is_none() {
        return Err(anyhow!("there is no chain {:?}; the configuration has: {}", arguments.chain, chains.join(", ")));
    }
    let outputs = outputs(&arguments)?;
    for (file, output) in arguments.messages.iter().zip(outputs) {
        let content = read(file).with_context(|| file.display().to_string())?;
        let mut result = replay(&generation, &arguments, limits, content).await;
        if let (Some(output), Some(message)) = (output, &result.message) {
            write(&output, message).with_context(|| output.display().to_string())?;
            result.written = Some(output);
        }
        let name = file.display().to_string();
        if arguments.json {
            println!("{}", result.json(&name));
        } else {
            println!("{}", result.text(&name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where each message is written: under its own name, which no other may have. No message that is read is replaced.
fn outputs(arguments: &ReplayArguments) -> Result<Vec<Option<PathBuf>>> {
    let Some(directory) = &arguments.write else { return Ok(vec![None; arguments.messages.len()]) };
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut outputs: Vec<Option<PathBuf>> = Vec::new();
    for file in &arguments.messages {
        let name = if file == Path::new("-") { OsStr::new("stdin.eml") } else { file.file_name().unwrap_or_default() };
        let path = directory.join(name);
        let output = Some(path.clone());
        ensure!(!outputs.contains(&output), "--write: two messages are called {}", name.display());
        let is_input = || arguments.messages.iter().any(|message| is_same_file(message, &path));
        ensure!(
            !path.exists() || !is_input(),
            "--write: {} is one of the messages; give another directory",
            path.display()
        );
        outputs.push(output);
    }
    Ok(outputs)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// As BDAT would carry it: CRLF line ends, no dot-stuffing.
fn write(file: &Path, message: &Message) -> Result<()> {
    let mut file = BufWriter::new(File::create(file)?);
    for chunk in message.chunks() {
        file.write_all(&chunk?)?;
    }
    Ok(file.flush()?)
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
    /// Recipients that are none of the message's, and what the client is told of each.
    refused: Vec<(String, Reply)>,
    route: Option<String>,
    tags: Vec<Tag>,
    plugins: Vec<PluginRecord>,
    edits: Vec<(String, EditNote)>,
    /// As it would leave.
    message: Option<Message>,
    written: Option<PathBuf>,
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
    let mut envelope = envelope(generation, arguments, &message);
    let scan = generation.begin_scan(&chain).map(|scan| scan.finish(&message));
    let mut run = Run::new(chain, Arc::clone(&facts), generation.evaluation(arguments.ip));
    let (received, sender) = (message.clone(), envelope.sender.clone());
    let mut refused = Vec::new();
    let conclusion = match before_the_end(&mut run, facts, &message, &mut envelope, &mut refused).await {
        Ruling::Continue => run.end(message, envelope, scan).await,
        Ruling::Refuse(refusal) => Conclusion { disposition: Disposition::Refuse(refusal), message, envelope },
    };
    run.abort().await;
    let Conclusion { disposition, message, .. } = conclusion;
    if !matches!(disposition, Disposition::Deliver { .. } | Disposition::Quarantine { .. }) {
        return Replayed { refused, ..Replayed::new(&run, disposition) };
    }
    let signed = match generation.signing(&arguments.chain) {
        // Whether the client is one for whom we sign says the listener, not the chain.
        Some(signing) => {
            let evaluation = run.evaluation();
            let occasion = Occasion { received: &received, evaluation, sender: &sender, is_trusted: true };
            signing.apply(message, &occasion).await
        }
        None => Ok(message),
    };
    match signed {
        Ok(message) => Replayed { message: Some(message), refused, ..Replayed::new(&run, disposition) },
        Err(fault) => {
            let refusal = Refusal { reply: fault.reply(), disconnect: false };
            Replayed { reason: fault.to_string(), refused, ..Replayed::new(&run, Disposition::Refuse(refusal)) }
        }
    }
}

/// The phases before the message is whole, in the order of a session. Recipients that are refused leave the envelope.
async fn before_the_end(
    run: &mut Run,
    facts: Arc<TransactionFacts>,
    message: &Message,
    envelope: &mut Envelope,
    refused: &mut Vec<(String, Reply)>,
) -> Ruling {
    let mut ruling = run.connect().await;
    if ruling == Ruling::Continue {
        ruling = run.helo(facts).await;
    }
    if ruling == Ruling::Continue {
        ruling = run.mail(&envelope.sender).await;
    }
    if ruling == Ruling::Continue {
        ruling = recipients(run, envelope, refused).await;
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

/// Each recipient; the ruling is that on the last of them when none is left.
async fn recipients(run: &mut Run, envelope: &mut Envelope, refused: &mut Vec<(String, Reply)>) -> Ruling {
    let mut last = Ruling::Continue;
    for recipient in std::mem::take(&mut envelope.recipients) {
        let route = run.route().map(str::to_owned);
        last = run.rcpt(&recipient).await;
        match &last {
            Ruling::Continue => {
                if !envelope.recipients.is_empty() && run.route() != route.as_deref() {
                    // In a session, one with another route than the first has to wait for a message of its own.
                    run.recipient_refused();
                }
                envelope.recipients.push(recipient);
            }
            Ruling::Refuse(Refusal { disconnect: true, .. }) => return last,
            Ruling::Refuse(refusal) => refused.push((recipient, refusal.reply.clone())),
        }
    }
    if envelope.recipients.is_empty() { last } else { Ruling::Continue }
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
        let plugins: Vec<PluginRecord> = run.records().into_iter().map(Cow::into_owned).collect();
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
        let (tags, edits) = (run.tags().to_vec(), run.edits().to_vec());
        Self { verdict, reply, reason, refused: Vec::new(), route, tags, plugins, edits, message: None, written: None }
    }

    fn refused(reply: Reply, reason: String) -> Self {
        let verdict = if reply.is_permanent() { "reject" } else { "tempfail" };
        let (refused, tags, plugins, edits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (reply, route) = (Some(reply), None);
        Self { verdict, reply, reason, refused, route, tags, plugins, edits, message: None, written: None }
    }

    fn json(&self, file: &str) -> Value {
        let tagged =
            |name: &str| self.tags.iter().filter(|tag| tag.name == name).map(|tag| tag.value.as_str()).collect();
        let first =
            |name: &str| -> Option<&str> { self.tags.iter().find(|tag| tag.name == name).map(|tag| &*tag.value) };
        let dkim: Vec<&str> = tagged("dkim");
        let refused =
            |(recipient, reply): &(String, Reply)| json!({ "recipient": recipient, "reply": one_line(reply) });
        let refused: Vec<Value> = self.refused.iter().map(refused).collect();
        json!({
            "file": file,
            "verdict": self.verdict,
            "reply": self.reply.as_ref().map(one_line),
            "reason": self.reason,
            "refused": refused,
            "route": self.route,
            "tags": self.tags.iter().map(|tag| json!({ "name": tag.name, "value": tag.value })).collect::<Vec<_>>(),
            "plugins": self.plugins.iter().map(plugin).collect::<Vec<_>>(),
            "authentication": { "spf": first("spf"), "dkim": dkim, "arc": first("arc"), "dmarc": first("dmarc") },
            "edits": self.edits.iter().map(|(plugin, edit)| described(plugin, edit)).collect::<Vec<_>>(),
            "written": self.written.as_ref().map(|file| file.display().to_string()),
        })
    }

    fn text(&self, file: &str) -> String {
        let mut lines = vec![format!("{file}: {}", self.verdict)];
        lines.extend(self.reply.as_ref().map(|reply| format!("  reply   {}", one_line(reply))));
        if !self.reason.is_empty() {
            lines.push(format!("  reason  {}", self.reason));
        }
        let refused = self.refused.iter();
        lines.extend(refused.map(|(recipient, reply)| format!("  refused {recipient}: {}", one_line(reply))));
        lines.extend(self.route.as_ref().map(|route| format!("  route   {route}")));
        for record in &self.plugins {
            let micros = record.cost.wall.as_micros();
            lines.push(format!("  plugin  {}: {} in {micros} µs; {}", record.name, record.said(), record.reason));
        }
        lines.extend(self.tags.iter().map(|tag| format!("  tag     {} = {}", tag.name, tag.value)));
        lines.extend(self.edits.iter().map(|(plugin, edit)| format!("  edit    {}", described(plugin, edit))));
        lines.extend(self.written.as_ref().map(|file| format!("  written {}", file.display())));
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
