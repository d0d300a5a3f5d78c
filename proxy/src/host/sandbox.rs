//! A sandbox: one filter for one transaction.
//!
//! A call takes the live filter out and puts it back when it went well. One that fails, or whose future is dropped in
//! the middle, leaves nothing to call again, and its memory is back at once.

mod configured;
mod ground;
mod live;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::facts::MailView;
use super::failure::{Cause, Failure};
use super::output::{self, OutputError};
use super::plugin::Plugin;
use crate::verdict::{Decision, Edit};

pub(super) use configured::Configured;
pub(super) use live::Live;

/// Bytes of a body that are pushed in one call.
const PUSH_LIMIT: usize = 64 << 10;

/// One filter for one transaction.
pub struct Sandbox {
    plugin: Plugin,
    state: State,
    cost: Cost,
    pushed: u64,
}

/// What a sandbox cost so far, its making included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Wall clock, waiting in host calls included.
    pub wall: Duration,
    /// Time on a core.
    pub cpu: Duration,
    /// Host calls.
    pub host_calls: u64,
    /// Bytes handed to the filter.
    pub bytes: u64,
    /// Fuel, when the host counts it.
    pub fuel: Option<u64>,
}

enum State {
    Live(Box<Live>),
    Failed(Failure),
}

impl Sandbox {
    pub(super) fn new(plugin: Plugin, live: Live) -> Self {
        let cost = live.cost();
        Self { plugin, state: State::Live(Box::new(live)), cost, pushed: 0 }
    }

    /// The plugin it was made from.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// What it cost so far.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Calls `on-connect`.
    ///
    /// # Errors
    ///
    /// As all phases: when the filter fails, or did before. The sandbox is gone then, and each further call fails
    /// alike.
    pub async fn connect(&mut self) -> Result<Decision, Failure> {
        let (mut live, start) = self.begin()?;
        let returned = live.connect().await;
        self.settle(live, start, returned, output::decision)
    }

    /// Calls `on-helo` with the argument of EHLO or HELO.
    ///
    /// # Errors
    ///
    /// See [`Sandbox::connect`].
    pub async fn helo(&mut self, name: &[u8]) -> Result<Decision, Failure> {
        let (mut live, start) = self.begin()?;
        let returned = live.helo(name).await;
        self.settle(live, start, returned, output::decision)
    }

    /// Calls `on-mail` with the envelope sender, empty for the null reverse-path.
    ///
    /// # Errors
    ///
    /// See [`Sandbox::connect`].
    pub async fn mail(&mut self, sender: &[u8]) -> Result<Decision, Failure> {
        let (mut live, start) = self.begin()?;
        let returned = live.mail(sender).await;
        self.settle(live, start, returned, output::decision)
    }

    /// Calls `on-rcpt` with an envelope recipient.
    ///
    /// # Errors
    ///
    /// See [`Sandbox::connect`].
    pub async fn rcpt(&mut self, recipient: &[u8]) -> Result<Decision, Failure> {
        let (mut live, start) = self.begin()?;
        let returned = live.rcpt(recipient).await;
        self.settle(live, start, returned, output::decision)
    }

    /// Calls `on-headers` with a view whose message has no body yet.
    ///
    /// # Errors
    ///
    /// See [`Sandbox::connect`].
    pub async fn headers(&mut self, mail: &Arc<MailView>) -> Result<Decision, Failure> {
        let (mut live, start) = self.begin()?;
        let returned = live.headers(mail).await;
        self.settle(live, start, returned, output::decision)
    }

    /// Pushes a piece of the body, in calls of at most 64 KiB, up to the plan's `max_body`. A decision ends the
    /// pushing; the caller is not to push again then.
    ///
    /// # Errors
    ///
    /// See [`Sandbox::connect`].
    pub async fn body(&mut self, piece: &[u8]) -> Result<Option<Decision>, Failure> {
        for chunk in self.wanted(piece).chunks(PUSH_LIMIT) {
            let (mut live, start) = self.begin()?;
            let returned = live.body(chunk).await;
            self.pushed += chunk.len() as u64;
            let check = |returned: Option<_>| returned.map(output::decision).transpose();
            if let Some(decision) = self.settle(live, start, returned, check)? {
                return Ok(Some(decision));
            }
        }
        Ok(None)
    }

    /// Calls `on-end` with the whole message.
    ///
    /// # Errors
    ///
    /// See [`Sandbox::connect`].
    pub async fn end(&mut self, mail: &Arc<MailView>) -> Result<(Decision, Vec<Edit>), Failure> {
        let (mut live, start) = self.begin()?;
        let returned = live.end(mail).await;
        let planned = self.plugin.plan().edits;
        self.settle(live, start, returned, |(decision, edits)| {
            Ok((output::decision(decision)?, output::edits(edits, planned)?))
        })
    }

    /// Calls `on-abort`, for a transaction that ended without `on-end`. What comes of it is only logged.
    pub async fn abort(mut self) {
        let Ok((mut live, start)) = self.begin() else { return };
        let returned = live.abort().await;
        if let Err(failure) = self.settle(live, start, returned, Ok) {
            tracing::debug!(plugin = self.plugin.name(), %failure, "on-abort failed");
        }
    }

    /// Takes the live filter out. Until [`Sandbox::settle`] puts it back the sandbox counts as failed, which it is
    /// when the future of the phase is dropped.
    fn begin(&mut self) -> Result<(Box<Live>, Instant), Failure> {
        let cancelled = State::Failed(Failure::plugin(Cause::Unavailable, "the call was given up"));
        match std::mem::replace(&mut self.state, cancelled) {
            State::Live(live) => Ok((live, Instant::now())),
            State::Failed(failure) => {
                self.state = State::Failed(failure.clone());
                Err(failure)
            }
        }
    }

    /// Checks what a call returned, counts its cost, and keeps the filter if all is well.
    fn settle<R, T>(
        &mut self,
        live: Box<Live>,
        start: Instant,
        returned: Result<R, Failure>,
        check: impl FnOnce(R) -> Result<T, OutputError>,
    ) -> Result<T, Failure> {
        self.cost = Cost { wall: self.cost.wall + start.elapsed(), ..live.cost() };
        let checked = returned.and_then(|returned| {
            check(returned).map_err(|error| Failure::plugin(Cause::Trap, &format!("it returned {error}")))
        });
        self.state = match &checked {
            Ok(_) => State::Live(live),
            Err(failure) => State::Failed(failure.clone()),
        };
        checked
    }

    /// As much of a piece as the plan wants.
    fn wanted<'a>(&self, piece: &'a [u8]) -> &'a [u8] {
        match self.plugin.plan().max_body {
            0 => piece,
            limit => {
                let left = usize::try_from(limit.saturating_sub(self.pushed)).unwrap_or(usize::MAX);
                &piece[..piece.len().min(left)]
            }
        }
    }
}
