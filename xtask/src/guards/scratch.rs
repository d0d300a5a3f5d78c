//! A copy of the tree to take guards out of.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::list::Guard;

/// The exit status of `cargo nextest run` when tests failed, rather than the build.
const TESTS_FAILED: i32 = 100;

/// The copy, and a target folder of its own; both are gone when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
}

/// How a run of tests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "passes",
            Self::Failed => "fails",
        })
    }
}

impl Scratch {
    /// Copies the files that git knows, as they are now. What is compiled is linked, not copied.
    pub(super) fn new(original: &Path) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| original.join("target"), PathBuf::from);
        let scratch = Self { folder: target.join("guards") };
        scratch.remove();
        for file in tracked(original)? {
            let to = scratch.tree().join(&file);
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            fs::copy(original.join(&file), to).with_context(|| format!("copy {file}"))?;
        }
        // The lock is left out: linked, it would be the original's. What is compiled bit by bit is changed in place.
        let left_out = ["incremental", ".cargo-lock", ".cargo-build-lock", ".cargo-artifact-lock"];
        link(&target.join("debug"), &scratch.target().join("debug"), &left_out)?;
        link(&target.join("plugins"), &scratch.target().join("plugins"), &[])?;
        Ok(scratch)
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Runs the guard's test.
    pub(super) fn test(&self, guard: &Guard) -> Result<Outcome> {
        let built = self.nextest(guard).arg("--no-run").status()?;
        ensure!(built.success(), "{}: the tests do not compile", guard.name);
        let status = self.nextest(guard).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        match status.code() {
            Some(0) => Ok(Outcome::Passed),
            Some(TESTS_FAILED) => Ok(Outcome::Failed),
            _ => bail!("{}: the tests could not be run: {status}", guard.name),
        }
    }

    fn nextest(&self, guard: &Guard) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(self.tree()).env("CARGO_TARGET_DIR", self.target());
        command.args(["nextest", "run", "--workspace", "--cargo-quiet"]);
        match guard.target {
            "lib" => command.arg("--lib"),
            target => command.args(["--test", target]),
        };
        command.args(["-E", &format!("test(/{}$/)", guard.test)]);
        command
    }

    /// Replaces the guard's words. What the files were before is returned.
    pub(super) fn take_out(&self, guard: &Guard) -> Result<Vec<(PathBuf, String)>> {
        let mut before = Vec::new();
        for edit in guard.edits {
            let path = self.tree().join(edit.file);
            let text = fs::read_to_string(&path)?;
            ensure!(text.matches(edit.from).count() == 1, "{}: not once in {}: {}", guard.name, edit.file, edit.from);
            fs::write(&path, text.replace(edit.from, edit.to))?;
            before.push((path, text));
        }
        Ok(before)
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The files that git knows and that are there.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    Ok(names.split_terminator('\0').filter(|name| root.join(name).is_file()).map(str::to_owned).collect())
}

/// Hard links to all files of a folder, if there is one.
fn link(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if left_out.iter().any(|left| name == *left) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            link(&entry.path(), &to.join(&name), left_out)?;
        } else {
            fs::hard_link(entry.path(), to.join(&name))
                .or_else(|_| fs::copy(entry.path(), to.join(&name)).map(|_| ()))?;
        }
    }
    Ok(())
}
