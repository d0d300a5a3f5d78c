//! `cargo xtask fuzz`: build the fuzz targets, give them something to begin with, run each for a while.
//!
//! Targets are built by cargo-fuzz with the compiler of the repository: coverage without a sanitizer needs no nightly
//! one, and there is next to no unsafe code that a sanitizer could watch. Only our own crates are instrumented
//! (fuzz/instrument.sh), so that wasmtime is built once and fast.

mod seeds;
mod target;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use target::{Outcome, Target};

/// What CI installs.
const CARGO_FUZZ: &str = "cargo install cargo-fuzz --version 0.13.1 --locked";

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Targets; all of them when none is named
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
    /// Write the seeds, build the targets, and run none
    #[arg(long)]
    build_only: bool,
}

/// Build, seed, run, and print a table. An error when anything was found.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = crate::workspace_root();
    let targets = chosen(Target::all(&root)?, &options.targets)?;
    build(&root, &targets)?;
    for (target, count) in seeds::write(&root, &targets)? {
        println!("fuzz: {count} seeds for {target}");
    }
    if options.build_only {
        return Ok(());
    }
    let mut outcomes = Vec::new();
    for target in &targets {
        println!("fuzz: {} for {} s", target.name, options.seconds);
        outcomes.push(target.run(&root, options.seconds)?);
    }
    print_table(&outcomes);
    let findings: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.finding.is_some()).collect();
    for Outcome { target, finding, .. } in &findings {
        println!("\n{target}: {}", finding.as_deref().unwrap_or_default());
    }
    if !findings.is_empty() {
        bail!("{} of {} targets found something", findings.len(), outcomes.len());
    }
    Ok(())
}

fn chosen(mut targets: Vec<Target>, names: &[String]) -> Result<Vec<Target>> {
    for name in names {
        let known = || targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ");
        ensure!(
            targets.iter().any(|target| target.name == *name),
            "there is no target {name:?}; there are: {}",
            known()
        );
    }
    targets.retain(|target| names.is_empty() || names.contains(&target.name));
    Ok(targets)
}

fn build(root: &Path, targets: &[Target]) -> Result<()> {
    let has_cargo_fuzz = Command::new("cargo").args(["fuzz", "--version"]).stderr(Stdio::null()).output();
    ensure!(has_cargo_fuzz.is_ok_and(|output| output.status.success()), "cargo-fuzz is missing: {CARGO_FUZZ}");
    let mut features: Vec<&str> = targets.iter().flat_map(|target| &target.features).map(String::as_str).collect();
    features.sort_unstable();
    features.dedup();
    // All targets that these features allow: one more costs little, another build of the libraries costs much.
    let mut command = Command::new("cargo");
    command.args(["fuzz", "build", "--release", "--sanitizer", "none", "--no-cfg-fuzzing", "--codegen-units", "16"]);
    command.args(["--no-default-features", "--features", &features.join(",")]);
    command.current_dir(root).env("RUSTC_WRAPPER", root.join("fuzz/instrument.sh"));
    // Flags for other builds would take the place of those that cargo-fuzz sets.
    for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        command.env_remove(name);
    }
    let status = command.status().context("cargo fuzz did not start")?;
    ensure!(status.success(), "the build failed");
    Ok(())
}

fn print_table(outcomes: &[Outcome]) {
    println!("\n{:24} {:>12} {:>10} {:>8}  findings", "target", "executions", "a second", "seconds");
    for outcome in outcomes {
        let rate = outcome.executions / outcome.seconds.max(1);
        let findings = u8::from(outcome.finding.is_some());
        println!("{:24} {:>12} {rate:>10} {:>8}  {findings}", outcome.target, outcome.executions, outcome.seconds);
    }
}
