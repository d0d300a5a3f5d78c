//! What the scripted services answer, and what they were asked.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use crate::Session;
use crate::antivirus::ScanResult;
use crate::authentication::{ArcResult, AuthorFault, DkimResult, DmarcResult, Identity, Outcome, SpfResult};
use crate::dns::{Error, Exchange};
use crate::mail::Url;
use crate::observe::Level;

/// The answers for one DNS name and type.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Texts(Vec<Vec<u8>>),
    Names(Vec<String>),
    Exchanges(Vec<Exchange>),
    Error(Error),
}

/// The kinds of DNS question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Txt,
    Addresses,
    Mx,
    Ptr,
    Dnsbl,
}

/// Answers that a test has set.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) dns: HashMap<(Question, String), Answer>,
    pub(super) dns_failure: Option<Error>,
    pub(super) spf_helo: Option<SpfResult>,
    pub(super) spf_mail_from: Option<SpfResult>,
    pub(super) iprev: Option<(Outcome, Option<String>)>,
    pub(super) dkim: Vec<DkimResult>,
    pub(super) arc: Option<ArcResult>,
    pub(super) dmarc: Option<DmarcResult>,
    pub(super) authors: Option<Result<Vec<String>, AuthorFault>>,
    pub(super) antivirus: Option<ScanResult>,
    pub(super) urls: Vec<Url>,
}

/// What a filter did towards the outside in one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) logs: Vec<(Level, String)>,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) dns_queries: Vec<String>,
}

/// A value of the state service.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    Value { bytes: Vec<u8>, until: Duration },
    Counter { sum: u64, until: Duration },
}

/// The host's services for one harness.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(super) answers: RefCell<Answers>,
    pub(super) observed: RefCell<Observed>,
    pub(super) state: RefCell<HashMap<String, Kept>>,
    pub(super) clock: Cell<Duration>,
    pub(super) session: RefCell<Option<(Session, Vec<u8>)>>,
}

impl Script {
    /// The domain that SPF would check.
    pub(super) fn identity_domain(&self, identity: Identity) -> String {
        let session = self.session.borrow();
        let Some((session, sender)) = session.as_ref() else { return String::new() };
        let helo = || String::from_utf8_lossy(&session.helo).into_owned();
        match identity {
            Identity::Helo => helo(),
            Identity::MailFrom => {
                let sender = String::from_utf8_lossy(sender);
                sender.rsplit_once('@').map_or_else(helo, |(_, domain)| domain.to_owned())
            }
        }
    }
}

std::thread_local! {
    static CURRENT: RefCell<Option<Rc<Script>>> = const { RefCell::new(None) };
}

/// Puts a script in force for this thread until it is dropped.
#[derive(Debug)]
pub(super) struct InForce {
    before: Option<Rc<Script>>,
}

impl InForce {
    pub(super) fn new(script: &Rc<Script>) -> Self {
        Self { before: CURRENT.replace(Some(Rc::clone(script))) }
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// The script in force.
///
/// # Panics
///
/// Outside of a harness there is no host to ask.
pub(super) fn current() -> Rc<Script> {
    CURRENT.with_borrow(Clone::clone).expect("a service of the host was called outside of testing::Harness")
}
