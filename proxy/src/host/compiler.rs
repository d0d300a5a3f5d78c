//! The compiler in a process of its own: what it takes of memory ends with it.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use wasmtime::component::Component;

use super::cache::{Cache, Key};
use super::options::Options;
use super::snapshot::{self, Recipe};
use super::{Shared, engine, load};

/// The command of this program that compiles, and its words for counting fuel and for memory that is configured.
const COMMAND: &str = "compile";
const FUEL: &str = "--fuel";
const CONFIGURED: &str = "--configured";
const MEMORY: &str = "--memory";

/// For configuring a filter once more, which has been configured before within its own limits.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a configuration. A file of configuration is far smaller.
const CONFIGURATION_LIMIT: u64 = 64 << 20;

/// A component's file, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) bytes: Arc<[u8]>,
}

/// Compiles a component into the cache folder, blank or configured; whether that went well. Blocks.
pub(super) fn run(source: &Path, cache: &Path, options: Options, recipe: Option<&Recipe>) -> bool {
    let compile = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).args(options.fuel.then_some(FUEL));
        if let Some(recipe) = recipe {
            command.args([CONFIGURED, MEMORY, &recipe.memory.to_string()]);
        }
        command.args([source, cache].map(OsStr::new));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        if let (Some(mut input), Some(recipe)) = (child.stdin.take(), recipe) {
            // What it could not read it says with its exit status.
            drop(input.write_all(recipe.configuration.as_bytes()));
        }
        child.wait()
    };
    match compile() {
        Ok(status) => status.success(),
        Err(error) => {
            tracing::debug!(%error, "the compiler did not start; plugins are compiled in this process");
            false
        }
    }
}

/// The compiler's process: compiles `source` into the folder `cache`.
///
/// # Errors
///
/// When the component is not valid, or the folder cannot be used.
pub fn compile(source: &Path, cache: &Path, fuel: bool) -> anyhow::Result<()> {
    // Nothing is run here.
    let (engine, _) = engine::build(options(fuel))?;
    load::compile_into_cache(&engine, source, &Cache::open(cache)?)
}

/// The same for a component with its configuration in its memory. The configuration is read from the standard input;
/// `memory` is the filter's limit in bytes.
///
/// # Errors
///
/// When that cannot be done with this filter.
pub async fn compile_configured(source: &Path, cache: &Path, fuel: bool, memory: u64) -> anyhow::Result<()> {
    let mut configuration = String::new();
    io::stdin().lock().take(CONFIGURATION_LIMIT).read_to_string(&mut configuration)?;
    let shared = Arc::new(Shared::new(options(fuel), cache)?);
    let bytes = load::read(source)?;
    let key = Key::configured(&shared.engine, &bytes, &configuration);
    let configured = snapshot::take(&shared, &bytes, &Recipe { configuration, memory }).await?;
    let component = Component::from_binary(&shared.engine, &configured)?;
    shared.cache.as_ref().context("the cache folder cannot be used")?.store(&key, &component);
    Ok(())
}

fn options(fuel: bool) -> Options {
    Options { fuel, slots: Some(1), ..Options::default() }
}
