//! `mailweir-load run`: starts what a scenario needs, runs its steps, and compares what came of it with what was claimed.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::claims::StepResult;
use super::file::{Scenario, Step};
use super::processes::Watched;
use super::servers::{Placeholders, Server};
use crate::arguments::RunArguments;
use crate::descriptors;
use crate::load::{Control, Load, Observer};
use crate::options::LoadOptions;
use crate::plan::Plan;
use crate::proof::{Received, Verdict};
use crate::report::live::{Goal, Loudness, Watch};
use crate::report::model::{Claim, Results, Run, Second};
use crate::send::interrupts;
use crate::sink::Sink;
use crate::units::Rate;
use crate::workers::Workers;

/// A scenario at work.
struct Stage<'a> {
    scenario: &'a Scenario,
    /// Where the loads of each step are sent.
    targets: Vec<String>,
    sink: Option<Sink>,
    workers: Workers,
    watched: Vec<Watched>,
    /// This process: generator and sink.
    own: Watched,
    epoch: Instant,
    loudness: Loudness,
}

/// Between two looks at the servers' processes.
const SAMPLE: Duration = Duration::from_millis(250);

/// Background loads have this time to come about.
const BACKGROUND: Duration = Duration::from_secs(300);

/// Between two looks whether everything has been delivered.
const DELIVERY: Duration = Duration::from_millis(100);

/// Runs a scenario to its end.
///
/// # Errors
///
/// When the scenario is wrong, or something that it needs cannot be had.
pub(crate) async fn run(arguments: &RunArguments) -> anyhow::Result<Results> {
    let mut scenario = Scenario::read(&arguments.scenario)?;
    ensure!(arguments.scale > 0.0 && arguments.scale <= 1.0, "--scale: {} is not above 0 and up to 1", arguments.scale);
    scenario.scale(arguments.scale);
    descriptors::raise(scenario.steps.iter().map(Step::connections).max().unwrap_or(0))
        .with_context(|| arguments.scenario.display().to_string())?;
    let folder = tempfile::tempdir().context("a folder for configurations and logs")?;
    let mut placeholders = Placeholders::new(folder.path().to_owned());
    let sink = sink(&scenario, arguments)?;
    placeholders.sink = sink.as_ref().and_then(|sink| sink.addresses().first()).map(ToString::to_string);
    let (target, servers) = match &arguments.target {
        Some(target) => (target.clone(), Vec::new()),
        None => tokio::select! {
            started = servers(&scenario, &mut placeholders) => {
                started.with_context(|| arguments.scenario.display().to_string())?
            }
            // Dropped, they are killed.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        },
    };
    let watched = servers.iter().filter_map(|server| Some(Watched::new(&server.name, server.process()?)));
    let own_target = |step: &Step| match &step.target {
        Some(address) => placeholders.fill(address, None).with_context(|| format!("step {:?}: target", step.name)),
        None => Ok(target.clone()),
    };
    let targets = scenario.steps.iter().map(own_target).collect::<anyhow::Result<_>>();
    let mut stage = Stage {
        targets: targets.with_context(|| arguments.scenario.display().to_string())?,
        sink,
        workers: Workers::start(arguments.threads)?,
        watched: watched.collect(),
        own: Watched::alone("mailweir-load", std::process::id()),
        epoch: Instant::now(),
        loudness: arguments.output.loudness(),
        scenario: &scenario,
    };
    let steps = stage.steps().await.with_context(|| arguments.scenario.display().to_string());
    let stopped = stop(servers).await;
    let steps = steps?;
    Ok(stage.results(steps, stopped, &arguments.scenario))
}

/// The sink: with another target only where that target knows it.
fn sink(scenario: &Scenario, arguments: &RunArguments) -> anyhow::Result<Option<Sink>> {
    let Some(table) = &scenario.sink else { return Ok(None) };
    let listen = match (&arguments.sink, &arguments.target) {
        (Some(address), _) => *address,
        (None, Some(_)) => return Ok(None),
        (None, None) => {
            table.listen.parse::<SocketAddr>().with_context(|| format!("sink: listen: {:?}", table.listen))?
        }
    };
    Sink::start(&[listen], &table.behaviour).context("sink").map(Some)
}

/// Starts the servers one after another, each when the one before it is ready.
async fn servers(scenario: &Scenario, placeholders: &mut Placeholders) -> anyhow::Result<(String, Vec<Server>)> {
    let target = placeholders.fill(&scenario.target.address, None).context("target: address")?;
    let mut servers = Vec::new();
    for table in &scenario.servers {
        let in_server = || format!("server {:?}", table.name);
        let mut server = Server::start(table, placeholders).with_context(in_server)?;
        let address = match &table.ready {
            Some(address) => placeholders.fill(address, None).context("ready").with_context(in_server)?,
            None => target.clone(),
        };
        server.ready(&address, table.ready_within.0).await.with_context(in_server)?;
        servers.push(server);
    }
    Ok((target, servers))
}

/// Ends them, the one in front first. What was wrong with their end is a claim that failed.
async fn stop(mut servers: Vec<Server>) -> Vec<Claim> {
    let mut claims = Vec::new();
    while let Some(server) = servers.pop() {
        let claim = format!("{} runs to the end and ends on SIGTERM", server.name);
        let ended = server.stop().await;
        let found = ended.as_ref().map_or_else(|error| format!("{error:#}"), |()| "it did".to_owned());
        claims.push(Claim { claim, passed: ended.is_ok(), found });
    }
    claims
}

impl Stage<'_> {
    /// Runs one step after another, until SIGINT.
    async fn steps(&mut self) -> anyhow::Result<Vec<StepResult>> {
        let mut results: Vec<StepResult> = Vec::new();
        let targets = std::mem::take(&mut self.targets);
        for _ in 0..self.scenario.rounds.get() {
            for (step, target) in self.scenario.steps.iter().zip(&targets) {
                tokio::time::sleep(step.pause.0).await;
                let (result, interrupted) =
                    self.step(step, target, &results).await.with_context(|| format!("step {:?}", step.name))?;
                results.push(result);
                if interrupted {
                    return Ok(results);
                }
            }
        }
        Ok(results)
    }

    async fn step(&mut self, step: &Step, target: &str, earlier: &[StepResult]) -> anyhow::Result<(StepResult, bool)> {
        let mut plans = Vec::new();
        for load in &step.loads {
            let mut options = load.clone();
            options.proof |= self.scenario.proof && self.sink.is_some();
            resolve_rate(&mut options, earlier)?;
            let name = options.name.clone().unwrap_or_default();
            let plan = Plan::new(target, &options).await.with_context(|| format!("load {name:?}"))?;
            plans.push((name, options.background, plan));
        }
        for watched in self.watched.iter_mut().chain([&mut self.own]) {
            watched.begin_step();
        }
        let (background, measured): (Vec<_>, Vec<_>) = plans.into_iter().partition(|(_, background, _)| *background);
        let start = |(name, _, plan): (String, bool, Plan)| Load::start(&name, plan, &self.workers);
        let background: Vec<Load> = background.into_iter().map(start).collect();
        for load in &background {
            let ready = tokio::time::timeout(BACKGROUND, load.ready()).await;
            ready.with_context(|| format!("load {:?} does not come about within {BACKGROUND:?}", load.name))?;
        }
        let measured: Vec<Load> = measured.into_iter().map(start).collect();
        let mut watch = Watch::new(goal(step), self.loudness);
        let (loads, interrupted) = self.finish(background, measured, &mut watch).await?;
        watch.finish();
        let received = self.received(&loads).await;
        let mut result = StepResult { name: step.name.clone(), runs: Vec::new(), background: Vec::new() };
        for (load, is_background) in &loads {
            result.runs.push(load.result(self.epoch, received.as_ref()));
            result.background.push(*is_background);
        }
        let taken = result.runs.iter().map(|run| run.messages.sent).sum();
        let servers: Vec<_> = self.watched.iter_mut().map(|watched| watched.end_step(taken)).collect();
        result.runs.iter_mut().for_each(|run| run.servers.clone_from(&servers));
        Ok((result, interrupted))
    }

    /// Waits for the measured loads, and then ends those in the background. True: SIGINT came.
    async fn finish(
        &mut self,
        background: Vec<Load>,
        measured: Vec<Load>,
        watch: &mut Watch,
    ) -> anyhow::Result<(Vec<(Load, bool)>, bool)> {
        let all: Vec<Control> = background.iter().chain(&measured).map(Load::control).collect();
        let behind: Vec<Control> = background.iter().map(Load::control).collect();
        let (sender, mut seconds) = mpsc::unbounded_channel();
        let mut running = JoinSet::new();
        let mut left = measured.len();
        for (load, is_background) in
            background.into_iter().map(|load| (load, true)).chain(measured.into_iter().map(|load| (load, false)))
        {
            running.spawn(finish(load, is_background, Reporter(sender.clone())));
        }
        let mut interrupted = false;
        let mut sample = tokio::time::interval(SAMPLE);
        let mut finished = Vec::new();
        let mut interrupts = std::pin::pin!(interrupts(&all));
        let mut first_interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        while !running.is_empty() {
            tokio::select! {
                Some(ended) = running.join_next() => {
                    let (load, is_background) = ended.context("a load panicked")??;
                    left -= usize::from(!is_background);
                    if left == 0 {
                        behind.iter().for_each(Control::end);
                    }
                    finished.push((load, is_background));
                }
                Some((load, second)) = seconds.recv() => watch.second(&load, &second),
                _ = sample.tick() => self.sample(),
                () = &mut interrupts => {}
                _ = &mut first_interrupt, if !interrupted => interrupted = true,
            }
        }
        self.sample();
        finished.sort_by_key(|(_, is_background)| *is_background);
        Ok((finished, interrupted))
    }

    fn sample(&mut self) {
        for watched in self.watched.iter_mut().chain([&mut self.own]) {
            watched.sample(self.epoch);
        }
    }

    /// What the sink saw, once all that was acknowledged had its time to come there.
    async fn received(&self, loads: &[(Load, bool)]) -> Option<Received> {
        let sink = self.sink.as_ref().filter(|_| self.scenario.proof)?;
        let deadline = Instant::now() + self.scenario.delivery.0;
        loop {
            let received = sink.account().received;
            let missing =
                |load: &Load| load.result(self.epoch, Some(&received)).proof.is_some_and(|proof| proof.lost > 0);
            if Instant::now() >= deadline || !loads.iter().any(|(load, _)| missing(load)) {
                return Some(received);
            }
            tokio::time::sleep(DELIVERY).await;
        }
    }

    fn results(self, steps: Vec<StepResult>, stopped: Vec<Claim>, path: &Path) -> Results {
        let mut results = Results::new(&self.scenario.title);
        results.description.clone_from(&self.scenario.description);
        results.command = format!("mailweir-load run {}", path.display());
        results.seconds = self.epoch.elapsed().as_secs_f64();
        let in_first_round = &steps[..steps.len().min(self.scenario.steps.len())];
        for step in in_first_round {
            results.claims.extend(step.runs.iter().filter_map(|run| proven(&step.name, &run.name, &steps)));
        }
        for expect in &self.scenario.expectations {
            results.claims.extend(expect.claims(&steps));
        }
        results.claims.extend(stopped);
        for (index, step) in steps.into_iter().enumerate() {
            let round = match self.scenario.rounds.get() {
                1 => String::new(),
                _ => format!(", round {}", index / self.scenario.steps.len() + 1),
            };
            let named = |run: Run| Run { name: format!("{}: {}{round}", step.name, run.name), ..run };
            results.runs.extend(step.runs.into_iter().map(named));
        }
        let taken = results.runs.iter().map(|run| run.messages.sent).sum();
        results.processes = self.watched.iter().chain([&self.own]).map(|watched| watched.process(taken)).collect();
        results.sink = self.sink.as_ref().map(|sink| sink.account().counts);
        results
    }
}

/// Tells of a load on a task of its own.
struct Reporter(mpsc::UnboundedSender<(String, Second)>);

impl Observer for Reporter {
    fn second(&mut self, load: &str, second: &Second) {
        // At the end of a step nobody listens any more.
        let _ = self.0.send((load.to_owned(), *second));
    }
}

async fn finish(mut load: Load, background: bool, mut reporter: Reporter) -> anyhow::Result<(Load, bool)> {
    load.finish(&mut reporter).await.with_context(|| format!("load {:?}", load.name))?;
    Ok((load, background))
}

/// A multiple becomes a rate.
fn resolve_rate(options: &mut LoadOptions, earlier: &[StepResult]) -> anyhow::Result<()> {
    let Some(Rate::Times { factor, step }) = &options.rate else { return Ok(()) };
    let found = match step {
        // Of this round.
        Some(name) => earlier.iter().rev().find(|result| result.name == *name),
        None => earlier.last(),
    };
    let capacity = found.and_then(|result| result.runs.first()).context("rate: there is no earlier step")?;
    let rate = capacity.messages_per_second * factor;
    ensure!(rate > 0.0, "rate: the earlier step took no message");
    options.rate = Some(Rate::PerSecond(rate));
    Ok(())
}

/// Whether each message of a load arrived once and whole in all rounds, and no other did.
fn proven(step: &str, load: &str, results: &[StepResult]) -> Option<Claim> {
    let rounds = results.iter().filter(|result| result.name == step);
    let runs = rounds.flat_map(|result| &result.runs).filter(|run| run.name == load && run.held.is_none());
    let proofs: Vec<Option<Verdict>> = runs.map(|run| run.proof).collect();
    let proof = proofs.iter().copied().flatten().reduce(Verdict::and)?;
    let claim = format!("{step}, {load}: nothing is lost, doubled, altered, or taken in spite of a refusal");
    let unproven = proofs.iter().filter(|proof| proof.is_none()).count();
    if unproven > 0 {
        return Some(Claim {
            claim,
            passed: false,
            found: format!("no proof in {unproven} of {} rounds", proofs.len()),
        });
    }
    let found = format!(
        "of {} acknowledged {} lost; {} doubled, {} altered, {} refused but seen, {} unknown",
        proof.acknowledged, proof.lost, proof.doubled, proof.altered, proof.refused_arrived, proof.unknown
    );
    Some(Claim { claim, passed: proof.holds(), found })
}

fn goal(step: &Step) -> Goal {
    let longest = step.loads.iter().filter_map(|load| load.duration).max();
    longest.map_or(Goal::None, |span| Goal::Time(span.0))
}
