//! The harness: a session and a script for the services.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use super::message::Envelope;
use super::outcome::Outcome;
use super::run::{Called, Run};
use super::script::{Answer, InForce, Observed, Question, Script};
use super::{checks, edited};
use crate::antivirus::ScanResult;
use crate::authentication::{self, ArcResult, AuthorFault, DkimResult, DmarcResult, Identity, SpfResult};
use crate::dns::{Error, Exchange};
use crate::mail::{Url, UrlSource};
use crate::{Filter, Plan, Session, Tag, TlsSession, configuration};

/// Makes a fresh value of the filter, as for each sandbox.
type Configure = dyn Fn() -> Result<(Box<dyn Called>, Plan), String>;

/// Runs a filter against messages. Each [`run`](Self::run) is a transaction with a fresh value of the filter, as in a
/// sandbox of its own; the `state` service lives as long as the harness.
pub struct Harness {
    configure: Box<Configure>,
    plan: Plan,
    script: Rc<Script>,
    session: Session,
    sender: Vec<u8>,
    recipients: Vec<Vec<u8>>,
    tags: Vec<Tag>,
    chunk_size: usize,
}

impl core::fmt::Debug for Harness {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Harness")
            .field("plan", &self.plan)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Harness {
    /// Configure the filter `F` with this JSON: a string, or a `serde_json::json!` value.
    ///
    /// The session is one of client.example at 192.0.2.1, from sender@example.org to recipient@example.com, unless
    /// said otherwise.
    ///
    /// # Errors
    ///
    /// The text that the operator would see.
    pub fn new<F: Filter>(config: impl Display) -> Result<Self, String> {
        let config = config.to_string();
        let configure = move || {
            let (filter, plan) = configuration::configure::<F>(&config)?;
            Ok((Box::new(filter) as Box<dyn Called>, plan))
        };
        let script = Rc::new(Script::default());
        let plan = {
            let _in_force = InForce::new(&script);
            configure()?.1
        };
        Ok(Self {
            configure: Box::new(configure),
            plan,
            script,
            session: Session {
                id: "harness-1".to_owned(),
                listener: "inbound".to_owned(),
                hostname: "mx.example.com".to_owned(),
                client_address: "192.0.2.1".to_owned(),
                client_port: 40_000,
                helo: b"client.example".to_vec(),
                tls: None,
                trusted: false,
            },
            sender: b"sender@example.org".to_vec(),
            recipients: Vec::new(),
            tags: Vec::new(),
            chunk_size: 16 * 1024,
        })
    }

    /// What the filter asked for.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The client's IPv4 or IPv6 address.
    #[must_use]
    pub fn client(mut self, address: &str) -> Self {
        address.clone_into(&mut self.session.client_address);
        self
    }

    /// The argument of EHLO.
    #[must_use]
    pub fn helo(mut self, name: impl AsRef<[u8]>) -> Self {
        self.session.helo = name.as_ref().to_vec();
        self
    }

    /// The envelope sender; empty for the null reverse-path.
    #[must_use]
    pub fn mail_from(mut self, sender: impl AsRef<[u8]>) -> Self {
        self.sender = sender.as_ref().to_vec();
        self
    }

    /// One more envelope recipient; the first call replaces the default one.
    #[must_use]
    pub fn rcpt(mut self, recipient: impl AsRef<[u8]>) -> Self {
        self.recipients.push(recipient.as_ref().to_vec());
        self
    }

    /// The listener's name.
    #[must_use]
    pub fn listener(mut self, name: &str) -> Self {
        name.clone_into(&mut self.session.listener);
        self
    }

    /// Our own host name, which is the authserv-id.
    #[must_use]
    pub fn hostname(mut self, name: &str) -> Self {
        name.clone_into(&mut self.session.hostname);
        self
    }

    /// The client is in the listener's trusted networks.
    #[must_use]
    pub fn trusted(mut self) -> Self {
        self.session.trusted = true;
        self
    }

    /// The session is encrypted; the version is "TLSv1.2" or "TLSv1.3".
    #[must_use]
    pub fn tls(mut self, version: &str) -> Self {
        let cipher_suite = "TLS13_AES_256_GCM_SHA384".to_owned();
        self.session.tls = Some(TlsSession { version: version.to_owned(), cipher_suite, server_name: None });
        self
    }

    /// A tag that a filter before this one set.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push(Tag { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// How large the pieces given to `on_body` are; 16 KiB unless set.
    #[must_use]
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = bytes.max(1);
        self
    }

    /// TXT records of a name. A name without an answer does not exist.
    #[must_use]
    pub fn dns_txt(self, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        self.dns(Question::Txt, name, Answer::Texts(values))
    }

    /// Addresses of a name.
    #[must_use]
    pub fn dns_addresses(self, name: &str, values: &[&str]) -> Self {
        self.dns(Question::Addresses, name, names(values))
    }

    /// Mail exchangers of a domain, with their preferences.
    #[must_use]
    pub fn dns_mx(self, name: &str, values: &[(u16, &str)]) -> Self {
        let exchange = |&(preference, host): &(u16, &str)| Exchange { preference, host: host.to_owned() };
        self.dns(Question::Mx, name, Answer::Exchanges(values.iter().map(exchange).collect()))
    }

    /// The names of an address.
    #[must_use]
    pub fn dns_ptr(self, address: &str, values: &[&str]) -> Self {
        self.dns(Question::Ptr, address, names(values))
    }

    /// The answers of a DNS list for a query name, such as "example.com.multi.surbl.org" and "127.0.0.8".
    #[must_use]
    pub fn dnsbl(self, query: &str, addresses: &[&str]) -> Self {
        self.dns(Question::Dnsbl, query, names(addresses))
    }

    /// A list query that fails.
    #[must_use]
    pub fn dnsbl_error(self, query: &str, error: Error) -> Self {
        self.dns(Question::Dnsbl, query, Answer::Error(error))
    }

    /// Every DNS query fails like this.
    #[must_use]
    pub fn dns_failure(self, error: Error) -> Self {
        self.script.answers.borrow_mut().dns_failure = Some(error);
        self
    }

    fn dns(self, question: Question, name: &str, answer: Answer) -> Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.script.answers.borrow_mut().dns.insert((question, name), answer);
        self
    }

    /// The SPF result, for both identities.
    #[must_use]
    pub fn spf(self, result: SpfResult) -> Self {
        self.spf_for(Identity::Helo, result.clone()).spf_for(Identity::MailFrom, result)
    }

    /// The SPF result for one identity.
    #[must_use]
    pub fn spf_for(self, identity: Identity, result: SpfResult) -> Self {
        match identity {
            Identity::Helo => self.script.answers.borrow_mut().spf_helo = Some(result),
            Identity::MailFrom => self.script.answers.borrow_mut().spf_mail_from = Some(result),
        }
        self
    }

    /// The check of the client's address, and its name when it passes.
    #[must_use]
    pub fn iprev(self, outcome: authentication::Outcome, name: Option<&str>) -> Self {
        self.script.answers.borrow_mut().iprev = Some((outcome, name.map(ToOwned::to_owned)));
        self
    }

    /// One more DKIM signature.
    #[must_use]
    pub fn dkim(self, result: DkimResult) -> Self {
        self.script.answers.borrow_mut().dkim.push(result);
        self
    }

    /// The state of the ARC chain.
    #[must_use]
    pub fn arc(self, result: ArcResult) -> Self {
        self.script.answers.borrow_mut().arc = Some(result);
        self
    }

    /// The DMARC result.
    #[must_use]
    pub fn dmarc(self, result: DmarcResult) -> Self {
        self.script.answers.borrow_mut().dmarc = Some(result);
        self
    }

    /// The authors, instead of those of the message's From field.
    #[must_use]
    pub fn authors(self, authors: Result<Vec<String>, AuthorFault>) -> Self {
        self.script.answers.borrow_mut().authors = Some(authors);
        self
    }

    /// The virus scanner's answer. Without one, a scan fails.
    #[must_use]
    pub fn antivirus(self, result: ScanResult) -> Self {
        self.script.answers.borrow_mut().antivirus = Some(result);
        self
    }

    /// One more URL that `urls()` gives, besides those that the harness finds by itself.
    #[must_use]
    pub fn url(self, text: &str, host: &str, source: UrlSource) -> Self {
        let url = Url { text: text.to_owned(), host: host.to_owned(), source, part: None };
        self.script.answers.borrow_mut().urls.push(url);
        self
    }

    /// Let time pass for the `state` service.
    pub fn advance(&self, time: Duration) {
        self.script.clock.set(self.script.clock.get() + time);
    }

    /// One transaction with this message. A bare LF becomes CRLF, so that a test can be written with plain line ends.
    ///
    /// # Panics
    ///
    /// When the filter returns what mailweir would not take; see [`try_run`](Self::try_run).
    pub fn run(&self, message: impl AsRef<[u8]>) -> Outcome {
        match self.try_run(message) {
            Ok(outcome) => outcome,
            Err(why) => panic!("mailweir would treat this as a failure of the filter: {why}"),
        }
    }

    /// As [`run`](Self::run), but what mailweir would not take is an error.
    ///
    /// # Errors
    ///
    /// What is wrong with the filter's answer.
    pub fn try_run(&self, message: impl AsRef<[u8]>) -> Result<Outcome, String> {
        let _in_force = InForce::new(&self.script);
        *self.script.observed.borrow_mut() = Observed::default();
        *self.script.session.borrow_mut() = Some((self.session.clone(), self.sender.clone()));
        let (filter, plan) = (self.configure)()?;
        let default = || vec![b"recipient@example.com".to_vec()];
        let envelope = Envelope {
            session: self.session.clone(),
            sender: self.sender.clone(),
            recipients: if self.recipients.is_empty() { default() } else { self.recipients.clone() },
            tags: self.tags.clone(),
        };
        let urls = self.script.answers.borrow().urls.clone();
        let raw = with_crlf(message.as_ref());
        let mut run = Run::new(filter, plan, envelope);
        let edits = run.transaction(&raw, &urls, self.chunk_size)?;
        checks::edits(&run.plan, edits.as_slice())?;
        let (message, envelope) = edited::apply(&raw, &run.envelope, edits.as_slice())?;
        let observed = self.script.observed.take();
        Ok(Outcome {
            verdict: run.verdict(),
            decisions: run.decisions,
            edits: edits.into(),
            message,
            sender: envelope.sender,
            recipients: envelope.recipients,
            logs: observed.logs,
            counts: observed.counts,
            dns_queries: observed.dns_queries,
        })
    }
}

fn names(values: &[&str]) -> Answer {
    Answer::Names(values.iter().map(ToString::to_string).collect())
}

fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len() + 64);
    for &byte in message {
        if byte == b'\n' && text.last() != Some(&b'\r') {
            text.push(b'\r');
        }
        text.push(byte);
    }
    text
}
