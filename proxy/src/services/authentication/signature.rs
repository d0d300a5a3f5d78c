//! DKIM-Signature and ARC-Message-Signature fields: one grammar (RFC 6376 section 3.5, RFC 8617 section 4.1.2), and
//! what they sign.

use aws_lc_rs::digest::{SHA256, digest};

use super::canonical::{BodyHash, BodyHashes, Canonicalization};
use super::key::{Fault, Key, SignatureAlgorithm};
use super::results::{Outcome, clean_domain};
use super::tags::{Tags, base64, list, quoted_printable};
use crate::clock::Clock;
use crate::message::Field;

/// Names in h= that are looked at; each costs a walk over the fields.
const SIGNED_FIELDS: usize = 256;
/// Seconds that a signer's clock may be ahead of ours: one that has the wrong time zone is no fraud.
const CLOCK_AHEAD: u64 = 24 * 60 * 60;

/// Which field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dkim,
    Arc,
}

/// A signature that is well-formed and not excluded by our rules.
#[derive(Debug)]
pub(super) struct Signature<'a> {
    pub(super) domain: String,
    pub(super) selector: String,
    pub(super) algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    body_hash: Vec<u8>,
    header_form: Canonicalization,
    body_form: Canonicalization,
    signed: Vec<&'a str>,
    /// l=
    length: Option<u64>,
    /// The domain of i=; that of d= without one.
    identity: String,
}

/// In which forms a field may want the body: what has to be hashed while it arrives.
pub(super) fn body_forms(value: &str, kind: Kind) -> Vec<Canonicalization> {
    let Ok(tags) = Tags::parse(value) else { return Vec::new() };
    if kind == Kind::Arc && tags.value("c").is_none() {
        return vec![Canonicalization::Simple, Canonicalization::Relaxed];
    }
    Canonicalization::parse(tags.value("c")).map(|(_, body)| body).into_iter().collect()
}

impl<'a> Signature<'a> {
    pub(super) fn parse(tags: &Tags<'a>, kind: Kind, clock: Clock) -> Result<Self, Fault> {
        if kind == Kind::Dkim {
            let version = tags.required("v").map_err(Fault::permanent)?;
            if version != "1" {
                return Err(Fault::permanent("v= is not 1"));
            }
        }
        let algorithm = algorithm(tags)?;
        let signature = tags.required("b").map_err(Fault::permanent)?;
        let signature = base64(signature).ok_or_else(|| Fault::permanent("b= is not base64"))?;
        let body_hash = tags.required("bh").map_err(Fault::permanent)?;
        let body_hash = base64(body_hash).ok_or_else(|| Fault::permanent("bh= is not base64"))?;
        let (header_form, body_form) =
            Canonicalization::parse(tags.value("c")).ok_or_else(|| Fault::permanent("c= is not known"))?;
        let domain = domain(tags)?;
        let selector = selector(tags)?;
        let signed: Vec<&str> = match (kind, tags.value("h")) {
            // Over nothing but the body and itself. It is well-formed, and speaks for no author: see `signs_author`.
            (Kind::Arc, Some("")) => Vec::new(),
            _ => list(tags.required("h").map_err(Fault::permanent)?).collect(),
        };
        if signed.len() > SIGNED_FIELDS {
            return Err(Fault::permanent("h= is too long"));
        }
        if signed.iter().any(|name| name.is_empty()) {
            return Err(Fault::permanent("h= has an empty name"));
        }
        // RFC 6376 section 5.4, which RFC 8617 section 4.1.2 builds on.
        if !signed.is_empty() && !signed.iter().any(|name| name.eq_ignore_ascii_case("from")) {
            return Err(Fault::permanent("From is not signed"));
        }
        if kind == Kind::Arc && signed.iter().any(|name| name.eq_ignore_ascii_case("arc-seal")) {
            return Err(Fault::permanent("ARC-Seal is signed"));
        }
        // In an ARC field i= is the instance.
        let identity = if kind == Kind::Dkim { identity(tags, &domain)? } else { domain.clone() };
        if tags.value("q").is_some_and(|methods| !list(methods).any(|m| m.eq_ignore_ascii_case("dns/txt"))) {
            return Err(Fault::permanent("q= has no method we know"));
        }
        check_times(tags, clock)?;
        let length = tags.number("l").map_err(Fault::permanent)?;
        Ok(Self { domain, selector, algorithm, signature, body_hash, header_form, body_form, signed, length, identity })
    }

    /// Whether From is among what it signs: always, but for an ARC-Message-Signature with an empty h=.
    pub(super) const fn signs_author(&self) -> bool {
        !self.signed.is_empty()
    }

    /// The same signature, read as if c= were relaxed/relaxed.
    pub(super) fn relaxed(self) -> Self {
        Self { header_form: Canonicalization::Relaxed, body_form: Canonicalization::Relaxed, ..self }
    }

    /// Whether the body is the one that was signed, all of it.
    pub(super) fn check_body(&self, hashes: &BodyHashes) -> Result<(), Fault> {
        let Some(BodyHash { digest, length }) = hashes.of(self.body_form) else {
            return Err(Fault::new(Outcome::TempError, "the body was not hashed"));
        };
        match self.length {
            Some(signed) if signed < *length => {
                return Err(Fault::new(Outcome::Policy, format!("l= covers {signed} of {length} bytes")));
            }
            Some(signed) if signed > *length => return Err(Fault::permanent("l= is longer than the body")),
            _ => {}
        }
        if *digest == *self.body_hash { Ok(()) } else { Err(Fault::new(Outcome::Fail, "body hash does not match")) }
    }

    /// Whether the key made this signature over these fields. `own` is the signature's field itself.
    pub(super) fn check_header(&self, key: &Key, fields: &[Field<'_>], own: &Field<'_>) -> Result<(), Fault> {
        let exact = self.identity == self.domain;
        if key.exact_identity && !exact {
            return Err(Fault::permanent("the key demands that i= has the domain of d="));
        }
        if key.verifies(&digest(&SHA256, &self.signed_bytes(fields, own)), &self.signature) {
            return Ok(());
        }
        if key.testing {
            // RFC 6376 section 3.6.1: to be taken for unsigned.
            return Err(Fault::new(Outcome::Neutral, "signature does not verify; the domain is testing DKIM"));
        }
        Err(Fault::new(Outcome::Fail, "signature does not verify"))
    }

    /// Section 5.4.2: for each name the last field not yet taken, and nothing when there is none. The signature's own
    /// field is not among them (section 3.5), also where h= names its kind.
    fn signed_bytes(&self, fields: &[Field<'_>], own: &Field<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2048);
        for (position, name) in self.signed.iter().enumerate() {
            let earlier = self.signed[..position].iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
            let is_other = |field: &&Field<'_>| field.is(name) && !std::ptr::eq(field.raw(), own.raw());
            if let Some(field) = fields.iter().rev().filter(is_other).nth(earlier) {
                self.header_form.field(field.raw(), &mut bytes);
            }
        }
        self.header_form.signature_field(own.raw(), &mut bytes);
        bytes
    }

    /// A field that a message has once (RFC 5322 section 3.6, RFC 2045), that was signed, and that was added once more:
    /// what is shown to the reader may then follow the unsigned one (RFC 6376 section 8.15).
    pub(super) fn added_field(&self, fields: &[Field<'_>]) -> Option<&'static str> {
        const ONCE: [&str; 8] =
            ["From", "Sender", "Reply-To", "To", "Subject", "Date", "Content-Type", "Content-Transfer-Encoding"];
        ONCE.into_iter().find(|name| {
            let signed = self.signed.iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
            signed > 0 && fields.iter().filter(|field| field.is(name)).count() > signed
        })
    }
}

/// a=
pub(super) fn algorithm(tags: &Tags<'_>) -> Result<SignatureAlgorithm, Fault> {
    match tags.required("a").map_err(Fault::permanent)?.to_ascii_lowercase().as_str() {
        "rsa-sha256" => Ok(SignatureAlgorithm::RsaSha256),
        "ed25519-sha256" => Ok(SignatureAlgorithm::Ed25519Sha256),
        // RFC 8301 section 3.1: permanently failed, whatever is signed.
        "rsa-sha1" => Err(Fault::permanent("rsa-sha1 is not accepted (RFC 8301)")),
        _ => Err(Fault::permanent("a= is not known")),
    }
}

/// d=
pub(super) fn domain(tags: &Tags<'_>) -> Result<String, Fault> {
    let domain = tags.required("d").map_err(Fault::permanent)?;
    match crate::services::dns::clean_name(domain) {
        // A domain-name of RFC 6376 has a dot; nobody signs for a whole top-level domain (section 6.1.1).
        Ok(name) if clean_domain(&name) == name && name.contains('.') => Ok(name),
        _ => Err(Fault::permanent("d= is not a domain")),
    }
}

/// s=
pub(super) fn selector(tags: &Tags<'_>) -> Result<String, Fault> {
    let selector = tags.required("s").map_err(Fault::permanent)?;
    match crate::services::dns::clean_name(selector) {
        Ok(name) => Ok(name),
        Err(_) => Err(Fault::permanent("s= is not a selector")),
    }
}

/// The domain of i=, which is that of d= or below it.
fn identity(tags: &Tags<'_>, domain: &str) -> Result<String, Fault> {
    let Some(identity) = tags.value("i") else { return Ok(domain.to_owned()) };
    let identity = quoted_printable(identity).ok_or_else(|| Fault::permanent("i= is not quoted-printable"))?;
    let Some((_, at)) = identity.rsplit_once('@') else { return Err(Fault::permanent("i= has no @")) };
    let at = clean_domain(at);
    match at.strip_suffix(domain) {
        Some("") => Ok(at),
        Some(rest) if rest.ends_with('.') => Ok(at),
        _ => Err(Fault::permanent("i= is not within d=")),
    }
}

fn check_times(tags: &Tags<'_>, clock: Clock) -> Result<(), Fault> {
    let signed = tags.number("t").map_err(Fault::permanent)?;
    let expires = tags.number("x").map_err(Fault::permanent)?;
    let now = clock.seconds();
    if signed.is_some_and(|signed| signed > now.saturating_add(CLOCK_AHEAD)) {
        return Err(Fault::permanent("t= is in the future"));
    }
    let Some(expires) = expires else { return Ok(()) };
    if signed.is_some_and(|signed| expires <= signed) {
        return Err(Fault::permanent("x= is not after t="));
    }
    if expires < now { Err(Fault::new(Outcome::Fail, "signature has expired")) } else { Ok(()) }
}
