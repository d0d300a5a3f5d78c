//! The test points of DNS block lists: what each answer leads to in the surbl filter.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use mailweir_testkit::dns::Zone;
use serde_json::Value;

use super::Setting;
use super::report::{Disagreement, Tally};

const SUITE: &str = "DNS lists, test points";

/// A list as it answers, and a link.
struct Case {
    name: String,
    /// The keys of the list besides its zone.
    keys: String,
    /// What stands in the link.
    host: String,
    /// Where the list has its answer.
    query: String,
    answer: Ipv4Addr,
    expected: &'static str,
}

/// What the filter says of a listing, of a list that refuses to answer, and of neither.
const LISTED: &str = "listed";
const UNAVAILABLE: &str = "temperror";
const CLEAN: &str = "clean";

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    let Some(points) = setting.json("dnsbl_points/dnsbl_test_points.json")? else { return Ok(Tally::skipped(SUITE)) };
    let cases = cases(&points)?;
    let disagreements = setting.judge(&cases, |stage, case| {
        let chain = format!(
            "[chain.test]\nplugins = [\"surbl\"]\n[plugin.surbl]\ngrants = [\"dns\"]\n[plugin.surbl.config]\n\
             zones = [{{ zone = \"list.test\", {} }}]\n",
            case.keys
        );
        let message =
            format!("Subject: a link\r\nContent-Type: text/html\r\n\r\n<a href=\"http://{}/\">x</a>\r\n", case.host);
        let zone = Zone::new().a(&format!("{}.list.test", case.query), case.answer);
        let replayed = stage.replay(&chain, zone, &[], &[message])?;
        let [replayed] = replayed.as_slice() else { bail!("not one result of one message") };
        let found = replayed.failure().unwrap_or_else(|| replayed.tag("surbl").to_owned());
        let expected = case.expected.to_owned();
        let refused = replayed.verdict() == "reject";
        let agrees = found == expected && refused == (expected == LISTED);
        let got = format!("{found}, {}", replayed.verdict());
        Ok(if agrees { Vec::new() } else { vec![Disagreement { case: case.name.clone(), expected, got }] })
    })?;
    Ok(vec![Tally::new(SUITE, cases.len(), disagreements)])
}

fn cases(points: &Value) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    addresses_of_rfc_5782(points, &mut cases)?;
    for (list, bits) in [("surbl", "4, 8, 16, 32, 64, 128"), ("uribl", "2, 4, 8")] {
        let keys = format!("reject_bits = [{bits}]");
        let host = points[list]["test_names"][0].as_str().context("a test name")?;
        for (bit, _) in points[list]["bits"].as_object().context("bits")? {
            let octet: u8 = bit.parse()?;
            let expected = if octet == 1 { UNAVAILABLE } else { LISTED };
            cases.push(Case::new(list, &keys, host, Ipv4Addr::new(127, 0, 0, octet), expected));
        }
        cases.extend(refusals(points, list, &keys, host)?);
        cases.push(Case::new(list, &keys, host, Ipv4Addr::new(127, 0, 0, 1), UNAVAILABLE));
        cases.push(Case::new(list, &keys, host, Ipv4Addr::new(192, 0, 2, 8), CLEAN));
    }
    for list in ["zen", "dbl"] {
        let codes = points["spamhaus"][list].as_object().context("codes")?;
        let is_error = |meaning: &Value| meaning.as_str().is_some_and(|meaning| meaning.contains("not allowed"));
        let listings: Vec<&String> =
            codes.iter().filter(|(_, meaning)| !is_error(meaning)).map(|(code, _)| code).collect();
        let keys = format!("reject_codes = {listings:?}");
        let host =
            if list == "dbl" { points["spamhaus"]["dbl_test"].as_str().unwrap_or("dbltest.com") } else { "192.0.2.7" };
        for (code, meaning) in codes {
            let expected = if is_error(meaning) { UNAVAILABLE } else { LISTED };
            for answer in answers(code)? {
                cases.push(Case::new(list, &keys, host, answer, expected));
            }
        }
        cases.extend(refusals(points, list, &keys, host)?);
        cases.push(Case::new(list, &keys, host, Ipv4Addr::new(127, 0, 0, 1), UNAVAILABLE));
        cases.push(Case::new(list, &keys, host, Ipv4Addr::new(198, 51, 100, 7), CLEAN));
    }
    Ok(cases)
}

/// The addresses that every list of addresses has, and those that none has.
fn addresses_of_rfc_5782(points: &Value, cases: &mut Vec<Case>) -> Result<()> {
    for family in ["rfc5782_ipv4", "rfc5782_ipv6"] {
        let point = |key: &str| points[family][key].as_str().unwrap_or_default();
        let query = point("query_listed").strip_suffix(".<zone>").context("a query")?;
        for (key, expected) in [("must_list", LISTED), ("must_not_list", CLEAN)] {
            let address = point(key);
            cases.push(Case {
                name: format!("{family} {address}"),
                keys: "reject_bits = [2]".to_owned(),
                host: if address.contains(':') { format!("[{address}]") } else { address.to_owned() },
                query: query.to_owned(),
                answer: Ipv4Addr::new(127, 0, 0, 2),
                expected,
            });
        }
    }
    Ok(())
}

/// Spamhaus' error answers, which must not be a listing on any list.
fn refusals(points: &Value, list: &str, keys: &str, host: &str) -> Result<Vec<Case>> {
    let errors = points["spamhaus"]["errors"].as_object().context("errors")?;
    errors.keys().map(|error| Ok(Case::new(list, keys, host, error.parse()?, UNAVAILABLE))).collect()
}

/// The first and the last address of `127.0.0.4` or `127.0.0.4-7`.
fn answers(code: &str) -> Result<Vec<Ipv4Addr>> {
    let (first, last) = code.split_once('-').unwrap_or((code, ""));
    let first: Ipv4Addr = first.parse().with_context(|| code.to_owned())?;
    let [a, b, c, _] = first.octets();
    match last.parse() {
        Ok(last) => Ok(vec![first, Ipv4Addr::new(a, b, c, last)]),
        Err(_) if last.is_empty() => Ok(vec![first]),
        Err(_) => bail!("{code} is no range"),
    }
}

impl Case {
    fn new(list: &str, keys: &str, host: &str, answer: Ipv4Addr, expected: &'static str) -> Self {
        let query = match host.parse::<Ipv4Addr>().map(|address| address.octets()) {
            Ok([a, b, c, d]) => format!("{d}.{c}.{b}.{a}"),
            // The names of test points are registrable, or stand below a name that is.
            Err(_) => host.rsplitn(3, '.').take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("."),
        };
        let (host, keys) = (host.to_owned(), keys.to_owned());
        Self { name: format!("{list} {host} {answer}"), keys, host, query, answer, expected }
    }
}
