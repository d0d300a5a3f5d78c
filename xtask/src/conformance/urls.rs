//! URLs of twitter-text's conformance tests: what a text leads to, against what links to the expected URLs lead to, both by
//! the names that the surbl filter finds on a list that holds everything.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use mailweir_testkit::dns::Zone;

use super::Setting;
use super::public_suffix::{CHAIN, LISTED};
use super::report::{Disagreement, Tally};
use super::stage::{Replayed, Stage};

/// The groups of tests that are about whole URLs.
const GROUPS: [&str; 4] = ["urls", "urls_with_directional_markers", "country", "generic"];

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "URLs twitter-text";
    let Some(folder) = setting.data("url_extract") else { return Ok(Tally::skipped(SUITE)) };
    let mut cases = Vec::new();
    for file in ["twitter_extract.yml", "twitter_tlds.yml"] {
        let yaml = std::fs::read_to_string(folder.join(file)).with_context(|| file.to_owned())?;
        cases.extend(GROUPS.iter().flat_map(|group| self::cases(&yaml, group)));
    }
    // A text, and then the links that are expected of it.
    let messages = cases.iter().flat_map(|(text, urls)| [plain(text), links(urls)]);
    let messages: Vec<String> = messages.collect();
    let zone = Zone::new().a("*.list.test", [127, 0, 0, 2]);
    let stage = Stage::set(setting)?;
    let replayed = stage.replay(CHAIN, zone.clone(), &[], &messages)?;
    let named = messages.iter().zip(&replayed).map(|(message, replayed)| names(&stage, &zone, message, replayed));
    let named: Vec<BTreeSet<String>> = named.collect::<Result<_>>()?;
    let mut counts = (0, 0, 0);
    let mut disagreements = Vec::new();
    for ((text, _), pair) in cases.iter().zip(named.chunks(2)) {
        let [found, expected] = pair else { continue };
        let right = found.intersection(expected).count();
        counts = (counts.0 + found.len(), counts.1 + expected.len(), counts.2 + right);
        if right < expected.len() {
            let missing: Vec<&str> = expected.difference(found).map(String::as_str).collect();
            let got = format!("all but {}", missing.join(" "));
            disagreements.push(Disagreement { case: text.clone(), expected: format!("{} names", expected.len()), got });
        }
    }
    let (found, expected, right) = counts;
    let figures = format!(
        "recall {}, precision {}: {} names more, which twitter does not link and browsers open",
        super::ratio(right, expected),
        super::ratio(right, found),
        found - right
    );
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements).with_figures(figures)])
}

fn plain(text: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n")
}

fn links(urls: &[String]) -> String {
    let links = urls.iter().map(|url| {
        let scheme = if url.contains("://") { "" } else { "http://" };
        format!("<a href=\"{scheme}{}\">x</a>", url.replace('&', "&amp;").replace('"', "&quot;"))
    });
    let links: Vec<String> = links.collect();
    format!(
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n",
        links.join("\r\n")
    )
}

/// All registrable names that the filter finds in a message. A reason has only the first few: the others are asked for again,
/// without those.
fn names(stage: &Stage<'_>, zone: &Zone, message: &str, replayed: &Replayed) -> Result<BTreeSet<String>> {
    let in_reason = |replayed: &Replayed| -> Vec<String> {
        let reason = replayed.reason().strip_prefix("surbl: ").unwrap_or_default();
        reason.split("; ").filter_map(|listing| Some(listing.split_once(LISTED)?.0.to_owned())).collect()
    };
    let mut names: BTreeSet<String> = in_reason(replayed).into_iter().collect();
    let mut is_cut = replayed.reason().ends_with(" more");
    while is_cut {
        let chain = format!("{CHAIN}ignore = {:?}\n", names.iter().collect::<Vec<_>>());
        let more = stage.replay(&chain, zone.clone(), &[], &[message])?;
        let [more] = more.as_slice() else { break };
        names.extend(in_reason(more));
        is_cut = more.reason().ends_with(" more");
    }
    Ok(names)
}

/// The cases of one group: text and expected URLs. Strings are written as in JSON, or plain.
fn cases(yaml: &str, group: &str) -> Vec<(String, Vec<String>)> {
    let scalar = |value: &str| -> String {
        // YAML has an escape more than JSON; its only users here are marks of direction.
        let value = value.trim().replace("\\U0000", "\\u");
        serde_json::from_str(&value).unwrap_or_else(|_| value.trim_matches(['\'', '"']).to_owned())
    };
    let mut cases: Vec<(String, Vec<String>)> = Vec::new();
    let lines = yaml.lines().skip_while(|line| line.trim_end() != format!("  {group}:")).skip(1);
    let mut is_list = false;
    for line in lines.take_while(|line| line.trim().is_empty() || line.starts_with("   ") || line.starts_with("  -")) {
        let line = line.trim();
        if let Some(value) = line.strip_prefix("text:") {
            cases.push((scalar(value), Vec::new()));
            is_list = false;
        } else if let Some(value) = line.strip_prefix("expected:")
            && let Some((_, expected)) = cases.last_mut()
        {
            *expected = serde_json::from_str(&value.trim().replace("\\U0000", "\\u")).unwrap_or_default();
            is_list = value.trim().is_empty();
        } else if let Some(value) = line.strip_prefix("- ").filter(|value| is_list && !value.contains("description:"))
            && let Some((_, expected)) = cases.last_mut()
        {
            expected.push(scalar(value));
        }
    }
    cases
}
