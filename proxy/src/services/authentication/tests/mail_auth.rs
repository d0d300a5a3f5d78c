//! The messages and SPF cases of the mail-auth project.

use super::*;

/// The leading lines of a file, up to an empty one, are TXT records; the rest is the message.
fn case(path: &str) -> Option<(Zone, Message)> {
    let text = std::fs::read_to_string(data(path)?).unwrap();
    let (records, rest) = text.split_once("\n\n").unwrap();
    let zone = records.lines().fold(Zone::new(), |zone, line| {
        let (name, record) = line.trim().split_once(' ').unwrap();
        zone.txt(name, record)
    });
    Some((zone, message(rest)))
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_messages() {
    let mut disagreements = Vec::new();
    for number in 1..=6 {
        let Some((zone, message)) = case(&format!("dkim_arc_mailauth/dkim/00{number}.txt")) else { return };
        let (_server, authentication) = serve(zone).await;
        let results = authentication.evaluation(Ipv4Addr::LOCALHOST.into()).dkim(&message).await.unwrap();
        if results.is_empty() || results.iter().any(|result| result.outcome != Outcome::Pass) {
            disagreements.push(format!("dkim/00{number}: {results:?}"));
        }
    }
    // Its x= passed in 2022: from then on it may count as invalid (RFC 6376 section 3.5), and does.
    report("DKIM mail-auth", 6, &disagreements, &["dkim/005"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arc_messages() {
    let mut disagreements = Vec::new();
    for number in 1..=2 {
        let Some((zone, message)) = case(&format!("dkim_arc_mailauth/arc/00{number}.txt")) else { return };
        let (_server, authentication) = serve(zone).await;
        let result = authentication.evaluation(Ipv4Addr::LOCALHOST.into()).arc(&message).await.unwrap();
        if result.outcome != Outcome::Pass {
            disagreements.push(format!("arc/00{number}: {result:?}"));
        }
    }
    report("ARC mail-auth", 2, &disagreements, &[]);
}

/// What the file says up to an `expect`, and that.
#[derive(Clone, Default)]
struct SpfTest {
    zone: Zone,
    helo: String,
    sender: String,
    client: String,
    expected: String,
}

/// The files are YAML of which they use `key: value` only. What stands before `tests:` is for all tests of a document,
/// what an item begins with is for all its addresses.
fn spf_tests(document: &str) -> Vec<SpfTest> {
    let mut tests = Vec::new();
    let (mut all, mut this) = (Zone::new(), SpfTest::default());
    let mut in_tests = false;
    for line in document.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let item = line.trim();
        let rest = item.strip_prefix("- ").unwrap_or(item);
        let Some((key, value)) = rest.split_once(':') else { continue };
        let value = value.trim();
        if rest.len() < item.len() {
            this.zone = all.clone();
        }
        match key {
            "tests" => in_tests = true,
            "domain" => value.clone_into(&mut this.helo),
            "sender" => value.clone_into(&mut this.sender),
            "ip" => value.clone_into(&mut this.client),
            "expect" => tests.push(SpfTest { expected: value.to_owned(), ..this.clone() }),
            _ if in_tests => this.zone = record(this.zone, key, value),
            _ => all = record(all, key, value),
        }
    }
    tests
}

fn record(zone: Zone, kind: &str, value: &str) -> Zone {
    let Some((name, rest)) = value.split_once(' ') else { return zone };
    let list = || rest.split(',').map(str::trim);
    let address = |zone: Zone, name: &str, address: &str| match address.parse().unwrap() {
        IpAddr::V4(v4) => zone.a(name, v4),
        IpAddr::V6(v6) => zone.aaaa(name, v6),
    };
    match kind {
        "spf" | "exp" => zone.txt(name, rest),
        "a" | "aaaa" => list().fold(zone, |zone, text| address(zone, name, text)),
        "mx" => list().enumerate().fold(zone, |zone, (index, text)| {
            let host = format!("mx{index}.{name}");
            address(zone.mx(name, 10, &host), &host, text)
        }),
        "ptr" => {
            let reverse = crate::services::dns::reverse_name(name.parse().unwrap());
            list().fold(zone, |zone, target| zone.ptr(&reverse, target))
        }
        _ => zone,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spf_cases() {
    let Some(folder) = data("dkim_arc_mailauth/spf") else { return };
    let (mut cases, mut disagreements) = (0, Vec::new());
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, test) in text.split("\n---").flat_map(spf_tests).enumerate() {
            cases += 1;
            let (_server, authentication) =
                serve(test.zone.servfail("_dns_error.org").servfail("_dns_error.test.org")).await;
            let evaluation = authentication.evaluation(test.client.parse().unwrap());
            evaluation.helo(&test.helo);
            evaluation.mail(&test.sender);
            // A fail of the HELO identity is the result (RFC 7208 section 2.3).
            let result = match evaluation.spf(Identity::Helo).await {
                failed if failed.outcome == Outcome::Fail => failed,
                _ => evaluation.spf(Identity::MailFrom).await,
            };
            let (outcome, explanation) = test.expected.split_once(' ').unwrap_or((&test.expected, ""));
            let is_explained = explanation.is_empty() || result.explanation.as_deref() == Some(explanation);
            if result.outcome.as_str() != outcome || !is_explained {
                disagreements.push(format!(
                    "{name} {number}: {} {} {result:?} instead of {}",
                    test.sender, test.client, test.expected
                ));
            }
        }
    }
    let known = [
        // An unknown mechanism is a syntax error wherever it stands (section 4.6).
        "all 0",
        // More than two lookups that find nothing, and more than ten exchangers (section 4.6.4).
        "basic 8", "basic 13", // "exists" always asks for A records (section 5.7).
        "exists 1", "macro 3", // An IPv4 client is in no IPv6 network (sections 5 and 5.6).
        "ip 10",
    ];
    report("SPF mail-auth", cases, &disagreements, &known);
}
