//! The host's functions as the generated bindings have them, answered by the script in force.

pub(crate) mod message {
    pub(crate) use super::super::message::Mail;
}

pub(crate) mod dns {
    use super::super::script::{Answer, Question, current};
    use crate::dns::{Dnssec, Error, Exchanges, Names, Texts};

    fn ask(question: Question, name: &str) -> Result<Answer, Error> {
        let script = current();
        script.observed.borrow_mut().dns_queries.push(name.to_owned());
        let answers = script.answers.borrow();
        if let Some(error) = &answers.dns_failure {
            return Err(error.clone());
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match answers.dns.get(&(question, name)) {
            None => Err(Error::NotFound),
            Some(Answer::Error(error)) => Err(error.clone()),
            Some(answer) => Ok(answer.clone()),
        }
    }

    fn names(question: Question, name: &str) -> Result<Names, Error> {
        match ask(question, name)? {
            Answer::Names(values) => Ok(Names { values, dnssec: Dnssec::Insecure }),
            _ => Err(Error::NotFound),
        }
    }

    pub(crate) fn txt(name: &str) -> Result<Texts, Error> {
        match ask(Question::Txt, name)? {
            Answer::Texts(values) => Ok(Texts { values, dnssec: Dnssec::Insecure }),
            _ => Err(Error::NotFound),
        }
    }

    pub(crate) fn addresses(name: &str) -> Result<Names, Error> {
        names(Question::Addresses, name)
    }

    pub(crate) fn mx(name: &str) -> Result<Exchanges, Error> {
        match ask(Question::Mx, name)? {
            Answer::Exchanges(values) => Ok(Exchanges { values, dnssec: Dnssec::Insecure }),
            _ => Err(Error::NotFound),
        }
    }

    pub(crate) fn ptr(address: &str) -> Result<Names, Error> {
        if address.parse::<core::net::IpAddr>().is_err() {
            return Err(Error::Invalid(address.to_owned()));
        }
        names(Question::Ptr, address)
    }

    pub(crate) fn dnsbl(queries: &[String]) -> Vec<Result<Names, Error>> {
        queries.iter().map(|name| names(Question::Dnsbl, name)).collect()
    }
}

pub(crate) mod authentication {
    use super::super::message::Mail;
    use super::super::script::current;
    use crate::authentication::{
        ArcResult, AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Identity, Outcome, SpfResult,
    };

    pub(crate) fn spf(identity: Identity) -> SpfResult {
        let script = current();
        let answers = script.answers.borrow();
        let scripted = match identity {
            Identity::Helo => &answers.spf_helo,
            Identity::MailFrom => &answers.spf_mail_from,
        };
        scripted.clone().unwrap_or_else(|| SpfResult::new(Outcome::None, script.identity_domain(identity)))
    }

    pub(crate) fn iprev() -> (Outcome, Option<String>) {
        current().answers.borrow().iprev.clone().unwrap_or((Outcome::None, None))
    }

    pub(crate) fn dkim(_mail: &Mail) -> Vec<DkimResult> {
        current().answers.borrow().dkim.clone()
    }

    pub(crate) fn arc(_mail: &Mail) -> ArcResult {
        current().answers.borrow().arc.clone().unwrap_or_else(|| ArcResult::new(Outcome::None, &[]))
    }

    pub(crate) fn dmarc(mail: &Mail) -> DmarcResult {
        let scripted = current().answers.borrow().dmarc.clone();
        scripted.unwrap_or_else(|| {
            let author = authors(mail).ok().and_then(|authors| authors.into_iter().next()).unwrap_or_default();
            let domain = author.rsplit_once('@').map_or("", |(_, domain)| domain);
            let mut result = DmarcResult::new(Outcome::None, domain, DmarcPolicy::None);
            result.policy_domain.clear();
            result
        })
    }

    pub(crate) fn authors(mail: &Mail) -> Result<Vec<String>, AuthorFault> {
        current().answers.borrow().authors.clone().unwrap_or_else(|| mail.authors())
    }
}

pub(crate) mod antivirus {
    use super::super::message::Mail;
    use super::super::script::current;
    use crate::antivirus::ScanResult;

    pub(crate) fn scan(_mail: &Mail) -> ScanResult {
        let scripted = current().answers.borrow().antivirus.clone();
        scripted.unwrap_or_else(|| ScanResult::Failed("no result was scripted: see Harness::antivirus".to_owned()))
    }
}

pub(crate) mod state {
    use std::time::Duration;

    use super::super::script::{Kept, current};

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        let script = current();
        match script.state.borrow().get(key) {
            Some(Kept::Value { bytes, until }) if *until > script.clock.get() => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_seconds: u32) {
        let script = current();
        let until = script.clock.get() + Duration::from_secs(ttl_seconds.min(86_400).into());
        script.state.borrow_mut().insert(key.to_owned(), Kept::Value { bytes: value.to_vec(), until });
    }

    pub(crate) fn increment(key: &str, by: u32, window_seconds: u32) -> u64 {
        let script = current();
        let now = script.clock.get();
        let mut state = script.state.borrow_mut();
        let fresh = Kept::Counter { sum: 0, until: now + Duration::from_secs(window_seconds.into()) };
        let kept = state.entry(key.to_owned()).or_insert_with(|| fresh.clone());
        if !matches!(kept, Kept::Counter { until, .. } if *until > now) {
            *kept = fresh;
        }
        let Kept::Counter { sum, .. } = kept else { return by.into() };
        *sum += u64::from(by);
        *sum
    }
}

pub(crate) mod observe {
    use super::super::script::current;
    use crate::observe::Level;

    pub(crate) fn log(level: Level, text: &str) {
        current().observed.borrow_mut().logs.push((level, text.to_owned()));
    }

    pub(crate) fn count(event: &str, n: u32) {
        *current().observed.borrow_mut().counts.entry(event.to_owned()).or_default() += u64::from(n);
    }
}

pub(crate) mod scan {
    use regex::bytes::{Regex, RegexBuilder};
    use sha2::Digest;

    use super::super::message::Mail;
    use crate::scan::{DigestAlgorithm, Hit, PatternOptions, Scope};

    #[derive(Debug)]
    pub(crate) struct PatternSet {
        patterns: Vec<Regex>,
        whole_word: bool,
    }

    impl PatternSet {
        pub(crate) fn compile(patterns: &[String], options: PatternOptions) -> Result<Self, String> {
            let has = |option: PatternOptions| options & option == option;
            if patterns.len() > 4096 || patterns.iter().map(String::len).sum::<usize>() > 256 * 1024 {
                return Err("more than 4096 patterns or 256 KiB".to_owned());
            }
            let compile = |pattern: &String| {
                let source = if has(PatternOptions::REGEX) { pattern.clone() } else { regex::escape(pattern) };
                RegexBuilder::new(&source)
                    .case_insensitive(has(PatternOptions::CASE_INSENSITIVE))
                    .build()
                    .map_err(|error| format!("{pattern:?}: {error}"))
            };
            let patterns = patterns.iter().map(compile).collect::<Result<_, _>>()?;
            Ok(Self { patterns, whole_word: has(PatternOptions::WHOLE_WORD) })
        }

        fn hits(&self, text: &[u8], part: Option<u32>) -> Vec<Hit> {
            let mut found: Vec<(usize, usize, usize)> = Vec::new();
            for (pattern, regex) in self.patterns.iter().enumerate() {
                found.extend(regex.find_iter(text).map(|hit| (hit.start(), hit.end(), pattern)));
            }
            found.retain(|&(start, end, _)| start < end && (!self.whole_word || is_word(text, start, end)));
            found.sort_by_key(|&(start, end, pattern)| (start, core::cmp::Reverse(end), pattern));
            let mut last_end = 0;
            found.retain(|&(start, end, _)| {
                let apart = start >= last_end;
                if apart {
                    last_end = end;
                }
                apart
            });
            let hit = |(start, end, pattern): (usize, usize, usize)| Hit {
                pattern: u32::try_from(pattern).unwrap_or(u32::MAX),
                part,
                offset: start as u64,
                matched: text[start..end.min(start + 256)].to_vec(),
            };
            found.into_iter().map(hit).collect()
        }
    }

    /// Whether no letter or digit touches this range.
    fn is_word(text: &[u8], start: usize, end: usize) -> bool {
        let before = String::from_utf8_lossy(&text[start.saturating_sub(4)..start]).chars().next_back();
        let after = String::from_utf8_lossy(&text[end..text.len().min(end + 4)]).chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    }

    pub(crate) fn find(mail: &Mail, scope: Scope, patterns: &PatternSet, limit: u32) -> Vec<Hit> {
        let mut hits = Vec::new();
        match scope {
            Scope::Raw => hits.extend(patterns.hits(mail.bytes(), None)),
            Scope::Headers => hits.extend(patterns.hits(mail.decoded_headers().as_bytes(), None)),
            Scope::Text => {
                for subject in mail.header_text("subject") {
                    hits.extend(patterns.hits(subject.as_bytes(), None));
                }
                for (part, text) in mail.texts() {
                    hits.extend(patterns.hits(text.as_bytes(), Some(part)));
                }
            }
        }
        hits.truncate(limit.min(10_000) as usize);
        hits
    }

    pub(crate) fn digest(mail: &Mail, algorithm: DigestAlgorithm) -> Vec<u8> {
        match algorithm {
            DigestAlgorithm::Sha256 => sha2::Sha256::digest(mail.bytes()).to_vec(),
            DigestAlgorithm::Sha1 => sha1::Sha1::digest(mail.bytes()).to_vec(),
        }
    }
}
