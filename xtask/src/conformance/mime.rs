//! The messages of mail-parser: that filters see the texts that it finds in them, and that each is relayed byte by byte.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mailweir_testkit::dns::Zone;
use serde_json::Value;

use super::report::{Disagreement, Tally};
use super::server::Server;
use super::{Setting, client};

/// Rules of one filter, each of which sets two tags.
const RULES: usize = 32;
/// Letters of the shortest word looked for.
const LETTERS: usize = 4;

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    let Some(folder) = setting.data("mime_mailparser/eml") else { return Ok(Tally::skipped("MIME mail-parser")) };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        files.extend(super::files(&entry?.path(), "eml")?);
    }
    files.sort();
    Ok(vec![parsed(setting, &folder, &files)?, relayed(setting, &folder, &files)?])
}

/// The dlp filter looks for every word that mail-parser finds in the texts.
fn parsed(setting: &Setting, folder: &Path, files: &[PathBuf]) -> Result<Tally> {
    let mut cases = Vec::new();
    for file in files {
        let expected = file.with_extension("json");
        let expected = std::fs::read(&expected).with_context(|| expected.display().to_string())?;
        let mut words = BTreeSet::new();
        collect_words(&serde_json::from_slice(&expected)?, &mut words);
        cases.push((file, words.into_iter().collect::<Vec<_>>()));
    }
    let words: usize = cases.iter().map(|(_, words)| words.len()).sum();
    let disagreements = setting.judge(&cases, |stage, (file, words)| {
        let case = shown(file, folder);
        let mut missing = Vec::new();
        // A decision holds only so many tags. A message without words is replayed all the same.
        let (first, rest) = words.split_at(words.len().min(RULES));
        for words in std::iter::once(first).chain(rest.chunks(RULES)) {
            let replayed = stage.replay_files(&chain(words), Zone::new(), &[], &[(*file).clone()])?;
            let [replayed] = replayed.as_slice() else { continue };
            if let Some(failure) = replayed.failure() {
                return Ok(vec![Disagreement { case, expected: "no failure".to_owned(), got: failure }]);
            }
            if replayed.verdict() != "accept" {
                let got = format!("{} {}", replayed.verdict(), replayed.reply());
                return Ok(vec![Disagreement { case, expected: "accept".to_owned(), got }]);
            }
            let found: BTreeSet<&str> = replayed.tags("dlp").into_iter().collect();
            missing.extend(words.iter().map(String::as_str).filter(|word| !found.contains(word)));
        }
        let expected = format!("{} words of its texts", words.len());
        let got = format!("all but {}", missing.join(" "));
        Ok(if missing.is_empty() { Vec::new() } else { vec![Disagreement { case, expected, got }] })
    })?;
    let figures = format!("{words} words of decoded texts looked for");
    Ok(Tally::new("MIME mail-parser, texts", cases.len(), disagreements).with_figures(figures))
}

/// A chain whose filter has a rule for each word, named like it; an empty one without words.
fn chain(words: &[String]) -> String {
    if words.is_empty() {
        return "[chain.test]\n".to_owned();
    }
    let rules = words.iter().map(|word| {
        // The escapes of JSON are those of TOML.
        let word = Value::from(word.as_str());
        format!("{{ name = {word}, keywords = [{word}], whole_word = false, action = {{ tag = \"seen\" }} }}")
    });
    format!(
        "[chain.test]\nplugins = [\"dlp\"]\n\n[plugin.dlp]\ngrants = [\"scan\"]\ncpu = \"10s\"\n\
         config = {{ rules = [{}] }}\n",
        rules.collect::<Vec<_>>().join(", ")
    )
}

/// The words of all texts that mail-parser has decoded, those of inner messages too. Markup is left out: of HTML, only
/// what a reader sees is searched.
fn collect_words(message: &Value, words: &mut BTreeSet<String>) {
    for part in message["parts"].as_array().into_iter().flatten() {
        let body = &part["body"];
        if let Some(text) = body["Text"].as_str() {
            let candidates = text.split(|character: char| !character.is_alphanumeric());
            let long = candidates.filter(|word| word.chars().count() >= LETTERS && word.len() <= 100);
            words.extend(long.map(str::to_owned));
        }
        collect_words(&body["Message"], words);
    }
}

/// Through a proxy that serves, to a sink that stores.
fn relayed(setting: &Setting, folder: &Path, files: &[PathBuf]) -> Result<Tally> {
    let server = Server::start(setting, "relay_domains = [\"example.com\"]", &chain(&[]))?;
    let mut disagreements = Vec::new();
    let mut stored = 0;
    for file in files {
        let sent = with_crlf(&std::fs::read(file)?);
        let reply = client::deliver(server.address, &sent)?;
        // RFC 5321 section 2.3.8: no message has a CR by itself, and a server that passes it on helps smugglers.
        let has_bare_cr = sent.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
        let expected = if has_bare_cr { "550 5.6.11" } else { "250" };
        if !reply.starts_with(expected) {
            let case = shown(file, folder);
            disagreements.push(Disagreement { case, expected: expected.to_owned(), got: reply });
        } else if !has_bare_cr {
            stored += 1;
            if let Some(got) = difference(&sent, &std::fs::read(server.delivered(stored))?) {
                let case = shown(file, folder);
                disagreements.push(Disagreement { case, expected: "the same bytes".to_owned(), got });
            }
        }
    }
    Ok(Tally::new("MIME mail-parser, relayed", files.len(), disagreements).with_figures("byte by byte".to_owned()))
}

/// What arrived is our Received field and then the message.
fn difference(sent: &[u8], arrived: &[u8]) -> Option<String> {
    let end = arrived.windows(3).position(|window| window.starts_with(b"\r\n") && !matches!(window[2], b' ' | b'\t'));
    let (own, rest) = arrived.split_at(end.map_or(arrived.len(), |end| end + 2));
    if !own.starts_with(b"Received: ") {
        return Some(format!("it begins with {:?}", String::from_utf8_lossy(own)));
    }
    let same = sent.iter().zip(rest).take_while(|(left, right)| left == right).count();
    if same == sent.len() && same == rest.len() {
        return None;
    }
    let at = |bytes: &[u8]| String::from_utf8_lossy(&bytes[same..bytes.len().min(same + 40)]).into_owned();
    Some(format!("from octet {same} on {:?} instead of {:?}", at(rest), at(sent)))
}

/// With CRLF at every line's end, the last one's too.
fn with_crlf(content: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(content.len() + content.len() / 32);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        message.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        message.extend_from_slice(b"\r\n");
    }
    message
}

fn shown(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}
