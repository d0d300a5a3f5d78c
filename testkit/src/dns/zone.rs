//! The data that is served: names with their records and their ailments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::Value;

use super::signed::Spoilt;

/// Seconds, for every record and absence.
const TTL: u32 = 300;
/// Aliases that are followed.
const ALIASES: usize = 8;

/// A zone. Names are lower case, without the final dot.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    records: Vec<RData>,
    /// Types that get no answer, or SERVFAIL; `ANY` stands for all.
    silent: BTreeSet<RecordType>,
    failing: BTreeSet<RecordType>,
    missing: bool,
    spoilt: Option<Spoilt>,
    /// The delegation to a zone that is not signed.
    unsigned: bool,
}

/// A zone's JSON is not as the format says; it names the place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ZoneError(String);

pub(super) enum Reply {
    Silence,
    Failure,
    Records { records: Vec<Record>, exists: bool },
}

impl Zone {
    /// An empty zone: no name exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Read `{"name": {"TXT": [["part", …]], "A": ["1.2.3.4"], "MX": [[10, "host"]], "_timeout": ["TXT" | "*"], …}}`.
    /// Record types that it does not know are passed over.
    ///
    /// # Errors
    /// [`ZoneError`] names the value that is malformed.
    pub fn from_json(json: &Value) -> Result<Self, ZoneError> {
        let mut zone = Self::new();
        let names = json.as_object().ok_or_else(|| ZoneError("a zone is an object".to_owned()))?;
        for (name, records) in names {
            let records = records.as_object().ok_or_else(|| ZoneError(format!("{name}: not an object")))?;
            let node = zone.node(name);
            for (kind, values) in records {
                node.add(kind, values).ok_or_else(|| ZoneError(format!("{name}: {kind}: malformed: {values}")))?;
            }
        }
        Ok(zone)
    }

    /// Add an IPv4 address.
    #[must_use]
    pub fn a(self, name: &str, address: impl Into<Ipv4Addr>) -> Self {
        self.with(name, RData::A(A(address.into())))
    }

    /// Add an IPv6 address.
    #[must_use]
    pub fn aaaa(self, name: &str, address: Ipv6Addr) -> Self {
        self.with(name, RData::AAAA(AAAA(address)))
    }

    /// Add a TXT record; long text is cut into strings.
    #[must_use]
    pub fn txt(self, name: &str, text: &str) -> Self {
        self.with(name, text_data(&[text]))
    }

    /// Add a mail exchanger; `"."` is the null MX.
    #[must_use]
    pub fn mx(self, name: &str, preference: u16, exchange: &str) -> Self {
        self.with(name, RData::MX(MX::new(preference, host(exchange))))
    }

    /// Add a PTR record; `name` is the one under in-addr.arpa or ip6.arpa.
    #[must_use]
    pub fn ptr(self, name: &str, target: &str) -> Self {
        self.with(name, RData::PTR(PTR(host(target))))
    }

    /// Add an alias.
    #[must_use]
    pub fn cname(self, name: &str, target: &str) -> Self {
        self.with(name, RData::CNAME(CNAME(host(target))))
    }

    /// Give no answer for any type of this name that it has no record of.
    #[must_use]
    pub fn silent(mut self, name: &str) -> Self {
        self.node(name).silent.insert(RecordType::ANY);
        self
    }

    /// Answer SERVFAIL for any type of this name that it has no record of.
    #[must_use]
    pub fn servfail(mut self, name: &str) -> Self {
        self.node(name).failing.insert(RecordType::ANY);
        self
    }

    /// Spoil the signatures of a name, where the zone is served signed.
    #[must_use]
    pub fn spoil(mut self, name: &str, how: Spoilt) -> Self {
        self.node(name).spoilt = Some(how);
        self
    }

    /// Make this name and those below it a zone of their own that is not signed.
    #[must_use]
    pub fn unsigned(mut self, name: &str) -> Self {
        self.node(name).unsigned = true;
        self.with(name, RData::NS(NS(host("ns.invalid"))))
    }

    /// Add all of another zone.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        for (name, node) in other.nodes {
            let own = self.nodes.entry(name).or_default();
            own.records.extend(node.records);
            own.silent.extend(node.silent);
            own.failing.extend(node.failing);
            own.missing |= node.missing;
            own.spoilt = node.spoilt.or(own.spoilt);
            own.unsigned |= node.unsigned;
        }
        self
    }

    fn with(mut self, name: &str, data: RData) -> Self {
        self.node(name).records.push(data);
        self
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default()
    }

    pub(super) fn answer(&self, name: &Name, kind: RecordType) -> Reply {
        let mut records = Vec::new();
        let mut owner = name.clone();
        for _ in 0..ALIASES {
            let key = key_of(&owner);
            let Some(node) = self.nodes.get(&key).or_else(|| self.wildcard(&key)) else {
                return Reply::Records { records, exists: self.has_below(&key) };
            };
            // What is written down beats "every type".
            let of_kind = |data: &&RData| data.record_type() == kind || kind == RecordType::ANY;
            let found: Vec<&RData> = node.records.iter().filter(of_kind).collect();
            let ails = |kinds: &BTreeSet<RecordType>| {
                kinds.contains(&kind) || (found.is_empty() && kinds.contains(&RecordType::ANY))
            };
            if ails(&node.silent) {
                return Reply::Silence;
            }
            if ails(&node.failing) {
                return Reply::Failure;
            }
            if node.missing {
                return Reply::Records { records, exists: false };
            }
            let alias =
                node.records.iter().find_map(|data| if let RData::CNAME(to) = data { Some(&to.0) } else { None });
            records.extend(found.iter().map(|data| Record::from_rdata(owner.clone(), TTL, (*data).clone())));
            match alias {
                Some(target) if found.is_empty() => {
                    records.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(target.clone()))));
                    owner = target.clone();
                }
                _ => return Reply::Records { records, exists: true },
            }
        }
        Reply::Failure
    }

    /// The wildcard that stands for a name that does not exist: the one right below the closest name above that does (RFC
    /// 4592 section 3.3.1).
    fn wildcard(&self, name: &str) -> Option<&Node> {
        if self.has_below(name) {
            return None;
        }
        let parents = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        let closest = parents.into_iter().find(|parent| self.nodes.contains_key(*parent) || self.has_below(parent))?;
        self.nodes.get(&format!("*.{closest}"))
    }

    /// Whether the name belongs to a zone that is not signed.
    pub(super) fn is_unsigned(&self, name: &Name) -> bool {
        let mut above = Some(key_of(name));
        while let Some(key) = above {
            if self.nodes.get(&key).is_some_and(|node| node.unsigned) {
                return true;
            }
            above = key.split_once('.').map(|(_, rest)| rest.to_owned());
        }
        false
    }

    pub(super) fn spoilt(&self, name: &Name) -> Option<Spoilt> {
        self.nodes.get(&key_of(name))?.spoilt
    }

    /// The names with a NSEC record, in canonical order: those with records, delegations, and the root.
    pub(super) fn signed_names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.missing && !node.records.is_empty())
            .map(|(name, node)| (host(name), node.unsigned))
            .filter(|(name, is_cut)| *is_cut || !self.is_unsigned(name))
            .map(|(name, _)| name)
            .chain([Name::root()])
            .collect();
        names.sort();
        names
    }

    pub(super) fn types(&self, key: &str) -> Vec<RecordType> {
        let records = self.nodes.get(key).map(|node| node.records.as_slice()).unwrap_or_default();
        records.iter().map(RData::record_type).collect()
    }

    /// Whether names stand below this one: it is then an empty non-terminal, which exists (RFC 4592 section 2.2.2).
    fn has_below(&self, name: &str) -> bool {
        let suffix = format!(".{name}");
        self.nodes.iter().any(|(other, node)| !node.missing && other.ends_with(&suffix))
    }

    /// What goes with an absence (RFC 2308).
    pub(super) fn soa(&self) -> Record {
        let soa = SOA::new(host("ns.invalid"), host("hostmaster.invalid"), 1, 3600, 600, 86400, TTL);
        Record::from_rdata(Name::root(), TTL, RData::SOA(soa))
    }
}

impl Node {
    fn add(&mut self, kind: &str, values: &Value) -> Option<()> {
        match kind {
            "_nxdomain" => self.missing = values.as_bool()?,
            "_timeout" | "_servfail" => {
                let ailing = if kind == "_timeout" { &mut self.silent } else { &mut self.failing };
                for value in values.as_array()? {
                    let kind = match value.as_str()? {
                        "*" => RecordType::ANY,
                        name => name.parse().ok()?,
                    };
                    ailing.insert(kind);
                }
            }
            _ => {}
        }
        let list = values.as_array().map(Vec::as_slice).unwrap_or_default();
        for value in list {
            let data = match kind {
                "A" => RData::A(A(value.as_str()?.parse().ok()?)),
                "AAAA" => RData::AAAA(AAAA(value.as_str()?.parse().ok()?)),
                "MX" => {
                    let preference = u16::try_from(value.get(0)?.as_u64()?).ok()?;
                    RData::MX(MX::new(preference, host(value.get(1)?.as_str()?)))
                }
                "TXT" => {
                    let parts: Option<Vec<&str>> = match value {
                        Value::String(text) => Some(vec![text]),
                        parts => parts.as_array()?.iter().map(Value::as_str).collect(),
                    };
                    text_data(&parts?)
                }
                "PTR" => RData::PTR(PTR(host(value.as_str()?))),
                "NS" => RData::NS(NS(host(value.as_str()?))),
                "CNAME" => RData::CNAME(CNAME(host(value.as_str()?))),
                _ => return Some(()),
            };
            self.records.push(data);
        }
        Some(())
    }
}

/// One record; each part as strings of at most 255 bytes. A record has at least one string (RFC 1035 section 3.3.14).
fn text_data(parts: &[&str]) -> RData {
    let parts = if parts.is_empty() { &[""] } else { parts };
    let strings: Vec<&[u8]> = parts
        .iter()
        .flat_map(|part| if part.is_empty() { vec![&b""[..]] } else { part.as_bytes().chunks(255).collect() })
        .collect();
    RData::TXT(TXT::from_bytes(strings))
}

/// A name made label by label; what cannot be a name is the root, which no test asks for.
fn host(name: &str) -> Name {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut name = Name::from_labels(labels.map(str::as_bytes)).unwrap_or_else(|_| Name::root());
    name.set_fqdn(true);
    name
}

pub(super) fn key_of(name: &Name) -> String {
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.join(".")
}
