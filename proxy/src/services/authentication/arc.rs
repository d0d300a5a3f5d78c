//! ARC (RFC 8617): whether the chain of custody is whole.

use aws_lc_rs::digest::{Context, Digest, SHA256};

use super::canonical::{BodyHashes, Canonicalization};
use super::key::{Fault, Keys, record_name};
use super::lookups::Lookups;
use super::results::{ArcResult, Outcome, clean_text};
use super::signature::{Kind, Signature, algorithm, domain, selector};
use super::tags::{Tags, base64, trim};
use crate::clock::Clock;
use crate::message::Field;

/// RFC 8617 section 4.2.1.
pub(super) const INSTANCES: usize = 50;
const RESULTS: &str = "ARC-Authentication-Results";
/// The longest field of a set, in bytes.
pub(super) const FIELD_SIZE: usize = 32 * 1024;

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
pub(super) async fn verify(lookups: &Lookups, fields: &[Field<'_>], hashes: &BodyHashes, clock: Clock) -> ArcResult {
    let mut result =
        ArcResult { outcome: Outcome::None, sealers: Vec::new(), signs_author: false, reason: String::new() };
    match chain(lookups, fields, hashes, clock, &mut result).await {
        Ok(outcome) => result.outcome = outcome,
        Err(fault) => {
            // A chain that could not be checked for now did not fail; anything else did.
            result.outcome = if fault.outcome == Outcome::TempError { Outcome::TempError } else { Outcome::Fail };
            result.reason = clean_text(&fault.reason, 200);
        }
    }
    result
}

async fn chain(
    lookups: &Lookups,
    fields: &[Field<'_>],
    hashes: &BodyHashes,
    clock: Clock,
    result: &mut ArcResult,
) -> Result<Outcome, Fault> {
    let results = entries(fields, RESULTS)?;
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
    result.sealers.extend(seals.iter().map(|seal| seal.domain.clone()));
    let Some(newest) = sets.last() else { return Ok(Outcome::None) };
    let of_newest = |fault| named(fault, "ARC-Message-Signature", newest.signature.instance);
    let tags = Tags::parse(&newest.signature.value);
    let tags = tags.map_err(|fault| of_newest(Fault::permanent(format!("has {fault}"))))?;
    let signature = message_signature(&tags, hashes, clock).map_err(of_newest)?;
    result.signs_author = signature.signs_author();
    let names = seals.iter().map(|seal| record_name(&seal.selector, &seal.domain));
    let names = names.chain([record_name(&signature.selector, &signature.domain)]);
    let keys = Keys::fetch(lookups, names).await;
    check_message_signature(&keys, signature, &tags, fields, &newest.signature.field).map_err(of_newest)?;
    for (seal, digest) in seals.iter().zip(sealed(&sets)).rev() {
        let key = keys.find(&seal.selector, &seal.domain, seal.algorithm);
        let key = key.map_err(|fault| named(fault, "ARC-Seal", seal.instance))?;
        if !key.verifies(&digest, &seal.signature) {
            return Err(named(Fault::new(Outcome::Fail, "signature does not verify"), "ARC-Seal", seal.instance));
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
        let found = if name == RESULTS { results_instance(&value) } else { instance(&value) };
        let instance = found.ok_or_else(|| Fault::permanent(format!("{name} without a valid i=")))?;
        entries.push(Entry { field: *field, value, instance });
    }
    Ok(entries)
}

/// i= of a tag list.
fn instance(value: &str) -> Option<usize> {
    let tags = Tags::parse(value).ok()?;
    number(tags.value("i")?)
}

/// i= of ARC-Authentication-Results: it stands first (section 4.1.1). What follows is no tag list.
fn results_instance(value: &str) -> Option<usize> {
    let (name, value) = value.split(';').next()?.split_once('=')?;
    number(trim(value)).filter(|_| trim(name) == "i")
}

fn number(text: &str) -> Option<usize> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=INSTANCES).contains(number))
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
    instance: usize,
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
            instance: set.seal.instance,
            domain: domain(&tags)?,
            selector: selector(&tags)?,
            algorithm: algorithm(&tags)?,
            signature: signature.ok_or_else(|| Fault::permanent("b= is not base64"))?,
        })
    }
}

/// The newest ARC-Message-Signature, when it is one of this body.
fn message_signature<'a>(tags: &Tags<'a>, hashes: &BodyHashes, clock: Clock) -> Result<Signature<'a>, Fault> {
    let signature = Signature::parse(tags, Kind::Arc, clock)?;
    match signature.check_body(hashes) {
        // Without c= it is simple (RFC 6376 section 3.5), but there are sealers that mean relaxed.
        Err(_) if tags.value("c").is_none() => {
            let signature = signature.relaxed();
            signature.check_body(hashes).map(|()| signature)
        }
        checked => checked.map(|()| signature),
    }
}

fn check_message_signature(
    keys: &Keys,
    signature: Signature<'_>,
    tags: &Tags<'_>,
    fields: &[Field<'_>],
    own: &Field<'_>,
) -> Result<(), Fault> {
    let key = keys.find(&signature.selector, &signature.domain, signature.algorithm)?;
    let added = signature.added_field(fields);
    match signature.check_header(&key, fields, own) {
        Err(_) if tags.value("c").is_none() => signature.relaxed().check_header(&key, fields, own),
        checked => checked,
    }?;
    match added {
        Some(name) => Err(Fault::new(Outcome::Policy, format!("an unsigned {name} field was added"))),
        None => Ok(()),
    }
}

/// What each seal signs (section 5.1.1): all sets up to its own, oldest first, relaxed, and itself without its b=. Each
/// field is hashed once, however long the chain is.
fn sealed(sets: &[Set<'_>]) -> Vec<Digest> {
    let form = Canonicalization::Relaxed;
    let mut sealed = Context::new(&SHA256);
    let mut bytes = Vec::with_capacity(4096);
    let mut digests = Vec::with_capacity(sets.len());
    for set in sets {
        bytes.clear();
        form.field(set.results.field.raw(), &mut bytes);
        form.field(set.signature.field.raw(), &mut bytes);
        sealed.update(&bytes);
        bytes.clear();
        form.signature_field(set.seal.field.raw(), &mut bytes);
        let mut own = sealed.clone();
        own.update(&bytes);
        digests.push(own.finish());
        bytes.clear();
        form.field(set.seal.field.raw(), &mut bytes);
        sealed.update(&bytes);
    }
    digests
}
