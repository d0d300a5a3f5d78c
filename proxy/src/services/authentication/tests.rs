//! The published suites through `Evaluation`, with their zones served by a real DNS server in this process.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use mailweir_testkit::dns::{Zone, ZoneServer};
use serde_json::Value;

use super::*;
use crate::config;
use crate::message::{DecodingLimits, MessageLimits};

mod amplification;
mod chains;
mod mail_auth;
mod policies;
mod rules;
mod signatures;

const LIMITS: MessageLimits = MessageLimits {
    header_size: 1 << 20,
    header_fields: 1000,
    mime_parts: 100,
    mime_depth: 20,
    decoding: DecodingLimits::DEFAULT,
};

fn say(text: &str) {
    eprintln!("{text}");
}

/// The shared data, when it is there.
fn data(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/testdata")).join(path);
    if !path.exists() {
        say(&format!("{} is absent: skipped", path.display()));
        return None;
    }
    Some(path)
}

fn json(path: &str) -> Option<Value> {
    Some(serde_json::from_slice(&std::fs::read(data(path)?).unwrap()).unwrap())
}

async fn serve(zone: Zone) -> (ZoneServer, Authentication) {
    let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let authentication = resolver(&server);
    (server, authentication)
}

fn resolver(server: &ZoneServer) -> Authentication {
    let dns = Dns::new(&config::Dns {
        resolvers: vec![server.addr()],
        dnssec: config::Dnssec::Off,
        timeout: Duration::from_millis(500),
        cache_size: 1000,
    });
    Authentication::new(dns.unwrap(), "receiver.example")
}

fn lookups(authentication: &Authentication) -> Lookups {
    Lookups::new(authentication.dns.clone(), Arc::default(), Arc::default())
}

fn message(text: impl AsRef<[u8]>) -> Message {
    // Messages in JSON use LF.
    let mut bytes = Vec::new();
    for line in text.as_ref().split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                bytes.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                bytes.extend_from_slice(b"\r\n");
            }
            None => bytes.extend_from_slice(line),
        }
    }
    Message::from_bytes(bytes.into(), LIMITS).unwrap()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// Every case must agree but for those that stand in `known` with the reason.
fn report(suite: &str, cases: usize, disagreements: &[String], known: &[&str]) {
    let unexpected: Vec<&String> =
        disagreements.iter().filter(|line| !known.iter().any(|id| line.starts_with(&format!("{id}:")))).collect();
    let agreed = cases - disagreements.len();
    say(&format!("{suite}: {agreed} of {cases} agree"));
    assert!(unexpected.is_empty(), "{suite}: {agreed} of {cases} agree; not as known: {unexpected:#?}");
    assert_eq!(disagreements.len(), known.len(), "{suite}: {agreed} of {cases} agree, more than known");
}

#[tokio::test(flavor = "multi_thread")]
async fn spf_suite() {
    let Some(cases) = json("spf_rfc7208/spf_cases.json") else { return };
    let cases = cases.as_array().unwrap();
    let mut disagreements = Vec::new();
    for case in cases {
        let (_server, authentication) = serve(Zone::from_json(&case["zone"]).unwrap()).await;
        let evaluation = authentication.evaluation(text(case, "ip").parse().unwrap());
        evaluation.helo(text(case, "helo"));
        evaluation.mail(text(case, "mail_from"));
        let result = evaluation.spf(Identity::MailFrom).await;
        let expected: Vec<&str> = case["expect"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let mut fault = String::new();
        if !expected.contains(&result.outcome.as_str()) {
            fault = format!("{} instead of {expected:?} ({})", result.outcome.as_str(), result.reason);
        } else if let Some(explanation) = case["explanation"].as_str().filter(|text| *text != "DEFAULT")
            // The suite has IPv6 nibbles in upper case, RFC 7208 section 7.4 in lower case.
            && !result.explanation.as_deref().unwrap_or_default().eq_ignore_ascii_case(explanation)
        {
            fault = format!("explanation {:?} instead of {explanation:?}", result.explanation);
        }
        if !fault.is_empty() {
            disagreements.push(format!("{}: {fault}", text(case, "id")));
        }
    }
    report("SPF RFC 7208", cases.len(), &disagreements, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_suite() {
    let (Some(cases), Some(zone)) = (json("dkim_lieser/cases.json"), json("dkim_lieser/zone.json")) else { return };
    let cases = cases.as_array().unwrap();
    let mut disagreements = Vec::new();
    for case in cases {
        let mut zone = zone.clone();
        if let Some(replacements) = case["zone_override"].as_object() {
            for (name, records) in replacements {
                zone[name] = records.clone();
            }
        }
        let (_server, authentication) = serve(Zone::from_json(&zone).unwrap()).await;
        let evaluation = authentication.evaluation(Ipv4Addr::LOCALHOST.into());
        let file = data(&format!("dkim_lieser/{}", text(case, "msg"))).unwrap();
        let message = message(std::fs::read(file).unwrap());
        evaluation.received(&message);
        let results = evaluation.dkim(&message).await.unwrap();
        let expected: Vec<bool> = case["expect"].as_array().unwrap().iter().map(|outcome| outcome == "pass").collect();
        // A case without a number of signatures speaks of the first.
        let count = if case["n_sigs"].is_null() { 1 } else { results.len() };
        let found: Vec<bool> = results.iter().take(count).map(|result| result.outcome == Outcome::Pass).collect();
        if expected != found {
            disagreements.push(format!("{}: {results:?} instead of {expected:?}", text(case, "id")));
        }
    }
    report("DKIM lieser", cases.len(), &disagreements, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arc_suite() {
    let Some(cases) = json("arc_valimail/arc_validate.json") else { return };
    let cases = cases.as_array().unwrap();
    let mut disagreements = Vec::new();
    for case in cases {
        let (_server, authentication) = serve(Zone::from_json(&case["zone"]).unwrap()).await;
        let evaluation = authentication.evaluation(Ipv4Addr::LOCALHOST.into());
        let message = message(text(case, "message"));
        evaluation.received(&message);
        let result = evaluation.arc(&message).await.unwrap();
        let expected = text(case, "cv").to_ascii_lowercase();
        // Two cases with cv=fail in a seal leave open what is expected; RFC 8617 section 5.2 says fail.
        let expected = if expected.is_empty() { "fail".to_owned() } else { expected };
        if result.outcome.as_str() != expected {
            disagreements.push(format!("{}: {result:?} instead of {expected}", text(case, "id")));
        }
    }
    report("ARC", cases.len(), &disagreements, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dmarc_suite() {
    let Some(cases) = json("dmarc_mailauth/dmarc_cases.json") else { return };
    let cases = cases.as_array().unwrap();
    let mut disagreements = Vec::new();
    for case in cases {
        let zone = case["zone"].as_object().unwrap().iter().map(|(name, records)| {
            // Some cases answer every type with the text of the record.
            let kept = records.as_object().unwrap().iter().filter(|(kind, _)| *kind == "TXT" || kind.starts_with('_'));
            (name.clone(), Value::Object(kept.map(|(kind, values)| (kind.clone(), values.clone())).collect()))
        });
        let (_server, authentication) = serve(Zone::from_json(&Value::Object(zone.collect())).unwrap()).await;
        let strings = |key: &str| -> Vec<String> {
            case[key].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let authors = match &case["header_from"] {
            Value::Array(several) if several.len() > 1 => Err(AuthorFault::Several(2)),
            Value::Array(one) => Ok(vec![one[0].as_str().unwrap().to_owned()]),
            Value::String(one) if one.contains('@') => Ok(vec![one.clone()]),
            one => Ok(vec![format!("@{}", one.as_str().unwrap())]),
        };
        let spf_domain = strings("spf_pass").pop().unwrap_or_default();
        let spf = SpfResult {
            outcome: if spf_domain.is_empty() { Outcome::None } else { Outcome::Pass },
            domain: spf_domain,
            explanation: None,
            reason: String::new(),
        };
        let dkim: Vec<DkimResult> = strings("dkim_pass").into_iter().map(passed).collect();
        let evidence = dmarc::Evidence { spf: &spf, dkim: &dkim };
        let result = dmarc::evaluate(&lookups(&authentication), authors, &evidence).await;
        for (key, found) in [
            ("status.result", result.outcome.as_str()),
            ("policy", result.policy.as_str()),
            ("domain", &result.policy_domain),
            ("status.header.from", &result.from_domain),
            ("status.header.d", &result.policy_domain),
        ] {
            if let Some(expected) = case["expect"][key].as_str()
                && expected != found
            {
                disagreements.push(format!("{}: {key} is {found} instead of {expected}", text(case, "id")));
            }
        }
    }
    report("DMARC mailauth", cases.len(), &disagreements, &[]);
}

fn passed(domain: String) -> DkimResult {
    DkimResult {
        outcome: Outcome::Pass,
        domain,
        selector: String::new(),
        algorithm: String::new(),
        signature: String::new(),
        reason: String::new(),
    }
}
