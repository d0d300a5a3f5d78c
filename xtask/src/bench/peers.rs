//! `cargo xtask bench peers`: the same messages through one server after the other, in turn, and what each costs.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::contestant::{Contestant, Selection};
use super::sample::Samples;
use super::scenario::{SCENARIOS, Scenario};
use super::server::Server;
use super::stage::Stage;
use super::table::{self, Outcome};

/// What can be said on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
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
    /// Write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures and prints.
pub(super) async fn run(options: &Options) -> Result<()> {
    let contestants = options.selection.contestants()?;
    let scenarios = scenarios(&options.scenarios)?;
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let outcome = measure(scenario, &contestants, options).await.unwrap_or_else(|error| Outcome {
            scenario: scenario.name,
            failures: vec![("all".to_owned(), format!("{error:#}"))],
            ..Outcome::default()
        });
        println!("{}", outcome.text());
        outcomes.push(outcome);
    }
    let [first, second] = table::REFERENCES;
    println!("CPU time a message in µs (and its ratio to {first}, or to {second} where that is not there):\n");
    println!("{}", table::markdown(&outcomes));
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", table::json(&outcomes))).with_context(|| file.display().to_string())?;
    }
    let failures = outcomes.iter().map(|outcome| outcome.failures.len()).sum::<usize>();
    ensure!(failures == 0, "{failures} could not be measured");
    Ok(())
}

/// Starts every server that has a place in the scenario, and gives each its turn in each round.
async fn measure(scenario: &'static Scenario, contestants: &[Contestant], options: &Options) -> Result<Outcome> {
    let stage = Stage::set(scenario, options.selection.generator(), options.sessions).await?;
    let total = options.messages.unwrap_or(scenario.messages);
    let mut outcome = Outcome { scenario: scenario.name, messages: total, ..Outcome::default() };
    let mut running = Vec::new();
    for contestant in contestants.iter().filter(|contestant| contestant.peer.takes_part(scenario)) {
        let messages = (total / contestant.peer.slowness).max(options.sessions);
        match stage.start_warm(contestant, messages).await {
            Ok(server) => running.push(Running { contestant, server, messages, samples: Samples::default() }),
            Err(error) => outcome.failures.push((contestant.label.clone(), format!("{error:#}"))),
        }
    }
    for _ in 0..options.rounds {
        for one in &mut running {
            let sample = stage.sample(&one.server, one.messages).await;
            one.samples.0.push(sample.with_context(|| one.contestant.label.clone())?);
        }
    }
    for Running { contestant, server, samples, .. } in running {
        server.stop().with_context(|| contestant.label.clone())?;
        outcome.servers.push((contestant.label.clone(), samples));
    }
    Ok(outcome)
}

/// A server, and what was measured of it.
struct Running<'a> {
    contestant: &'a Contestant,
    server: Server,
    /// Of a sample.
    messages: u32,
    samples: Samples,
}

pub(super) fn scenarios(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    for name in names {
        let is_known = SCENARIOS.iter().any(|scenario| scenario.name.starts_with(name.as_str()));
        ensure!(is_known, "there is no scenario {name:?}; there are: {}", known());
    }
    let is_named =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| scenario.name.starts_with(name.as_str()));
    Ok(SCENARIOS.iter().filter(is_named).collect())
}
