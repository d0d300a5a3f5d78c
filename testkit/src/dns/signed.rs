//! DNSSEC for a zone (RFC 4033 to 4035): everything is one zone, that of the root, signed with one key while it is served.
//!
//! Names below an unsigned delegation are served as another, unsigned zone. Signatures can be spoilt.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG, SigInput};
use hickory_proto::dnssec::{Algorithm, DnssecSigner, PublicKeyBuf, SigningKey as _, TBS};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};

use super::zone::{Zone, key_of};

/// Seconds.
const TTL: u32 = 300;
/// How long signatures hold, from an hour ago.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What is wrong with the signatures of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilt {
    /// There are none.
    Missing,
    /// They are of other data.
    Wrong,
    /// They held until yesterday.
    Expired,
}

/// The key of the root.
pub struct ZoneKey {
    signer: DnssecSigner,
    public: PublicKeyBuf,
}

impl ZoneKey {
    /// Make a key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> anyhow::Result<Self> {
        let document = Ed25519SigningKey::generate_pkcs8().context("make a key")?;
        let key = Ed25519SigningKey::from_pkcs8(&document).context("read the key")?;
        let public = key.to_public_key().context("the public key")?;
        let signer = DnssecSigner::new(DNSKEY::from_key(&public), Box::new(key), Name::root(), LIFETIME);
        Ok(Self { signer, public })
    }

    /// What a validator is to trust.
    #[must_use]
    pub const fn public(&self) -> &PublicKeyBuf {
        &self.public
    }

    /// Add to an answer of `zone` what DNSSEC wants there.
    pub(super) fn sign(&self, zone: &Zone, name: &Name, kind: RecordType, answer: &mut Message) {
        if zone.is_unsigned(name) && kind != RecordType::DS {
            return;
        }
        if kind == RecordType::DNSKEY && name.is_root() {
            answer.metadata.response_code = ResponseCode::NoError;
            answer.authorities.clear();
            let key = RData::DNSSEC(DNSSECRData::DNSKEY(self.signer.to_dnskey()));
            answer.add_answer(Record::from_rdata(Name::root(), TTL, key));
        }
        if answer.answers.is_empty() {
            let names = zone.signed_names();
            let mut denied = vec![deny(zone, &names, name)];
            if answer.metadata.response_code == ResponseCode::NXDomain {
                denied.push(deny(zone, &names, &wildcard(&names, name)));
            }
            denied.dedup();
            for record in denied {
                answer.add_authority(record);
            }
        }
        let signatures = self.signatures(zone, &answer.answers);
        answer.add_answers(signatures);
        let signatures = self.signatures(zone, &answer.authorities);
        for signature in signatures {
            answer.add_authority(signature);
        }
    }

    fn signatures(&self, zone: &Zone, records: &[Record]) -> Vec<Record> {
        let mut sets: Vec<(&Name, RecordType)> = Vec::new();
        for record in records {
            let set = (&record.name, record.record_type());
            // At a delegation only the NSEC record is of the zone above.
            let is_ours = set.1 == RecordType::NSEC || !zone.is_unsigned(set.0);
            if is_ours && !sets.contains(&set) {
                sets.push(set);
            }
        }
        sets.into_iter()
            .filter_map(|(name, kind)| {
                let set: Vec<&Record> =
                    records.iter().filter(|record| record.name == *name && record.record_type() == kind).collect();
                self.signature(zone.spoilt(name), name, kind, &set)
            })
            .collect()
    }

    /// The signature of one set; none when it cannot be made, or shall not be there.
    fn signature(&self, spoilt: Option<Spoilt>, name: &Name, kind: RecordType, set: &[&Record]) -> Option<Record> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let begin = match spoilt {
            Some(Spoilt::Missing) => return None,
            Some(Spoilt::Expired) => now - 2 * LIFETIME.as_secs(),
            Some(Spoilt::Wrong) | None => now - 3600,
        };
        let serial = |seconds: u64| u32::try_from(seconds).ok().map(SerialNumber::new);
        let input = SigInput {
            type_covered: kind,
            algorithm: Algorithm::ED25519,
            num_labels: name.num_labels(),
            original_ttl: TTL,
            sig_expiration: serial(begin + LIFETIME.as_secs())?,
            sig_inception: serial(begin)?,
            key_tag: self.signer.calculate_key_tag().ok()?,
            signer_name: Name::root(),
        };
        let signed = TBS::from_input(name, DNSClass::IN, &input, set.iter().copied()).ok()?;
        let mut signature = self.signer.sign(&signed).ok()?;
        if spoilt == Some(Spoilt::Wrong) {
            signature[0] ^= 1;
        }
        let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
        Some(Record::from_rdata(name.clone(), TTL, data))
    }
}

/// The NSEC record at a name, or the one whose gap it falls into.
fn deny(zone: &Zone, names: &[Name], name: &Name) -> Record {
    let at = names.partition_point(|other| other <= name).saturating_sub(1);
    let next = names.get(at + 1).cloned().unwrap_or_else(Name::root);
    let owner = names[at].clone();
    let mut types = zone.types(&key_of(&owner));
    if owner.is_root() {
        types.extend([RecordType::SOA, RecordType::NS, RecordType::DNSKEY]);
    }
    let data = RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(next, types)));
    Record::from_rdata(owner, TTL, data)
}

/// The wildcard that would have answered for a name that does not exist: below its closest encloser.
fn wildcard(names: &[Name], name: &Name) -> Name {
    let mut encloser = name.base_name();
    while !encloser.is_root() && !names.iter().any(|other| encloser.zone_of(other)) {
        encloser = encloser.base_name();
    }
    encloser.prepend_label("*").unwrap_or(encloser)
}
