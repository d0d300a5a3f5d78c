//! `cargo xtask acceptance`: what a release must do, done to the built binary with other people's programs: load, reloads
//! under load, checks and replays. Slow, and its figures are this machine's, so it is no part of `cargo xtask test`.

mod stage;
mod process;
mod traffic;
mod client;
mod claim;
mod good;
mod load;
mod reload;
mod check;
mod replay;
mod storm;
mod guests;
mod kill;
mod memory;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use mailweir_testkit::mailweir::Mailweir;

/// What acceptance can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these; all of them when none is named
    #[arg(value_enum, value_name = "CRITERION")]
    criteria: Vec<Criterion>,
    /// This share of the messages and reloads; 1 is what a release must do
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = factor)]
    scale: f64,
    /// Send the messages of `load` this many times, to one proxy: what is lost with each of them shows in its memory
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    rounds: u32,
    /// What is random in `kill` begins with this; another one each time when it is not given
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Of `memory`, only the runs whose description has this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Use the binary and the plugins as they are built already
    #[arg(long)]
    no_build: bool,
}

/// A criterion of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Criterion {
    /// 5000 small messages over 100 sessions, and 20 of 30 MB, through auth, surbl and antivirus: all delivered
    Load,
    /// 50 reloads while 20000 messages pass: none fails
    Reload,
    /// The example configuration is accepted, each broken one refused at the right place
    Check,
    /// Every message of the shared MIME corpus through a chain: no crash, no trap
    Replay,
    /// 10000 trickling connections and 500 hostile ones a second, and 200 clients that do not mind
    Storm,
    /// Each hostile guest in turn, and 1000 sessions that do not mind
    Guests,
    /// 200 × kill -9 of the proxy and the server behind it, and 50 × SIGTERM: nothing acknowledged is lost
    Kill,
    /// 100 messages of 25 MB at once with memory_budget = 128 MiB: all delivered unaltered, at most 100 MiB more taken
    Memory,
}

/// How a criterion came out.
struct Outcome {
    criterion: &'static str,
    command: String,
    state: State,
    /// The figures, or what is wrong; a line each.
    result: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Passed,
    Failed,
    Skipped,
}

/// What every criterion needs.
struct Setting {
    binary: PathBuf,
    plugins: PathBuf,
    scale: f64,
    rounds: u32,
    seed: u64,
    only: Option<String>,
}

/// Runs the criteria; an error when one is not met.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = if options.no_build {
        Mailweir::binary().context("the mailweir binary is not built")?
    } else {
        crate::plugins::run(&crate::plugins::Options::default())?;
        crate::demo::build_mailweir()?
    };
    let plugins = crate::workspace_root().join("target/plugins");
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let setting =
        Setting { binary, plugins, scale: options.scale, rounds: options.rounds, seed, only: options.only.clone() };
    let criteria = match options.criteria.as_slice() {
        [] => Criterion::value_variants(),
        some => some,
    };
    let outcomes = tokio::runtime::Runtime::new()?.block_on(outcomes(&setting, criteria));
    print_table(&outcomes);
    let failed = outcomes.iter().filter(|outcome| outcome.state == State::Failed).count();
    if failed > 0 {
        bail!("{failed} of {} are not met", outcomes.len());
    }
    Ok(())
}

async fn outcomes(setting: &Setting, criteria: &[Criterion]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for criterion in criteria {
        let (name, done) = match criterion {
            Criterion::Load => ("load", load::run(setting).await),
            Criterion::Reload => ("reload", reload::run(setting).await.map(|outcome| vec![outcome])),
            Criterion::Check => ("check", check::run(setting).await),
            Criterion::Storm => ("storm", storm::run(setting).await),
            Criterion::Guests => ("guests", guests::run(setting).await),
            Criterion::Kill => ("kill", kill::run(setting).await),
            Criterion::Replay => ("replay", replay::run(setting).await.map(|outcome| vec![outcome])),
            Criterion::Memory => ("memory", memory::run(setting).await),
        };
        match done {
            Ok(done) => outcomes.extend(done),
            Err(error) => outcomes.push(Outcome {
                criterion: name,
                command: "-".to_owned(),
                state: State::Failed,
                result: format!("{error:#}").lines().map(str::to_owned).collect(),
            }),
        }
    }
    outcomes
}

fn print_table(outcomes: &[Outcome]) {
    let command_width = outcomes.iter().map(|outcome| outcome.command.chars().count()).max().unwrap_or(0);
    println!("\n{:9}  {:command_width$}  result", "criterion", "command");
    for Outcome { criterion, command, state, result } in outcomes {
        let state = match state {
            State::Passed => "passed",
            State::Failed => "FAILED",
            State::Skipped => "skipped",
        };
        println!("{criterion:9}  {command:command_width$}  {state}");
        for line in result {
            println!("{:9}    {line}", "");
        }
    }
}

/// A count of the full size, scaled, at least `least`.
fn scaled(full: u32, scale: f64, least: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the scale is from 0 to 1")]
    let scaled = (f64::from(full) * scale).round() as u32;
    scaled.clamp(least, full)
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 0.0 && factor <= 1.0 => Ok(factor),
        _ => Err("a number above 0, up to 1".to_owned()),
    }
}

impl Outcome {
    /// Failed when anything is wrong; what is wrong comes before the figures.
    fn new(criterion: &'static str, command: String, wrong: Vec<String>, figures: Vec<String>) -> Self {
        let state = if wrong.is_empty() { State::Passed } else { State::Failed };
        let wrong = wrong.into_iter().map(|wrong| format!("wrong: {wrong}"));
        Self { criterion, command, state, result: wrong.chain(figures).collect() }
    }

    fn skipped(criterion: &'static str, command: String, why: &str) -> Self {
        Self { criterion, command, state: State::Skipped, result: vec![why.to_owned()] }
    }
}

/// A path as it is best read: below the repository's top folder when it is in there.
fn shown(path: &Path) -> String {
    path.strip_prefix(crate::workspace_root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In small, and with the same dice each time.
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_acknowledged_is_lost_when_processes_are_killed() {
        let plugins = crate::workspace_root().join("target/plugins");
        let Some(binary) = Mailweir::binary().filter(|_| plugins.join("dlp.wasm").is_file()) else {
            return eprintln!("skipped: mailweir or its filters are not built");
        };
        let setting = Setting { binary, plugins, scale: 0.02, rounds: 1, seed: 1, only: None };
        for Outcome { command, state, result, .. } in kill::run(&setting).await.unwrap() {
            assert_eq!(state, State::Passed, "{command}: {result:?}");
        }
    }
}
