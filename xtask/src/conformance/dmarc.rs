//! DMARC of mailauth: its cases say which domains have passed SPF and DKIM, so each becomes a message that is really signed,
//! from an address that SPF really allows.

use anyhow::{Context as _, Result, bail};
use mailweir_testkit::dkim::Signer;
use mailweir_testkit::dns::Zone;
use serde_json::{Map, Value};

use super::authentication::{CHAIN, disagreement};
use super::report::Tally;
use super::stage::Replayed;
use super::{Setting, text};

/// Who connects.
const CLIENT: &str = "192.0.2.1";

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "DMARC mailauth";
    let Some(cases) = setting.cases("dmarc_mailauth/dmarc_cases.json")? else { return Ok(Tally::skipped(SUITE)) };
    let disagreements = setting.judge(&cases, |stage, case| {
        let (zone, message, arguments) = played(case).with_context(|| text(case, "id").to_owned())?;
        let replayed = stage.replay(CHAIN, zone, &arguments, &[message])?;
        let [replayed] = replayed.as_slice() else { bail!("not one result of one message") };
        let differing = differing(case, replayed);
        Ok(differing
            .into_iter()
            .map(|(expected, found)| disagreement(text(case, "id"), &expected, &found, replayed))
            .collect())
    })?;
    let invisible: usize = cases.iter().map(|case| expectations(case, false).count()).sum();
    let figures = format!("{invisible} of its expectations are of its own return value, not of a result");
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements).with_figures(figures)])
}

/// The zone, the message and the command line that make a case true.
fn played(case: &Value) -> Result<(Zone, Vec<u8>, Vec<String>)> {
    let mut zone = Zone::from_json(&records(&case["zone"]))?;
    let author = |author: &str| if author.contains('@') { author.to_owned() } else { format!("user@{author}") };
    let authors = match &case["header_from"] {
        Value::Array(several) => several.iter().filter_map(Value::as_str).map(author).collect::<Vec<_>>().join(", "),
        one => author(one.as_str().unwrap_or_default()),
    };
    let mut message = format!("From: {authors}\r\nTo: <a@b.invalid>\r\nSubject: a case\r\n\r\nText.\r\n").into_bytes();
    for domain in strings(&case["dkim_pass"]) {
        let signer = Signer::generate(domain, "case")?;
        let (name, record) = signer.record();
        zone = zone.txt(name, record);
        message = signer.sign(&message)?;
    }
    let mut sender = "nobody@sender.invalid".to_owned();
    for domain in strings(&case["spf_pass"]) {
        zone = zone.txt(domain, &format!("v=spf1 ip4:{CLIENT} -all"));
        sender = format!("bounces@{domain}");
    }
    let arguments = vec![format!("--ip={CLIENT}"), "--helo=client.invalid".to_owned(), format!("--mail-from={sender}")];
    Ok((zone, message, arguments))
}

/// Some cases answer every type with the text of the record: only TXT is meant.
fn records(zone: &Value) -> Value {
    let names = zone.as_object().into_iter().flatten().map(|(name, records)| {
        let kept =
            records.as_object().into_iter().flatten().filter(|(kind, _)| *kind == "TXT" || kind.starts_with('_'));
        (name.clone(), Value::Object(kept.map(|(kind, values)| (kind.clone(), values.clone())).collect()))
    });
    Value::Object(names.collect::<Map<_, _>>())
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The expectations that a result has, or the others: how mailauth keeps what it has read. A policy for some of the messages
/// (RFC 7489 section 6.6.4) is drawn by lot.
fn expectations(case: &Value, visible: bool) -> impl Iterator<Item = (&String, &Value)> {
    let is_drawn = case["expect"]["pct"].as_u64().is_some_and(|percent| percent < 100);
    let is_visible = move |key: &str| match key {
        "" | "status.result" | "status.header.from" => true,
        "policy" | "p" => !is_drawn,
        _ => false,
    };
    case["expect"].as_object().into_iter().flatten().filter(move |(key, _)| is_visible(key) == visible)
}

/// What a case expects and what was found in its place.
fn differing(case: &Value, replayed: &Replayed) -> Vec<(String, String)> {
    let field = replayed.added_field("Authentication-Results");
    let statement = field.split(';').find(|statement| statement.trim_start().starts_with("dmarc=")).unwrap_or_default();
    let word = |prefix: &str| {
        let words = statement.split([' ', '\t', '\r', '\n', '(', ')', ',']);
        words.into_iter().find_map(|word| word.strip_prefix(prefix)).unwrap_or_default().to_owned()
    };
    let compared = expectations(case, true).map(|(key, value)| {
        let expected = value.as_str().unwrap_or_default().to_owned();
        match key.as_str() {
            // Its function gives false where it does not evaluate.
            "" => ("permerror".to_owned(), replayed.tag("dmarc").to_owned()),
            "status.result" => (expected, replayed.tag("dmarc").to_owned()),
            "status.header.from" => (expected, word("header.from=")),
            _ => (expected, word("p=")),
        }
    });
    compared.filter(|(expected, found)| expected != found).collect()
}
