//! A sandbox's own data: what the host functions that its filter calls work on.

use std::sync::Arc;

use quick_cache::sync::Cache;
use wasmtime::component::{HasData, Resource, ResourceTable, ResourceTableError};

use super::counters::{Counters, Events};
use super::facts::{MailView, TransactionFacts};
use super::failure::HostFault;
use super::limits::Limits;
use super::meter::Meter;
use super::options::Services;
use super::resources::Mail;
use crate::message::scan::PatternSet;
use crate::message::{Message, MessageFault};
use crate::services::authentication::Evaluation;
use crate::services::state::Namespace;

/// Pattern sets that are kept compiled for one plugin.
const PATTERN_SETS: usize = 64;
/// Handles that a filter may hold at once.
const HANDLES: usize = 1000;

/// What the sandboxes of one plugin share.
pub(super) struct Facilities {
    pub(super) plugin: String,
    pub(super) services: Services,
    pub(super) namespace: Namespace,
    pub(super) events: Arc<Events>,
    pub(super) counters: Arc<Counters>,
    /// Compiled pattern sets, by a digest of their patterns and options.
    pub(super) patterns: Cache<[u8; 32], Arc<PatternSet>>,
}

impl Facilities {
    pub(super) fn new(plugin: &str, services: Services, counters: Arc<Counters>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            namespace: services.state.namespace(plugin),
            services,
            events: counters.events_of(plugin),
            counters,
            patterns: Cache::new(PATTERN_SETS),
        }
    }
}

/// The transaction that a sandbox serves.
#[derive(Clone)]
pub(super) struct Transaction {
    pub(super) facts: Arc<TransactionFacts>,
    pub(super) evaluation: Arc<Evaluation>,
}

/// The data of one sandbox's store.
pub(super) struct Context {
    pub(super) table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) meter: Arc<Meter>,
    pub(super) facilities: Arc<Facilities>,
    /// None while a plugin is loaded.
    pub(super) transaction: Option<Transaction>,
    /// The pattern sets that a plugin had compiled while it was loaded; none once it dropped one.
    pub(super) compiled: Option<Vec<Arc<PatternSet>>>,
}

/// How the linker gets at a [`Context`].
pub(super) struct HasContext;

impl HasData for HasContext {
    type Data<'a> = &'a mut Context;
}

impl Context {
    pub(super) fn new(limits: Limits, meter: Arc<Meter>, facilities: Arc<Facilities>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self { table, limits, meter, facilities, transaction: None, compiled: Some(Vec::new()) }
    }

    /// The view behind a handle.
    ///
    /// # Errors
    ///
    /// When the handle is not one of this sandbox, which the engine should have noticed.
    pub(super) fn mail(&self, handle: &Resource<Mail>) -> Result<&Arc<MailView>, ResourceTableError> {
        self.table.get(handle).map(|mail| &mail.0)
    }

    /// Counts a host call and gives the view behind its handle.
    pub(super) fn call_on(&mut self, handle: &Resource<Mail>) -> wasmtime::Result<Arc<MailView>> {
        self.limits.host_call()?;
        Ok(Arc::clone(self.mail(handle)?))
    }

    /// Sender authentication for the transaction.
    ///
    /// # Errors
    ///
    /// Before there is a transaction: in `configure`.
    pub(super) fn evaluation(&self) -> Result<Arc<Evaluation>, HostFault> {
        let transaction = self.transaction.as_ref();
        let transaction = transaction.ok_or(HostFault::Misuse("sender authentication outside of a transaction"))?;
        Ok(Arc::clone(&transaction.evaluation))
    }

    /// Counts bytes handed to the filter.
    pub(super) fn hand_over(&mut self, bytes: usize) {
        self.limits.hand_over(bytes);
    }
}

/// Runs work that may take long with a large message, and reports what it finds wrong with it.
pub(super) async fn work<T: Send + 'static>(
    message: &Message,
    work: impl FnOnce(&Message) -> Result<T, MessageFault> + Send + 'static,
) -> Result<T, HostFault> {
    match message.work(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(HostFault::Unavailable(format!("work on the message ended: {error}"))),
    }
}
