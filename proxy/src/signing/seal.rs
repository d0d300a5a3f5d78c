//! The ARC set that we add (RFC 8617 section 5.1): ARC-Authentication-Results, ARC-Message-Signature and ARC-Seal.
//!
//! Whether there is a set to add, and what its results say, is planned while the DNS may still be asked; the set itself
//! is made later, over the message as it leaves.

use super::field::{TagList, UNFOLDED, covered, folded, is_named, raw, signed_bytes};
use super::key::SigningKey;
use super::{Made, NotMade};
use crate::config::Dkim;
use crate::message::{Field, Message};
use crate::services::authentication::{ArcResult, BodyHashes, Canonicalization, Outcome};

const RESULTS: &str = "ARC-Authentication-Results";
const SIGNATURE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";
/// RFC 8617 section 4.2.1: instances go from 1 to 50.
const INSTANCES: usize = 50;

/// The set to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    instance: usize,
    /// `cv=`
    status: Status,
    /// The statements of ARC-Authentication-Results.
    pub(super) results: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    None,
    Pass,
    Fail,
}

impl Plan {
    /// What may be added to a chain that was found to be so in `received`, and that leaves in `leaving`.
    ///
    /// # Errors
    /// [`NotMade::Unsealable`] when no set may be added, [`NotMade::Unvalidated`] when that cannot be known now.
    pub(super) fn new(chain: &ArcResult, received: &Message, leaving: &Message) -> Result<Self, NotMade> {
        let fields = arc_fields(leaving);
        if !fields.iter().map(Field::raw).eq(arc_fields(received).iter().map(Field::raw)) {
            return Err(NotMade::Unsealable("a filter changed its ARC fields"));
        }
        let (instance, status) = match chain.outcome {
            Outcome::None => (1, Status::None),
            Outcome::Pass => (chain.sealers.len() + 1, Status::Pass),
            Outcome::TempError => return Err(NotMade::Unvalidated(chain.reason.clone())),
            _ => {
                let highest = fields.iter().filter_map(|field| instance(field.value())).max();
                let Some(highest) = highest else {
                    return Err(NotMade::Unsealable("its ARC fields have no instance to count on from"));
                };
                // Section 5.1.2: a chain that has failed stays as it is. Nothing more can be learned from it.
                let has_failed = fields.iter().any(|field| {
                    field.is(SEAL)
                        && instance(field.value()) == Some(highest)
                        && tag(field.value(), "cv").is_some_and(|status| status.eq_ignore_ascii_case("fail"))
                });
                if has_failed {
                    return Err(NotMade::Unsealable("its ARC chain was sealed as failed before"));
                }
                (highest + 1, Status::Fail)
            }
        };
        if instance > INSTANCES {
            return Err(NotMade::Unsealable("its ARC chain is as long as can be"));
        }
        Ok(Self { instance, status, results: String::new() })
    }

    /// The three fields, the one that stands first on the message first. `fields` are those of the message as it leaves,
    /// our DKIM signatures among them.
    pub(super) fn make(
        &self,
        policy: &Dkim,
        authserv_id: &str,
        fields: &[&[u8]],
        hashes: &BodyHashes,
        now: u64,
    ) -> Result<[Made; 3], NotMade> {
        let results = folded(RESULTS, &format!("i={}; {authserv_id}; {}", self.instance, self.results));
        // Section 4.1.2: what a message was signed with is part of what it was; seals are not to be signed here.
        let names = policy.headers.iter().map(String::as_str).chain(["DKIM-Signature"]);
        let names = covered(fields, names, &policy.oversign).ok_or(NotMade::TooManyFields)?;
        let (header, body) = policy.canonicalization.forms();
        let list = self.list(
            SIGNATURE,
            policy,
            now,
            &[
                ("bh", super::digest_of(hashes, body)?),
                ("c", policy.canonicalization.to_string()),
                ("h", names.join(":")),
            ],
        );
        let signature = complete(&list, &policy.key, &signed_bytes(header, &names, fields, &list.unsigned()))?;
        let seal = self.list(SEAL, policy, now, &[("cv", self.status.as_str().to_owned())]);
        let mut sealed = Vec::with_capacity(4096);
        // Section 5.1.1, and 5.1.2: over a chain that failed, a seal covers its own set alone.
        if self.status == Status::Pass {
            for instance in 1..self.instance {
                for name in [RESULTS, SIGNATURE, SEAL] {
                    let field =
                        fields.iter().find(|raw| is_named(raw, name) && self::instance(value(raw)) == Some(instance));
                    // The chain was validated, so each is there.
                    Canonicalization::Relaxed
                        .field(field.ok_or(NotMade::Unsealable("its ARC sets are not complete"))?, &mut sealed);
                }
            }
        }
        Canonicalization::Relaxed.field(&raw(RESULTS, &results), &mut sealed);
        Canonicalization::Relaxed.field(&raw(SIGNATURE, &signature), &mut sealed);
        Canonicalization::Relaxed.signature_field(&seal.unsigned(), &mut sealed);
        let seal = complete(&seal, &policy.key, &sealed)?;
        Ok([(SEAL, seal), (SIGNATURE, signature), (RESULTS, results)])
    }

    /// The tags that both signatures have, and `more`, in the order of the alphabet.
    fn list(&self, field: &'static str, policy: &Dkim, now: u64, more: &[(&'static str, String)]) -> TagList {
        let mut tags = vec![
            ("a", policy.key.algorithm().to_owned()),
            ("b", String::new()),
            ("d", policy.domains.first().cloned().unwrap_or_default()),
            ("i", self.instance.to_string()),
            ("s", policy.selector.clone()),
            ("t", now.to_string()),
        ];
        tags.extend_from_slice(more);
        tags.sort_by_key(|(name, _)| *name);
        TagList { field, tags, signature_width: UNFOLDED }
    }
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// The value of a field with the signature of these bytes in it.
pub(super) fn complete(list: &TagList, key: &SigningKey, signed: &[u8]) -> Result<String, NotMade> {
    let signature = key.sign(signed).map_err(|_| NotMade::Failed("the key makes no signature".to_owned()))?;
    Ok(list.value(&super::base64(&signature)))
}

fn arc_fields(message: &Message) -> Vec<Field<'_>> {
    let is_one = |field: &Field<'_>| [RESULTS, SIGNATURE, SEAL].iter().any(|name| field.is(name));
    message.headers().fields().filter(is_one).collect()
}

/// A whole field's value.
fn value(raw: &[u8]) -> &[u8] {
    raw.get(memchr::memchr(b':', raw).map_or(raw.len(), |colon| colon + 1)..).unwrap_or_default()
}

/// The instance of a field of a set. In ARC-Authentication-Results it stands before what is no list of tags.
fn instance(value: &[u8]) -> Option<usize> {
    let number = tag(value, "i")?;
    let number: usize = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    (1..=INSTANCES).contains(&number).then_some(number)
}

/// The value of the first tag of that name.
fn tag<'a>(value: &'a [u8], name: &str) -> Option<&'a str> {
    value.split(|byte| *byte == b';').find_map(|tag| {
        let equals = memchr::memchr(b'=', tag)?;
        (tag[..equals].trim_ascii() == name.as_bytes())
            .then(|| std::str::from_utf8(tag[equals + 1..].trim_ascii()).ok())?
    })
}
