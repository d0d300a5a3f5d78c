//! SPF (RFC 7208), with its bounds on DNS work: 10 terms that look something up, 2 lookups that find nothing, 10
//! exchangers and 10 PTR names.

use std::net::IpAddr;
use std::time::Duration;

use super::lookups::Lookups;
use super::results::{Outcome, SpfResult, clean_domain, clean_text};
use crate::services::dns::{Answer, Error, clean_name};

mod macros;
mod record;

use macros::{MacroString, Place, Values};
use record::{Mechanism, Prefixes, Record, contains};

/// RFC 7208 section 4.6.4.
const LOOKUPS: u32 = 10;
const VOID_LOOKUPS: u32 = 2;
const EXCHANGES: usize = 10;
const PTR_NAMES: usize = 10;
/// Section 4.6.4 asks for at least 20 seconds.
const TIME: Duration = Duration::from_secs(20);
/// Characters of an explanation that are kept: a reply line has 512.
const EXPLANATION: usize = 400;

/// One check_host() call (section 4.1) for an identity.
pub(super) struct Check<'a> {
    pub(super) lookups: &'a Lookups,
    pub(super) client: IpAddr,
    pub(super) helo: &'a str,
    pub(super) receiver: &'a str,
    /// The identity: the MAIL FROM address, or postmaster at the HELO domain.
    pub(super) local_part: &'a str,
    pub(super) domain: &'a str,
}

/// Why an evaluation ended early.
enum Stop {
    Temporary(String),
    Permanent(String),
}

/// Evaluation of one record came to this.
struct Verdict {
    outcome: Outcome,
    /// The explanation of the record that decided, and the domain it stands at.
    explanation: Option<(MacroString, String)>,
}

#[derive(Default)]
struct Work {
    lookups: u32,
    voids: u32,
    /// The `p` macro's name, once looked up.
    validated: Option<Vec<String>>,
}

impl Check<'_> {
    pub(super) async fn run(&self) -> SpfResult {
        let result = |outcome, reason: String| SpfResult {
            outcome,
            domain: clean_domain(self.domain),
            explanation: None,
            reason: clean_text(&reason, 200),
        };
        // Section 4.3: not a fully qualified domain name, nothing to check.
        let Ok(domain) = clean_name(self.domain) else {
            return result(Outcome::None, "not a domain name".to_owned());
        };
        if !domain.contains('.') || domain.starts_with('[') {
            return result(Outcome::None, "not a fully qualified domain name".to_owned());
        }
        let sender = format!("{}@{domain}", self.local_part);
        let evaluation = Evaluation { check: self, client: self.client.to_canonical(), sender, sender_domain: &domain };
        let mut work = Work::default();
        let run = async {
            let verdict = evaluation.check_host(&domain, &mut work).await?;
            let explanation = match verdict.explanation {
                Some((explanation, at)) if verdict.outcome == Outcome::Fail => {
                    evaluation.explain(&explanation, &at, &mut work).await
                }
                _ => None,
            };
            Ok((verdict.outcome, explanation))
        };
        match tokio::time::timeout(TIME, run).await {
            Ok(Ok((outcome, explanation))) => SpfResult { explanation, ..result(outcome, String::new()) },
            Ok(Err(Stop::Permanent(reason))) => result(Outcome::PermError, reason),
            Ok(Err(Stop::Temporary(reason))) => result(Outcome::TempError, reason),
            Err(_) => result(Outcome::TempError, "the check took too long".to_owned()),
        }
    }
}

struct Evaluation<'a> {
    check: &'a Check<'a>,
    client: IpAddr,
    sender: String,
    sender_domain: &'a str,
}

impl Evaluation<'_> {
    /// Boxed, because include and redirect come back here; the lookup limit ends that.
    fn check_host<'s>(
        &'s self,
        domain: &'s str,
        work: &'s mut Work,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Verdict, Stop>> + Send + 's>> {
        Box::pin(async move {
            let none = Verdict { outcome: Outcome::None, explanation: None };
            let texts = match self.check.lookups.txt(domain).await {
                Ok(answer) => answer.values,
                Err(error) if error.is_temporary() => return Err(Stop::Temporary(format!("{domain}: {error}"))),
                Err(_) => return Ok(none),
            };
            let mut records = texts.iter().filter(|text| record::is_spf(text));
            let Some(text) = records.next() else { return Ok(none) };
            if records.next().is_some() {
                return Err(Stop::Permanent(format!("{domain} has several SPF records")));
            }
            let record = Record::parse(text).map_err(|fault| Stop::Permanent(format!("{domain}: {fault}")))?;
            for directive in &record.directives {
                if self.matches(&directive.mechanism, domain, work).await? {
                    let explanation = record.explanation.map(|explanation| (explanation, domain.to_owned()));
                    return Ok(Verdict { outcome: directive.outcome, explanation });
                }
            }
            let Some(redirect) = &record.redirect else {
                return Ok(Verdict { outcome: Outcome::Neutral, explanation: None });
            };
            work.count_lookup()?;
            let missing = || Stop::Permanent(format!("{domain} redirects to no SPF record"));
            let target = self.target(Some(redirect), domain, work).await?.ok_or_else(missing)?;
            let verdict = self.check_host(&target, work).await?;
            if verdict.outcome == Outcome::None { Err(missing()) } else { Ok(verdict) }
        })
    }

    async fn matches(&self, mechanism: &Mechanism, domain: &str, work: &mut Work) -> Result<bool, Stop> {
        let exact = Prefixes { v4: 32, v6: 128 };
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => {
                Ok(contains(IpAddr::V4(*network), Prefixes { v4: *length, ..exact }, self.client))
            }
            Mechanism::Ip6(network, length) => {
                Ok(contains(IpAddr::V6(*network), Prefixes { v6: *length, ..exact }, self.client))
            }
            Mechanism::Include(target) => {
                work.count_lookup()?;
                let missing = || Stop::Permanent(format!("{domain} includes no SPF record"));
                let target = self.target(Some(target), domain, work).await?.ok_or_else(missing)?;
                match self.check_host(&target, work).await?.outcome {
                    Outcome::Pass => Ok(true),
                    Outcome::None => Err(missing()),
                    _ => Ok(false),
                }
            }
            Mechanism::A(target, prefixes) => {
                work.count_lookup()?;
                match self.target(target.as_ref(), domain, work).await? {
                    Some(name) => self.has_address(&name, *prefixes, work).await,
                    None => Ok(false),
                }
            }
            Mechanism::Mx(target, prefixes) => {
                work.count_lookup()?;
                match self.target(target.as_ref(), domain, work).await? {
                    Some(name) => self.has_exchange(&name, *prefixes, work).await,
                    None => Ok(false),
                }
            }
            Mechanism::Ptr(target) => {
                work.count_lookup()?;
                let Some(name) = self.target(target.as_ref(), domain, work).await? else { return Ok(false) };
                let names = self.validated_names(work).await?;
                Ok(names.iter().any(|validated| is_within(validated, &name)))
            }
            Mechanism::Exists(target) => {
                work.count_lookup()?;
                let Some(name) = self.target(Some(target), domain, work).await? else { return Ok(false) };
                // Always A, also for an IPv6 client (section 5.7).
                Ok(work.found(&name, self.check.lookups.ipv4(&name).await)?.is_some())
            }
        }
    }

    /// The name a mechanism speaks of; `None` when it cannot be a name, which then matches nothing.
    async fn target(&self, spec: Option<&MacroString>, domain: &str, work: &mut Work) -> Result<Option<String>, Stop> {
        let Some(spec) = spec else { return Ok(Some(domain.to_owned())) };
        let Some(expanded) = self.expand(spec, domain, work).await? else { return Ok(None) };
        let mut name = expanded.strip_suffix('.').unwrap_or(&expanded);
        // Section 7.3: too long a name loses labels on its left.
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => return Ok(None),
            }
        }
        Ok(clean_name(name).ok())
    }

    async fn expand(&self, text: &MacroString, domain: &str, work: &mut Work) -> Result<Option<String>, Stop> {
        let mut validated = "unknown".to_owned();
        if text.needs_validated_name() {
            let names = self.validated_names(work).await?;
            let best = names.iter().find(|name| *name == domain);
            let best = best.or_else(|| names.iter().find(|name| is_within(name, domain))).or_else(|| names.first());
            if let Some(name) = best {
                validated.clone_from(name);
            }
        }
        let values = Values {
            sender: &self.sender,
            local_part: self.check.local_part,
            sender_domain: self.sender_domain,
            domain,
            client: self.client,
            validated: &validated,
            helo: self.check.helo,
            receiver: self.check.receiver,
        };
        Ok(text.expand(&values))
    }

    async fn has_address(&self, name: &str, prefixes: Prefixes, work: &mut Work) -> Result<bool, Stop> {
        let lookups = self.check.lookups;
        let addresses: Option<Vec<IpAddr>> = match self.client {
            IpAddr::V4(_) => {
                work.found(name, lookups.ipv4(name).await)?.map(|a| a.iter().map(|v4| (*v4).into()).collect())
            }
            IpAddr::V6(_) => {
                work.found(name, lookups.ipv6(name).await)?.map(|a| a.iter().map(|v6| (*v6).into()).collect())
            }
        };
        Ok(addresses.is_some_and(|addresses| addresses.iter().any(|a| contains(*a, prefixes, self.client))))
    }

    async fn has_exchange(&self, name: &str, prefixes: Prefixes, work: &mut Work) -> Result<bool, Stop> {
        let Some(exchanges) = work.found(name, self.check.lookups.mx(name).await)? else { return Ok(false) };
        if exchanges.len() > EXCHANGES {
            return Err(Stop::Permanent(format!("{name} has more than {EXCHANGES} mail exchangers")));
        }
        for exchange in exchanges.iter().filter(|exchange| exchange.host != ".") {
            if self.has_address(&exchange.host, prefixes, work).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The client's names that lead back to it (section 5.5). Failing lookups there match nothing; those that we did not
    /// make any more say nothing either way.
    async fn validated_names(&self, work: &mut Work) -> Result<Vec<String>, Stop> {
        if let Some(names) = &work.validated {
            return Ok(names.clone());
        }
        let mut names = Vec::new();
        let lookups = self.check.lookups;
        if let Some(answer) = answered(lookups.ptr(self.client).await)? {
            for name in answer.values.iter().take(PTR_NAMES) {
                let confirmed = match self.client {
                    IpAddr::V4(v4) => answered(lookups.ipv4(name).await)?.is_some_and(|a| a.values.contains(&v4)),
                    IpAddr::V6(v6) => answered(lookups.ipv6(name).await)?.is_some_and(|a| a.values.contains(&v6)),
                };
                if confirmed {
                    names.push(name.clone());
                }
            }
        }
        work.validated = Some(names.clone());
        Ok(names)
    }

    /// Section 6.2: whatever goes wrong, there is just no explanation.
    async fn explain(&self, spec: &MacroString, domain: &str, work: &mut Work) -> Option<String> {
        let name = self.target(Some(spec), domain, work).await.ok()??;
        let texts = self.check.lookups.txt(&name).await.ok()?.values;
        let [text] = &*texts else { return None };
        let text = std::str::from_utf8(text).ok()?;
        let text = MacroString::parse(text, Place::Explanation).ok()?;
        let explanation = self.expand(&text, domain, work).await.ok()??;
        Some(clean_text(&explanation, EXPLANATION)).filter(|explanation| !explanation.is_empty())
    }
}

impl Work {
    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > LOOKUPS {
            return Err(Stop::Permanent(format!("more than {LOOKUPS} lookups")));
        }
        Ok(())
    }

    /// What a lookup found; nothing counts as void.
    fn found<T>(&mut self, name: &str, answer: Result<Answer<T>, Error>) -> Result<Option<std::sync::Arc<[T]>>, Stop> {
        match answer {
            Ok(answer) => Ok(Some(answer.values)),
            Err(error) if error.is_temporary() => Err(Stop::Temporary(format!("{name}: {error}"))),
            Err(Error::Invalid(_)) => Ok(None),
            Err(_) => {
                self.voids += 1;
                if self.voids > VOID_LOOKUPS {
                    return Err(Stop::Permanent(format!("more than {VOID_LOOKUPS} lookups found nothing")));
                }
                Ok(None)
            }
        }
    }
}

/// What a lookup gave; nothing when it failed, unless it was our own bound that ended it.
fn answered<T>(answer: Result<Answer<T>, Error>) -> Result<Option<Answer<T>>, Stop> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error @ Error::Exhausted(_)) => Err(Stop::Temporary(error.to_string())),
        Err(_) => Ok(None),
    }
}

/// Whether `name` is `domain` or below it. Both are lower case.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
