//! One transaction: the phases in the order in which mailweir calls them, and what their decisions come to.

use super::checks;
use super::message::{Envelope, Mail as Shown};
use super::outcome::Phase;
use crate::mail::Url;
use crate::plan::{BodyMode, Phases};
use crate::{Decision, Edits, Filter, Mail, Plan, Session, Verdict};

/// The phases of [`Filter`] without its associated types.
pub(super) trait Called {
    fn connect(&mut self, session: &Session) -> Decision;
    fn helo(&mut self, session: &Session, name: &[u8]) -> Decision;
    fn mail(&mut self, session: &Session, sender: &[u8]) -> Decision;
    fn rcpt(&mut self, session: &Session, recipient: &[u8]) -> Decision;
    fn headers(&mut self, mail: &Mail) -> Decision;
    fn body(&mut self, chunk: &[u8]) -> Option<Decision>;
    fn end(&mut self, mail: &Mail) -> (Decision, Edits);
    fn abort(&mut self);
}

impl<F: Filter> Called for F {
    fn connect(&mut self, session: &Session) -> Decision {
        self.on_connect(session)
    }
    fn helo(&mut self, session: &Session, name: &[u8]) -> Decision {
        self.on_helo(session, name)
    }
    fn mail(&mut self, session: &Session, sender: &[u8]) -> Decision {
        self.on_mail(session, sender)
    }
    fn rcpt(&mut self, session: &Session, recipient: &[u8]) -> Decision {
        self.on_rcpt(session, recipient)
    }
    fn headers(&mut self, mail: &Mail) -> Decision {
        self.on_headers(mail)
    }
    fn body(&mut self, chunk: &[u8]) -> Option<Decision> {
        self.on_body(chunk)
    }
    fn end(&mut self, mail: &Mail) -> (Decision, Edits) {
        self.on_end(mail)
    }
    fn abort(&mut self) {
        self.on_abort();
    }
}

/// One transaction under way.
pub(super) struct Run {
    filter: Box<dyn Called>,
    pub(super) plan: Plan,
    pub(super) envelope: Envelope,
    /// The filter accepted, and is not called again.
    done: bool,
    /// What ended the transaction.
    ended: Option<Verdict>,
    pub(super) decisions: Vec<(Phase, Decision)>,
}

impl Run {
    pub(super) fn new(filter: Box<dyn Called>, plan: Plan, envelope: Envelope) -> Self {
        Self { filter, plan, envelope, done: false, ended: None, decisions: Vec::new() }
    }

    /// Call the phases, and give the edits unless the message was refused.
    pub(super) fn transaction(&mut self, raw: &[u8], urls: &[Url], chunk_size: usize) -> Result<Edits, String> {
        let edits = self.phases(raw, urls, chunk_size)?;
        if self.ended.is_some() && edits.is_none() && !self.done && self.plan.asks_for(Phases::ABORT) {
            self.filter.abort();
        }
        // A refused message has no edits.
        Ok(if self.ended.is_none() { edits.unwrap_or_default() } else { Edits::new() })
    }

    /// The edits of `on_end`, or none when it was not reached.
    fn phases(&mut self, raw: &[u8], urls: &[Url], chunk_size: usize) -> Result<Option<Edits>, String> {
        self.envelope_phases()?;
        if self.calls(Phases::HEADERS) {
            let headers = &raw[..super::message::header_size(raw)];
            let mail = Mail::scripted(Shown::new(headers.to_vec(), self.envelope.clone(), &[]));
            let decision = self.filter.headers(&mail);
            self.take(Phase::Headers, decision)?;
        }
        let shown = Shown::new(raw.to_vec(), self.envelope.clone(), urls);
        if self.calls(Phases::BODY) {
            self.push(raw, &shown, chunk_size)?;
        }
        if !self.calls(Phases::END_OF_MESSAGE) {
            return Ok(None);
        }
        let (decision, edits) = self.filter.end(&Mail::scripted(shown));
        self.take(Phase::End, decision)?;
        Ok(Some(edits))
    }

    fn envelope_phases(&mut self) -> Result<(), String> {
        let session = self.envelope.session.clone();
        if self.calls(Phases::CONNECT) {
            let before = Session { helo: Vec::new(), ..session.clone() };
            let decision = self.filter.connect(&before);
            self.take(Phase::Connect, decision)?;
        }
        if self.calls(Phases::HELO) {
            let decision = self.filter.helo(&session, &session.helo);
            self.take(Phase::Helo, decision)?;
        }
        if self.calls(Phases::MAIL) {
            let decision = self.filter.mail(&session, &self.envelope.sender);
            self.take(Phase::Mail, decision)?;
        }
        for recipient in self.envelope.recipients.clone() {
            if !self.calls(Phases::RCPT) {
                break;
            }
            let decision = self.filter.rcpt(&session, &recipient);
            checks::decision(&decision)?;
            if matches!(decision.verdict, Verdict::Reject(_) | Verdict::Tempfail(_)) {
                self.envelope.recipients.retain(|known| *known != recipient);
                if self.envelope.recipients.is_empty() {
                    self.ended = Some(decision.verdict.clone());
                }
                self.decisions.push((Phase::Rcpt, decision));
            } else {
                self.take(Phase::Rcpt, decision)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, raw: &[u8], shown: &Shown, chunk_size: usize) -> Result<(), String> {
        let pieces: Vec<&[u8]> = match self.plan.body {
            BodyMode::PushRaw => vec![raw],
            BodyMode::PushDecodedText => shown.pushed_texts().into_iter().map(str::as_bytes).collect(),
            BodyMode::None | BodyMode::Pull => Vec::new(),
        };
        let mut left = if self.plan.max_body == 0 { u64::MAX } else { self.plan.max_body };
        for chunk in pieces.into_iter().flat_map(|piece| piece.chunks(chunk_size)) {
            let chunk = &chunk[..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            if chunk.is_empty() {
                break;
            }
            left -= chunk.len() as u64;
            if let Some(decision) = self.filter.body(chunk) {
                return self.take(Phase::Body, decision);
            }
        }
        Ok(())
    }

    fn calls(&self, phase: Phases) -> bool {
        self.ended.is_none() && !self.done && self.plan.asks_for(phase)
    }

    fn take(&mut self, phase: Phase, decision: Decision) -> Result<(), String> {
        checks::decision(&decision)?;
        match &decision.verdict {
            Verdict::Reject(_) | Verdict::Tempfail(_) | Verdict::Disconnect(_) | Verdict::Discard => {
                self.ended = Some(decision.verdict.clone());
            }
            Verdict::Accept => self.done = true,
            Verdict::Pass | Verdict::Tarpit(_) | Verdict::Quarantine(_) | Verdict::Route(_) => {}
        }
        self.decisions.push((phase, decision));
        Ok(())
    }

    /// What the decisions come to.
    pub(super) fn verdict(&self) -> Verdict {
        let verdicts = || self.decisions.iter().map(|(_, decision)| &decision.verdict);
        let quarantine = || verdicts().find(|verdict| matches!(verdict, Verdict::Quarantine(_)));
        let route = || verdicts().rev().find(|verdict| matches!(verdict, Verdict::Route(_)));
        self.ended.as_ref().or_else(quarantine).or_else(route).cloned().unwrap_or(Verdict::Pass)
    }
}
