//! What the checks give, as plain types; the host maps them onto the contract's.

/// RFC 8601 section 2.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The check passed.
    Pass,
    /// It failed.
    Fail,
    /// SPF: probably not authorised.
    SoftFail,
    /// The domain owner says nothing either way.
    Neutral,
    /// There was nothing to check.
    None,
    /// It would pass, but not by our rules.
    Policy,
    /// No result for now, for instance because the DNS did not answer.
    TempError,
    /// No result ever, for instance because a record is malformed.
    PermError,
}

impl Outcome {
    /// The word of RFC 8601 for Authentication-Results.
    #[must_use]
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

/// Which identity SPF checks (RFC 7208 sections 2.3 and 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The argument of HELO or EHLO.
    Helo,
    /// The domain of MAIL FROM; for the null reverse-path, that of HELO.
    MailFrom,
}

/// SPF (RFC 7208).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfResult {
    /// Never `Policy`.
    pub outcome: Outcome,
    /// The domain that was checked: lower case, A-labels; empty when there was none to check.
    pub domain: String,
    /// The domain owner's explanation of a fail, printable ASCII only.
    pub explanation: Option<String>,
    /// Why the result is an error; empty otherwise.
    pub reason: String,
}

/// The client's address by PTR and forward confirmation (RFC 8601 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IprevResult {
    /// `Pass`, `Fail`, `TempError` or `PermError`.
    pub outcome: Outcome,
    /// The name that was confirmed, when it passed.
    pub name: Option<String>,
}

/// One DKIM signature (RFC 6376). Texts come from the message, cleaned: printable, and never CR, LF or NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimResult {
    /// Never `SoftFail`.
    pub outcome: Outcome,
    /// d=, lower case, A-labels.
    pub domain: String,
    /// s=
    pub selector: String,
    /// a=
    pub algorithm: String,
    /// The first eight characters of b= (RFC 6008).
    pub signature: String,
    /// Why it did not pass.
    pub reason: String,
}

/// The ARC chain (RFC 8617).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcResult {
    /// `None`, `Pass`, `Fail` or `TempError`.
    pub outcome: Outcome,
    /// The d= of each ARC-Seal, the oldest first; filled only when the sets are complete.
    pub sealers: Vec<String>,
    /// Whether the newest ARC-Message-Signature signs From. Without that the chain is whole, and is one that anybody could have
    /// put above another author: nobody vouches.
    pub signs_author: bool,
    /// Why it did not pass.
    pub reason: String,
}

/// What a domain owner asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcPolicy {
    /// Nothing.
    None,
    /// To be wary.
    Quarantine,
    /// To refuse.
    Reject,
}

impl DmarcPolicy {
    /// The word of the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

/// DMARC (RFC 9989).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcResult {
    /// `Pass`, `Fail`, `None`, `TempError` or `PermError`.
    pub outcome: Outcome,
    /// The RFC 5322 From domain, lower case, A-labels; empty when there is none to speak of.
    pub from_domain: String,
    /// The domain whose record applied; empty without one.
    pub policy_domain: String,
    /// What the domain owner asks for: np or sp chosen, sampling and testing mode taken into account. `None` unless
    /// the outcome is `Pass` or `Fail`.
    pub policy: DmarcPolicy,
    /// Whether SPF passed for an aligned domain.
    pub spf_aligned: bool,
    /// Whether a DKIM signature of an aligned domain passed.
    pub dkim_aligned: bool,
    /// Why there was no pass.
    pub reason: String,
}

/// Why there is not one From field to speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorFault {
    /// No From field.
    Missing,
    /// So many From fields (RFC 5322 section 3.6 allows one).
    Several(u32),
    /// The field is not an address list with at least one address; the reason.
    Unparsable(String),
}

/// Text from the network for a log or a header field: control characters and whatever is not printable become `?`,
/// and it is cut at `limit` characters.
pub(in crate::services) fn clean_text(text: &str, limit: usize) -> String {
    text.chars()
        .take(limit)
        .map(|c| if c.is_control() || ('\u{80}'..='\u{9f}').contains(&c) || c == '\u{feff}' { '?' } else { c })
        .collect()
}

/// A domain for a result: lower case, A-labels, and only what a domain may be made of.
pub(super) fn clean_domain(domain: &str) -> String {
    let domain = domain.trim().trim_end_matches('.');
    mail_auth::common::to_a_label(domain)
        .bytes()
        .take(253)
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) { byte.to_ascii_lowercase() } else { b'?' }
            },
        )
        .map(char::from)
        .collect()
}
