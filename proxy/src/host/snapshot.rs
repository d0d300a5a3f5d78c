//! A configured filter as a component: its sandboxes begin with the memory that `configure` left, instead of calling it
//! each time.
//!
//! When a plugin is loaded it is configured once more in an instrumented form of its component, whose memory and globals
//! then become the initial ones of another component; copy-on-write, like any other. The image holds what `configure`
//! made of the configuration and nothing of any message. What a component keeps elsewhere would be lost, so this is for
//! filters whose `configure` did nothing of that kind, which is nearly all:
//!
//! - it called the host for nothing but compiled pattern sets, and their handles can be given back (see [`handles`]);
//! - it made no handles of its own: in the instrumented form doing so is a trap;
//! - its code changes no table (Wizer refuses that), and its modules stand in the outermost component.
//!
//! Any other filter is configured in every sandbox.

mod handles;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use wasmparser::{CanonicalFunction, Parser, Payload};
use wasmtime::component::{Component, Instance, Lift, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::Shared;
use super::cache::Key;
use super::compiler;
use super::context::{Context, Facilities};
use super::functions::Functions;
use super::interfaces;
use super::limits::PAGE;
use super::options::Services;
use super::plugin::{Beginning, Program, Terms};
use super::sandbox::Configured;
use crate::config::Grant;
use crate::message::scan::PatternSet;

pub(super) use handles::Handles;

/// Bytes of linear memory. A larger one might have to be copied into each sandbox instead of mapped.
const MEMORY_LIMIT: usize = 16 << 20;
/// `canon resource.new` and `canon resource.rep`, which differ in this byte alone.
const RESOURCE_NEW: u8 = 0x02;
const RESOURCE_REP: u8 = 0x04;

/// The program whose sandboxes begin configured; none when this filter has to be configured in each.
pub(super) async fn program(
    terms: &Terms,
    source: &compiler::Source,
    grants: &[Grant],
    sets: Vec<Arc<PatternSet>>,
) -> Option<Program> {
    let made = tokio::spawn(component(Arc::clone(&terms.shared), source.clone(), recipe(terms))).await;
    let made = made.context("it ended").flatten();
    let adopted = match made {
        Ok(component) => adopt(terms, &component, grants, sets).await,
        Err(error) => Err(error),
    };
    adopted
        .inspect_err(|error| {
            let plugin = terms.facilities.plugin.as_str();
            tracing::debug!(plugin, error = format!("{error:#}"), "is configured in each sandbox");
        })
        .ok()
}

/// What a snapshot is made from, beyond the component.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// What `configure` is given.
    pub(super) configuration: String,
    /// Bytes of linear memory.
    pub(super) memory: u64,
}

fn recipe(terms: &Terms) -> Recipe {
    Recipe { configuration: terms.configuration.clone(), memory: terms.memory }
}

/// The component from the cache, or a new one.
async fn component(shared: Arc<Shared>, source: compiler::Source, recipe: Recipe) -> Result<Component> {
    let key = Key::configured(&shared.engine, &source.bytes, &recipe.configuration);
    let cached = || shared.cache.as_ref().and_then(|cache| cache.load(&shared.engine, &key));
    if let Some(component) = cached() {
        shared.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
        return Ok(component);
    }
    shared.counters.compiled.fetch_add(1, Ordering::Relaxed);
    if let Some(cache) = shared.cache.as_ref().filter(|_| shared.options.separate_compiler) {
        let (cache, options, path) = (cache.directory().to_owned(), shared.options, source.path.clone());
        let done = tokio::task::spawn_blocking(move || compiler::run(&path, &cache, options, Some(&recipe))).await?;
        ensure!(done, "the compiler's process did not make it");
        return cached().context("the compiler's process left nothing behind");
    }
    let bytes = take(&shared, &source.bytes, &recipe).await?;
    let component = Component::from_binary(&shared.engine, &bytes)?;
    if let Some(cache) = &shared.cache {
        cache.store(&key, &component);
    }
    Ok(component)
}

/// Tries the component out: it has the functions of the filter, and gets its handles back.
async fn adopt(terms: &Terms, component: &Component, grants: &[Grant], sets: Vec<Arc<PatternSet>>) -> Result<Program> {
    let engine = &terms.shared.engine;
    let instances = interfaces::linker(engine, grants)?.instantiate_pre(component)?;
    let functions = Functions::of(component).context("it lost functions")?;
    let handles = Handles::new(component, sets).context("it has no place for handles")?;
    let functions = Configured::try_out(terms, &instances, functions, &handles).await?;
    Ok(Program { instances, functions, beginning: Beginning::Configured(handles) })
}

/// Configures the filter, and makes a component of the state that it is in then.
pub(super) async fn take(shared: &Arc<Shared>, source: &[u8], recipe: &Recipe) -> Result<Vec<u8>> {
    let wizer = Wizer::new();
    let (original, mut instrumented) = wizer.instrument_component(source)?;
    forbid_handles(&mut instrumented)?;
    let component = Component::from_binary(&shared.engine, &instrumented)?;
    let instances = interfaces::linker(&shared.engine, &interfaces::ALL)?.instantiate_pre(&component)?;
    let functions = Functions::of(&component).context("it lost functions")?;
    // It has been configured before under its own limits; what reads its memory takes room for a page more.
    let services = Services { dns: None, clamd: None, state: crate::services::state::StateStore::default() };
    let terms = Terms {
        shared: Arc::clone(shared),
        facilities: Arc::new(Facilities::new("", services, Arc::clone(&shared.counters))),
        configuration: recipe.configuration.clone(),
        timeout: compiler::TIMEOUT,
        cpu: compiler::TIMEOUT,
        memory: recipe.memory.saturating_add(PAGE),
        host_calls: u64::MAX,
    };
    let configured = Configured::make(&terms, &instances, functions).await?;
    let configured = configured.map_err(|error| anyhow::anyhow!("configure failed: {error}"))?;
    let sets = configured.repeatable().context("configure does more than it did")?;
    let mut state = State { configured, memories: HashMap::new(), failed: None };
    let snapshot = wizer.snapshot_component(&original, &mut state).await?;
    if let Some(error) = state.failed {
        return Err(error.into());
    }
    ensure!(state.memories.values().all(|memory| memory.len() <= MEMORY_LIMIT), "it holds too much memory");
    if sets.is_empty() { Ok(snapshot) } else { handles::with_restore(&snapshot) }
}

/// In this component, to make a handle is a trap instead: both take and give a number.
fn forbid_handles(component: &mut [u8]) -> Result<()> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ComponentCanonicalSection(section) = payload? {
            for function in section.into_iter_with_offsets() {
                if let (at, CanonicalFunction::ResourceNew { .. }) = function? {
                    found.push(at);
                }
            }
        }
    }
    for at in found {
        ensure!(component.get(at) == Some(&RESOURCE_NEW), "its canonical functions stand elsewhere");
        component[at] = RESOURCE_REP;
    }
    Ok(())
}

/// Reads the state of the instrumented component.
struct State {
    configured: Configured,
    /// Wizer reads each memory twice; reading it makes it grow.
    memories: HashMap<String, Vec<u8>>,
    failed: Option<wasmtime::Error>,
}

impl State {
    /// Calls an accessor. Wizer expects no failure; after one, what it makes is thrown away.
    async fn read<R, T>(&mut self, interface: &str, name: &str, read: impl FnOnce(&Self, R) -> T) -> Option<T>
    where
        R: Lift + Send + Sync + 'static,
    {
        match self.call(interface, name).await {
            Ok(value) => Some(read(self, value)),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    async fn call<R: Lift + Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> wasmtime::Result<R> {
        let Configured { ground, instance, .. } = &mut self.configured;
        ground.arm();
        let accessor = accessor(instance, &mut ground.store, interface, name)?;
        let function = instance.get_typed_func::<(), (R,)>(&mut ground.store, accessor)?;
        Ok(function.call_async(&mut ground.store, ()).await?.0)
    }
}

fn accessor(
    instance: &Instance,
    store: &mut wasmtime::Store<Context>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<wasmtime::component::ComponentExportIndex> {
    let interface = instance.get_export_index(&mut *store, None, interface);
    let function = interface.and_then(|interface| instance.get_export_index(store, Some(&interface), name));
    function.ok_or_else(|| wasmtime::Error::msg("an accessor is missing"))
}

impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(&mut self, interface: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        if !self.memories.contains_key(name) {
            let copied = |state: &Self, list: WasmList<u8>| list.as_le_slice(&state.configured.ground.store).to_vec();
            let copied = self.read(interface, name, copied).await;
            self.memories.insert(name.to_owned(), copied.unwrap_or_default());
        }
        contents(&self.memories[name]);
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.read(interface, name, |_, value: i32| value).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.read(interface, name, |_, value: i64| value).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.read(interface, name, |_, value: f32| value.to_bits()).await.unwrap_or_default()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.read(interface, name, |_, value: f64| value.to_bits()).await.unwrap_or_default()
    }
}
