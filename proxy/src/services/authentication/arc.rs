//! ARC (RFC 8617): whether the chain of custody is whole.

use super::canonical::{BodyHashes, Canonicalization};
use super::key::{Fault, Key};
use super::results::{ArcResult, Outcome, clean_text};
use super::signature::{Kind, Signature, algorithm, domain, selector};
use super::tags::{Tags, base64};
use crate::clock::Clock;
use crate::message::Field;
use crate::services::dns::Dns;

/// RFC 8617 section 4.2.1.
const INSTANCES: usize = 50;
/// The longest field of a set, in bytes.
const FIELD_SIZE: usize = 32 * 1024;

/// The three fields of one instance.
#[derive(Clone, Copy)]
struct Set<'a> {
    results: &'a Entry<'a>,
    signature: &'a Entry<'a>,
    seal: &'a Entry<'a>,
}

struct Entry<'a> {
    field: Field<'a>,
    value: String,
    instance: usize,
}

/// Check the chain (section 5.2).
pub(super) async fn verify(dns: &Dns, fields: &[Field<'_>], hashes: &BodyHashes, clock: Clock) -> ArcResult {
    let mut sealers = Vec::new();
    match chain(dns, fields, hashes, clock, &mut sealers).await {
        Ok(outcome) => ArcResult { outcome, sealers, reason: String::new() },
        Err(fault) => {
            // A chain that could not be checked for now did not fail; anything else did.
            let outcome = if fault.outcome == Outcome::TempError { Outcome::TempError } else { Outcome::Fail };
            ArcResult { outcome, sealers, reason: clean_text(&fault.reason, 200) }
        }
    }
}

async fn chain(
    dns: &Dns,
    fields: &[Field<'_>],
    hashes: &BodyHashes,
    clock: Clock,
    sealers: &mut Vec<String>,
) -> Result<Outcome, Fault> {
    let results = entries(fields, "ARC-Authentication-Results")?;
    let signatures = entries(fields, "ARC-Message-Signature")?;
    let seals = entries(fields, "ARC-Seal")?;
    if results.is_empty() && signatures.is_empty() && seals.is_empty() {
        return Ok(Outcome::None);
    }
    let sets = sets(&results, &signatures, &seals)?;
    let seals = sets
        .iter()
        .map(|set| Seal::parse(set, sets.len()).map_err(|fault| named(fault, "ARC-Seal", set.seal.instance)))
        .collect::<Result<Vec<_>, _>>()?;
    sealers.extend(seals.iter().map(|seal| seal.domain.clone()));
    let Some(newest) = sets.last() else { return Ok(Outcome::None) };
    message_signature(dns, newest, fields, hashes, clock)
        .await
        .map_err(|fault| named(fault, "ARC-Message-Signature", newest.signature.instance))?;
    for (position, seal) in seals.iter().enumerate().rev() {
        let key = Key::fetch(dns, &seal.selector, &seal.domain, seal.algorithm)
            .await
            .map_err(|fault| named(fault, "ARC-Seal", position + 1))?;
        if !key.verifies(&sealed_bytes(&sets[..=position]), &seal.signature) {
            return Err(named(Fault::new(Outcome::Fail, "signature does not verify"), "ARC-Seal", position + 1));
        }
    }
    Ok(Outcome::Pass)
}

fn named(fault: Fault, field: &str, instance: usize) -> Fault {
    Fault::new(fault.outcome, format!("{field} {instance}: {}", fault.reason))
}

fn entries<'a>(fields: &[Field<'a>], name: &str) -> Result<Vec<Entry<'a>>, Fault> {
    let mut entries = Vec::new();
    for field in fields.iter().filter(|field| field.is(name)) {
        if entries.len() == INSTANCES {
            return Err(Fault::permanent(format!("more than {INSTANCES} {name} fields")));
        }
        if field.raw().len() > FIELD_SIZE {
            return Err(Fault::permanent(format!("a {name} field is too large")));
        }
        let value = String::from_utf8_lossy(field.value()).into_owned();
        let instance = instance(&value).ok_or_else(|| Fault::permanent(format!("{name} without a valid i=")))?;
        entries.push(Entry { field: *field, value, instance });
    }
    Ok(entries)
}

/// i=, which in ARC-Authentication-Results stands before an authserv-id that is no tag.
fn instance(value: &str) -> Option<usize> {
    let mut found = None;
    for tag in value.split(';') {
        if let Some((name, number)) = tag.split_once('=')
            && name.trim_matches([' ', '\t', '\r', '\n']) == "i"
        {
            if found.is_some() {
                return None;
            }
            let number = number.trim_matches([' ', '\t', '\r', '\n']);
            let number: usize = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())??;
            found = Some(number).filter(|number| (1..=INSTANCES).contains(number));
            found?;
        }
    }
    found
}

/// Each instance from 1 up has each field once.
fn sets<'a>(
    results: &'a [Entry<'a>],
    signatures: &'a [Entry<'a>],
    seals: &'a [Entry<'a>],
) -> Result<Vec<Set<'a>>, Fault> {
    let count = seals.len();
    if results.len() != count || signatures.len() != count {
        return Err(Fault::permanent("the sets are not complete"));
    }
    let find = |entries: &'a [Entry<'a>], instance| entries.iter().find(|entry| entry.instance == instance);
    (1..=count)
        .map(|instance| {
            Some(Set {
                results: find(results, instance)?,
                signature: find(signatures, instance)?,
                seal: find(seals, instance)?,
            })
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Fault::permanent("the sets are not complete"))
}

struct Seal {
    domain: String,
    selector: String,
    algorithm: super::key::SignatureAlgorithm,
    signature: Vec<u8>,
}

impl Seal {
    /// Section 4.1.3, and the chain validation status that its place in the chain demands (section 5.2, steps 2 and 3).
    fn parse(set: &Set<'_>, count: usize) -> Result<Self, Fault> {
        let tags = Tags::parse(&set.seal.value).map_err(|fault| Fault::permanent(format!("has {fault}")))?;
        if tags.value("h").is_some() {
            return Err(Fault::permanent("has an h= tag"));
        }
        let status = tags.required("cv").map_err(Fault::permanent)?.to_ascii_lowercase();
        let expected = if set.seal.instance == 1 { "none" } else { "pass" };
        if status == "fail" && set.seal.instance == count {
            return Err(Fault::permanent("the chain was broken before"));
        }
        if status != expected {
            return Err(Fault::permanent(format!("cv= is not {expected}")));
        }
        tags.number("t").map_err(Fault::permanent)?;
        let signature = base64(tags.required("b").map_err(Fault::permanent)?);
        Ok(Self {
            domain: domain(&tags)?,
            selector: selector(&tags)?,
            algorithm: algorithm(&tags)?,
            signature: signature.ok_or_else(|| Fault::permanent("b= is not base64"))?,
        })
    }
}

async fn message_signature(
    dns: &Dns,
    set: &Set<'_>,
    fields: &[Field<'_>],
    hashes: &BodyHashes,
    clock: Clock,
) -> Result<(), Fault> {
    let tags = Tags::parse(&set.signature.value).map_err(|fault| Fault::permanent(format!("has {fault}")))?;
    let signature = Signature::parse(&tags, Kind::Arc, clock)?;
    let key = Key::fetch(dns, &signature.selector, &signature.domain, signature.algorithm).await?;
    let check = |signature: &Signature<'_>| {
        signature.check_body(hashes)?;
        signature.check_header(&key, fields, &set.signature.field)
    };
    match check(&signature) {
        // Without c= it is simple (RFC 6376 section 3.5), but there are sealers that mean relaxed.
        Err(_) if tags.value("c").is_none() => check(&signature.relaxed()),
        checked => checked,
    }
}

/// Section 5.1.1: all sets up to this one, oldest first, relaxed; the last seal without its signature.
fn sealed_bytes(sets: &[Set<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4096);
    let form = Canonicalization::Relaxed;
    for (position, set) in sets.iter().enumerate() {
        form.field(set.results.field.raw(), &mut bytes);
        form.field(set.signature.field.raw(), &mut bytes);
        if position + 1 < sets.len() {
            form.field(set.seal.field.raw(), &mut bytes);
        } else {
            form.signature_field(set.seal.field.raw(), &mut bytes);
        }
    }
    bytes
}
