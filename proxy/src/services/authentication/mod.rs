//! Sender authentication: SPF, DKIM, ARC, DMARC, iprev, and who the authors are.
//!
//! The records' and fields' grammars, the canonical forms, the bounds, and the policies of RFC 8301 and RFC 9989 are our
//! own, over our resolver with its cache and timeouts; the cryptography is aws-lc's.
//! Nothing here decides about a message; that is a filter's business.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::message::{Field, HeaderSection, Message, MessageFault};

use super::dns::Dns;

mod results;
mod lookups;
mod spf;
mod iprev;
mod tags;
mod canonical;
mod public_key;
mod key;
mod signature;
mod dkim;
mod arc;
mod dmarc;
mod authors;

pub use canonical::{BodyHasher, BodyHashes};
pub use lookups::Counters;
pub use results::{
    ArcResult, AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Identity, IprevResult, Outcome, SpfResult,
};

pub(crate) use authors::authors as author_addresses;
pub(crate) use canonical::Canonicalization;
pub(super) use results::clean_text;

use key::KnownKeys;
use lookups::Lookups;
use signature::Kind;

/// Makes the evaluations. Clones share the resolver.
#[derive(Clone)]
pub struct Authentication {
    dns: Dns,
    hostname: Arc<str>,
    counters: Arc<Counters>,
    known_keys: Arc<KnownKeys>,
    clock: Clock,
}

impl Authentication {
    /// `hostname` is ours, as SPF's `r` macro shows it.
    #[must_use]
    pub fn new(dns: Dns, hostname: &str) -> Self {
        let (counters, known_keys) = (Arc::default(), Arc::default());
        Self { dns, hostname: hostname.into(), counters, known_keys, clock: Clock::System }
    }

    /// The same, with another time by which signatures expire.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same, with the counters of another that it takes over from.
    #[must_use]
    pub fn with_counters(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// What was cut off to bound the work for a message.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The evaluation of one transaction with this client. What it said in HELO and MAIL is told later.
    #[must_use]
    pub fn evaluation(&self, client: IpAddr) -> Arc<Evaluation> {
        Arc::new(Evaluation {
            lookups: Lookups::new(self.dns.clone(), Arc::clone(&self.counters), Arc::clone(&self.known_keys)),
            clock: self.clock,
            receiver: Arc::clone(&self.hostname),
            client: client.to_canonical(),
            helo: OnceLock::new(),
            sender: OnceLock::new(),
            received: OnceLock::new(),
            hashes: Mutex::new(None),
            spf_helo: OnceCell::new(),
            spf_mail: OnceCell::new(),
            iprev: OnceCell::new(),
            dkim: OnceCell::new(),
            arc: OnceCell::new(),
            dmarc: OnceCell::new(),
        })
    }
}

/// The checks of one transaction. Each is made once, when it is first asked for, whoever asks.
///
/// It speaks of the message as it was received: once [`Evaluation::received`] was told that message, the checks are of
/// it, also for a filter that sees the edits of another. Before that, nothing about the message is remembered.
pub struct Evaluation {
    lookups: Lookups,
    clock: Clock,
    receiver: Arc<str>,
    client: IpAddr,
    helo: OnceLock<String>,
    sender: OnceLock<String>,
    received: OnceLock<Message>,
    hashes: Mutex<Option<BodyHashes>>,
    spf_helo: OnceCell<Arc<SpfResult>>,
    spf_mail: OnceCell<Arc<SpfResult>>,
    iprev: OnceCell<Arc<IprevResult>>,
    dkim: OnceCell<Arc<[DkimResult]>>,
    arc: OnceCell<Arc<ArcResult>>,
    dmarc: OnceCell<Arc<DmarcResult>>,
}

impl Evaluation {
    /// The argument of HELO or EHLO. Only the first call counts.
    pub fn helo(&self, name: &str) {
        let _ = self.helo.set(name.to_owned());
    }

    /// The reverse-path without angle brackets; empty for the null one. Only the first call counts.
    pub fn mail(&self, sender: &str) {
        let _ = self.sender.set(sender.to_owned());
    }

    /// What hashes the body while it arrives; none when no field of the header section wants a hash. Feed it, and
    /// give the end to [`Evaluation::hashed`]. Without that the body is hashed on first need.
    #[must_use]
    pub fn hasher(&self, headers: &HeaderSection) -> Option<BodyHasher> {
        let (simple, relaxed) = body_forms(headers);
        (simple || relaxed).then(|| BodyHasher::new(simple, relaxed))
    }

    /// The body's hashes, taken while it arrived.
    pub fn hashed(&self, hashes: BodyHashes) {
        *self.hashes.lock().unwrap_or_else(PoisonError::into_inner) = Some(hashes);
    }

    /// The whole message, as it was received. Only the first call counts.
    pub fn received(&self, message: &Message) {
        let _ = self.received.set(message.clone());
    }

    /// The message is only passed on from now on: what was made of it for looking at it can go.
    pub fn forget_derived(&self) {
        if let Some(received) = self.received.get() {
            received.forget_derived();
        }
    }

    /// SPF. `None` while the identity is not known.
    pub async fn spf(&self, identity: Identity) -> Arc<SpfResult> {
        let cell = match identity {
            Identity::Helo if self.helo.get().is_some() => &self.spf_helo,
            Identity::MailFrom if self.sender.get().is_some() => &self.spf_mail,
            _ => {
                return Arc::new(SpfResult {
                    outcome: Outcome::None,
                    domain: String::new(),
                    explanation: None,
                    reason: "the identity is not known yet".to_owned(),
                });
            }
        };
        Arc::clone(cell.get_or_init(|| async { Arc::new(self.check_spf(identity).await) }).await)
    }

    async fn check_spf(&self, identity: Identity) -> SpfResult {
        let helo = self.helo.get().map_or("", String::as_str);
        let sender = self.sender.get().map_or("", String::as_str);
        // RFC 7208 section 2.4: the null reverse-path stands for postmaster at the HELO domain; section 4.3: so does
        // an empty local part for postmaster.
        let (local_part, domain) = match (identity, sender.rsplit_once('@')) {
            (Identity::MailFrom, Some(("", domain))) => ("postmaster", domain),
            (Identity::MailFrom, Some((local_part, domain))) => (local_part, domain),
            (Identity::MailFrom, None) if !sender.is_empty() => ("postmaster", sender),
            _ => ("postmaster", helo),
        };
        let check = spf::Check {
            lookups: &self.lookups,
            client: self.client,
            helo,
            receiver: &self.receiver,
            local_part,
            domain,
        };
        check.run().await
    }

    /// The client's name.
    pub async fn iprev(&self) -> Arc<IprevResult> {
        let check = || async { Arc::new(iprev::verify(&self.lookups, self.client).await) };
        Arc::clone(self.iprev.get_or_init(check).await)
    }

    /// The DKIM signatures, the topmost first; at most 10.
    ///
    /// # Errors
    /// When the message's bytes cannot be read.
    pub async fn dkim(&self, message: &Message) -> Result<Arc<[DkimResult]>, MessageFault> {
        let check = async |message: &Message| {
            let fields: Vec<Field<'_>> = message.headers().fields().collect();
            let hashes = self.hashes(message)?;
            Ok(Arc::from(dkim::verify(&self.lookups, &fields, &hashes, self.clock).await))
        };
        match self.received.get() {
            Some(received) => self.dkim.get_or_try_init(|| check(received)).await.cloned(),
            None => check(message).await,
        }
    }

    /// The ARC chain.
    ///
    /// # Errors
    /// When the message's bytes cannot be read.
    pub async fn arc(&self, message: &Message) -> Result<Arc<ArcResult>, MessageFault> {
        let check = async |message: &Message| {
            let fields: Vec<Field<'_>> = message.headers().fields().collect();
            let hashes = self.hashes(message)?;
            Ok(Arc::new(arc::verify(&self.lookups, &fields, &hashes, self.clock).await))
        };
        match self.received.get() {
            Some(received) => self.arc.get_or_try_init(|| check(received)).await.cloned(),
            None => check(message).await,
        }
    }

    /// DMARC, on what SPF and DKIM give.
    ///
    /// # Errors
    /// When the message's bytes cannot be read.
    pub async fn dmarc(&self, message: &Message) -> Result<Arc<DmarcResult>, MessageFault> {
        let check = async |message: &Message| {
            let spf = self.spf(Identity::MailFrom).await;
            let dkim = self.dkim(message).await?;
            let evidence = dmarc::Evidence { spf: &spf, dkim: &dkim };
            let authors = authors::authors(message.headers());
            Ok(Arc::new(dmarc::evaluate(&self.lookups, authors, &evidence).await))
        };
        match self.received.get() {
            Some(received) => self.dmarc.get_or_try_init(|| check(received)).await.cloned(),
            None => check(message).await,
        }
    }

    /// The addresses of the one From field.
    ///
    /// # Errors
    /// [`AuthorFault`], when there is not one field that everybody reads the same way.
    pub fn authors(&self, message: &Message) -> Result<Vec<String>, AuthorFault> {
        authors::authors(self.received.get().unwrap_or(message).headers())
    }

    /// The hashes taken while the message arrived, or those of a pass over its body.
    fn hashes(&self, message: &Message) -> Result<BodyHashes, MessageFault> {
        let is_received = self.received.get().is_some();
        let mut kept = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashes) = kept.as_ref().filter(|_| is_received) {
            return Ok(hashes.clone());
        }
        let (simple, relaxed) = body_forms(message.headers());
        let mut hasher = BodyHasher::new(simple, relaxed);
        if simple || relaxed {
            let mut skip = message.body_offset();
            for chunk in message.chunks() {
                let chunk = chunk?;
                let head = skip.min(chunk.len() as u64);
                skip -= head;
                // Within the chunk's length, so it fits.
                hasher.update(&chunk[usize::try_from(head).unwrap_or(chunk.len())..]);
            }
        }
        let hashes = hasher.finish();
        if is_received {
            *kept = Some(hashes.clone());
        }
        Ok(hashes)
    }
}

/// In which canonical forms the signatures that are looked at want the body: simple, relaxed.
fn body_forms(headers: &HeaderSection) -> (bool, bool) {
    let (mut simple, mut relaxed) = (false, false);
    for (name, kind, most) in
        [("DKIM-Signature", Kind::Dkim, dkim::SIGNATURES), ("ARC-Message-Signature", Kind::Arc, arc::INSTANCES)]
    {
        let fields = headers.named(name).take(most).filter(|field| field.raw().len() <= arc::FIELD_SIZE);
        for form in fields.flat_map(|field| signature::body_forms(&String::from_utf8_lossy(field.value()), kind)) {
            simple |= form == Canonicalization::Simple;
            relaxed |= form == Canonicalization::Relaxed;
        }
    }
    (simple, relaxed)
}

#[cfg(test)]
mod tests;
