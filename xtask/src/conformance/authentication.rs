//! SPF, DKIM and ARC suites, through the auth filter.

use anyhow::{Context as _, Result, bail};
use mailweir_testkit::dns::Zone;
use serde_json::Value;

use super::report::{Disagreement, Tally};
use super::stage::Replayed;
use super::{Setting, text};

/// The auth filter, so that every message gets to its end and SPF's explanation into a reply.
pub(super) const CHAIN: &str = r#"
[chain.test]
plugins = ["auth"]

[plugin.auth]
grants = ["authentication"]
timeout = "60s"
[plugin.auth.config]
spf_fail = "reject"
dmarc = "tag"
temperror = "accept"
from_faults = "tag"
several_from_domains = "tag"
"#;
/// What comes before a domain owner's explanation in the reply.
const EXPLAINS: &str = "its owner explains: ";
/// A message whose author has no records anywhere.
pub(super) const MESSAGE: &str = "From: author@author.invalid\r\nSubject: a case\r\n\r\nText.\r\n";

/// An SPF check: who connects, what it says, and what shall come out.
pub(super) struct SpfCase {
    pub(super) id: String,
    pub(super) ip: String,
    pub(super) helo: String,
    pub(super) sender: String,
    /// Results that are allowed.
    pub(super) expected: Vec<String>,
    /// What the domain's owner has to say, or that there is nothing; none when the suite leaves it open.
    pub(super) explanation: Option<String>,
    pub(super) zone: Zone,
}

pub(super) fn spf(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "SPF rfc7208";
    let Some(cases) = setting.cases("spf_rfc7208/spf_cases.json")? else { return Ok(Tally::skipped(SUITE)) };
    let cases = cases.iter().map(|case| {
        let id = text(case, "id").to_owned();
        let strings = case["expect"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(SpfCase {
            ip: text(case, "ip").to_owned(),
            helo: text(case, "helo").to_owned(),
            sender: text(case, "mail_from").to_owned(),
            expected: strings.map(str::to_owned).collect(),
            // "DEFAULT" is the receiver's own text: there is none of the owner.
            explanation: case["explanation"].as_str().map(|text| text.replace("DEFAULT", "")),
            zone: Zone::from_json(&case["zone"]).with_context(|| id.clone())?,
            id,
        })
    });
    let cases: Vec<SpfCase> = cases.collect::<Result<_>>()?;
    Ok(vec![Tally::new(SUITE, cases.len(), judge_spf(setting, &cases)?)])
}

pub(super) fn judge_spf(setting: &Setting, cases: &[SpfCase]) -> Result<Vec<Disagreement>> {
    setting.judge(cases, |stage, case| {
        let arguments =
            [format!("--ip={}", case.ip), format!("--helo={}", case.helo), format!("--mail-from={}", case.sender)];
        let replayed = stage.replay(CHAIN, case.zone.clone(), &arguments, &[MESSAGE])?;
        let [replayed] = replayed.as_slice() else { bail!("not one result of one message") };
        let found = replayed.tag("spf");
        let explanation = replayed.reply().split_once(EXPLAINS).map_or("", |(_, text)| text);
        if !case.expected.iter().any(|expected| expected == found) {
            return Ok(vec![disagreement(&case.id, &case.expected.join(" or "), found, replayed)]);
        }
        // The suite has IPv6 nibbles in upper case, RFC 7208 section 7.4 in lower case.
        let agrees = case.explanation.as_ref().is_none_or(|expected| expected.eq_ignore_ascii_case(explanation));
        let expected = || format!("{found} {:?}", case.explanation.as_deref().unwrap_or_default());
        let found = || format!("{found} {explanation:?}");
        Ok(if agrees { Vec::new() } else { vec![disagreement(&case.id, &expected(), &found(), replayed)] })
    })
}

pub(super) fn dkim(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "DKIM dkim_verifier";
    let (Some(cases), Some(zone)) = (setting.cases("dkim_lieser/cases.json")?, setting.json("dkim_lieser/zone.json")?)
    else {
        return Ok(Tally::skipped(SUITE));
    };
    let disagreements = setting.judge(&cases, |stage, case| {
        let mut zone = zone.clone();
        for (name, records) in case["zone_override"].as_object().into_iter().flatten() {
            zone[name] = records.clone();
        }
        let file = setting.testdata.join("dkim_lieser").join(text(case, "msg"));
        let replayed = stage.replay_files(CHAIN, Zone::from_json(&zone)?, &[], &[file])?;
        let [replayed] = replayed.as_slice() else { bail!("not one result of one message") };
        let expected: Vec<&str> = case["expect"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut found = replayed.tags("dkim");
        if case["n_sigs"].is_null() {
            // A case without a number of signatures speaks of the first.
            found.truncate(1);
        }
        // Which failure it is, the suites name differently; what counts is whether there is a pass.
        let passes = |outcomes: &[&str]| outcomes.iter().map(|outcome| *outcome == "pass").collect::<Vec<_>>();
        let agrees = passes(&expected) == passes(&found);
        let id = text(case, "id");
        Ok(if agrees { Vec::new() } else { vec![disagreement(id, &expected.join(" "), &found.join(" "), replayed)] })
    })?;
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements)])
}

pub(super) fn arc(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "ARC validation";
    let Some(cases) = setting.cases("arc_valimail/arc_validate.json")? else { return Ok(Tally::skipped(SUITE)) };
    let disagreements = setting.judge(&cases, |stage, case| {
        let replayed = stage.replay(CHAIN, Zone::from_json(&case["zone"])?, &[], &[text(case, "message")])?;
        let [replayed] = replayed.as_slice() else { bail!("not one result of one message") };
        let expected = match text(case, "cv") {
            // Two cases with cv=fail in a seal leave open what is expected; RFC 8617 section 5.2 says fail.
            "" => "fail".to_owned(),
            cv => cv.to_ascii_lowercase(),
        };
        let found = replayed.tag("arc");
        Ok(if found == expected {
            Vec::new()
        } else {
            vec![disagreement(text(case, "id"), &expected, found, replayed)]
        })
    })?;
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements)])
}

/// What was expected, and all that mailweir said of it.
pub(super) fn disagreement(case: &str, expected: &str, found: &str, replayed: &Replayed) -> Disagreement {
    let mut got = if found.is_empty() { "nothing".to_owned() } else { found.to_owned() };
    for said in [replayed.failure().unwrap_or_default(), replayed.reason().to_owned(), replayed.reply().to_owned()] {
        if !said.is_empty() {
            got = format!("{got}; {said}");
        }
    }
    let field = replayed.added_field("Authentication-Results").split_whitespace().collect::<Vec<_>>().join(" ");
    if !field.is_empty() {
        got = format!("{got}; {field}");
    }
    Disagreement { case: case.to_owned(), expected: expected.to_owned(), got }
}
