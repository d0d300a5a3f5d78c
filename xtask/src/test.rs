//! `cargo xtask test`: every test of the repository, in an order in which the quick failures come first.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::plugins;

/// What the tests can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

/// A step and how it went.
struct Step {
    name: &'static str,
    passed: bool,
    took: Duration,
}

/// Run all steps, also after one failed, and fail if any did.
pub(crate) fn run(_options: &Options) -> Result<()> {
    let root = crate::workspace_root();
    let mut steps = Vec::new();
    // Tests of the proxy load the plugins, so these come first.
    let built = step(&mut steps, "plugins as components", || {
        plugins::run(&plugins::Options::default()).inspect_err(|error| eprintln!("error: {error:#}")).is_ok()
    });
    if built {
        if has_nextest() {
            step(&mut steps, "workspace", || cargo(&root, &["nextest", "run", "--workspace", "--no-fail-fast"]));
            step(&mut steps, "workspace examples", || cargo(&root, &["test", "--workspace", "--doc", "--quiet"]));
        } else {
            step(&mut steps, "workspace", || cargo(&root, &["test", "--workspace", "--no-fail-fast", "--quiet"]));
        }
    }
    step(&mut steps, "sdk", || native(&root, "sdk/rust"));
    step(&mut steps, "plugins natively", || native(&root, "plugins"));

    println!();
    for Step { name, passed, took } in &steps {
        println!("{:6}  {name} ({:.1} s)", if *passed { "passed" } else { "FAILED" }, took.as_secs_f64());
    }
    if steps.iter().any(|step| !step.passed) {
        bail!("not all tests passed");
    }
    Ok(())
}

fn step(steps: &mut Vec<Step>, name: &'static str, run: impl FnOnce() -> bool) -> bool {
    println!("\n=== {name}");
    let begin = Instant::now();
    let passed = run();
    steps.push(Step { name, passed, took: begin.elapsed() });
    passed
}

/// Tests of the SDK and the plugins, which are workspaces of their own and share what they compile.
fn native(root: &Path, folder: &str) -> bool {
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--no-fail-fast", "--quiet"]).current_dir(root.join(folder));
    command.env("CARGO_TARGET_DIR", root.join("plugins/target"));
    succeeds(&mut command)
}

fn cargo(root: &Path, arguments: &[&str]) -> bool {
    succeeds(Command::new("cargo").args(arguments).current_dir(root))
}

fn has_nextest() -> bool {
    succeeds(Command::new("cargo").args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()))
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
