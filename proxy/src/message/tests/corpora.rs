//! Other people's test data, read where it lies.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;

/// A folder of the shared test data; none, said on standard error, where it is absent.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/testdata")).join(folder);
    if path.exists() {
        return Some(path);
    }
    report(&format!("skipped: there is no {}", path.display()));
    None
}

fn report(text: &str) {
    eprintln!("{text}");
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut last = 0;
    for &byte in bytes {
        if byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        last = byte;
    }
    out
}

fn messages() -> Vec<(PathBuf, Vec<u8>)> {
    let Some(folder) = shared("mime_mailparser/eml") else { return Vec::new() };
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let messages = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
    messages.map(|path| (path.clone(), with_crlf(&fs::read(&path).unwrap()))).collect()
}

/// The bytes after the header section, by mail-parser's words: what the splitter may not lose.
fn texts_by_mail_parser(message: &mail_parser::Message<'_>, texts: &mut Vec<String>) {
    for part in &message.parts {
        match &part.body {
            mail_parser::PartType::Text(text) | mail_parser::PartType::Html(text) => texts.push(text.to_string()),
            mail_parser::PartType::Message(inner) => texts_by_mail_parser(inner, texts),
            _ => {}
        }
    }
}

#[test]
fn every_message_is_read_and_relayed_as_it_is() {
    let mut texts_known = 0;
    let mut texts_found = 0;
    let mut differing = BTreeSet::new();
    for (path, plain) in messages() {
        let message = message(plain.clone());
        let relayed = joined(message.wire(Framing::DotStuffed));
        let header = message.headers().raw().len();
        let repaired = [&plain[..header], b"\r\n", &plain[header..]].concat();
        assert!(relayed == stuffed(&plain) || relayed == stuffed(&repaired), "{}", path.display());
        let mime = message.mime().unwrap();
        message.urls().unwrap();
        message.text_units().unwrap();
        let mut ours = String::new();
        for part in mime.parts() {
            assert_eq!(part.size(), part.body().unwrap().len() as u64, "{}", path.display());
            let strays = part.strays().map(Result::unwrap);
            for text in part.text().unwrap().into_iter().chain(strays) {
                ours.push_str(text.as_str());
            }
        }
        let whole = message.contiguous().unwrap();
        let mut theirs = Vec::new();
        if let Some(parsed) = mail_parser::MessageParser::default().parse(&whole[..]) {
            texts_by_mail_parser(&parsed, &mut theirs);
        }
        for text in theirs.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            texts_known += 1;
            if ours.contains(text) {
                texts_found += 1;
            } else {
                differing.insert(path.clone());
            }
        }
    }
    report(&format!("{texts_found} of {texts_known} texts are the same as mail-parser's; others in {differing:#?}"));
    assert!(texts_found * 10 >= texts_known * 9);
}

/// The cases of one group of twitter-text's conformance file: text and expected URLs.
fn cases(yaml: &str, group: &str) -> Vec<(String, Vec<String>)> {
    let quoted = |line: &str| serde_json::from_str(line.trim()).ok();
    let mut cases = Vec::new();
    let mut text: Option<String> = None;
    let lines = yaml.lines().skip_while(|line| line.trim_end() != format!("  {group}:")).skip(1);
    for line in lines.take_while(|line| line.trim().is_empty() || line.starts_with("   ")) {
        if let Some(value) = line.trim().strip_prefix("text:") {
            text = quoted(value);
        } else if let Some(value) = line.trim().strip_prefix("expected:")
            && let (Some(text), Some(expected)) = (text.take(), quoted_list(value))
        {
            cases.push((text, expected));
        }
    }
    cases
}

fn quoted_list(value: &str) -> Option<Vec<String>> {
    serde_json::from_str(value.trim()).ok()
}

#[test]
fn urls_of_tweets() {
    let Some(folder) = shared("url_extract") else { return };
    let yaml = fs::read_to_string(folder.join("twitter_extract.yml")).unwrap();
    let (mut expected_count, mut found_count, mut hits) = (0, 0, 0);
    let cases = cases(&yaml, "urls");
    assert!(cases.len() > 50, "{}", cases.len());
    for (text, expected) in cases {
        // As the whole of a message, so that nothing but the text counts.
        let message = message(format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}"));
        let host = |url: &str| {
            let url = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url);
            let end = url.find(['/', '?', '#', ':']).unwrap_or(url.len());
            ::url::Host::parse(&url[..end]).map_or_else(|_| url.to_owned(), |host| host.to_string())
        };
        let expected: BTreeSet<String> = expected.iter().map(|url| host(url)).collect();
        let found: BTreeSet<String> = message.urls().unwrap().iter().map(|url| url.host.clone()).collect();
        expected_count += expected.len();
        found_count += found.len();
        hits += expected.intersection(&found).count();
        if !expected.is_subset(&found) {
            report(&format!("missed in {text:?}: {:?}", expected.difference(&found).collect::<Vec<_>>()));
        }
    }
    report(&format!("hosts: {hits} of {expected_count} found, {hits} of {found_count} meant"));
    assert!(hits * 100 >= expected_count * 97);
    // Most of the others have a scheme and hosts that twitter refuses and browsers open.
    assert!(hits * 100 >= found_count * 70);
}
