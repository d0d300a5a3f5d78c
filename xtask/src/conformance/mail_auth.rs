//! The test data of mail-auth: signed and sealed messages with their records above them, and SPF scenarios in a notation of
//! its own.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use mailweir_testkit::dns::Zone;

use super::Setting;
use super::authentication::{self, CHAIN, SpfCase};
use super::report::Tally;

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "DKIM, ARC and SPF mail-auth";
    let Some(folder) = setting.data("dkim_arc_mailauth") else { return Ok(Tally::skipped(SUITE)) };
    Ok(vec![
        messages(setting, "DKIM mail-auth", &folder.join("dkim"), "dkim")?,
        messages(setting, "ARC mail-auth", &folder.join("arc"), "arc")?,
        spf(setting, &folder.join("spf"))?,
    ])
}

/// Every signature, or seal, of these messages is good.
fn messages(setting: &Setting, suite: &str, folder: &Path, method: &str) -> Result<Tally> {
    let files = super::files(folder, "txt")?;
    let disagreements = setting.judge(&files, |stage, file| {
        let content = std::fs::read(file)?;
        let (records, message) = split_records(&content).with_context(|| file.display().to_string())?;
        let replayed = stage.replay(CHAIN, records, &[], &[message])?;
        let [replayed] = replayed.as_slice() else { bail!("not one result of one message") };
        let found = replayed.tags(method);
        let case = file.file_name().unwrap_or_default().to_string_lossy();
        let agrees = !found.is_empty() && found.iter().all(|outcome| *outcome == "pass");
        let differs = || authentication::disagreement(&case, "pass", &found.join(" "), replayed);
        Ok(if agrees { Vec::new() } else { vec![differs()] })
    })?;
    Ok(Tally::new(suite, files.len(), disagreements))
}

/// `NAME TEXT` lines, an empty line, and the message.
fn split_records(content: &[u8]) -> Result<(Zone, &[u8])> {
    let end = content.windows(2).position(|pair| pair == b"\n\n").context("no empty line after the records")?;
    let mut zone = Zone::new();
    for line in std::str::from_utf8(&content[..end])?.lines() {
        let (name, record) = line.split_once(' ').context("a record without a text")?;
        zone = zone.txt(name, record.trim());
    }
    Ok((zone, &content[end + 2..]))
}

fn spf(setting: &Setting, folder: &Path) -> Result<Tally> {
    let mut cases = Vec::new();
    let mut elsewhere = 0;
    for file in super::files(folder, "yml")? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut scenarios = Scenarios::new(name);
        for line in std::fs::read_to_string(&file)?.lines() {
            scenarios.line(line).with_context(|| format!("{}: {line}", file.display()))?;
        }
        cases.extend(scenarios.cases);
        elsewhere += scenarios.elsewhere;
    }
    let disagreements = authentication::judge_spf(setting, &cases)?;
    let figures = format!("{elsewhere} more check a domain that no session leads to (RFC 7208 section 2.4)");
    Ok(Tally::new("SPF mail-auth", cases.len(), disagreements).with_figures(figures))
}

/// Scenarios as they are read: records and parameters hold until others take their place.
struct Scenarios {
    file: String,
    records: Vec<(String, String, String)>,
    domain: String,
    sender: String,
    ip: String,
    cases: Vec<SpfCase>,
    /// Cases in which the domain is neither the sender's nor that of a bounce.
    elsewhere: usize,
}

impl Scenarios {
    fn new(file: String) -> Self {
        let (domain, sender, ip) = Default::default();
        Self { file, records: Vec::new(), domain, sender, ip, cases: Vec::new(), elsewhere: 0 }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let line = line.trim().trim_start_matches("- ").trim();
        let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) else { return Ok(()) };
        let value = value.trim();
        match key {
            "name" | "tests" => {}
            "records" => self.records.clear(),
            "domain" => value.clone_into(&mut self.domain),
            "sender" => value.clone_into(&mut self.sender),
            "ip" => value.clone_into(&mut self.ip),
            "spf" | "exp" | "a" | "aaaa" | "mx" | "ptr" => {
                let (name, data) = value.split_once(' ').unwrap_or((value, ""));
                self.records.retain(|(known, owner, _)| (known.as_str(), owner.as_str()) != (key, name));
                self.records.push((key.to_owned(), name.to_owned(), data.trim().to_owned()));
            }
            "expect" => self.expect(value)?,
            _ => bail!("an unknown key"),
        }
        Ok(())
    }

    fn expect(&mut self, expected: &str) -> Result<()> {
        let (outcome, explanation) = expected.split_once(' ').unwrap_or((expected, ""));
        let number = self.cases.len() + self.elsewhere + 1;
        let own = self.sender.rsplit_once('@').is_some_and(|(_, domain)| domain == self.domain);
        if !own && !self.sender.is_empty() {
            self.elsewhere += 1;
            return Ok(());
        }
        self.cases.push(SpfCase {
            id: format!("{}/{number}", self.file),
            ip: self.ip.clone(),
            helo: self.domain.clone(),
            sender: self.sender.clone(),
            expected: vec![outcome.to_owned()],
            explanation: (outcome == "fail").then(|| explanation.to_owned()),
            zone: self.zone()?,
        });
        Ok(())
    }

    fn zone(&self) -> Result<Zone> {
        // Names that begin like this are those whose queries fail.
        let failing = self.domain.starts_with("_dns_error").then_some(self.domain.as_str());
        let mentioned = self.records.iter().flat_map(|(_, _, data)| data.split([':', '=', ' ']));
        let failing = failing.into_iter().chain(mentioned.filter(|word| word.starts_with("_dns_error")));
        let mut zone = failing.fold(Zone::new(), Zone::servfail);
        for (kind, name, data) in &self.records {
            zone = match kind.as_str() {
                "spf" | "exp" => zone.txt(name, data),
                "a" | "aaaa" => addresses(zone, name, data)?,
                "mx" => exchangers(zone, name, data)?,
                _ => pointers(zone, name, data)?,
            };
        }
        Ok(zone)
    }
}

fn addresses(zone: Zone, name: &str, data: &str) -> Result<Zone> {
    let addresses = data.split([',', ' ']).map(str::trim).filter(|address| !address.is_empty());
    addresses.into_iter().try_fold(zone, |zone, address| {
        Ok(match address.parse().with_context(|| address.to_owned())? {
            IpAddr::V4(address) => zone.a(name, address),
            IpAddr::V6(address) => zone.aaaa(name, address),
        })
    })
}

/// Exchangers with their addresses: each address gets a host of its own.
fn exchangers(zone: Zone, name: &str, data: &str) -> Result<Zone> {
    let mut zone = zone;
    for (index, item) in data.split([',', ' ']).map(str::trim).filter(|item| !item.is_empty()).enumerate() {
        let preference = u16::try_from(index + 1)?;
        if item.parse::<IpAddr>().is_ok() {
            let host = format!("mx{preference}.of.{name}");
            zone = addresses(zone.mx(name, preference, &host), &host, item)?;
        } else {
            zone = zone.mx(name, preference, item);
        }
    }
    Ok(zone)
}

fn pointers(zone: Zone, address: &str, data: &str) -> Result<Zone> {
    let name = match address.parse::<IpAddr>()? {
        IpAddr::V4(address) => {
            let octets: Vec<String> = address.octets().iter().rev().map(ToString::to_string).collect();
            format!("{}.in-addr.arpa", octets.join("."))
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            format!("{}.ip6.arpa", nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join("."))
        }
    };
    let targets = data.split([',', ' ']).map(str::trim).filter(|target| !target.is_empty());
    Ok(targets.fold(zone, |zone, target| zone.ptr(&name, target)))
}
