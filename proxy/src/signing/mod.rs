//! Signatures of ours on what leaves: DKIM (RFC 6376, RFC 8301, RFC 8463), and ARC seals (RFC 8617).
//!
//! The message is signed when nobody changes it any more: after the filters and with our Received field on it. What goes
//! upstream afterwards is what was signed, byte for byte; the relay converts nothing. The body is hashed in one pass over
//! the shared chunks, once for each canonical form, however many signatures there are.
//!
//! Hashing and RSA are work for a processor and not for a runtime: they run on threads of their own, at most as many at
//! once as there are workers.

mod der;
mod small_rsa;
mod key;
mod field;
mod results;
mod seal;

use std::sync::Arc;
use std::time::Duration;

use mailweir_smtp::reply::Reply;
use tokio::sync::Semaphore;

use crate::admin::metrics::{SigningMetrics, SigningOutcome};
use crate::clock::Clock;
use crate::config::{self, CanonicalForm, Dkim, SealResults, domain_to_ascii};
use crate::message::{Message, MessageFault};
use crate::services::authentication::{BodyHasher, BodyHashes, Canonicalization, Evaluation, author_addresses};
use crate::verdict::Edit;

use field::{FOLDED, TagList, covered, raw, signed_bytes};
use seal::Plan;

pub use key::{KeyError, NoSignature, SigningKey};

/// How long the checks that a seal speaks of may take; what a filter has asked for before costs nothing.
const CHECKS: Duration = Duration::from_secs(20);

/// What a chain's messages are signed and sealed with.
pub struct Signing {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    metrics: Arc<SigningMetrics>,
}

struct Shared {
    /// `sign`, in its order.
    sign: Vec<(String, Dkim)>,
    seal: Option<(String, Dkim)>,
    results: SealResults,
    authserv_id: String,
    clock: Clock,
}

/// What is known of a message besides its bytes.
pub struct Occasion<'a> {
    /// As it came.
    pub received: &'a Message,
    /// The checks of its transaction.
    pub evaluation: &'a Evaluation,
    /// The reverse-path it came with; empty for the null one.
    pub sender: &'a str,
    /// Whether its client is one for whom we sign: anybody else's word for From is no better than a forger's.
    pub is_trusted: bool,
}

/// Why a message does not leave. It is for the client, or for us, to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningFault {
    /// The sender's: a signature is required, and there is none for this message.
    #[error("[dkim.{0}] is required: {1}")]
    Required(String, String),
    /// Nobody's: a seal is required, and the chain cannot be validated now.
    #[error("[dkim.{0}] is required: the ARC chain cannot be validated: {1}")]
    Unvalidated(String, String),
    /// Ours.
    #[error("{0}")]
    Failed(String),
}

impl SigningFault {
    /// What the client is told.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Required(..) => {
                Reply::new(550, "5.7.1", "Mail from this author cannot be signed here, and has to be")
            }
            Self::Unvalidated(..) => Reply::new(451, "4.4.3", "The ARC chain cannot be validated now, try again later"),
            Self::Failed(_) => Reply::new(451, "4.3.0", "The message cannot be signed now, try again later"),
        }
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NotMade {
    #[error("the client is not in trusted_networks")]
    Untrusted,
    #[error("{0}")]
    Author(String),
    #[error("it has too many fields to sign")]
    TooManyFields,
    #[error("{0}")]
    Unsealable(&'static str),
    #[error("{0}")]
    Unvalidated(String),
    #[error("{0}")]
    Failed(String),
}

/// A field that was made: name and value.
type Made = (&'static str, String);

impl Signing {
    /// What a chain of the configuration asks for; `None` when that is nothing.
    #[must_use]
    pub fn new(
        chain: &config::Chain,
        config: &config::Config,
        clock: Clock,
        metrics: impl FnOnce() -> Arc<SigningMetrics>,
    ) -> Option<Self> {
        // The loader made sure that every name has its table.
        let policy = |name: &String| config.dkim.get(name).map(|policy| (name.clone(), policy.clone()));
        let shared = Shared {
            sign: chain.sign.iter().filter_map(policy).collect(),
            seal: chain.seal.as_ref().and_then(policy),
            results: chain.seal_results,
            authserv_id: config.server.hostname.clone(),
            clock,
        };
        if shared.sign.is_empty() && shared.seal.is_none() {
            return None;
        }
        let permits = Arc::new(Semaphore::new(config.server.workers));
        Some(Self { shared: Arc::new(shared), permits, metrics: metrics() })
    }

    /// Whether signatures of others are checked here, so that it pays to hash the body while the message arrives.
    #[must_use]
    pub fn seals(&self) -> bool {
        self.shared.seal.is_some()
    }

    /// The message with its signatures and its seal on top.
    ///
    /// # Errors
    /// [`SigningFault`], when it must not leave as it would.
    pub async fn apply(&self, message: Message, occasion: &Occasion<'_>) -> Result<Message, SigningFault> {
        let signed = self.try_apply(message, occasion).await;
        if signed.is_err() {
            self.metrics.count(SigningOutcome::Refused);
        }
        signed
    }

    async fn try_apply(&self, message: Message, occasion: &Occasion<'_>) -> Result<Message, SigningFault> {
        let mut jobs = Vec::new();
        for (index, (name, policy)) in self.shared.sign.iter().enumerate() {
            match policy
                .domain_for(&message)
                .and_then(|domain| occasion.is_trusted.then_some(domain).ok_or(NotMade::Untrusted))
            {
                Ok(domain) => jobs.push((index, domain.to_owned())),
                Err(reason) => self.pass_over(name, policy, SigningOutcome::Unsigned, reason)?,
            }
        }
        let mut plan = None;
        if let Some((name, policy)) = &self.shared.seal {
            match self.plan(&message, occasion).await {
                Ok(planned) => plan = Some(planned),
                Err(reason) => self.pass_over(name, policy, SigningOutcome::Unsealed, reason)?,
            }
        }
        if jobs.is_empty() && plan.is_none() {
            return Ok(message);
        }
        let failed = |reason: &str| SigningFault::Failed(format!("a signature failed: {reason}"));
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| failed(&error.to_string()))?;
        let (shared, metrics) = (Arc::clone(&self.shared), Arc::clone(&self.metrics));
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.make(&message, &jobs, plan.as_ref(), &metrics)
        });
        work.await.map_err(|error| failed(&error.to_string()))?
    }

    /// What there is to seal, and what the seal says of the message.
    async fn plan(&self, leaving: &Message, occasion: &Occasion<'_>) -> Result<Plan, NotMade> {
        let unreadable = |fault: MessageFault| NotMade::Failed(fault.to_string());
        let checks = async {
            let chain = occasion.evaluation.arc(occasion.received).await.map_err(unreadable)?;
            let mut plan = Plan::new(&chain, occasion.received, leaving)?;
            plan.results = match self.shared.results {
                SealResults::Fields => results::from_fields(leaving, &self.shared.authserv_id),
                SealResults::Evaluated => {
                    let evaluated = results::evaluated(occasion.evaluation, occasion.received, occasion.sender);
                    evaluated.await.map_err(unreadable)?
                }
            };
            Ok(plan)
        };
        let late = |_| NotMade::Unvalidated("the checks took too long".to_owned());
        tokio::time::timeout(CHECKS, checks).await.map_err(late)?
    }

    /// A message without this signature goes on, unless the operator says otherwise.
    fn pass_over(
        &self,
        name: &str,
        policy: &Dkim,
        outcome: SigningOutcome,
        reason: NotMade,
    ) -> Result<(), SigningFault> {
        reason.fault(name, policy)?;
        tracing::debug!(key = name, %reason, outcome = outcome.as_str(), "no signature");
        self.metrics.count(outcome);
        Ok(())
    }
}

impl NotMade {
    /// What follows from it, if it is not that the message goes on without.
    fn fault(&self, name: &str, policy: &Dkim) -> Result<(), SigningFault> {
        match self {
            Self::Failed(reason) => Err(SigningFault::Failed(format!("[dkim.{name}]: {reason}"))),
            Self::Unvalidated(reason) if policy.required => {
                Err(SigningFault::Unvalidated(name.to_owned(), reason.clone()))
            }
            Self::Untrusted | Self::Author(_) | Self::TooManyFields if policy.required => {
                Err(SigningFault::Required(name.to_owned(), self.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// The work itself: the body's hashes, the signatures in their order, then the seal over them, and all of it put on
    /// the message.
    fn make(
        &self,
        message: &Message,
        jobs: &[(usize, String)],
        plan: Option<&Plan>,
        metrics: &SigningMetrics,
    ) -> Result<Message, SigningFault> {
        let signers: Vec<(&str, &Dkim, &str)> = jobs
            .iter()
            .filter_map(|(index, domain)| self.sign.get(*index).map(|(name, policy)| (&**name, policy, &**domain)))
            .collect();
        let sealer = self.seal.as_ref().zip(plan);
        let policies = signers.iter().map(|(_, policy, _)| *policy).chain(sealer.map(|((_, policy), _)| policy));
        let hashes = hash(message, policies).map_err(|fault| SigningFault::Failed(fault.to_string()))?;
        let now = self.clock.seconds();
        let own: Vec<&[u8]> = message.headers().fields().map(|field| field.raw()).collect();
        let mut made: Vec<Made> = Vec::new();
        for (name, policy, domain) in signers {
            match policy.signature(domain, &own, &hashes, now) {
                Ok(field) => {
                    metrics.count(SigningOutcome::Signed);
                    made.push(field);
                }
                Err(reason) => {
                    reason.fault(name, policy)?;
                    metrics.count(SigningOutcome::Unsigned);
                }
            }
        }
        if let Some(((name, policy), plan)) = sealer {
            let signatures: Vec<Vec<u8>> = made.iter().map(|(name, value)| raw(name, value)).collect();
            let fields: Vec<&[u8]> = signatures.iter().map(Vec::as_slice).chain(own).collect();
            match plan.make(policy, &self.authserv_id, &fields, &hashes, now) {
                Ok(set) => {
                    metrics.count(SigningOutcome::Sealed);
                    made.splice(0..0, set);
                }
                Err(reason) => {
                    reason.fault(name, policy)?;
                    metrics.count(SigningOutcome::Unsealed);
                }
            }
        }
        let edits: Vec<Edit> = made
            .into_iter()
            .enumerate()
            .map(|(position, (name, value))| Edit::InsertHeader {
                position,
                name: name.to_owned(),
                value: value.into_bytes(),
            })
            .collect();
        message.edited(&edits).map_err(|error| SigningFault::Failed(error.to_string()))
    }
}

impl Dkim {
    /// The d= for this message: the domain of the list that all its authors belong to.
    fn domain_for(&self, message: &Message) -> Result<&str, NotMade> {
        let other = |what: &str| NotMade::Author(what.to_owned());
        let authors =
            author_addresses(message.headers()).map_err(|_| other("it has not one From field that can be read"))?;
        let mut found = None;
        for author in &authors {
            let domain = author.rsplit_once('@').and_then(|(_, domain)| domain_to_ascii(domain));
            let domain = domain.ok_or_else(|| other("an author's address has no domain name"))?;
            let listed = self.domains.iter().filter(|listed| self.covers(listed, &domain));
            let listed = listed.max_by_key(|listed| listed.len());
            let Some(listed) = listed else {
                return Err(NotMade::Author(format!("the key is not for {domain}")));
            };
            if *found.get_or_insert(listed) != listed {
                return Err(other("its authors are of several domains"));
            }
        }
        found.map(String::as_str).ok_or_else(|| other("it has no author"))
    }

    fn covers(&self, listed: &str, domain: &str) -> bool {
        match domain.strip_suffix(listed) {
            Some("") => true,
            Some(below) => self.subdomains && below.ends_with('.'),
            None => false,
        }
    }

    /// A DKIM-Signature field over these fields and this body.
    fn signature(&self, domain: &str, fields: &[&[u8]], hashes: &BodyHashes, now: u64) -> Result<Made, NotMade> {
        const FIELD: &str = "DKIM-Signature";
        let names = covered(fields, self.headers.iter().map(String::as_str), &self.oversign);
        let names = names.ok_or(NotMade::TooManyFields)?;
        let (header, body) = self.canonicalization.forms();
        let mut tags = vec![
            ("v", "1".to_owned()),
            ("a", self.key.algorithm().to_owned()),
            ("c", self.canonicalization.to_string()),
            ("d", domain.to_owned()),
            ("s", self.selector.clone()),
            ("t", now.to_string()),
        ];
        tags.extend(self.expiry.map(|expiry| ("x", now.saturating_add(expiry.as_secs()).to_string())));
        tags.extend([("h", names.join(":")), ("bh", digest_of(hashes, body)?), ("b", String::new())]);
        let list = TagList { field: FIELD, tags, signature_width: FOLDED };
        let value = seal::complete(&list, &self.key, &signed_bytes(header, &names, fields, &list.unsigned()))?;
        Ok((FIELD, value))
    }
}

impl config::CanonicalForms {
    /// Of the header section and of the body.
    fn forms(self) -> (Canonicalization, Canonicalization) {
        let form = |form| match form {
            CanonicalForm::Simple => Canonicalization::Simple,
            CanonicalForm::Relaxed => Canonicalization::Relaxed,
        };
        (form(self.header), form(self.body))
    }
}

/// The body's hashes in the forms that these want, in one pass over it.
fn hash<'a>(message: &Message, policies: impl Iterator<Item = &'a Dkim>) -> Result<BodyHashes, MessageFault> {
    let (mut simple, mut relaxed) = (false, false);
    for policy in policies {
        match policy.canonicalization.body {
            CanonicalForm::Simple => simple = true,
            CanonicalForm::Relaxed => relaxed = true,
        }
    }
    let mut hasher = BodyHasher::new(simple, relaxed);
    let mut skip = message.body_offset();
    for chunk in message.chunks() {
        let chunk = chunk?;
        let head = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip -= head as u64;
        hasher.update(&chunk[head..]);
    }
    Ok(hasher.finish())
}

/// `bh=`
fn digest_of(hashes: &BodyHashes, form: Canonicalization) -> Result<String, NotMade> {
    let hash = hashes.of(form).ok_or_else(|| NotMade::Failed("the body was not hashed".to_owned()))?;
    Ok(base64(&hash.digest))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;
