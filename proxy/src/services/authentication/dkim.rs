//! DKIM (RFC 6376) with the rules of RFC 8301 and RFC 8463. What is bounded is bounded before the work.

use tokio::task::JoinSet;

use super::canonical::BodyHashes;
use super::key::{Fault, Key, record_name};
use super::results::{DkimResult, Outcome, clean_domain, clean_text};
use super::signature::{Kind, Signature};
use super::tags::{Tags, unfolded};
use crate::clock::Clock;
use crate::message::Field;
use crate::services::dns::Dns;

/// Signatures that are looked at, from the top.
const SIGNATURES: usize = 10;
/// The longest signature field, in bytes: an RSA key of 8192 bits makes 1.4 KiB of b=.
const FIELD_SIZE: usize = 16 * 1024;

/// Check the signatures of a message, in the order in which they stand.
pub(super) async fn verify(dns: &Dns, fields: &[Field<'_>], hashes: &BodyHashes, clock: Clock) -> Vec<DkimResult> {
    let own: Vec<(&Field<'_>, String)> = fields
        .iter()
        .filter(|field| field.is("DKIM-Signature"))
        .take(SIGNATURES)
        .map(|field| (field, String::from_utf8_lossy(field.value()).into_owned()))
        .collect();
    let parsed: Vec<_> = own.iter().map(|(field, value)| (*field, read(field, value, clock))).collect();
    // The keys are asked for together; each check below then finds its answer under way or in the cache.
    let mut keys = JoinSet::new();
    for signature in parsed.iter().filter_map(|(_, (_, signature))| signature.as_ref().ok()) {
        if signature.check_body(hashes).is_ok() {
            let (dns, name) = (dns.clone(), record_name(&signature.selector, &signature.domain));
            keys.spawn(async move { dns.txt(&name).await.is_ok() });
        }
    }
    let mut results = Vec::with_capacity(parsed.len());
    for (field, (described, signature)) in parsed {
        let checked = match signature {
            Ok(signature) => check(dns, &signature, fields, field, hashes).await,
            Err(fault) => Err(fault),
        };
        results.push(match checked {
            Ok(()) => DkimResult { outcome: Outcome::Pass, ..described },
            Err(fault) => DkimResult { outcome: fault.outcome, reason: clean_text(&fault.reason, 200), ..described },
        });
    }
    results
}

async fn check(
    dns: &Dns,
    signature: &Signature<'_>,
    fields: &[Field<'_>],
    own: &Field<'_>,
    hashes: &BodyHashes,
) -> Result<(), Fault> {
    signature.check_body(hashes)?;
    let key = Key::fetch(dns, &signature.selector, &signature.domain, signature.algorithm).await?;
    signature.check_header(&key, fields, own)?;
    match signature.added_field(fields) {
        Some(name) => Err(Fault::new(Outcome::Policy, format!("an unsigned {name} field was added"))),
        None => Ok(()),
    }
}

/// What can be said of a signature before it is checked, and the signature or why it is none.
fn read<'a>(field: &Field<'_>, value: &'a str, clock: Clock) -> (DkimResult, Result<Signature<'a>, Fault>) {
    let mut described = DkimResult {
        outcome: Outcome::Neutral,
        domain: String::new(),
        selector: String::new(),
        algorithm: String::new(),
        signature: String::new(),
        reason: String::new(),
    };
    if field.raw().len() > FIELD_SIZE {
        return (described, Err(Fault::permanent("the signature field is too large")));
    }
    let tags = match Tags::parse(value) {
        Ok(tags) => tags,
        Err(fault) => return (described, Err(Fault::permanent(format!("the signature has {fault}")))),
    };
    let text = |name: &str, limit| tags.value(name).map(|value| word(&unfolded(value), limit)).unwrap_or_default();
    described.domain = tags.value("d").map(clean_domain).unwrap_or_default();
    described.selector = text("s", 253).to_ascii_lowercase();
    described.algorithm = text("a", 32).to_ascii_lowercase();
    described.signature = text("b", 8);
    let signature = Signature::parse(&tags, Kind::Dkim, clock);
    (described, signature)
}

/// A value for Authentication-Results: what is not a character of a plain word becomes `?`.
fn word(value: &str, limit: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+/=".contains(c);
    value.chars().take(limit).map(|c| if plain(c) { c } else { '?' }).collect()
}
