//! The signing half of the ARC test suite: what `mailweir replay --write` adds to each message, with the suite's key and at its
//! time.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use mailweir_testkit::dns::Zone;

use super::report::{Disagreement, Tally};
use super::{Setting, text};

/// The keys of a case, and the fields that they are about.
const FIELDS: [(&str, &str); 3] =
    [("AS", "ARC-Seal"), ("AMS", "ARC-Message-Signature"), ("AAR", "ARC-Authentication-Results")];

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "ARC sealing";
    let Some(cases) = setting.cases("arc_valimail/arc_sign.json")? else { return Ok(Tally::skipped(SUITE)) };
    let disagreements = setting.judge(&cases, |stage, case| {
        let directory = tempfile::tempdir()?;
        let key = directory.path().join("key.pem");
        std::fs::write(&key, text(case, "privatekey"))?;
        let fields: Vec<&str> = text(case, "sig-headers").split(':').collect();
        let chain = format!(
            "[chain.test]\nseal = \"suite\"\nseal_results = \"fields\"\n\n[dkim.suite]\nkey = {key:?}\nselector = \"{}\"\n\
             domains = [\"{}\"]\nheaders = {fields:?}\noversign = []\n",
            text(case, "sel"),
            text(case, "domain")
        );
        let time = case["t"].as_str().map_or_else(|| case["t"].to_string(), str::to_owned);
        let out = directory.path().join("out");
        let arguments = [format!("--time={time}"), format!("--write={}", out.display())];
        let stage = stage.named(text(case, "srv-id"))?;
        stage.replay(&chain, Zone::from_json(&case["zone"])?, &arguments, &[text(case, "message")])?;
        let written = std::fs::read_to_string(out.join("0.eml")).context("nothing was written")?;
        let before = text(case, "message").replace("\r\n", "\n").replace('\n', "\r\n");
        let id = text(case, "id").to_owned();
        let Some(added) = written.strip_suffix(&before) else {
            let got = format!("{:?}", written.chars().take(200).collect::<String>());
            return Ok(vec![Disagreement { case: id, expected: "the message below the seal".to_owned(), got }]);
        };
        let differs = FIELDS.iter().find(|(key, name)| tags(first(added, name)) != tags(text(case, key).to_owned()));
        Ok(differs.map_or_else(Vec::new, |(key, name)| {
            let (expected, got) = (text(case, key).to_owned(), format!("{name}: {}", first(added, name)));
            vec![Disagreement { case: id, expected, got }]
        }))
    })?;
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements)])
}

/// The value of the first field of this name, unfolded; empty without one.
fn first(fields: &str, name: &str) -> String {
    let unfolded = fields.replace("\r\n\t", " ").replace("\r\n ", " ");
    unfolded.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned)).unwrap_or_default()
}

/// A tag list without white space, whatever its order.
fn tags(value: String) -> BTreeMap<String, String> {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let pairs = value.split(';').filter(|tag| !tag.trim().is_empty());
    pairs
        .map(|tag| tag.split_once('=').map_or((plain(tag), String::new()), |(name, value)| (plain(name), plain(value))))
        .collect()
}
