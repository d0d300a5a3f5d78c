//! The dlp filter's detectors against the cases of Microsoft Presidio, and over ordinary messages that hold nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use mailweir_testkit::dns::Zone;
use serde_json::Value;

use super::report::{Disagreement, Tally};
use super::stage::{Replayed, Stage};
use super::{Setting, ordinary};

/// Presidio's tables and our detectors.
const DETECTORS: [(&str, &str); 10] = [
    ("credit_card", "credit-card"),
    ("iban", "iban"),
    ("us_ssn", "us-ssn"),
    ("us_itin", "us-itin"),
    ("uk_nhs", "uk-nhs"),
    ("es_nif", "es-nif"),
    ("it_fiscal_code", "it-codice-fiscale"),
    ("pl_pesel", "pl-pesel"),
    ("de_tax_id", "de-steuer-id"),
    ("email", "email-address"),
];
/// Those that Presidio has nothing for.
const OTHERS: [&str; 7] =
    ["fr-nir", "ch-ahv", "uk-nino", "nl-bsn", "be-rijksregister", "private-key", "aws-access-key"];

/// Presidio's scores from which on it is more than a possibility; what it merely thinks possible, such as nine digits that
/// may be a social security number, is not looked for.
const PROBABLE: f64 = 0.5;

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    let Some(tables) = setting.json("dlp_presidio/presidio_cases.json")? else {
        return Ok(Tally::skipped("detectors Presidio"));
    };
    let mut tallies = Vec::new();
    for (table, detector) in DETECTORS {
        tallies.push(presidio(setting, &tables[table], detector)?);
    }
    tallies.extend(false_positives(setting, &tables)?);
    Ok(tallies)
}

/// A row: its text, how many different values it holds, and whether Presidio thinks them no more than possible.
struct Row {
    text: String,
    expected: usize,
    is_weak: bool,
}

fn presidio(setting: &Setting, tables: &Value, detector: &str) -> Result<Tally> {
    let rows = tables["tables"].as_array().into_iter().flatten();
    let rows = rows.flat_map(|table| table["rows"].as_array().into_iter().flatten());
    let rows: Vec<Row> = rows.filter_map(Row::read).collect();
    let messages: Vec<String> = rows.iter().map(|row| message(&row.text)).collect();
    let replayed = Stage::set(setting)?.replay(&chain(&[detector]), Zone::new(), &[], &messages)?;
    let (mut found, mut expected, mut right, mut weak) = (0, 0, 0, 0);
    let mut disagreements = Vec::new();
    for (row, replayed) in rows.iter().zip(&replayed) {
        if row.is_weak {
            weak += row.expected;
            continue;
        }
        let count = count(replayed, detector);
        found += count;
        expected += row.expected;
        right += count.min(row.expected);
        if count != row.expected {
            let got = format!("{count} {}", replayed.failure().unwrap_or_default()).trim().to_owned();
            disagreements.push(Disagreement { case: row.text.clone(), expected: row.expected.to_string(), got });
        }
    }
    let (precision, recall) = (super::ratio(right, found), super::ratio(right, expected));
    let mut figures = format!("precision {precision}, recall {recall}");
    if weak > 0 {
        figures.push_str(&format!("; {weak} that Presidio itself scores below {PROBABLE} are not looked for"));
    }
    Ok(Tally::new(format!("detector {detector}"), rows.len(), disagreements).with_figures(figures))
}

/// Each detector over messages in which there is nothing to find.
fn false_positives(setting: &Setting, tables: &Value) -> Result<Vec<Tally>> {
    let mut messages = ordinary::messages();
    let names: Vec<&str> = DETECTORS.iter().map(|(_, detector)| *detector).chain(OTHERS).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| *name != "email-address").collect();
    messages.extend(ip_addresses(tables).map(|text| message(&text)));
    let mut replayed = Stage::set(setting)?.replay(&chain(&names), Zone::new(), &[], &messages)?;
    if let Some(folder) = setting.data("mime_mailparser/eml") {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            files.extend(super::files(&entry?.path(), "eml")?);
        }
        replayed.extend(Stage::set(setting)?.replay_files(&chain(&names), Zone::new(), &[], &files)?);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for (number, replayed) in replayed.iter().enumerate() {
        for name in replayed.tags("dlp") {
            if let Some(name) = names.iter().find(|known| **known == name) {
                *counts.entry(name).or_default() += 1;
            }
        }
        if let Some(got) = replayed.failure() {
            let case = format!("message {number}");
            disagreements.push(Disagreement { case, expected: "no failure".to_owned(), got });
        }
    }
    let tally = |name: &str| {
        let count = counts.get(name).copied().unwrap_or(0);
        // What has no more than a check digit fits a number by chance now and then.
        let is_too_many = count * 100 > replayed.len();
        let expected = "in at most one message of a hundred".to_owned();
        let too_many = Disagreement { case: name.to_owned(), expected, got: count.to_string() };
        let too_many = if is_too_many { vec![too_many] } else { Vec::new() };
        let tally = Tally::new(format!("ordinary mail, {name}"), replayed.len(), too_many);
        tally.with_agreed(replayed.len() - count).with_figures(format!("{count} false positives"))
    };
    let failures = Tally::new("ordinary mail, no failure", replayed.len(), disagreements);
    Ok(names.iter().map(|name| tally(name)).chain([failures]).collect())
}

/// Texts with addresses, times and hexadecimal numbers.
fn ip_addresses(tables: &Value) -> impl Iterator<Item = String> {
    let tables = tables["ip"]["tables"].as_array().into_iter().flatten();
    let rows = tables.flat_map(|table| table["rows"].as_array().into_iter().flatten());
    rows.filter_map(|row| row[0].as_str().map(str::to_owned))
}

/// How many different values the filter has found.
fn count(replayed: &Replayed, detector: &str) -> usize {
    let reason = replayed.reason_of("dlp");
    let (_, rest) = reason.split_once(&format!("\"{detector}\": {detector} ")).unwrap_or_default();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// A rule for each detector, named like it.
fn chain(detectors: &[&str]) -> String {
    let rules = detectors.iter().map(|detector| {
        format!("{{ name = \"{detector}\", detect = [\"{detector}\"], action = {{ tag = \"found\" }} }}")
    });
    format!(
        "[chain.test]\nplugins = [\"dlp\"]\n\n[plugin.dlp]\ngrants = [\"scan\"]\nconfig = {{ rules = [{}] }}\n",
        rules.collect::<Vec<_>>().join(", ")
    )
}

fn message(text: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n")
}

impl Row {
    /// Text, a count or whether it is valid, and then positions and scores, in an order that differs from table to table.
    fn read(row: &Value) -> Option<Self> {
        let text = row[0].as_str()?.to_owned();
        let count = row[1].as_u64().or_else(|| row[1].as_bool().map(u64::from))?;
        let pairs = row.as_array()?.iter().skip(2).filter(|pairs| pairs[0][1].is_number());
        let (positions, scores): (Vec<&Value>, Vec<&Value>) = pairs.partition(|pairs| pairs[0][1].is_u64());
        let values = positions.first().and_then(|pairs| pairs.as_array()).into_iter().flatten().map(|pair| {
            let at = |index: usize| pair[index].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
            let value = text.chars().skip(at(0)).take(at(1).saturating_sub(at(0)));
            value.filter(|character| character.is_alphanumeric()).collect::<String>().to_uppercase()
        });
        let values: std::collections::BTreeSet<String> = values.collect();
        // The filter counts a value once, however often it stands there.
        let expected = if values.is_empty() { usize::try_from(count).ok()? } else { values.len() };
        let best = |pair: &Value| pair[1].as_f64().unwrap_or(1.0);
        let mut scores = scores.into_iter().flat_map(|pairs| pairs.as_array().into_iter().flatten()).peekable();
        let is_weak = scores.peek().is_some() && scores.all(|pair| best(pair) < PROBABLE);
        Some(Self { text, expected, is_weak })
    }
}
