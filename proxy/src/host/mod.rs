//! The Wasm host: runs filters, each in a sandbox of its own.
//!
//! A [`Host`] is made once in a process. It [loads](Host::load) each configured plugin into a [`Plugin`]: compiled
//! (or taken from the cache of compiled artifacts), its imports checked against what the configuration grants, and
//! its `configure` called once. For a transaction a plugin makes a [`Sandbox`], which serves that one transaction and
//! is thrown away.
//!
//! What a filter returns is checked here and leaves as [`crate::verdict`] types; what goes wrong in one leaves as a
//! [`Failure`] with its cause. What a decision or a failure leads to is the chain's business, not this module's.

mod options;
mod plugin;
mod load;
mod snapshot;
mod compiler;
mod sandbox;
mod facts;
mod failure;
pub mod output;
mod context;
mod meter;
mod limits;
mod interfaces;
mod resources;
mod functions;
mod bindings;
mod engine;
mod ticker;
mod cache;
mod perf_map;
mod counters;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use wasmtime::Engine;

pub use bindings::mailweir::filter::types::{BodyMode, Phases, Plan};
pub use compiler::{compile, compile_configured};
pub use counters::Snapshot;
pub use facts::{MailView, TlsFacts, TransactionFacts};
pub use failure::{Cause, Failure};
pub use load::LoadError;
pub use options::{Options, Services};
pub use plugin::Plugin;
pub use sandbox::{Cost, Sandbox};

use crate::config;
use crate::message::Budget;
use cache::Cache;
use counters::Counters;
use ticker::Ticker;

/// The host could not be set up: the operator's or the machine's fault.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine refused its settings, or could not reserve its address space.
    #[error("setting up the WebAssembly engine: {0}")]
    Engine(String),
    /// The thread that counts time for filters did not start.
    #[error("starting the tick thread: {0}")]
    Ticker(#[source] std::io::Error),
}

/// The engine and what all plugins share. Cheap to clone; its tick thread ends with the last clone, plugin and sandbox.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    services: Services,
}

/// What plugins and sandboxes need of their host.
struct Shared {
    engine: Engine,
    options: Options,
    cache: Option<Cache>,
    /// One permit for each sandbox that the pooling allocator has room for.
    slots: Arc<Semaphore>,
    counters: Arc<Counters>,
    ticker: Ticker,
    /// Where the sandboxes' memory is counted, once that is known.
    memory: OnceLock<Budget>,
}

impl Shared {
    fn new(options: Options, cache: &Path) -> Result<Self, HostError> {
        let (engine, slots) = engine::build(options)?;
        let counters = Arc::new(Counters::default());
        counters.limit.store(slots, Ordering::Relaxed);
        let ticker = Ticker::start(engine.clone(), Arc::clone(&counters)).map_err(HostError::Ticker)?;
        let cache = Cache::open(cache)
            .inspect_err(|error| {
                tracing::warn!(directory = %cache.display(), %error, "compiled plugins are not cached");
            })
            .ok();
        let slots = Arc::new(Semaphore::new(slots));
        Ok(Self { engine, options, cache, slots, counters, ticker, memory: OnceLock::new() })
    }
}

impl Host {
    /// A host with the usual options.
    ///
    /// # Errors
    ///
    /// When the engine or its tick thread cannot be had. A cache folder that cannot be used is no error: it is
    /// logged, and plugins are compiled at each start.
    pub fn new(server: &config::Server, services: Services) -> Result<Self, HostError> {
        Self::with_options(server, services, Options::default())
    }

    /// A host with these options.
    ///
    /// # Errors
    ///
    /// As [`Host::new`].
    pub fn with_options(server: &config::Server, services: Services, options: Options) -> Result<Self, HostError> {
        let shared = Arc::new(Shared::new(options, &server.state_dir.join("cache"))?);
        Ok(Self { shared, services })
    }

    /// The same host, its room for sandboxes and its counters included, with other services for the plugins that it
    /// loads from now on: what a reload needs.
    #[must_use]
    pub fn with_services(&self, services: Services) -> Self {
        Self { shared: Arc::clone(&self.shared), services }
    }

    /// From now on the memory of each new sandbox is counted there, and one for which there is none is not made. Only
    /// the first call counts.
    pub fn count_memory(&self, budget: &Budget) {
        let _ = self.shared.memory.set(budget.clone());
    }

    /// Loads the plugin that the configuration calls `name`.
    ///
    /// # Errors
    ///
    /// When the file is no filter, wants what is not granted, or refuses its configuration.
    pub async fn load(&self, name: &str, plugin: &config::Plugin) -> Result<Plugin, LoadError> {
        load::load(Arc::clone(&self.shared), &self.services, name, plugin).await
    }

    /// What happened so far.
    pub fn counters(&self) -> Snapshot {
        self.shared.counters.snapshot()
    }

    /// The events that each plugin counted, by plugin and event.
    pub fn events(&self) -> Vec<(String, String, u64)> {
        self.shared.counters.events()
    }
}
