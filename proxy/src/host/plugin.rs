//! A loaded plugin: from it come the sandboxes.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::InstancePre;

use super::bindings::mailweir::filter::types::Plan;
use super::cache::Key;
use super::context::{Context, Facilities, Transaction};
use super::facts::TransactionFacts;
use super::failure::Failure;
use super::functions::Checked;
use super::sandbox::{Live, Sandbox};
use super::snapshot::Handles;
use super::{Phases, Shared};
use crate::config::{self, Grant, OnError};
use crate::services::authentication::Evaluation;

/// A plugin, loaded and configured. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    terms: Terms,
    program: Arc<Program>,
    /// Which component it is.
    artifact: Key,
    plan: Plan,
    on_error: OnError,
    grants: Vec<Grant>,
}

/// What sandboxes run under: limits, and what they share.
pub(super) struct Terms {
    pub(super) shared: Arc<Shared>,
    pub(super) facilities: Arc<Facilities>,
    /// What `configure` is given: JSON.
    pub(super) configuration: String,
    /// Wall clock of a phase.
    pub(super) timeout: Duration,
    /// CPU time of a phase.
    pub(super) cpu: Duration,
    /// Bytes of linear memory.
    pub(super) memory: u64,
    /// Host calls of a transaction.
    pub(super) host_calls: u64,
}

/// What sandboxes run.
pub(super) struct Program {
    pub(super) instances: InstancePre<Context>,
    pub(super) functions: Checked,
    pub(super) beginning: Beginning,
}

/// How an instance of a program begins.
pub(super) enum Beginning {
    /// As its author built it: `configure` is to be called.
    Blank,
    /// The same, but a host that makes images would have one of what `configure` leaves: calling it is no part of the
    /// transaction, neither of its cost nor of its limits.
    Uncounted,
    /// With the memory that `configure` left: only its handles have to be given back to it.
    Configured(Handles),
}

impl Plugin {
    pub(super) fn new(terms: Terms, program: Program, artifact: Key, plan: Plan, settings: &config::Plugin) -> Self {
        let (on_error, grants) = (settings.on_error, settings.grants.clone());
        Self(Arc::new(Inner { terms, program: Arc::new(program), artifact, plan, on_error, grants }))
    }

    /// Whether it is the same component with the same configuration.
    pub fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        Arc::ptr_eq(ours, theirs)
            || ours.artifact == theirs.artifact && ours.terms.configuration == theirs.terms.configuration
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.terms.facilities.plugin
    }

    /// What it asked for.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// Whether it asked to be called in this phase. For the body phase see also [`Plan::body`].
    pub fn wants(&self, phase: Phases) -> bool {
        self.0.plan.phases.contains(phase)
    }

    /// What follows from each cause of failure.
    pub fn on_error(&self) -> &OnError {
        &self.0.on_error
    }

    /// The interfaces that it may import beyond message and observe.
    pub fn grants(&self) -> &[Grant] {
        &self.0.grants
    }

    /// Whether its sandboxes begin configured, instead of calling `configure` in each.
    pub fn begins_configured(&self) -> bool {
        matches!(self.0.program.beginning, Beginning::Configured(_))
    }

    /// A fresh sandbox for one transaction, configured and with its transaction made. To be called when the first phase
    /// that the plugin asked for begins.
    ///
    /// # Errors
    ///
    /// When there is no room for it within the plugin's timeout, or the filter fails before it is ready.
    pub async fn sandbox(
        &self,
        facts: &Arc<TransactionFacts>,
        evaluation: &Arc<Evaluation>,
    ) -> Result<Sandbox, Failure> {
        let transaction = Transaction { facts: Arc::clone(facts), evaluation: Arc::clone(evaluation) };
        let live = Live::for_transaction(&self.0.terms, &self.0.program, self.plan(), transaction).await?;
        Ok(Sandbox::new(self.clone(), live))
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plugin").field("name", &self.name()).field("plan", self.plan()).finish_non_exhaustive()
    }
}
