//! Claims about the outcome, and what was found.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::bound::{Bound, Round, Unit};
use super::file::Step;
use crate::report::model::{Claim, Phase, Run, ServerUse};

/// An `[[expect]]` table: bounds, by what they bound.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    /// Of one step only; of each when absent.
    step: Option<String>,
    /// Of one load only; of each that is not in the background when absent.
    load: Option<String>,
    /// What percentiles are of: `intended` when absent, or `message` in a closed loop.
    phase: Option<Phase>,
    /// Messages that were not taken, or connections that did not stay.
    failures: Option<Bound>,
    /// Messages refused.
    refused: Option<Bound>,
    /// Messages without an answer.
    unanswered: Option<Bound>,
    /// Messages given up at the end.
    abandoned: Option<Bound>,
    /// Messages taken.
    sent: Option<Bound>,
    /// Messages taken in a second.
    goodput: Option<Bound>,
    /// Octets of these in a second.
    throughput: Option<Bound>,
    p50: Option<Bound>,
    p90: Option<Bound>,
    p99: Option<Bound>,
    p999: Option<Bound>,
    max: Option<Bound>,
    /// Connections that stayed, of those to be held: from 0 to 1.
    held: Option<Bound>,
    /// TLS sessions resumed, of all handshakes: from 0 to 1.
    resumed: Option<Bound>,
    /// The most resident memory of all servers together.
    memory: Option<Bound>,
    /// The most descriptors of one server.
    descriptors: Option<Bound>,
    /// Processor time of all servers for each message that was taken.
    cpu: Option<Bound>,
}

/// What the runs of a step came to, in one round.
pub(crate) struct StepResult {
    pub(crate) name: String,
    pub(crate) runs: Vec<Run>,
    /// Which of them are in the background.
    pub(crate) background: Vec<bool>,
}

impl Expect {
    /// What is claimed of a scenario that claims nothing.
    pub(crate) fn no_failures() -> Self {
        Self { failures: Some(Bound::nothing()), ..Self::default() }
    }

    fn bounds(&self) -> [(&'static str, Unit, &Option<Bound>); 17] {
        [
            ("failures", Unit::Count, &self.failures),
            ("refused", Unit::Count, &self.refused),
            ("unanswered", Unit::Count, &self.unanswered),
            ("abandoned", Unit::Count, &self.abandoned),
            ("sent", Unit::Count, &self.sent),
            ("goodput", Unit::Rate, &self.goodput),
            ("throughput", Unit::Octets, &self.throughput),
            ("p50", Unit::Latency, &self.p50),
            ("p90", Unit::Latency, &self.p90),
            ("p99", Unit::Latency, &self.p99),
            ("p999", Unit::Latency, &self.p999),
            ("max", Unit::Latency, &self.max),
            ("held", Unit::Share, &self.held),
            ("resumed", Unit::Share, &self.resumed),
            ("memory", Unit::Memory, &self.memory),
            ("descriptors", Unit::Count, &self.descriptors),
            ("cpu", Unit::Latency, &self.cpu),
        ]
    }

    /// # Errors
    ///
    /// When a step or load does not exist, or a value is none.
    pub(crate) fn check(&self, steps: &[Step]) -> anyhow::Result<()> {
        let known = |name: &String| steps.iter().any(|step| step.name == *name);
        if let Some(step) = &self.step {
            ensure!(known(step), "step: there is none called {step:?}");
        }
        if let Some(load) = &self.load {
            let of_step = |step: &&Step| self.step.as_ref().is_none_or(|name| step.name == *name);
            let mut loads = steps.iter().filter(of_step).flat_map(|step| &step.loads);
            ensure!(loads.any(|other| other.name.as_ref() == Some(load)), "load: there is none called {load:?}");
        }
        let mut some = false;
        for (key, unit, bound) in self.bounds() {
            let Some(bound) = bound else { continue };
            some = true;
            if let Some(step) = bound.reference() {
                ensure!(steps.iter().any(|other| other.name == step), "{key}: there is no step {step:?}");
            }
            bound.check(unit).context(key)?;
        }
        ensure!(some, "it claims nothing");
        Ok(())
    }

    /// Rates and counts that a scenario of another size is to reach.
    pub(crate) fn scale(&mut self, scale: f64) {
        for bound in [&mut self.goodput, &mut self.throughput, &mut self.sent].into_iter().flatten() {
            bound.scale_least(scale);
        }
    }

    /// What was found, for each step and load that this is about, all rounds together.
    pub(crate) fn claims(&self, results: &[StepResult]) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for step in results.iter().filter(|step| self.step.as_ref().is_none_or(|name| step.name == *name)) {
            if names.contains(&step.name.as_str()) {
                continue;
            }
            names.push(&step.name);
            for (run, background) in step.runs.iter().zip(&step.background) {
                let meant = match &self.load {
                    Some(name) => run.name == *name,
                    None => !background,
                };
                if meant {
                    let bounds =
                        self.bounds().into_iter().filter_map(|(key, unit, bound)| Some((key, unit, bound.as_ref()?)));
                    claims.extend(bounds.map(|(key, unit, bound)| self.claim(step, run, key, unit, bound, results)));
                }
            }
        }
        if claims.is_empty() {
            let step = self.step.as_deref().unwrap_or("a step");
            claims.push(Claim { claim: format!("{step} runs"), passed: false, found: "it did not".to_owned() });
        }
        claims
    }

    fn claim(
        &self,
        step: &StepResult,
        run: &Run,
        key: &str,
        unit: Unit,
        bound: &Bound,
        results: &[StepResult],
    ) -> Claim {
        let phase = self.phase.unwrap_or_else(|| main_phase(run));
        let what = match key {
            "p50" | "p90" | "p99" | "p999" | "max" => format!("{key} of {}", phase.label()),
            other => other.to_owned(),
        };
        let claim = format!("{}, {}: {what} {bound}", step.name, run.name);
        let of_step = |name: &str| -> Vec<Option<f64>> {
            let rounds = results.iter().filter(|result| result.name == name);
            let runs = rounds.filter_map(|round| {
                let same = round.runs.iter().find(|other| other.name == run.name);
                same.or_else(|| round.runs.first().filter(|_| step.name != name))
            });
            runs.map(|run| value(run, key, self.phase.unwrap_or_else(|| main_phase(run)))).collect()
        };
        let references = bound.reference().map(of_step);
        let rounds: Option<Vec<Round>> = match references {
            None => {
                of_step(&step.name).into_iter().map(|found| Some(Round { found: found?, reference: None })).collect()
            }
            // A round that was interrupted has no reference.
            Some(references) => of_step(&step.name)
                .into_iter()
                .zip(references)
                .map(|(found, reference)| Some(Round { found: found?, reference: Some(reference?) }))
                .collect(),
        };
        match rounds.filter(|rounds| !rounds.is_empty()) {
            Some(rounds) => Claim { claim, passed: bound.holds(&rounds, unit), found: bound.show(&rounds, unit) },
            None => Claim { claim, passed: false, found: "not measured".to_owned() },
        }
    }
}

/// From when a message was to be sent where that is known.
fn main_phase(run: &Run) -> Phase {
    let intended = run.latency.iter().any(|latency| latency.phase == Phase::Intended);
    if intended { Phase::Intended } else { Phase::Message }
}

fn value(run: &Run, key: &str, phase: Phase) -> Option<f64> {
    let messages = run.messages;
    let latency = || run.latency.iter().find(|latency| latency.phase == phase);
    let of_servers = |value: fn(&ServerUse) -> Option<f64>| -> Option<f64> { run.servers.iter().map(value).sum() };
    Some(match key {
        "failures" => match run.held {
            Some(held) => (held.wanted - held.stayed) as f64,
            None => (messages.refused + messages.lost + messages.abandoned) as f64,
        },
        "refused" => messages.refused as f64,
        "unanswered" => messages.lost as f64,
        "abandoned" => messages.abandoned as f64,
        "sent" => messages.sent as f64,
        "goodput" => run.messages_per_second,
        "throughput" => run.bytes_per_second,
        "p50" => latency()?.p50,
        "p90" => latency()?.p90,
        "p99" => latency()?.p99,
        "p999" => latency()?.p999,
        "max" => latency()?.max,
        "held" => run.held.map(|held| held.stayed as f64 / held.wanted.max(1) as f64)?,
        "resumed" => run.handshakes.map(|both| both.resumed as f64 / (both.resumed + both.full).max(1) as f64)?,
        "memory" if !run.servers.is_empty() => of_servers(|server| Some(server.peak_memory as f64))?,
        "descriptors" => run.servers.iter().map(|server| server.peak_descriptors).max()? as f64,
        "cpu" if !run.servers.is_empty() => of_servers(|server| server.cpu_per_message)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Held, Latency, Messages};

    fn run(name: &str, goodput: f64, p99: f64) -> Run {
        let latency = Latency {
            phase: Phase::Intended,
            count: 1,
            min: 0.0,
            mean: 0.0,
            p50: p99 / 2.0,
            p90: p99,
            p99,
            p999: p99,
            max: p99,
            percentiles: Vec::new(),
        };
        let messages = Messages { requested: 100, sent: 98, refused: 1, lost: 1, abandoned: 0 };
        let server = ServerUse {
            name: "edge".to_owned(),
            cpu_seconds: 1.0,
            cpu_per_message: Some(50.0),
            peak_memory: 100 << 20,
            peak_descriptors: 40,
        };
        let servers = vec![server.clone(), server];
        Run {
            name: name.to_owned(),
            messages_per_second: goodput,
            latency: vec![latency],
            messages,
            servers,
            ..Run::default()
        }
    }

    /// `passed: found` of each claim.
    fn check(expect: &str) -> Vec<String> {
        let expect: Expect = toml::from_str(expect).unwrap();
        let step = |name: &str, runs: Vec<Run>| {
            let background = runs.iter().map(|run| run.name == "idle").collect();
            StepResult { name: name.to_owned(), runs, background }
        };
        let idle =
            Run { name: "idle".to_owned(), held: Some(Held { wanted: 10, opened: 10, stayed: 9 }), ..Run::default() };
        let results =
            [step("alone", vec![run("mail", 1000.0, 2000.0)]), step("held", vec![run("mail", 950.0, 3000.0), idle])];
        expect
            .claims(&results)
            .iter()
            .map(|claim| format!("{} {} {}", claim.passed, claim.claim, claim.found))
            .collect()
    }

    #[test]
    fn values_are_compared_with_their_bounds() {
        for (expect, expected) in [
            ("failures = 2", vec!["true alone, mail: failures at most 2 2", "true held, mail: failures at most 2 2"]),
            ("step = \"held\"\nfailures = 1", vec!["false held, mail: failures at most 1 2"]),
            (
                "step = \"held\"\np99 = { at_most = 2.0, times = \"alone\" }",
                vec!["true held, mail: p99 of intended at most 2 × that of alone 3.00 ms is 1.50 × 2.00 ms"],
            ),
            (
                "step = \"held\"\ngoodput = { at_least = 0.96, times = \"alone\" }",
                vec!["false held, mail: goodput at least 0.96 × that of alone 950/s is 0.95 × 1000/s"],
            ),
            (
                "step = \"held\"\np99 = { at_most = \"1.1ms\", beyond = \"alone\" }",
                vec![
                    "true held, mail: p99 of intended at most 1.1ms more than alone's 3.00 ms is 1.00 ms more than 2.00 ms",
                ],
            ),
            ("step = \"alone\"\np50 = \"1ms\"", vec!["true alone, mail: p50 of intended at most 1ms 1.00 ms"]),
            ("step = \"alone\"\np99 = \"1.9ms\"", vec!["false alone, mail: p99 of intended at most 1.9ms 2.00 ms"]),
            (
                "step = \"alone\"\nphase = \"data\"\np99 = 1",
                vec!["false alone, mail: p99 of DATA at most 1 not measured"],
            ),
            ("load = \"idle\"\nheld = { at_least = 1 }", vec!["false held, idle: held at least 1 0.9000"]),
            ("step = \"alone\"\nmemory = \"199MiB\"", vec!["false alone, mail: memory at most 199MiB 200.0 MiB"]),
            ("step = \"alone\"\ncpu = \"100us\"", vec!["true alone, mail: cpu at most 100us 100 µs"]),
            (
                "step = \"alone\"\ngoodput = { at_least = 900, at_most = 999 }",
                vec!["false alone, mail: goodput at least 900, at most 999 1000/s"],
            ),
            ("step = \"never\"\nfailures = 0", vec!["false never runs it did not"]),
        ] {
            assert_eq!(check(expect), expected, "{expect}");
        }
    }

    #[test]
    fn rounds_are_taken_together() {
        let step =
            |name: &str, run: Run| StepResult { name: name.to_owned(), runs: vec![run], background: vec![false] };
        let mut results = Vec::new();
        for (direct, through) in [(1000.0, 1200.0), (1000.0, 90_000.0), (50_000.0, 1300.0)] {
            results.push(step("direct", run("mail", 1000.0, direct)));
            results.push(step("through", run("mail", 990.0, through)));
        }
        let mut check = |expect: &str| {
            let claims = toml::from_str::<Expect>(expect).unwrap().claims(&results);
            results[3].runs[0].messages.lost = 7;
            claims.into_iter().map(|claim| (claim.passed, claim.found)).collect::<Vec<_>>()
        };
        for (expect, passed, found) in [
            ("step = \"through\"\nfailures = 2", true, "from 2 to 2 in 3 rounds"),
            ("step = \"through\"\nfailures = 2", false, "from 2 to 8 in 3 rounds"),
            (
                "step = \"through\"\np99 = { at_most = \"200us\", beyond = \"direct\" }",
                true,
                "200 µs more, the median of 3 rounds: from −48.7 ms to 89.0 ms",
            ),
            (
                "step = \"through\"\np99 = { at_most = \"199us\", beyond = \"direct\" }",
                false,
                "200 µs more, the median of 3 rounds: from −48.7 ms to 89.0 ms",
            ),
            (
                "step = \"through\"\ngoodput = { at_least = 0.99, times = \"direct\" }",
                true,
                "0.99 ×, the median of 3 rounds: from 0.99 × to 0.99 ×",
            ),
            ("step = \"direct\"\np99 = \"1ms\"", true, "1.00 ms, the median of 3 rounds: from 1.00 ms to 50.0 ms"),
        ] {
            assert_eq!(check(expect), [(passed, found.to_owned())], "{expect}");
        }
    }

    #[test]
    fn what_is_to_be_reached_scales() {
        let mut expect: Expect = toml::from_str("goodput = { at_least = 11600 }\nfailures = 5").unwrap();
        expect.scale(0.1);
        let least = expect.goodput.unwrap().at_least.unwrap().parse::<f64>().unwrap();
        assert!((least - 1160.0).abs() < 1e-6 && expect.failures.unwrap().at_most.unwrap() == "5");
    }
}
