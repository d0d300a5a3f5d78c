//! Inputs to begin with: dialogs and configurations of the repository, and test data of other projects where it lies
//! beside the checkout. They are written into fuzz/corpus, which is not kept.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::target::Target;

/// Bytes of a seed. Longer inputs take longer and are no better to begin with.
const LONGEST_SEED: usize = 8192;

/// Inputs by target.
#[derive(Debug, Default)]
struct Seeds(BTreeMap<&'static str, Vec<Vec<u8>>>);

/// Writes the seeds of these targets. Says how many each has.
pub(super) fn write(root: &Path, targets: &[Target]) -> Result<Vec<(String, usize)>> {
    let mut seeds = Seeds::default();
    seeds.add_small();
    for folder in ["smtp/dialogs", "proxy/tests/dialogs"] {
        for file in files(&root.join(folder), "txt") {
            seeds.add_dialog(&fs::read_to_string(&file).with_context(|| file.display().to_string())?);
        }
    }
    for file in files(&root.join("proxy/tests/configs"), "toml") {
        seeds.add("config", &[], &fs::read(file)?);
    }
    for file in files(&root.join("proxy/tests/guests"), "wat") {
        let text = fs::read(file)?;
        if text.windows(10).any(|window| window == b"(component") {
            seeds.add("component", &[], &text);
        }
    }
    match ["../shared", "../../shared"].iter().map(|path| root.join(path)).find(|path| path.is_dir()) {
        Some(shared) => seeds.add_shared(&shared)?,
        None => println!("fuzz: there is no ../shared, so the seeds are few"),
    }
    let mut counts = Vec::new();
    for target in targets {
        let folder = target.corpus(root);
        fs::create_dir_all(&folder)?;
        let of_target = seeds.0.remove(target.name.as_str()).unwrap_or_default();
        for seed in of_target.iter().filter(|seed| seed.len() <= LONGEST_SEED) {
            let mut hasher = DefaultHasher::new();
            seed.hash(&mut hasher);
            fs::write(folder.join(format!("seed-{:016x}", hasher.finish())), seed)?;
        }
        counts.push((target.name.clone(), of_target.len()));
    }
    Ok(counts)
}

impl Seeds {
    /// `settings` are the octets that the target's inputs begin with.
    fn add(&mut self, target: &'static str, settings: &[u8], bytes: &[u8]) {
        self.0.entry(target).or_default().push([settings, bytes].concat());
    }

    fn add_small(&mut self) {
        let replies = b"220 mx ESMTP\r\n250-mx\r\n250-SIZE 1000\r\n250-PIPELINING\r\n250 8BITMIME\r\n250 2.1.0 OK\r\n\
            451-4.7.1 Try\r\n451 4.7.1 again\r\n354 Go on\r\n421 4.3.2 Closing\r\n";
        self.add("smtp_reply", &[0], replies);
        self.add(
            "upstream_reply",
            &[],
            b"250 2.1.0 OK\r\n250-2.1.5 One\r\n250 2.1.5 OK\r\n354 Go on\r\n250 2.0.0 OK\r\n",
        );
        self.add("upstream_reply", &[], b"421 4.3.2 Closing\r\n451-4.7.1 Try\r\n451 4.7.1 again\r\n");
        for header in ["TCP4 192.0.2.7 198.51.100.1 4025 25", "TCP6 2001:db8::7 2001:db8::1 4025 25", "UNKNOWN"] {
            self.add("proxy_header", &[0], format!("PROXY {header}\r\nEHLO x\r\n").as_bytes());
        }
        let signature = b"\r\n\r\n\0\r\nQUIT\n".as_slice();
        let v4 = [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xb9, 0, 25];
        self.add("proxy_header", &[200], &[signature, &v4].concat());
        self.add("proxy_header", &[200], &[signature, &[0x21, 0x21, 0, 36], &[1; 36]].concat());
        self.add("proxy_header", &[200], &[signature, &[0x20, 0, 0, 0]].concat());
        self.add(
            "authentication_results",
            &[],
            b"(comment; (nested)) \"mx.example\\.com\" 1; spf=pass smtp.mailfrom=a@b",
        );
    }

    /// What the client says in it: to the server's machine at once, and each line on its own.
    fn add_dialog(&mut self, text: &str) {
        let mut said = Vec::new();
        for line in text.lines() {
            match line.split_at_checked(2) {
                Some(("C:", rest)) => said.extend([unescaped(rest.trim_start()), b"\r\n".to_vec()].concat()),
                Some(("R:", rest)) => said.extend(unescaped(rest.trim_start())),
                Some(("T:", _)) => said.extend_from_slice(b"<pause>"),
                _ => {}
            }
        }
        self.add_client(&said);
    }

    fn add_client(&mut self, said: &[u8]) {
        // Friendly answers; all at once and bit by bit; plain, and with STARTTLS on offer.
        self.add("smtp_server", &[0, 0, 0, 0, 0, 0, 0, 0], said);
        self.add("smtp_server", &[3, 0x7f, 0, 200, 0, 0, 0, 0], said);
        self.add("smtp_line", &[0, 255], said);
        self.add("smtp_data", &[0, 0, 200], said);
        self.add("smtp_data", &[1, 200, 0], said);
        for line in said.split(|octet| *octet == b'\n').filter(|line| line.len() > 4) {
            self.add("smtp_command", &[], line.strip_suffix(b"\r").unwrap_or(line));
        }
    }

    fn add_message(&mut self, message: &[u8], records: &[String]) {
        let message = with_crlf(message);
        self.add("message", &[0, 200], &message);
        self.add("message", &[4, 0], &message);
        self.add("smtp_data", &[0, 200, 0], &message);
        let records: String = records.iter().map(|record| format!("<record>{record}")).collect();
        self.add("authentication", &[0, 200], &[message, records.into_bytes()].concat());
    }

    /// Other projects' test data.
    fn add_shared(&mut self, shared: &Path) -> Result<()> {
        if let Ok(example) = fs::read(shared.join("mailweir.example.toml")) {
            self.add("config", &[], &example);
        }
        let data = shared.join("testdata");
        for file in files(&data.join("smtp_dialogs"), "") {
            let bytes = fs::read(&file)?;
            match std::str::from_utf8(&bytes) {
                Ok(text) if text.contains("\nC: ") || text.contains("\nc -> ") => {
                    self.add_dialog(&text.replace("c -> ", "C: "));
                }
                _ => self.add_client(&bytes),
            }
        }
        for file in files(&data.join("mime_mailparser"), "eml") {
            self.add_message(&fs::read(file)?, &[]);
        }
        let keys = texts(&data.join("dkim_lieser/zone.json"));
        for file in files(&data.join("dkim_lieser/messages"), "eml") {
            self.add_message(&fs::read(file)?, &keys);
        }
        for file in files(&data.join("dkim_arc_mailauth"), "txt") {
            self.add_message(&fs::read(file)?, &keys);
        }
        for name in ["arc_valimail/arc_validate.json", "spf_rfc7208/spf_cases.json", "dmarc_mailauth/dmarc_cases.json"]
        {
            self.add_cases(&data.join(name));
        }
        for file in ["url_extract/twitter_extract.yml", "url_extract/wpt_urltestdata.json"] {
            let text = fs::read_to_string(data.join(file)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            for lines in lines.chunks(40) {
                let message = format!("Content-Type: text/plain; charset=utf-8\n\n{}", lines.join("\n"));
                self.add("message", &[0, 200], &with_crlf(message.as_bytes()));
                let message =
                    format!("Content-Type: text/html\n\n<a href=\"{}\">", lines.join("\">x</a><p><a href=\""));
                self.add("message", &[0, 200], &with_crlf(message.as_bytes()));
            }
        }
        for address in texts(&data.join("address_syntax/emailvalidator.json")) {
            self.add("smtp_command", &[], format!("MAIL FROM:<{address}> SIZE=1").as_bytes());
            self.add("smtp_command", &[], address.as_bytes());
        }
        Ok(())
    }

    /// Cases of sender authentication: a message, if the case has one, and what its zone says.
    fn add_cases(&mut self, file: &Path) {
        let Some(Value::Array(cases)) = json(file) else { return };
        for case in &cases {
            let mut records = Vec::new();
            collect_texts(&case["zone"], &mut records);
            records.retain(|record| record.contains('='));
            let message = case["message"].as_str().unwrap_or("From: a@example.com\n\nbody\n");
            let sender = case["mail_from"].as_str().unwrap_or("bob@example.com");
            let records: String = records.iter().map(|record| format!("<record>{record}")).collect();
            let text = format!("{}{records}<record>{sender}", String::from_utf8_lossy(&with_crlf(message.as_bytes())));
            self.add("authentication", &[1, 200], text.as_bytes());
        }
    }
}

/// The files below `folder` with this extension, in order; all of them when it is empty.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if extension.is_empty() || path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn json(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// All strings of a JSON file, keys left out.
fn texts(file: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    json(file).iter().for_each(|value| collect_texts(value, &mut texts));
    texts
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        Value::Object(values) => values.values().for_each(|value| collect_texts(value, texts)),
        _ => {}
    }
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut lines = bytes.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default().to_vec();
    lines.fold(first, |joined, line| [joined.as_slice(), b"\r\n", line].concat())
}

/// The escapes of dialogs, near enough for a seed: what cannot be read stays as it is.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (octet, length) = match escape.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'x', ..] => match escape.get(1..3).map(|digits| u8::from_str_radix(digits, 16)) {
                Some(Ok(octet)) => (octet, 3),
                _ => (b'\\', 0),
            },
            [b'\\', ..] => (b'\\', 1),
            _ => (b'\\', 0),
        };
        bytes.push(octet);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_gives_what_the_client_says() {
        let mut seeds = Seeds::default();
        seeds.add_dialog("# A comment\nS: 220\nC: EHLO a\nR: BDAT 3\\r\\n\\x00\\\\x\nT:\nC: QUIT\nE: close\n");
        assert_eq!(seeds.0["smtp_server"][0], b"\0\0\0\0\0\0\0\0EHLO a\r\nBDAT 3\r\n\0\\x<pause>QUIT\r\n");
        assert_eq!(seeds.0["smtp_command"][..2], [b"EHLO a".to_vec(), b"BDAT 3".to_vec()]);
    }

    #[test]
    fn lines_end_in_crlf() {
        assert_eq!(with_crlf(b"a\nb\r\n\nc"), b"a\r\nb\r\n\r\nc");
    }
}
