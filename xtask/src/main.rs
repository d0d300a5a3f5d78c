//! `cargo xtask`: what developers and filter authors run besides cargo itself.
//!
//! - `plugins` builds filters and makes them components;
//! - `release` builds mailweir with a profile of its own work;
//! - `test` runs every test of the repository;
//! - `demo` shows messages pass, get rejected and get rerouted;
//! - `acceptance` measures the built binary against the release criteria;
//! - `conformance` runs other people's test suites against the built binary;
//! - `guards` shows that tests against attacks fail without what they guard;
//! - `fuzz` runs the fuzz targets;
//! - `bench` measures mailweir and other servers side by side, and counts instructions;
//! - `licences` looks at the licences of all dependencies.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod plugins;
mod release;
mod toolchain;
mod component;
mod test;
mod demo;
mod acceptance;
mod conformance;
mod guards;
mod licences;
mod fuzz;
mod bench;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tasks of the mailweir repository")]
enum Task {
    /// Build filters and make them components, in target/plugins
    Plugins(plugins::Options),
    /// Build mailweir for release with a profile of its own work, in target/pgo
    Release(release::Options),
    /// Run every test: the workspace, its examples in documentation, the SDK and the plugins
    Test(test::Options),
    /// Start mailweir with example chains, send messages through it and print what happened
    Demo,
    /// Run the release criteria against the built binary and print what each came to
    Acceptance(acceptance::Options),
    /// Run other people's test suites against the built binary and print how far it agrees
    Conformance(conformance::Options),
    /// Take guards against attacks out of a copy of the tree and show that their tests fail without them
    Guards(guards::Options),
    /// Feed the parsers and state machines with inputs made to break them
    Fuzz(fuzz::Options),
    /// Measure what things cost
    Bench(bench::Options),
    /// Look whether deny.toml allows the licence of every dependency
    Licences,
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Plugins(options) => plugins::run(&options),
        Task::Release(options) => release::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Demo => demo::run(),
        Task::Acceptance(options) => acceptance::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Guards(options) => guards::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Licences => licences::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's top folder.
fn workspace_root() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::fs::canonicalize(root).unwrap_or_else(|_| root.into())
}
