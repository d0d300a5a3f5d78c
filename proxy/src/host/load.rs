//! Loading a plugin: from a file to a configured filter, with every error telling the operator what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre};

use super::bindings::FilterPre;
use super::bindings::mailweir::filter::types::{BodyMode, Phases, Plan};
use super::cache::{Cache, Key};
use super::compiler::{self, Source};
use super::context::{Context, Facilities};
use super::engine::{CORE_INSTANCES, MEMORY_LIMIT, TABLES};
use super::failure::{Failure, one_line};
use super::functions::Functions;
use super::interfaces::{self, Import};
use super::perf_map;
use super::plugin::{Beginning, Plugin, Program, Terms};
use super::sandbox::Configured;
use super::snapshot;
use super::{Services, Shared};
use crate::config::{self, Grant};

/// Bytes of a component file.
const FILE_LIMIT: u64 = 256 << 20;
/// Bytes of a filter's own error that are shown.
const TEXT_LIMIT: usize = 4096;

/// Why a plugin could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{place}: plugin.{plugin}: {fault}")]
pub struct LoadError {
    /// Where its table begins, as "file:line".
    pub place: String,
    /// Its name in the configuration.
    pub plugin: String,
    /// What is wrong.
    pub fault: LoadFault,
}

/// What is wrong with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// The operator's: the file cannot be read.
    #[error("source: {}: {error}; set server.plugin_dir or source, or build the plugin", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The operator's: the file is no WebAssembly.
    #[error("source: {}: not a WebAssembly component", .0.display())]
    NotWasm(PathBuf),
    /// The author's: the file is a core module, not yet a component.
    #[error(
        "source: {}: a core WebAssembly module, not a component: turn it into one, as with `wasm-tools component new`",
        .0.display()
    )]
    CoreModule(PathBuf),
    /// The author's: the component is not valid, or needs what the host does not have.
    #[error("source: {}: {detail}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The engine's words.
        detail: String,
    },
    /// The operator's to decide: it wants interfaces that are not granted.
    #[error(
        "imports {}, which the configuration does not grant; if it may have it, add to [plugin.{plugin}]: {line}",
        interfaces.join(" and ")
    )]
    NotGranted {
        /// The plugin.
        plugin: String,
        /// What it imports.
        interfaces: Vec<String>,
        /// The line that grants it.
        line: String,
    },
    /// The author's: it wants what no filter gets.
    #[error(
        "imports {0}, which mailweir does not offer; filters have no files, sockets, clocks or other WASI interfaces"
    )]
    UnknownImport(String),
    /// The author's: it was made for another version of the contract.
    #[error("was made for {found}; this mailweir serves {served}")]
    OtherVersion {
        /// What it imports or exports.
        found: String,
        /// What there is.
        served: String,
    },
    /// The author's: it does not export the contract's handler.
    #[error("is no filter: it does not export {0}")]
    NotAFilter(&'static str),
    /// The operator's: an interface is granted, but what stands behind it is not configured.
    #[error("is granted {0:?}, but the configuration has no [{0}] table")]
    NoService(&'static str),
    /// The operator's or the author's: the filter refuses its configuration.
    #[error("config: {0}")]
    Configure(String),
    /// The author's: the filter fails before it is ready.
    #[error("fails in configure: {0}")]
    Failed(Failure),
    /// The author's: the plan makes no sense.
    #[error("its plan {0}")]
    Plan(&'static str),
}

/// Loads a plugin: see [`super::Host::load`].
pub(super) async fn load(
    shared: Arc<Shared>,
    services: &Services,
    name: &str,
    plugin: &config::Plugin,
) -> Result<Plugin, LoadError> {
    let located = |fault| LoadError { place: plugin.place.clone(), plugin: name.to_owned(), fault };
    let (source, component, artifact) = compiled(&shared, &plugin.source).await.map_err(located)?;
    let instances = instances(&shared.engine, &component, services, name, plugin).map_err(located)?;
    let functions = Functions::of(&component).ok_or_else(|| located(LoadFault::NotAFilter(interfaces::HANDLER)))?;
    let terms = Terms {
        facilities: Arc::new(Facilities::new(name, services.clone(), Arc::clone(&shared.counters))),
        shared,
        configuration: plugin.config.to_string(),
        timeout: plugin.timeout,
        cpu: plugin.cpu,
        memory: plugin.memory.min(MEMORY_LIMIT),
        host_calls: plugin.host_calls,
    };
    let configured = match Configured::make(&terms, &instances, functions).await {
        Ok(Ok(configured)) => configured,
        Ok(Err(text)) => return Err(located(LoadFault::Configure(one_line(&text, TEXT_LIMIT)))),
        Err(failure) => return Err(located(LoadFault::Failed(failure))),
    };
    let plan = check_plan(configured.plan).map_err(located)?;
    // One that asked for nothing has no sandboxes.
    let repeatable = configured.repeatable().filter(|_| plan.phases != Phases::empty());
    let as_built = |beginning| Program { instances, functions: configured.functions, beginning };
    let program = match repeatable {
        None => as_built(Beginning::Blank),
        Some(_) if terms.shared.options.configure_each => as_built(Beginning::Uncounted),
        Some(sets) => {
            let program = snapshot::program(&terms, &source, &plugin.grants, sets).await;
            program.unwrap_or_else(|| as_built(Beginning::Blank))
        }
    };
    perf_map::tell(name, program.instances.component());
    Ok(Plugin::new(terms, program, artifact, plan, plugin))
}

/// A component's file, the component, and its name in the cache.
async fn compiled(shared: &Arc<Shared>, path: &Path) -> Result<(Source, Component, Key), LoadFault> {
    let (compiling, source) = (Arc::clone(shared), path.to_owned());
    let compiled = tokio::task::spawn_blocking(move || compile(&compiling, source)).await;
    compiled.unwrap_or_else(|error| {
        Err(LoadFault::Invalid { path: path.to_owned(), detail: format!("compiling it failed: {error}") })
    })
}

/// Checks the component against what it is granted, and links it with that.
fn instances(
    engine: &Engine,
    component: &Component,
    services: &Services,
    name: &str,
    plugin: &config::Plugin,
) -> Result<InstancePre<Context>, LoadFault> {
    check_contract(engine, component, name, &plugin.grants)?;
    check_services(services, &plugin.grants)?;
    let invalid = |error: wasmtime::Error| LoadFault::Invalid {
        path: plugin.source.clone(),
        detail: one_line(&format!("{error:#}"), TEXT_LIMIT),
    };
    check_size(component).map_err(|detail| LoadFault::Invalid { path: plugin.source.clone(), detail })?;
    let linker = interfaces::linker(engine, &plugin.grants).map_err(invalid)?;
    let instances = linker.instantiate_pre(component).map_err(invalid)?;
    // Names what is missing in the handler, should something be.
    FilterPre::new(instances.clone()).map_err(invalid)?;
    Ok(instances)
}

/// Reads a component's file.
///
/// # Errors
///
/// When it cannot be read, or is too large.
pub(super) fn read(source: &Path) -> io::Result<Vec<u8>> {
    config::read_regular(source, FILE_LIMIT)
}

/// What the compiler's process does: compiles one component into the cache. Its errors are nobody's: the process that
/// started it compiles again and reports its own.
///
/// # Errors
///
/// When the component is not valid, or nothing can be written.
pub(super) fn compile_into_cache(engine: &Engine, source: &Path, cache: &Cache) -> anyhow::Result<()> {
    let bytes = read(source)?;
    let component = Component::from_binary(engine, &bytes).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    cache.store(&Key::new(engine, &bytes), &component);
    Ok(())
}

/// Reads and compiles a component, or takes it from the cache.
fn compile(shared: &Shared, path: PathBuf) -> Result<(Source, Component, Key), LoadFault> {
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(LoadFault::Read { path, error }),
    };
    match bytes.get(..8) {
        // The preamble: "\0asm", the version, and the layer: 0 for modules, 1 for components.
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => return Err(LoadFault::CoreModule(path)),
        _ => return Err(LoadFault::NotWasm(path)),
    }
    let source = Source { path, bytes: bytes.into() };
    let key = Key::new(&shared.engine, &source.bytes);
    let cached = || shared.cache.as_ref().and_then(|cache| cache.load(&shared.engine, &key));
    if let Some(component) = cached() {
        shared.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
        return Ok((source, component, key));
    }
    shared.counters.compiled.fetch_add(1, Ordering::Relaxed);
    if let Some(cache) = shared.cache.as_ref().filter(|_| shared.options.separate_compiler)
        && compiler::run(&source.path, cache.directory(), shared.options, None)
        && let Some(component) = cached()
    {
        return Ok((source, component, key));
    }
    let component = Component::from_binary(&shared.engine, &source.bytes).map_err(|error| LoadFault::Invalid {
        path: source.path.clone(),
        detail: one_line(&format!("{error:#}"), TEXT_LIMIT),
    })?;
    if let Some(cache) = &shared.cache {
        cache.store(&key, &component);
    }
    Ok((source, component, key))
}

/// Checks what the component imports and exports, before the engine does with less helpful words.
fn check_contract(engine: &Engine, component: &Component, plugin: &str, grants: &[Grant]) -> Result<(), LoadFault> {
    let contract = component.component_type();
    let mut missing = Vec::new();
    for (name, _) in contract.imports(engine) {
        match Import::of(name) {
            Import::Always => {}
            Import::Needs(grant) if grants.contains(&grant) => {}
            Import::Needs(grant) => missing.push((name.to_owned(), grant)),
            Import::OtherVersion => return Err(other_version(name)),
            Import::Unknown => return Err(LoadFault::UnknownImport(one_line(name, TEXT_LIMIT))),
        }
    }
    if contract.get_export(engine, interfaces::HANDLER).is_none() {
        let handler = contract.exports(engine).map(|(name, _)| name).find(|name| interfaces::is_handler(name));
        return Err(handler.map_or(LoadFault::NotAFilter(interfaces::HANDLER), other_version));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut needed = grants.to_vec();
    needed.extend(missing.iter().map(|(_, grant)| *grant));
    needed.sort_unstable();
    needed.dedup();
    let words: Vec<String> = needed.into_iter().map(|grant| format!("{:?}", interfaces::word(grant))).collect();
    Err(LoadFault::NotGranted {
        plugin: plugin.to_owned(),
        interfaces: missing.into_iter().map(|(name, _)| name).collect(),
        line: format!("grants = [{}]", words.join(", ")),
    })
}

fn other_version(name: &str) -> LoadFault {
    LoadFault::OtherVersion { found: one_line(name, TEXT_LIMIT), served: interfaces::PACKAGE.to_owned() }
}

/// Only what is configured can be granted. DNS and sender authentication are there as soon as there is a resolver.
fn check_services(services: &Services, grants: &[Grant]) -> Result<(), LoadFault> {
    if services.clamd.is_none() && grants.contains(&Grant::Antivirus) {
        return Err(LoadFault::NoService("antivirus"));
    }
    if services.dns.is_none() && grants.contains(&Grant::Dns) {
        return Err(LoadFault::NoService("dns"));
    }
    Ok(())
}

/// The pool has room for so much of each sandbox.
fn check_size(component: &Component) -> Result<(), String> {
    let Some(required) = component.resources_required() else {
        return Err("imports core modules, which a filter cannot".to_owned());
    };
    if required.num_memories > 1 {
        return Err(format!("has {} linear memories; a filter can have one", required.num_memories));
    }
    if required.num_tables > TABLES {
        return Err(format!(
            "has {} tables; a filter can have {TABLES}, and {CORE_INSTANCES} core instances",
            required.num_tables
        ));
    }
    Ok(())
}

/// A plan that says one thing and its opposite is a mistake worth telling before the first message.
fn check_plan(plan: Plan) -> Result<Plan, LoadFault> {
    let pushes = matches!(plan.body, BodyMode::PushRaw | BodyMode::PushDecodedText);
    match (pushes, plan.phases.contains(Phases::BODY)) {
        (true, false) => Err(LoadFault::Plan("wants the body pushed, but does not ask for the body phase")),
        (false, true) => Err(LoadFault::Plan("asks for the body phase, but does not want the body pushed")),
        _ if plan.edits && !plan.phases.contains(Phases::END_OF_MESSAGE) => {
            Err(LoadFault::Plan("announces edits, but does not ask for the end-of-message phase, which returns them"))
        }
        _ => Ok(plan),
    }
}
