//! `mailweir replay` over every message of the shared MIME corpus, malformed ones included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mailweir_testkit::clamd::Clamd;
use mailweir_testkit::dns::ZoneServer;
use mailweir_testkit::ports;
use serde_json::Value;
use tokio::process::Command;

use super::stage::{Addresses, config, start_clamd, zone};
use super::{Outcome, Setting, scaled};

const CORPUS: &str = "../shared/testdata/mime_mailparser/eml";

pub(super) async fn run(setting: &Setting) -> Result<Outcome> {
    let command = "mailweir replay --json --chain inbound".to_owned();
    let corpus = crate::workspace_root().join(CORPUS);
    if !corpus.is_dir() {
        return Ok(Outcome::skipped("replay", command, &format!("there is no {CORPUS}")));
    }
    let mut files = Vec::new();
    collect(&corpus, &mut files)?;
    files.sort();
    let all = u32::try_from(files.len())?;
    files.truncate(usize::try_from(scaled(all, setting.scale, all.min(10)))?);

    let zone = ZoneServer::start(zone()?, "127.0.0.1:0".parse()?).await?;
    let clamd = start_clamd().await;
    let mut filters = vec!["auth", "surbl", "dlp"];
    filters.extend(clamd.is_some().then_some("antivirus"));
    let addresses = Addresses {
        inbound: ports::free()?,
        admin: ports::free()?,
        dns: zone.addr(),
        upstream: ports::free()?,
        clamd: clamd.as_ref().map(Clamd::socket),
        plugins: &setting.plugins,
    };
    let directory = tempfile::tempdir()?;
    let config_file = directory.path().join("mailweir.toml");
    std::fs::write(&config_file, config(&addresses, &filters, super::stage::MEMORY_BUDGET))?;

    println!("{command}, {} messages …", files.len());
    let begin = Instant::now();
    let output = Command::new(&setting.binary)
        .args(["replay", "--json", "--chain", "inbound", "--config"])
        .arg(&config_file)
        .args(&files)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .await
        .context("mailweir replay")?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut replayed = Replayed::default();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        replayed.add(&serde_json::from_str(line).with_context(|| line.to_owned())?, &corpus);
    }
    let Replayed { mut wrong, verdicts, slowest } = replayed;
    if !output.status.success() {
        wrong.push(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let results: usize = verdicts.values().sum();
    if results != files.len() {
        wrong.push(format!("{results} results of {} messages", files.len()));
    }
    let counts: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let (micros, file) = slowest;
    let figures = vec![
        format!("{results} messages, {seconds:.1} s with loading the filters: {}", counts.join(", ")),
        format!("the slowest: {file}, {micros} µs in filters; chain {}", filters.join(", ")),
    ];
    Ok(Outcome::new("replay", command, wrong, figures))
}

/// What all messages came to.
#[derive(Default)]
struct Replayed {
    wrong: Vec<String>,
    verdicts: BTreeMap<String, usize>,
    slowest: (u64, String),
}

impl Replayed {
    fn add(&mut self, message: &Value, corpus: &Path) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let file = text(&message["file"]);
        let file = Path::new(&file).strip_prefix(corpus).map_or(file.clone(), |file| file.display().to_string());
        *self.verdicts.entry(text(&message["verdict"])).or_default() += 1;
        let plugins = message["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
        for plugin in plugins.iter().filter(|plugin| plugin["verdict"] == "failed") {
            self.wrong.push(format!("{file}: {} failed: {}", text(&plugin["name"]), text(&plugin["reason"])));
        }
        let micros = plugins.iter().filter_map(|plugin| plugin["micros"].as_u64()).sum();
        self.slowest = std::cmp::max(std::mem::take(&mut self.slowest), (micros, file));
    }
}

/// The messages in a folder and below; other files there say what a parser should find in them.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            files.push(path);
        }
    }
    Ok(())
}
