//! Sender authentication, run natively by the host. Needs the grant "authentication".

pub use crate::bindings::mailweir::filter::authentication::{
    ArcResult, AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Identity, Outcome, SpfResult,
};
use crate::{Mail, host};

/// SPF (RFC 7208) for the current transaction; usable from the phase on in which the identity is known.
pub fn spf(identity: Identity) -> SpfResult {
    host::authentication::spf(identity)
}

/// The client's address, by PTR and forward confirmation (RFC 8601 section 3); the name when it passes.
pub fn iprev() -> (Outcome, Option<String>) {
    host::authentication::iprev()
}

/// DKIM (RFC 6376): a result for each signature, from the top; empty without any.
pub fn dkim(mail: &Mail) -> Vec<DkimResult> {
    host::authentication::dkim(mail.handle())
}

/// The ARC chain (RFC 8617).
pub fn arc(mail: &Mail) -> ArcResult {
    host::authentication::arc(mail.handle())
}

/// DMARC, from SPF, DKIM and the From field.
pub fn dmarc(mail: &Mail) -> DmarcResult {
    host::authentication::dmarc(mail.handle())
}

/// The addresses of the one From field.
///
/// # Errors
///
/// Why there is not one author to speak of.
pub fn authors(mail: &Mail) -> Result<Vec<String>, AuthorFault> {
    host::authentication::authors(mail.handle())
}

impl Outcome {
    /// As it is written in an Authentication-Results field (RFC 8601 section 2.7).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl SpfResult {
    /// A result for this domain, without an explanation.
    pub fn new(outcome: Outcome, domain: impl Into<String>) -> Self {
        Self { outcome, domain: domain.into(), explanation: None }
    }
}

impl DkimResult {
    /// A result for a signature by this domain (d=) with this selector (s=).
    pub fn new(outcome: Outcome, domain: impl Into<String>, selector: impl Into<String>) -> Self {
        Self {
            outcome,
            domain: domain.into(),
            selector: selector.into(),
            algorithm: "rsa-sha256".into(),
            signature: "AbCdEfGh".into(),
            reason: String::new(),
        }
    }
}

impl ArcResult {
    /// A result for a chain with these sealers (d=), the oldest first.
    pub fn new(outcome: Outcome, sealers: &[&str]) -> Self {
        Self { outcome, sealers: sealers.iter().map(ToString::to_string).collect(), reason: String::new() }
    }
}

impl DmarcResult {
    /// A result for this From domain whose own record asks for this policy; nothing aligned unless it is a pass.
    pub fn new(outcome: Outcome, from_domain: impl Into<String>, policy: DmarcPolicy) -> Self {
        let from_domain = from_domain.into();
        Self {
            outcome,
            policy_domain: from_domain.clone(),
            from_domain,
            policy,
            spf_aligned: false,
            dkim_aligned: matches!(outcome, Outcome::Pass),
            reason: String::new(),
        }
    }
}
