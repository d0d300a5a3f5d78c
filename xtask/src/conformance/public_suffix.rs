//! The public-suffix list's own tests: a message with a link to each name, and a block list that holds everything; which name
//! the surbl filter finds on it is the registrable domain.

use anyhow::Result;
use mailweir_testkit::dns::Zone;

use super::Setting;
use super::report::{Disagreement, Tally};

pub(super) const CHAIN: &str = r#"
[chain.test]
plugins = ["surbl"]

[plugin.surbl]
grants = ["dns"]
[plugin.surbl.config]
zones = [{ zone = "list.test", reject_bits = [2] }]
"#;
/// What follows the name in a reason.
pub(super) const LISTED: &str = ", listed in list.test";

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "public-suffix list";
    let Some(file) = setting.data("psl/tests.txt") else { return Ok(Tally::skipped(SUITE)) };
    let text = std::fs::read_to_string(file)?;
    let lines = text.lines().filter(|line| !line.starts_with("//"));
    let cases: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
    let messages: Vec<String> = cases.iter().map(|(host, _)| message(host)).collect();
    let stage = super::Stage::set(setting)?;
    let zone = Zone::new().a("*.list.test", [127, 0, 0, 2]);
    let replayed = stage.replay(CHAIN, zone, &[], &messages)?;
    let mut disagreements = Vec::new();
    for ((host, expected), replayed) in cases.iter().zip(replayed) {
        let listed = replayed.reason().strip_prefix("surbl: ").and_then(|reason| reason.split_once(LISTED));
        let found = match replayed.failure() {
            Some(failure) => failure,
            None => listed.map_or("null", |(name, _)| name).to_owned(),
        };
        // Lists are asked for A-labels.
        let expected = url::Host::parse(expected).map_or_else(|_| (*expected).to_owned(), |host| host.to_string());
        if found != expected {
            disagreements.push(Disagreement { case: (*host).to_owned(), expected, got: found });
        }
    }
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements)])
}

fn message(host: &str) -> String {
    // In markup every name is a link, also one that nobody would take for a name in text.
    format!(
        "Subject: a link\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n<a href=\"http://{host}/\">a link</a>\r\n"
    )
}
