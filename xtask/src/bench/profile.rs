//! `cargo xtask bench profile`: where the time goes, as a flame graph. perf takes the samples, inferno draws them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mailweir_testkit::programs;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command as Process;

use super::contestant::{self, Contestant};
use super::instructions::binaries::{self, Profile};
use super::parts;
use super::peer::MAILWEIR;
use super::scenario::{SCENARIOS, Scenario};
use super::stage::Stage;

/// The tool that draws, as a crate.
const INFERNO: [&str; 7] =
    ["inferno", "--version", "0.12.6", "--bin", "inferno-collapse-perf", "--bin", "inferno-flamegraph"];
/// The clock and not a counter of the processor, which virtual machines seldom have. Stacks are unwound by tables, since not
/// everything has frame pointers: perf copies so much of each.
const PERF: [&str; 6] =
    ["record", "--quiet", "--event=cpu-clock", "--freq=499", "--call-graph=dwarf,16384", "--output"];
/// What takes less, in percent, is not drawn, so that a graph stays below 200 KB.
const LEAST_WIDTH: &str = "0.3";
/// Has mailweir tell where its filters' code is.
const ENVIRONMENT: &[(&str, &str)] = &[("MAILWEIR_PERF_MAP", "on")];
/// Until perf has attached itself to all threads.
const ATTACHED: Duration = Duration::from_millis(500);
/// Sessions at once.
const SESSIONS: u32 = 10;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The proxy in a scenario of `bench peers`, such as 4k-reused; or a case of the benches, such as
    /// whole/no-filter/plain-4KiB
    subject: String,
    /// Where the graph goes
    #[arg(long, value_name = "FILE", default_value = "target/flame.svg")]
    output: PathBuf,
    /// For how long, about
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Build as for a release; the first time that compiles everything anew
    #[arg(long, conflicts_with = "binary")]
    release: bool,
    /// A mailweir that is built already, with its filters in ../plugins beside it; for scenarios
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// mailweir-load, for what smtp-source cannot send; the one beside mailweir when not given
    #[arg(long, value_name = "PATH")]
    generator: Option<PathBuf>,
    /// Keep the samples in target/bench/perf.data, some 100 MB
    #[arg(long)]
    keep: bool,
}

/// Runs it under perf, and draws.
pub(super) async fn run(options: &Options) -> Result<()> {
    let root = crate::workspace_root();
    let tools = tools(&root)?;
    ensure!(programs::installed("perf").is_some(), "perf is missing: apt-get install linux-perf");
    let data = root.join("target/bench/perf.data");
    std::fs::create_dir_all(root.join("target/bench"))?;
    let profile = if options.release { Profile::Release } else { Profile::Quick };
    let processes = match SCENARIOS.iter().find(|scenario| scenario.name == options.subject) {
        Some(scenario) => under_load(&root, scenario, options, profile, &data).await?,
        None => one_case(&root, options, profile, &data).await?,
    };
    let drawn = draw(&tools, &data, &options.subject, &options.output);
    for process in processes {
        // Only of those that have filters.
        let _ = std::fs::remove_file(format!("/tmp/perf-{process}.map"));
    }
    if !options.keep {
        std::fs::remove_file(&data)?;
    }
    let stacks = drawn?;
    println!("\n{}", parts::table(&std::fs::read_to_string(&stacks)?));
    println!("{} and {}", options.output.display(), stacks.display());
    Ok(())
}

/// The proxy, while it is sent as much as it takes.
async fn under_load(
    root: &Path,
    scenario: &'static Scenario,
    options: &Options,
    profile: Profile,
    data: &Path,
) -> Result<Vec<u32>> {
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => binaries::proxy(root, profile)?,
    };
    let proxy = Contestant::build(MAILWEIR.name, &binary, ENVIRONMENT)?;
    let beside = || contestant::generator_beside([proxy.binary.clone()].into_iter());
    let generator = options.generator.as_ref().map(std::path::absolute).transpose()?.unwrap_or_else(beside);
    let stage = Stage::set(scenario, generator, SESSIONS).await?;
    let server = stage.start(&proxy).await?;
    let warm = stage.sample(&server, scenario.messages).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages, about")]
    let messages = (warm.rate * f64::from(options.seconds)) as u32;
    let mut perf = Process::new("perf");
    perf.args(PERF).arg(data);
    for process in server.tree.roots() {
        perf.arg(format!("--pid={process}"));
    }
    let mut perf = perf.kill_on_drop(true).spawn().context("perf did not start")?;
    tokio::time::sleep(ATTACHED).await;
    let sample = stage.sample(&server, messages.max(SESSIONS)).await?;
    if let Some(id) = perf.id() {
        programs::signal(id, "INT").await?;
    }
    perf.wait().await?;
    println!("{messages} messages, {:.0} µs of CPU time each, perf's share included", sample.cost);
    let processes = server.tree.roots().to_vec();
    server.stop()?;
    Ok(processes)
}

/// A case of the benches, again and again.
async fn one_case(root: &Path, options: &Options, profile: Profile, data: &Path) -> Result<Vec<u32>> {
    let case = &options.subject;
    for binary in binaries::build(root, root, profile)? {
        let mut bench = Process::new(&binary);
        bench.args(["--repeat", case]).envs(ENVIRONMENT.iter().copied());
        let mut bench = bench.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let said = bench.stdout.take().context("what the bench says")?;
        // One that knows the case says so when it begins; the others just end.
        if BufReader::new(said).lines().next_line().await?.is_none() {
            continue;
        }
        let id = bench.id().context("the bench has ended")?;
        let process = format!("--pid={id}");
        let seconds = options.seconds.to_string();
        let status = Process::new("perf").args(PERF).arg(data).args([&process, "sleep", &seconds]).status().await?;
        ensure!(status.success(), "perf failed");
        bench.kill().await?;
        return Ok(vec![id]);
    }
    let scenarios: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    bail!("{case:?} is no case of the benches, and no scenario; those are: {}", scenarios.join(", "))
}

/// From samples to stacks to a picture. The file of the stacks, one a line with its number of samples, is beside it.
fn draw(tools: &Path, data: &Path, title: &str, output: &Path) -> Result<PathBuf> {
    // Looking up what was inlined takes minutes.
    let mut script =
        Command::new("perf").args(["script", "--no-inline", "--input"]).arg(data).stdout(Stdio::piped()).spawn()?;
    let samples = script.stdout.take().context("perf script's output")?;
    if let Some(folder) = output.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let create = |path: &Path| std::fs::File::create(path).with_context(|| path.display().to_string());
    let stacks = output.with_extension("folded");
    let collapsed =
        Command::new(tools.join("inferno-collapse-perf")).stdin(samples).stdout(create(&stacks)?).status()?;
    let all_well = script.wait()?.success() && collapsed.success();
    ensure!(all_well, "the samples in {} cannot be read", data.display());
    let status = Command::new(tools.join("inferno-flamegraph"))
        .args(["--title", title, "--minwidth", LEAST_WIDTH])
        .stdin(std::fs::File::open(&stacks)?)
        .stdout(create(output)?)
        .status()?;
    ensure!(status.success(), "the stacks in {} cannot be drawn", stacks.display());
    Ok(stacks)
}

/// Where inferno is, installed if it was not.
fn tools(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/tools");
    if !folder.join("bin/inferno-flamegraph").is_file() {
        let status = Command::new(env!("CARGO"))
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&folder)
            .args(INFERNO)
            .status()?;
        ensure!(status.success(), "inferno does not install");
    }
    Ok(folder.join("bin"))
}
