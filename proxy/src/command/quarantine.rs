//! `mailweir quarantine`: what is kept, for an operator at a terminal. What came from the network is escaped.

mod release;

use std::fmt::Write;
use std::io::{self, Read};
use std::process::ExitCode;

use super::{QuarantineCommand, print};
use crate::config::Config;
use crate::logging::Printable;
use crate::quarantine::{Entry, Id, Quarantine, Record};
use release::Kept;

/// A message is printed in pieces of this size.
const PIECE: usize = 64 << 10;

/// Does what the command line says.
///
/// # Errors
///
/// When the quarantine cannot be read or written, there is no such message, or it cannot be delivered.
pub async fn run(command: QuarantineCommand, config: Config) -> anyhow::Result<ExitCode> {
    let quarantine = Quarantine::new(&config.server.state_dir);
    match command {
        QuarantineCommand::List { json, .. } => {
            let entries = quarantine.list().await?;
            print(if json { json_lines(&entries)? } else { table(&entries) }.as_bytes())?;
        }
        QuarantineCommand::Show { id, raw: true, .. } => print_message(&quarantine, &Id::parse(&id)?).await?,
        QuarantineCommand::Show { id, .. } => {
            let record = quarantine.show(&Id::parse(&id)?).await?;
            print(description(&record).as_bytes())?;
        }
        QuarantineCommand::Release { id, .. } => {
            let kept = release::release(&config, &quarantine, &Id::parse(&id)?, release::interruption()).await?;
            if !kept.is_empty() {
                let line = |kept: &Kept| format!("\n<{}>: {}", text(&kept.recipient), text(&kept.reason));
                anyhow::bail!("not delivered to, and kept for:{}", kept.iter().map(line).collect::<String>());
            }
        }
        QuarantineCommand::Delete { id, .. } => quarantine.delete(&Id::parse(&id)?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn print_message(quarantine: &Quarantine, id: &Id) -> anyhow::Result<()> {
    let mut file = quarantine.open(id).await?;
    tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                length => print(&piece[..length])?,
            }
        }
    })
    .await??;
    Ok(())
}

fn table(entries: &[Entry]) -> String {
    let mut table = String::new();
    for entry in entries {
        match entry {
            Entry::Whole(record) => {
                let Record { id, time, size, plugin, reason, sender, .. } = record.as_ref();
                let count = record.recipients.len();
                let first = record.recipients.first().map_or("", String::as_str);
                let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
                let _ = writeln!(
                    table,
                    "{id}  {time}  {size:>9} bytes  <{}> to <{}>{more}  {}: {}",
                    text(sender),
                    text(first),
                    text(plugin),
                    text(reason)
                );
            }
            Entry::Damaged { id, problem } => {
                let _ = writeln!(table, "{id}  damaged: {}", text(problem));
            }
        }
    }
    table
}

/// One object a line: the record, or the id and what is wrong.
fn json_lines(entries: &[Entry]) -> serde_json::Result<String> {
    let mut lines = String::new();
    for entry in entries {
        let value = match entry {
            Entry::Whole(record) => serde_json::to_value(record)?,
            Entry::Damaged { id, problem } => serde_json::json!({ "id": id.as_str(), "damaged": problem }),
        };
        let _ = writeln!(lines, "{value}");
    }
    Ok(lines)
}

fn description(record: &Record) -> String {
    let mut lines = String::new();
    let recipients =
        record.recipients.iter().map(|recipient| format!("<{}>", text(recipient))).collect::<Vec<_>>().join(", ");
    let size = record.size.to_string();
    for (name, value) in [
        ("id", record.id.as_str()),
        ("time", &record.time),
        ("transaction", &record.transaction),
        ("listener", &record.listener),
        ("client", &record.client),
        ("helo", &record.helo),
        ("sender", &record.sender),
        ("recipients", &recipients),
        ("route", &record.route),
        ("plugin", &record.plugin),
        ("reason", &record.reason),
        ("size", &size),
        ("sha256", &record.sha256),
    ] {
        let _ = writeln!(lines, "{name:<12} {}", text(value));
    }
    lines
}

fn text(text: &str) -> Printable<'_> {
    Printable(text.as_bytes())
}
