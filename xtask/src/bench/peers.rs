//! `cargo xtask bench peers`: the same messages through one server after the other, in turn, and what each costs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use mailweir_testkit::{ports, programs};

use super::peer::{Filters, MAILWEIR, PEERS, Peer, Place};
use super::sample::{self, Samples};
use super::scenario::{SCENARIOS, Scenario};
use super::server::Server;
use super::table::{self, Outcome};
use super::traffic::Sink;

/// What can be said on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only these servers; every one that is installed when none is named
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    peers: Vec<String>,
    /// Only these scenarios, or those whose names begin so; all of them when none is named
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    scenarios: Vec<String>,
    /// How often each server has its turn; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Messages of a sample, in place of the scenario's own number (fewer for slow servers)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    messages: Option<u32>,
    /// Sessions at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// mailweir's binary, with its filters in ../plugins beside it; several, as LABEL=PATH each, are compared
    #[arg(long, value_name = "[LABEL=]PATH", num_args = 1..)]
    binary: Vec<String>,
    /// Use the release build as it is
    #[arg(long)]
    no_build: bool,
    /// Write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A server that takes part, under a name in the tables.
struct Contestant {
    label: String,
    peer: &'static Peer,
    /// Used by mailweir alone.
    binary: PathBuf,
    plugins: PathBuf,
}

/// Measures and prints.
pub(super) async fn run(options: &Options) -> Result<()> {
    let contestants = contestants(options)?;
    let scenarios = scenarios(&options.scenarios)?;
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let outcome = measure(scenario, &contestants, options).await.with_context(|| scenario.name)?;
        println!("{}", outcome.text());
        outcomes.push(outcome);
    }
    println!("CPU time a message in µs, and its ratio to {}:\n\n{}", table::REFERENCE, table::markdown(&outcomes));
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", table::json(&outcomes))).with_context(|| file.display().to_string())?;
    }
    let failures = outcomes.iter().map(|outcome| outcome.failures.len()).sum::<usize>();
    ensure!(failures == 0, "{failures} could not be measured");
    Ok(())
}

/// Starts every server that has a place in the scenario, and gives each its turn in each round.
async fn measure(scenario: &'static Scenario, contestants: &[Contestant], options: &Options) -> Result<Outcome> {
    let sink = Sink::start().await?;
    let total = options.messages.unwrap_or(scenario.messages);
    let mut outcome = Outcome { scenario: scenario.name, messages: total, ..Outcome::default() };
    let mut running = Vec::new();
    for contestant in contestants.iter().filter(|contestant| contestant.peer.takes_part(scenario)) {
        let messages = (total / contestant.peer.slowness).max(options.sessions);
        match start(contestant, scenario, &sink, messages, options.sessions).await {
            Ok(server) => running.push((contestant, server, messages, Samples::default())),
            Err(error) => outcome.failures.push((contestant.label.clone(), format!("{error:#}"))),
        }
    }
    for _ in 0..options.rounds {
        for (contestant, server, messages, samples) in &mut running {
            let sample = sample::take(server, &sink, scenario, *messages, options.sessions).await;
            samples.0.push(sample.with_context(|| contestant.label.clone())?);
        }
    }
    for (contestant, server, _, samples) in running {
        server.stop().await.with_context(|| contestant.label.clone())?;
        outcome.servers.push((contestant.label.clone(), samples));
    }
    Ok(outcome)
}

/// A server that has had some messages: its caches are warm, its code is compiled.
async fn start(
    contestant: &Contestant,
    scenario: &Scenario,
    sink: &Sink,
    messages: u32,
    sessions: u32,
) -> Result<Server> {
    let place = Place {
        listen: ports::free()?,
        upstream: sink.address,
        binary: contestant.binary.clone(),
        plugins: contestant.plugins.clone(),
    };
    let server = Server::start(contestant.peer, scenario, &place).await?;
    if let Err(error) = sample::take(&server, sink, scenario, messages.div_ceil(4).max(sessions), sessions).await {
        server.stop().await?;
        return Err(error);
    }
    Ok(server)
}

impl Peer {
    fn takes_part(&self, scenario: &Scenario) -> bool {
        let filters = match self.filters {
            Filters::Never | Filters::WhenAsked => true,
            Filters::Always => scenario.filters,
        };
        filters && (self.tls || !scenario.tls)
    }

    /// The first program that is not installed.
    fn missing(&self) -> Option<&'static str> {
        self.programs.iter().copied().find(|name| programs::installed(name).is_none())
    }
}

fn contestants(options: &Options) -> Result<Vec<Contestant>> {
    let known = || PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
    for name in &options.peers {
        let is_known = name == MAILWEIR.name || PEERS.iter().any(|peer| peer.name == name);
        ensure!(is_known, "there is no {name:?}; there are: {}, {}", MAILWEIR.name, known());
    }
    let is_named = |peer: &Peer| options.peers.is_empty() || options.peers.iter().any(|name| name == peer.name);
    let mut contestants = Vec::new();
    if is_named(MAILWEIR) {
        contestants = binaries(options)?;
    }
    for &peer in PEERS.iter().filter(|peer| is_named(peer)) {
        match peer.missing() {
            None => contestants.push(Contestant {
                label: peer.name.to_owned(),
                peer,
                binary: PathBuf::new(),
                plugins: PathBuf::new(),
            }),
            Some(program) if options.peers.is_empty() => println!("{} is left out: no {program} here", peer.name),
            Some(program) => bail!("{}: {program} is not installed", peer.name),
        }
    }
    Ok(contestants)
}

fn binaries(options: &Options) -> Result<Vec<Contestant>> {
    let mut given = options.binary.clone();
    if given.is_empty() {
        let binary = crate::workspace_root().join("target/release/mailweir");
        if !options.no_build {
            crate::plugins::run(&crate::plugins::Options::default())?;
            build_release()?;
        }
        given.push(binary.display().to_string());
    }
    let contestants = given.iter().map(|text| {
        let (label, path) = text.split_once('=').unwrap_or((MAILWEIR.name, text));
        let binary = std::path::absolute(path)?;
        ensure!(binary.is_file(), "{} is not there", binary.display());
        Ok(Contestant { label: label.to_owned(), peer: MAILWEIR, plugins: plugins_of(&binary), binary })
    });
    contestants.collect()
}

/// The filters built beside a binary, or those of this checkout.
fn plugins_of(binary: &Path) -> PathBuf {
    let beside = binary.ancestors().nth(2).map(|target| target.join("plugins"));
    beside.filter(|folder| folder.is_dir()).unwrap_or_else(|| crate::workspace_root().join("target/plugins"))
}

fn build_release() -> Result<()> {
    println!("building mailweir for release (the first time takes many minutes) …");
    let status = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--workspace", "--bin", "mailweir", "--bin", "mailweir-load"])
        .current_dir(crate::workspace_root())
        .status()?;
    ensure!(status.success(), "mailweir does not build");
    Ok(())
}

fn scenarios(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    for name in names {
        let is_known = SCENARIOS.iter().any(|scenario| scenario.name.starts_with(name.as_str()));
        ensure!(is_known, "there is no scenario {name:?}; there are: {}", known());
    }
    let is_named =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| scenario.name.starts_with(name.as_str()));
    Ok(SCENARIOS.iter().filter(is_named).collect())
}
