//! One fuzz target: where its files are, and a run of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Memory that a target may take, in MiB. Inputs are small, and so are the budgets that they are given.
const MEMORY: u32 = 1024;
/// Seconds for one input; a loaded machine is slow, but an input is some kilobytes.
const TIMEOUT: u32 = 20;
/// Bytes of an input: enough to get past one piece of content (16 KiB) twice.
const LONGEST: usize = 40_000;

/// A target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// Features that it needs.
    pub(super) features: Vec<String>,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) target: String,
    pub(super) executions: u64,
    pub(super) seconds: u64,
    /// What was found, and how to see it again.
    pub(super) finding: Option<String>,
}

impl Target {
    /// All of them, in the order of fuzz/Cargo.toml.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path", "fuzz/Cargo.toml"])
            .current_dir(root)
            .output()
            .context("cargo metadata did not start")?;
        ensure!(output.status.success(), "fuzz/Cargo.toml: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        let of_kind = |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"bin".into()));
        let targets = metadata["packages"][0]["targets"].as_array().into_iter().flatten().filter(of_kind);
        Ok(targets.filter_map(Self::of).collect())
    }

    fn of(target: &Value) -> Option<Self> {
        let features = target["required-features"].as_array().into_iter().flatten();
        let features = features.filter_map(|feature| feature.as_str().map(str::to_owned)).collect();
        Some(Self { name: target["name"].as_str()?.to_owned(), features })
    }

    /// The inputs that it begins with and those that it adds.
    pub(super) fn corpus(&self, root: &Path) -> PathBuf {
        root.join("fuzz/corpus").join(&self.name)
    }

    /// Runs it for so many seconds, or until it finds something.
    pub(super) fn run(&self, root: &Path, seconds: u64) -> Result<Outcome> {
        let artifacts = root.join("fuzz/artifacts").join(&self.name);
        fs::create_dir_all(&artifacts)?;
        let log = artifacts.join("log");
        let program = root.join("fuzz/target").join(host()?).join("release").join(&self.name);
        let mut command = Command::new(&program);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-rss_limit_mb={MEMORY}"));
        command.arg(format!("-timeout={TIMEOUT}")).arg(format!("-max_len={LONGEST}")).arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        if let Some(dictionary) = self.dictionary(root) {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        command.arg(self.corpus(root)).env("RUST_BACKTRACE", "1");
        command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let begin = Instant::now();
        let status = command.status().with_context(|| format!("{} did not start", program.display()))?;
        let took = begin.elapsed().as_secs();
        let log = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let executions = log.lines().filter_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let executions = executions.filter_map(|number| number.trim().parse().ok()).next_back().unwrap_or(0);
        let finding = (!status.success()).then(|| finding(&log, &program));
        Ok(Outcome { target: self.name.clone(), executions, seconds: took, finding })
    }

    /// Its own, or that of its family: `smtp` for `smtp_server`.
    fn dictionary(&self, root: &Path) -> Option<PathBuf> {
        let folder = root.join("fuzz/dictionaries");
        let family = self.name.split('_').next().unwrap_or_default();
        let mut files = [&self.name, family].into_iter().map(|name| folder.join(format!("{name}.dict")));
        files.find(|file| file.is_file())
    }
}

/// What the log says of the failure, and the command that shows it again.
fn finding(log: &str, program: &Path) -> String {
    let is_telling = |line: &&str| line.contains("panicked at") || line.contains("SUMMARY:") || line.contains("ERROR:");
    let mut lines = log.lines();
    let mut said: Vec<&str> = lines.by_ref().find(is_telling).into_iter().collect();
    said.extend(lines.take(3));
    let input = log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim());
    let again = match input {
        Some(path) => format!("the input: {path}\nto reproduce: RUST_BACKTRACE=1 {} {path}", program.display()),
        None => "no input was written; the log beside the artifacts has more".to_owned(),
    };
    format!("{}\n{again}", said.join("\n"))
}

/// What the compiler builds for here, and cargo-fuzz by default.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc did not start")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}
