//! DKIM (RFC 6376) with the rules of RFC 8301 and RFC 8463. What is bounded is bounded before the work.

use super::canonical::BodyHashes;
use super::key::{Fault, Keys, record_name};
use super::lookups::Lookups;
use super::results::{DkimResult, Outcome, clean_domain, clean_text};
use super::signature::{Kind, Signature};
use super::tags::{Tags, unfolded};
use crate::clock::Clock;
use crate::message::Field;

/// Signatures that are looked at, from the top.
pub(super) const SIGNATURES: usize = 10;
/// The longest signature field, in bytes: an RSA key of 8192 bits makes 1.4 KiB of b=.
const FIELD_SIZE: usize = 16 * 1024;

/// Check the signatures of a message, in the order in which they stand. When there are more than are looked at, the
/// last result says how many.
pub(super) async fn verify(
    lookups: &Lookups,
    fields: &[Field<'_>],
    hashes: &BodyHashes,
    clock: Clock,
) -> Vec<DkimResult> {
    let all = || fields.iter().filter(|field| field.is("DKIM-Signature"));
    let own: Vec<(&Field<'_>, String)> =
        all().take(SIGNATURES).map(|field| (field, String::from_utf8_lossy(field.value()).into_owned())).collect();
    let parsed: Vec<_> = own.iter().map(|(field, value)| (*field, read(field, value, hashes, clock))).collect();
    let signatures = parsed.iter().filter_map(|(_, (_, signature))| signature.as_ref().ok());
    let names = signatures.map(|signature| record_name(&signature.selector, &signature.domain));
    let keys = Keys::fetch(&lookups.for_keys(), names).await;
    let mut results: Vec<DkimResult> = parsed
        .into_iter()
        .map(|(field, (described, signature))| {
            match signature.and_then(|signature| check(&keys, &signature, fields, field)) {
                Ok(()) => DkimResult { outcome: Outcome::Pass, ..described },
                Err(fault) => {
                    DkimResult { outcome: fault.outcome, reason: clean_text(&fault.reason, 200), ..described }
                }
            }
        })
        .collect();
    let skipped = all().count().saturating_sub(SIGNATURES);
    if skipped > 0 {
        lookups.counters().skipped(skipped);
        let reason = format!("{skipped} more signatures are not checked");
        results.push(DkimResult { outcome: Outcome::Policy, reason, ..nothing() });
    }
    results
}

fn check(keys: &Keys, signature: &Signature<'_>, fields: &[Field<'_>], own: &Field<'_>) -> Result<(), Fault> {
    let key = keys.find(&signature.selector, &signature.domain, signature.algorithm)?;
    signature.check_header(&key, fields, own)?;
    match signature.added_field(fields) {
        Some(name) => Err(Fault::new(Outcome::Policy, format!("an unsigned {name} field was added"))),
        None => Ok(()),
    }
}

const fn nothing() -> DkimResult {
    DkimResult {
        outcome: Outcome::Neutral,
        domain: String::new(),
        selector: String::new(),
        algorithm: String::new(),
        signature: String::new(),
        reason: String::new(),
    }
}

/// What can be said of a signature before its key is known, and the signature of this body or why it is none.
fn read<'a>(
    field: &Field<'_>,
    value: &'a str,
    hashes: &BodyHashes,
    clock: Clock,
) -> (DkimResult, Result<Signature<'a>, Fault>) {
    let mut described = nothing();
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
    // Before its key is asked for: a body that was changed costs no lookup.
    let signature = Signature::parse(&tags, Kind::Dkim, clock);
    (described, signature.and_then(|signature| signature.check_body(hashes).map(|()| signature)))
}

/// A value for Authentication-Results: what is not a character of a plain word becomes `?`.
fn word(value: &str, limit: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+/=".contains(c);
    value.chars().take(limit).map(|c| if plain(c) { c } else { '?' }).collect()
}
