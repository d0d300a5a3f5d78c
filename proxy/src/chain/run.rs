//! One transaction's way through its chain, phase by phase.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::host::{BodyMode, Cause, Failure, MailView, Phases, Plugin, TransactionFacts};
use crate::message::{Message, MessageFault, StoreError, TextUnit};
use crate::services::antivirus::Scan;
use crate::services::authentication::Evaluation;
use crate::verdict::{Decision, EditNote, Tag};

use super::envelope::{self, Envelope};
use super::merge::{Fate, Step, Tally, effect};
use super::seat::{Answer, Call, Seat, SeatState};
use super::{Chain, Conclusion, Disposition, PluginRecord, Refusal, Ruling, pushes_early};

/// Decoded text and late raw bytes are pushed in pieces of this size.
const PUSH_PIECE: usize = 64 * 1024;

/// A transaction in its chain.
pub struct Run {
    chain: Arc<Chain>,
    facts: Arc<TransactionFacts>,
    evaluation: Arc<Evaluation>,
    seats: Vec<Seat>,
    tally: Tally,
    recipients: Recipients,
}

/// Routes chosen in the rcpt phase concern a recipient, those chosen in other phases the message.
#[derive(Default)]
struct Recipients {
    /// The route that was chosen before the first recipient, and so holds for each.
    route: Option<Option<String>>,
    /// What was to become of the message before the last recipient.
    before: Fate,
}

impl Run {
    /// A transaction at its beginning. No sandbox is made yet.
    pub fn new(chain: Arc<Chain>, facts: Arc<TransactionFacts>, evaluation: Arc<Evaluation>) -> Self {
        let plugins: Vec<Plugin> = chain.links.iter().map(|link| link.plugin().clone()).collect();
        let early = pushes_early(plugins.iter());
        let seats = plugins.into_iter().zip(early).map(|(plugin, early)| Seat::new(plugin, early)).collect();
        Self { chain, facts, evaluation, seats, tally: Tally::default(), recipients: Recipients::default() }
    }

    /// The client has connected.
    pub async fn connect(&mut self) -> Ruling {
        self.phase(Phases::CONNECT, |_| Call::Connect).await
    }

    /// The client has said EHLO or HELO; `facts` know the name now.
    pub async fn helo(&mut self, facts: Arc<TransactionFacts>) -> Ruling {
        self.facts = Arc::clone(&facts);
        self.evaluation.helo(&String::from_utf8_lossy(&facts.helo));
        self.phase(Phases::HELO, |_| Call::Helo(&facts.helo)).await
    }

    /// MAIL; empty for the null reverse-path.
    pub async fn mail(&mut self, sender: &str) -> Ruling {
        self.evaluation.mail(sender);
        self.phase(Phases::MAIL, |_| Call::Mail(sender)).await
    }

    /// RCPT: the ruling concerns this recipient alone, and so does a route that a filter names: `route` gives it until
    /// the recipient is refused, by this ruling or with `recipient_refused`. So do `discard` and `quarantine`, which
    /// concern the whole message otherwise.
    pub async fn rcpt(&mut self, recipient: &str) -> Ruling {
        if !self.chain.phases.contains(Phases::RCPT) {
            return self.phase(Phases::RCPT, |_| Call::Rcpt(recipient)).await;
        }
        let Recipients { route, before } = &mut self.recipients;
        before.clone_from(&self.tally.fate);
        self.tally.fate.route.clone_from(route.get_or_insert_with(|| before.route.clone()));
        let ruling = self.phase(Phases::RCPT, |_| Call::Rcpt(recipient)).await;
        if ruling != Ruling::Continue {
            self.recipient_refused();
        }
        ruling
    }

    /// The last recipient is there already: the route of the others stands.
    pub fn recipient_repeated(&mut self) {
        if self.recipients.route.is_some() {
            self.tally.fate.route.clone_from(&self.recipients.before.route);
        }
    }

    /// The last recipient is none of this message's: what was to become of the message because of it is not.
    pub fn recipient_refused(&mut self) {
        if self.recipients.route.is_some() {
            self.tally.fate.clone_from(&self.recipients.before);
        }
    }

    /// The header section has arrived; `message` holds it alone.
    pub async fn headers(&mut self, message: &Message, envelope: &Envelope) -> Ruling {
        self.phase(Phases::HEADERS, |run| Call::Headers(run.view(message, envelope, None))).await
    }

    /// Sender authentication for this transaction.
    pub fn evaluation(&self) -> &Arc<Evaluation> {
        &self.evaluation
    }

    /// Whether nobody has a say in what becomes of the message.
    pub fn is_without_filters(&self) -> bool {
        self.seats.is_empty()
    }

    /// Whether a filter wants the raw bytes while they arrive.
    pub fn pushes_early(&self) -> bool {
        self.seats.iter().any(|seat| seat.pushes_early)
    }

    /// Bytes of the message have arrived, dot-stuffing removed.
    pub async fn body(&mut self, bytes: &[u8]) -> Ruling {
        for index in 0..self.seats.len() {
            if self.tally.fate.discarded {
                break;
            }
            if self.seats[index].pushes_early
                && let Step::Stop(refusal) = Box::pin(self.push(index, bytes)).await
            {
                return Ruling::Refuse(refusal);
            }
        }
        Ruling::Continue
    }

    /// The message is whole. Each filter sees the edits of those before it. No sandbox is left afterwards.
    pub async fn end(&mut self, message: Message, envelope: Envelope, scan: Option<Scan>) -> Conclusion {
        // Signatures are checked on the message as it came, whatever filters make of it.
        self.evaluation.received(&message);
        let mut conclusion = Conclusion { disposition: Disposition::Deliver { route: None }, message, envelope };
        let mut refusal = None;
        for index in 0..self.seats.len() {
            if self.tally.fate.discarded || refusal.is_some() {
                // Those that are not asked any more learn that it is over.
                self.seats[index].abort().await;
                continue;
            }
            if let Step::Stop(stop) = Box::pin(self.end_of_one(index, &mut conclusion, scan.as_ref())).await {
                refusal = Some(stop);
            }
            self.tally.note_content(&conclusion.message);
            self.complete(index);
        }
        conclusion.disposition = if let Some(refusal) = refusal {
            Disposition::Refuse(refusal)
        } else if self.tally.fate.discarded {
            Disposition::Discard
        } else if let Some((plugin, reason)) = self.tally.fate.quarantine.clone() {
            Disposition::Quarantine { plugin, reason }
        } else {
            Disposition::Deliver { route: self.tally.fate.route.clone() }
        };
        conclusion
    }

    /// The transaction ends without `end`.
    pub async fn abort(&mut self) {
        for seat in &mut self.seats {
            seat.abort().await;
        }
    }

    /// A filter has said all that it had to: its sandbox goes before the message does, and the circuit breaker is told.
    /// Only who got this far counts as good; one that fails at the end of every message passes many earlier phases.
    fn complete(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        if seat.is_broken() {
            return;
        }
        if seat.record.called && seat.record.failed.is_none() {
            self.chain.links[index].succeeded(&seat.plugin);
        }
        seat.retire(SeatState::Retired);
    }

    /// What each filter said and cost, in order.
    pub fn records(&self) -> Vec<Cow<'_, PluginRecord>> {
        self.seats
            .iter()
            .map(|seat| match &seat.state {
                SeatState::Seated(sandbox) => Cow::Owned(PluginRecord { cost: sandbox.cost(), ..seat.record.clone() }),
                _ => Cow::Borrowed(&seat.record),
            })
            .collect()
    }

    /// The tags so far.
    pub fn tags(&self) -> &[Tag] {
        &self.tally.tags
    }

    /// The edits that were applied, each with its filter.
    pub fn edits(&self) -> &[(String, EditNote)] {
        &self.tally.edits
    }

    /// The route that a filter chose so far.
    pub fn route(&self) -> Option<&str> {
        self.tally.fate.route.as_deref()
    }

    /// How long to wait before the next reply: the tarpits since the last call.
    pub fn take_tarpit(&mut self) -> Duration {
        self.tally.take_tarpit()
    }

    /// Calls the filters that asked for a phase, in order, until one refuses.
    async fn phase<'a>(&mut self, phase: Phases, call: impl Fn(&Self) -> Call<'a>) -> Ruling {
        if !self.chain.phases.contains(phase) && !self.seats.iter().any(Seat::is_broken) {
            return Ruling::Continue;
        }
        // Apart: a call into a sandbox takes kilobytes, which who calls none need not set up.
        Box::pin(self.called(phase, call)).await
    }

    async fn called<'a>(&mut self, phase: Phases, call: impl Fn(&Self) -> Call<'a>) -> Ruling {
        for index in 0..self.seats.len() {
            if self.tally.fate.discarded {
                break;
            }
            if let SeatState::Broken(refusal) = &self.seats[index].state {
                return Ruling::Refuse(refusal.clone());
            }
            if !self.seats[index].wants(phase) || self.seats[index].is_retired() {
                continue;
            }
            let step = match self.call(index, call(self)).await {
                Ok(Answer::Decision(decision) | Answer::End(decision, _)) => self.take(index, decision),
                Ok(Answer::Nothing) => Step::Next,
                Err(failure) => self.fail(index, &failure),
            };
            if let Step::Stop(refusal) = step {
                return Ruling::Refuse(refusal);
            }
        }
        Ruling::Continue
    }

    /// One filter's part of the end of the message: what is pushed late, `on-end`, and its edits.
    async fn end_of_one(&mut self, index: usize, conclusion: &mut Conclusion, scan: Option<&Scan>) -> Step {
        if let SeatState::Broken(refusal) = &self.seats[index].state {
            return Step::Stop(refusal.clone());
        }
        if self.seats[index].is_retired() {
            return Step::Next;
        }
        let plan = *self.seats[index].plugin.plan();
        if plan.phases.contains(Phases::BODY) && !self.seats[index].pushes_early {
            match self.push_late(index, plan.body, &conclusion.message).await {
                Step::Next | Step::Retire => {}
                stop => return stop,
            }
        }
        if !plan.phases.contains(Phases::END_OF_MESSAGE) || self.seats[index].is_retired() {
            return Step::Next;
        }
        // What was scanned while it arrived is not what a filter made of it since.
        let scan = scan.filter(|_| self.tally.edits.is_empty());
        let view = self.view(&conclusion.message, &conclusion.envelope, scan.cloned());
        match self.call(index, Call::End(view)).await {
            Ok(Answer::End(decision, edits)) => {
                if let Err(failure) = envelope::apply(&edits, &mut conclusion.message, &mut conclusion.envelope) {
                    return self.fail(index, &failure);
                }
                let name = self.seats[index].plugin.name();
                self.tally.edits.extend(edits.into_iter().map(|edit| (name.to_owned(), EditNote::from(edit))));
                self.take(index, decision)
            }
            Ok(Answer::Decision(decision)) => self.take(index, decision),
            Ok(Answer::Nothing) => Step::Next,
            Err(failure) => self.fail(index, &failure),
        }
    }

    /// Pushes what could not be pushed while the message arrived: decoded text, or raw bytes with edits in them.
    async fn push_late(&mut self, index: usize, mode: BodyMode, message: &Message) -> Step {
        match mode {
            BodyMode::PushDecodedText => {
                let units = match decoded_text(message).await {
                    Ok(units) => units,
                    Err(failure) => return self.fail(index, &failure),
                };
                for piece in units.iter().flat_map(|unit| text_pieces(unit.text.as_str())) {
                    let step = self.push(index, piece.as_bytes()).await;
                    message.release_pages();
                    match step {
                        Step::Next => {}
                        step => return step,
                    }
                }
            }
            BodyMode::PushRaw => {
                for chunk in message.chunks() {
                    let chunk = match chunk {
                        Ok(chunk) => chunk,
                        Err(error) => return self.fail(index, &unreadable(&error)),
                    };
                    for piece in chunk.chunks(PUSH_PIECE) {
                        match self.push(index, piece).await {
                            Step::Next => {}
                            step => return step,
                        }
                    }
                }
            }
            BodyMode::None | BodyMode::Pull => {}
        }
        Step::Next
    }

    /// Pushes bytes to one filter, up to what it asked for.
    async fn push(&mut self, index: usize, bytes: &[u8]) -> Step {
        let bytes = self.seats[index].take_wanted(bytes);
        if bytes.is_empty() {
            return Step::Next;
        }
        match self.call(index, Call::Body(bytes)).await {
            Ok(Answer::Decision(decision) | Answer::End(decision, _)) => {
                self.seats[index].end_pushing();
                self.take(index, decision)
            }
            Ok(Answer::Nothing) => Step::Next,
            Err(failure) => self.fail(index, &failure),
        }
    }

    async fn call(&mut self, index: usize, call: Call<'_>) -> Result<Answer, Failure> {
        self.seats[index].call(&self.facts, &self.evaluation, call).await
    }

    /// The message as the next filter sees it.
    fn view(&self, message: &Message, envelope: &Envelope, scan: Option<Scan>) -> Arc<MailView> {
        Arc::new(MailView {
            message: message.clone(),
            sender: envelope.sender.clone(),
            recipients: envelope.recipients.clone(),
            tags: self.tally.tags.clone(),
            facts: Arc::clone(&self.facts),
            evaluation: Arc::clone(&self.evaluation),
            scan,
        })
    }

    fn take(&mut self, index: usize, decision: Decision) -> Step {
        let seat = &mut self.seats[index];
        let step = self.tally.take(seat.plugin.name(), decision, &mut seat.record);
        if step == Step::Retire {
            seat.retire(SeatState::Retired);
        }
        step
    }

    /// A filter failed: its sandbox goes, and the configured effect follows, now and for the rest of the transaction.
    fn fail(&mut self, index: usize, failure: &Failure) -> Step {
        let seat = &mut self.seats[index];
        let step = match failure {
            // The message is at fault, not the filter: no operator's choice makes it acceptable.
            Failure::Message(fault) => {
                seat.record.verdict = "reject";
                seat.record.reason = fault.to_string();
                Step::Stop(Refusal { reply: fault.reply(), disconnect: false })
            }
            Failure::Plugin { cause, .. } => {
                // A dependency that is down is down for the version before as well.
                if *cause != Cause::Unavailable && self.chain.links[index].failed(&seat.plugin) {
                    tracing::error!(plugin = seat.plugin.name(), "keeps failing: its last good version takes over");
                }
                seat.record.failed = Some(*cause);
                let effect = effect(seat.plugin.on_error(), *cause);
                self.tally.take_failure(seat.plugin.name(), failure, effect, &mut seat.record)
            }
        };
        seat.retire(match &step {
            Step::Stop(refusal) => SeatState::Broken(refusal.clone()),
            _ => SeatState::Retired,
        });
        step
    }
}

/// A message that cannot be read from the disk is no filter's fault: no effect of failing filters applies to it.
fn unreadable(error: &StoreError) -> Failure {
    Failure::Message(MessageFault::Store(error.clone()))
}

/// Decodes the text of a message where that does not hold up other sessions.
async fn decoded_text(message: &Message) -> Result<Arc<[TextUnit]>, Failure> {
    match message.work(Message::text_units).await {
        Ok(units) => units.map_err(Failure::Message),
        Err(error) => Err(Failure::Plugin { cause: Cause::Unavailable, detail: error.to_string() }),
    }
}

/// A text in pieces that end at characters.
fn text_pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(PUSH_PIECE));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}
