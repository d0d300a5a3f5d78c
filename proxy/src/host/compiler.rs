//! The compiler in a process of its own: what it takes of memory ends with it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cache::Cache;
use super::options::Options;
use super::{engine, load};

/// The command of this program that compiles, and the word for counting fuel.
const COMMAND: &str = "compile";
const FUEL: &str = "--fuel";

/// Compiles a component into the cache folder; whether that went well. Blocks.
pub(super) fn run(source: &Path, cache: &Path, options: Options) -> bool {
    let compile = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).args(options.fuel.then_some(FUEL)).args([source, cache].map(OsStr::new));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
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
    let options = Options { fuel, slots: Some(1), separate_compiler: false };
    let (engine, _) = engine::build(options)?;
    load::compile_into_cache(&engine, source, &Cache::open(cache)?)
}
