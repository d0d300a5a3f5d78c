//! One filter's place in a transaction: its sandbox once it has one, and what became of it.

use std::sync::Arc;

use crate::host::{BodyMode, Failure, MailView, Phases, Plugin, Sandbox, TransactionFacts};
use crate::services::authentication::Evaluation;
use crate::verdict::{Decision, Edit};

use super::{PluginRecord, Refusal};

/// One filter in one transaction.
pub(super) struct Seat {
    pub(super) plugin: Plugin,
    /// Raw bytes are pushed to it while they arrive.
    pub(super) pushes_early: bool,
    pub(super) state: SeatState,
    pub(super) record: PluginRecord,
    /// Bytes of the body that may still be pushed to it.
    left_to_push: u64,
}

pub(super) enum SeatState {
    /// No phase that it asked for has come yet: it has no sandbox.
    Waiting,
    /// It has a sandbox.
    Seated(Box<Sandbox>),
    /// It accepted, was skipped after a failure, or has said its last word: it is not called again.
    Retired,
    /// It failed and its failure refuses mail: whatever comes later in this transaction is refused too, or mail would
    /// pass unscanned after the client ignored the first refusal.
    Broken(Refusal),
}

/// One call of a filter.
pub(super) enum Call<'a> {
    Connect,
    Helo(&'a [u8]),
    Mail(&'a str),
    Rcpt(&'a str),
    Headers(Arc<MailView>),
    Body(&'a [u8]),
    End(Arc<MailView>),
}

/// What a filter gave back in one call.
pub(super) enum Answer {
    Decision(Decision),
    End(Decision, Vec<Edit>),
    /// It was not called, or `on-body` has nothing to say yet.
    Nothing,
}

impl Seat {
    pub(super) fn new(plugin: Plugin, pushes_early: bool) -> Self {
        let left_to_push = match plugin.plan().max_body {
            0 => u64::MAX,
            max => max,
        };
        let record = PluginRecord::new(plugin.name());
        Self { plugin, pushes_early, state: SeatState::Waiting, record, left_to_push }
    }

    pub(super) fn wants(&self, phase: Phases) -> bool {
        self.plugin.wants(phase)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state, SeatState::Broken(_))
    }

    pub(super) fn is_retired(&self) -> bool {
        matches!(self.state, SeatState::Retired)
    }

    /// Calls the filter, making its sandbox first when this is its first phase.
    pub(super) async fn call(
        &mut self,
        facts: &Arc<TransactionFacts>,
        evaluation: &Arc<Evaluation>,
        call: Call<'_>,
    ) -> Result<Answer, Failure> {
        if matches!(self.state, SeatState::Waiting) {
            let sandbox = self.plugin.sandbox(facts, evaluation).await?;
            self.record.called = true;
            self.state = SeatState::Seated(Box::new(sandbox));
        }
        let SeatState::Seated(sandbox) = &mut self.state else {
            return Ok(Answer::Nothing);
        };
        Ok(match call {
            Call::Connect => Answer::Decision(sandbox.connect().await?),
            Call::Helo(name) => Answer::Decision(sandbox.helo(name).await?),
            Call::Mail(sender) => Answer::Decision(sandbox.mail(sender.as_bytes()).await?),
            Call::Rcpt(recipient) => Answer::Decision(sandbox.rcpt(recipient.as_bytes()).await?),
            Call::Headers(view) => Answer::Decision(sandbox.headers(&view).await?),
            Call::Body(bytes) => sandbox.body(bytes).await?.map_or(Answer::Nothing, Answer::Decision),
            Call::End(view) => {
                let (decision, edits) = sandbox.end(&view).await?;
                Answer::End(decision, edits)
            }
        })
    }

    /// As much of `bytes` as is still to be pushed, which counts as pushed from now on. Text is cut at a character.
    pub(super) fn take_wanted<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let left = usize::try_from(self.left_to_push).unwrap_or(usize::MAX);
        if bytes.len() <= left {
            self.left_to_push -= bytes.len() as u64;
            return bytes;
        }
        self.left_to_push = 0;
        let is_text = self.plugin.plan().body == BodyMode::PushDecodedText;
        let is_cut_fine = |end: &usize| !is_text || *end == 0 || bytes[*end] & 0xC0 != 0x80;
        let end = (0..=left).rev().find(is_cut_fine).unwrap_or(0);
        &bytes[..end]
    }

    /// A decision ends the pushing.
    pub(super) fn end_pushing(&mut self) {
        self.left_to_push = 0;
    }

    /// Drops the sandbox, keeping what it cost.
    pub(super) fn retire(&mut self, into: SeatState) {
        if let SeatState::Seated(sandbox) = std::mem::replace(&mut self.state, into) {
            self.record.cost = sandbox.cost();
        }
    }

    /// The transaction ends before the filter's `on-end`.
    pub(super) async fn abort(&mut self) {
        if let SeatState::Seated(sandbox) = std::mem::replace(&mut self.state, SeatState::Retired) {
            self.record.cost = sandbox.cost();
            if self.wants(Phases::ABORT) {
                // Nothing hangs on it any more: a filter that fails here fails alone.
                sandbox.abort().await;
            }
        }
    }
}
