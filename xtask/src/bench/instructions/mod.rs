//! `cargo xtask bench instructions`: what each case of the benches costs, in instructions.
//!
//! Unlike a time, that number is nearly the same at each run, however busy the machine is, so that two builds can be told
//! apart anywhere. It says nothing of system calls' insides, of waiting, or of other threads.

pub(super) mod binaries;
mod callgrind;
mod counts;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use binaries::Profile;
use counts::Counts;

/// Changes below this are not worth a word, in percent.
const TOLERANCE: f64 = 10.0;

/// Compiled filters that are kept, of all builds together.
const COMPILED: usize = 40;

/// What to count, and what to compare it with.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only cases whose names begin with one of these
    cases: Vec<String>,
    /// Keep the counts under this name, in target/bench
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Compare with counts kept under this name instead of those in benches/instructions.toml
    #[arg(long, value_name = "NAME", conflicts_with = "against")]
    compare: Option<String>,
    /// Compare with another build: a bench binary, or a git revision, which is built and counted first
    #[arg(long, value_name = "BINARY|REVISION")]
    against: Option<String>,
    /// Build as for a release; the first time that compiles everything anew
    #[arg(long)]
    release: bool,
    /// Write benches/instructions.toml anew
    #[arg(long, conflicts_with_all = ["cases", "release"])]
    write: bool,
}

/// Builds, counts, and prints a table.
///
/// # Errors
///
/// When something does not build or run. Never because of what was counted.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = crate::workspace_root();
    let profile = if options.release { Profile::Release } else { Profile::Quick };
    callgrind::is_installed()?;
    forget_compiled_filters(&root)?;
    let counts = callgrind::count(&root, &binaries::build(&root, &root, profile)?, &options.cases)?;
    let baseline = baseline(options, &root, profile)?;
    counts.print(baseline.as_ref(), TOLERANCE);
    if let Some(name) = &options.save {
        counts.write(&kept(&root, name))?;
    }
    if options.write {
        counts.write(&committed(&root))?;
    }
    Ok(())
}

fn baseline(options: &Options, root: &Path, profile: Profile) -> Result<Option<Counts>> {
    if let Some(other) = &options.against {
        let path = Path::new(other);
        if path.is_file() {
            let path = path.canonicalize().with_context(|| other.clone())?;
            return callgrind::count(root, &[path], &options.cases).map(Some);
        }
        let revision = binaries::Revision::check_out(root, other)?;
        let binaries = binaries::build(root, revision.folder(), profile)?;
        return callgrind::count(root, &binaries, &options.cases).map(Some);
    }
    if let Some(name) = &options.compare {
        return Counts::read(&kept(root, name)).map(Some);
    }
    let committed = committed(root);
    // Those are of the quick build.
    if profile == Profile::Release || options.write || !committed.exists() {
        return Ok(None);
    }
    Counts::read(&committed).map(Some)
}

/// Each build of the host leaves compiled filters of its own; now and then they go.
fn forget_compiled_filters(root: &Path) -> Result<()> {
    let folder = root.join("target/bench/state/cache");
    if std::fs::read_dir(&folder).is_ok_and(|files| files.count() > COMPILED) {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn kept(root: &Path, name: &str) -> PathBuf {
    root.join("target/bench").join(format!("{name}.toml"))
}

fn committed(root: &Path) -> PathBuf {
    root.join("benches/instructions.toml")
}
