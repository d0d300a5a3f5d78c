//! Sender authentication: SPF, DKIM, ARC and DMARC, what they lead to, and the Authentication-Results field.
//!
//! The host does the checks natively; this filter asks for them, applies the operator's policy, tells what it found in
//! a field of ours (RFC 8601), and removes the fields that pretend to be ours.

pub mod config;
pub mod forged;
pub mod policy;
pub mod punycode;
pub mod results;

use mailweir_filter::authentication::{
    self, ArcResult, AuthorFault, DkimResult, DmarcResult, Identity, Outcome, SpfResult,
};
use mailweir_filter::observe;
use mailweir_filter::prelude::*;

use config::{Config, OnFault, SpfFail};
use policy::Disposition;
use results::Statement;

const FIELD: &str = "Authentication-Results";
/// The value of the tag "from" for authors of several domains.
const SEVERAL_DOMAINS: &str = "several-domains";

/// The filter, configured.
#[derive(Debug)]
pub struct Auth {
    config: Config,
}

/// What the host found out about a message.
struct Checks {
    spf: (Identity, SpfResult),
    iprev: Option<(Outcome, Option<String>)>,
    dkim: Vec<DkimResult>,
    arc: ArcResult,
}

/// Why the From field does not name one author whose domain could be checked.
struct Fault {
    /// For the client and the log.
    text: &'static str,
    /// The value of the tag "from".
    tag: &'static str,
    effect: OnFault,
    /// There are authors, whose policies the host looks for, and the operator wants such messages.
    has_authors: bool,
}

impl Filter for Auth {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Plan), String> {
        let config = config.checked()?;
        let plan = Plan::new().on_end().edits();
        let plan = if config.spf_fail == SpfFail::Reject { plan.on_mail() } else { plan };
        Ok((Self { config }, plan))
    }

    fn on_mail(&mut self, session: &Session, sender: &[u8]) -> Decision {
        if self.config.spf_fail != SpfFail::Reject || self.skips(session) {
            return Decision::pass();
        }
        let result = authentication::spf(identity(sender));
        if result.outcome != Outcome::Fail {
            return Decision::pass();
        }
        observe::count("spf_rejected", 1);
        let domain = printable(&result.domain, 100);
        let mut text = format!("SPF of {domain} does not allow {}", session.client_address);
        // RFC 7208 section 6.2: the explanation is the domain owner's word, not ours.
        if let Some(explanation) = &result.explanation {
            text.push_str(&format!("; its owner explains: {}", printable(explanation, 150)));
        }
        Decision::reject("5.7.23", text).because(format!("SPF fail for {domain}")).tag("spf", "fail")
    }

    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        let session = mail.session();
        if self.skips(&session) {
            return Decision::pass().because("the client is trusted").into();
        }
        let sender = mail.sender();
        let identity = identity(&sender);
        let checks = Checks {
            spf: (identity, authentication::spf(identity)),
            iprev: self.config.iprev.then(authentication::iprev),
            dkim: authentication::dkim(mail),
            arc: authentication::arc(mail),
        };
        let (decision, dmarc) = match self.fault(mail) {
            None => self.decide_dmarc(&authentication::dmarc(mail), &checks.arc),
            // They are told, and what their owners ask for holds all the same.
            Some(fault) if fault.has_authors => self.decide_several(&authentication::dmarc(mail), &checks.arc, &fault),
            Some(fault) => (decide_fault(&fault), results::dmarc_without_author(fault.text)),
        };
        let decision = checks.tag(decision);
        let edits = match decision.verdict {
            Verdict::Reject(_) | Verdict::Tempfail(_) => Edits::new(),
            _ => self.edits(mail, &session, &checks.statements(&session, &sender, dmarc)),
        };
        decision.with(edits)
    }
}

impl Auth {
    fn skips(&self, session: &Session) -> bool {
        session.trusted && self.config.skip_trusted
    }

    /// RFC 9989 section 5.3.1: without one author domain, there is no policy to look up.
    fn fault(&self, mail: &Mail) -> Option<Fault> {
        let domains = authentication::authors(mail).and_then(|authors| policy::author_domains(&authors));
        let mut has_authors = false;
        let (text, tag, effect) = match domains {
            Ok(domains) if domains.len() == 1 => return None,
            Ok(_) => {
                let effect = self.config.several_from_domains;
                has_authors = effect == OnFault::Tag;
                ("the From field has addresses of several domains", SEVERAL_DOMAINS, effect)
            }
            Err(AuthorFault::Missing) => ("the message has no From field", "missing", self.config.from_faults),
            Err(AuthorFault::Several(_)) => ("the message has several From fields", "several", self.config.from_faults),
            Err(AuthorFault::Unparsable(_)) => {
                ("the From field has no address that can be read", "unparsable", self.config.from_faults)
            }
        };
        Some(Fault { text, tag, effect, has_authors })
    }

    /// RFC 9989 section 11.5: of several domains the host gives the strictest result. Of too many it gives none, and then
    /// there is no author to speak of.
    fn decide_several(&self, result: &DmarcResult, arc: &ArcResult, fault: &Fault) -> (Decision, Statement) {
        if result.from_domain.is_empty() {
            let text = "the From field has addresses of too many domains";
            let effect = self.config.from_faults;
            let too_many = Fault { text, tag: fault.tag, effect, has_authors: false };
            return (decide_fault(&too_many), results::dmarc_without_author(text));
        }
        let (decision, statement) = self.decide_dmarc(result, arc);
        (decision.tag("from", fault.tag), statement)
    }

    fn decide_dmarc(&self, result: &DmarcResult, arc: &ArcResult) -> (Decision, Statement) {
        let domain = printable(&result.from_domain, 200);
        let policy = results::policy(result.policy);
        let disposition = policy::dmarc(&self.config, result, arc);
        let of_domain = || ["DMARC ", result.outcome.as_str(), " for ", &domain].concat();
        let failed = || format!("{} (p={policy})", of_domain());
        let decision = match &disposition {
            Disposition::Deliver => Decision::pass().because(of_domain()),
            Disposition::Tagged => Decision::pass().because(format!("{}, not enforced", failed())),
            Disposition::TrustedForwarder(sealer) => {
                let sealer = printable(sealer, 200);
                Decision::pass().because(format!("{}, but {sealer} vouches", failed())).tag("dmarc-override", sealer)
            }
            Disposition::Quarantine => Decision::quarantine(failed()).because(failed()),
            Disposition::Reject => {
                observe::count("dmarc_rejected", 1);
                Decision::reject("5.7.1", format!("DMARC: {domain} asks to refuse mail that it did not send"))
                    .because(failed())
            }
            Disposition::Retry => {
                Decision::tempfail("4.4.3", format!("DMARC: the policy of {domain} cannot be looked up now"))
                    .because(failed())
            }
        };
        let reason = match disposition {
            Disposition::TrustedForwarder(_) => Some("trusted_forwarder"),
            Disposition::Tagged => Some("local_policy"),
            _ => None,
        };
        (decision.tag("dmarc", result.outcome.as_str()), results::dmarc(result, reason))
    }

    /// Forged fields go; then ours comes on top.
    fn edits(&self, mail: &Mail, session: &Session, statements: &[Statement]) -> Edits {
        let edits = self.without_forged(mail, session);
        edits.insert_header(0, FIELD, results::field(&session.hostname, statements))
    }

    /// Forged fields go, from the bottom so that the numbers of those above stay right.
    fn without_forged(&self, mail: &Mail, session: &Session) -> Edits {
        let mut edits = Edits::new();
        let values = mail.header(FIELD);
        if values.is_empty() {
            return edits;
        }
        let hostname = session.hostname.trim_end_matches('.').to_lowercase();
        let names = forged::names(std::iter::once(hostname).chain(self.config.remove_results_of.iter().cloned()));
        let decoded = mail.header_text(FIELD);
        for (position, value) in values.iter().enumerate().rev() {
            // Some readers decode encoded words even where the syntax has none.
            let is_forged = forged::claims(value, &names)
                || decoded.get(position).is_some_and(|text| forged::claims(text.as_bytes(), &names));
            if is_forged && let Ok(position) = u32::try_from(position) {
                observe::count("forged_results_removed", 1);
                edits = edits.remove_header(FIELD, position);
            }
        }
        edits
    }
}

impl Checks {
    /// One tag for each method, one for each signature of DKIM.
    fn tag(&self, decision: Decision) -> Decision {
        let mut decision = decision.tag("spf", self.spf.1.outcome.as_str());
        if self.dkim.is_empty() {
            decision = decision.tag("dkim", Outcome::None.as_str());
        }
        for signature in &self.dkim {
            decision = decision.tag("dkim", signature.outcome.as_str());
        }
        if let Some((outcome, _)) = &self.iprev {
            decision = decision.tag("iprev", outcome.as_str());
        }
        decision.tag("arc", self.arc.outcome.as_str())
    }

    fn statements(&self, session: &Session, sender: &[u8], dmarc: Statement) -> Vec<Statement> {
        let (identity, spf) = &self.spf;
        let iprev = self
            .iprev
            .as_ref()
            .map(|(outcome, name)| results::iprev(*outcome, &session.client_address, name.as_deref()));
        let mut statements: Vec<Statement> = iprev.into_iter().collect();
        statements.push(results::spf(spf, *identity, sender, &session.helo));
        statements.extend(results::dkim(&self.dkim));
        statements.push(dmarc);
        statements.push(results::arc(&self.arc));
        statements
    }
}

fn decide_fault(fault: &Fault) -> Decision {
    let decision = match fault.effect {
        OnFault::Reject => Decision::reject("5.7.1", fault.text),
        OnFault::Tag => Decision::pass(),
    };
    decision.because(fault.text).tag("from", fault.tag).tag("dmarc", Outcome::PermError.as_str())
}

/// A bounce has no sender: then EHLO's name is checked (RFC 7208 section 2.4).
fn identity(sender: &[u8]) -> Identity {
    if sender.is_empty() { Identity::Helo } else { Identity::MailFrom }
}

/// At most so many bytes, and no control or format characters among them: for replies and reasons.
fn printable(text: &str, limit: usize) -> String {
    let is_shown = |character: char| character == ' ' || character.is_alphanumeric() || character.is_ascii_graphic();
    let mut shown = match text.chars().all(is_shown) {
        true => text.to_owned(),
        false => text.chars().map(|character| if is_shown(character) { character } else { '?' }).collect(),
    };
    shown.truncate(shown.floor_char_boundary(limit));
    shown
}

mailweir_filter::export!(Auth);
