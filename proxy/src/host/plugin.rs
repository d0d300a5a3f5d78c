//! A loaded plugin: from it come the sandboxes.

use std::sync::Arc;
use std::time::Duration;

use super::bindings::FilterPre;
use super::bindings::mailweir::filter::types::Plan;
use super::cache::Key;
use super::context::{Context, Facilities, Transaction};
use super::facts::TransactionFacts;
use super::failure::Failure;
use super::sandbox::{Live, Sandbox};
use super::{Phases, Shared};
use crate::config::{Grant, OnError};
use crate::services::authentication::Evaluation;

/// A plugin, loaded and configured. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    blueprint: Blueprint,
    plan: Plan,
    on_error: OnError,
    grants: Vec<Grant>,
}

/// What a sandbox is made from.
pub(super) struct Blueprint {
    pub(super) shared: Arc<Shared>,
    /// Which component it is.
    pub(super) artifact: Key,
    pub(super) filter: FilterPre<Context>,
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

impl Plugin {
    pub(super) fn new(blueprint: Blueprint, plan: Plan, on_error: OnError, grants: Vec<Grant>) -> Self {
        Self(Arc::new(Inner { blueprint, plan, on_error, grants }))
    }

    /// Whether it is the same component with the same configuration.
    pub fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.blueprint(), other.blueprint());
        Arc::ptr_eq(&self.0, &other.0) || ours.artifact == theirs.artifact && ours.configuration == theirs.configuration
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.blueprint.facilities.plugin
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

    pub(super) fn blueprint(&self) -> &Blueprint {
        &self.0.blueprint
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
        let live = Live::for_transaction(self.blueprint(), self.plan(), transaction).await?;
        Ok(Sandbox::new(self.clone(), live))
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plugin").field("name", &self.name()).field("plan", self.plan()).finish_non_exhaustive()
    }
}
