//! The bench binaries: of this checkout, or of another revision.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// How they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Profile {
    /// As for development, but for our own crates, which are optimised: dependencies are not compiled again.
    Quick,
    /// As shipped.
    Release,
}

/// Builds the bench binaries of `checkout` into the target folder of `root`, and says where they are.
pub(in super::super) fn build(root: &Path, checkout: &Path, profile: Profile) -> Result<Vec<PathBuf>> {
    // The features of dependencies are those of the whole workspace, so that what is compiled already serves.
    let mut command = Command::new(env!("CARGO"));
    command.args(["bench", "--workspace", "--no-run"]);
    for name in names(checkout)? {
        command.args(["--bench", &name]);
    }
    if profile == Profile::Quick {
        command.args(["--profile", "dev"]);
    }
    command.current_dir(checkout).env("CARGO_TARGET_DIR", root.join("target"));
    let mut executables = executables(command, profile, "bench")?;
    // In an order that does not depend on which was compiled first.
    executables.sort();
    Ok(executables)
}

/// Builds the proxy, and says where it is.
pub(in super::super) fn proxy(root: &Path, profile: Profile) -> Result<PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--workspace", "--bin", "mailweir"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.current_dir(root);
    executables(command, profile, "bin")?.pop().context("cargo named no binary")
}

/// Runs cargo, and takes what it says that it has built of this kind.
fn executables(mut cargo: Command, profile: Profile, kind: &str) -> Result<Vec<PathBuf>> {
    cargo.args(["--message-format", "json-render-diagnostics"]);
    if profile == Profile::Quick {
        cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "3").env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false");
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo did not start")?;
    ensure!(output.status.success(), "the build failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_wanted = message["target"]["kind"] == serde_json::json!([kind]);
        is_wanted.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    let executables: Vec<PathBuf> = executables.collect();
    ensure!(!executables.is_empty(), "cargo named no binary");
    Ok(executables)
}

/// The benches of a checkout that can be counted: those that hand their cases to the harness.
fn names(checkout: &Path) -> Result<Vec<String>> {
    let folder = checkout.join("benches/benches");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".rs"))
            && std::fs::read_to_string(&path)?.contains("Harness::main(")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Another revision, checked out under target/bench as long as this lives.
pub(super) struct Revision {
    root: PathBuf,
    folder: PathBuf,
}

impl Revision {
    /// Checks out what git knows by this name.
    pub(super) fn check_out(root: &Path, name: &str) -> Result<Self> {
        let revision = Self { root: root.to_owned(), folder: root.join("target/bench/revision") };
        // A run that was killed has left one.
        let _ = revision.remove();
        let mut add = revision.worktree(&["add", "--quiet", "--force", "--detach"]);
        let output = add.arg(&revision.folder).arg(name).output().context("git did not start")?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(revision)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn remove(&self) -> std::io::Result<Output> {
        self.worktree(&["remove", "--force"]).arg(&self.folder).output()
    }

    fn worktree(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("worktree").args(arguments).current_dir(&self.root);
        command
    }
}

impl Drop for Revision {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}
