//! Claims about the outcome, and what was found.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::file::Step;
use crate::report;
use crate::report::model::{Claim, Phase, Run, ServerUse};
use crate::units::{Size, Span};

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

/// From and to where a value may lie. A bare value is the most that it may be.
#[derive(Debug, Default)]
struct Bound {
    at_least: Option<String>,
    at_most: Option<String>,
    /// The bounds are multiples of what this step has.
    times: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    /// Messages in a second, which `--scale` scales.
    Rate,
    /// In a second.
    Octets,
    /// In microseconds.
    Latency,
    Memory,
    Share,
}

/// What the runs of a step came to.
pub(crate) struct StepResult {
    pub(crate) name: String,
    pub(crate) runs: Vec<Run>,
    /// Which of them are in the background.
    pub(crate) background: Vec<bool>,
}

impl Expect {
    /// What is claimed of a scenario that claims nothing.
    pub(crate) fn no_failures() -> Self {
        let nothing = Bound { at_most: Some("0".to_owned()), ..Bound::default() };
        Self { failures: Some(nothing), ..Self::default() }
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
            if let Some(step) = &bound.times {
                ensure!(known(step), "{key}: there is no step {step:?}");
            }
            ensure!(bound.at_least.is_some() || bound.at_most.is_some(), "{key}: at_least or at_most is missing");
            for value in [&bound.at_least, &bound.at_most].into_iter().flatten() {
                bound.value(value, unit).context(key)?;
            }
        }
        ensure!(some, "it claims nothing");
        Ok(())
    }

    /// Rates and counts that a scenario of another size is to reach.
    pub(crate) fn scale(&mut self, scale: f64) {
        for bound in [&mut self.goodput, &mut self.throughput, &mut self.sent].into_iter().flatten() {
            if let (None, Some(value)) = (&bound.times, &mut bound.at_least)
                && let Ok(number) = value.parse::<f64>()
            {
                *value = (number * scale).to_string();
            }
        }
    }

    /// What was found, for each step and load that this is about.
    pub(crate) fn claims(&self, results: &[StepResult]) -> Vec<Claim> {
        let mut claims = Vec::new();
        for step in results.iter().filter(|step| self.step.as_ref().is_none_or(|name| step.name == *name)) {
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
        let found = value(run, key, phase);
        let reference = bound.times.as_ref().map(|name| {
            let other = results.iter().find(|other| other.name == *name)?;
            let same = other.runs.iter().find(|other| other.name == run.name).or_else(|| other.runs.first())?;
            value(same, key, self.phase.unwrap_or_else(|| main_phase(same)))
        });
        let factor = match reference {
            None => Some(1.0),
            Some(reference) => reference,
        };
        let (Some(found), Some(factor)) = (found, factor) else {
            return Claim { claim, passed: false, found: "not measured".to_owned() };
        };
        // What does not parse was refused before the start.
        let limit = |text: &Option<String>| text.as_ref().and_then(|text| bound.value(text, unit).ok());
        let passed = limit(&bound.at_least).is_none_or(|least| found >= least * factor)
            && limit(&bound.at_most).is_none_or(|most| found <= most * factor);
        let shown = match bound.times.as_ref().filter(|_| factor > 0.0) {
            Some(_) => format!("{} is {:.2} × {}", unit.show(found), found / factor, unit.show(factor)),
            None => unit.show(found),
        };
        Claim { claim, passed, found: shown }
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

impl Bound {
    fn value(&self, text: &str, unit: Unit) -> anyhow::Result<f64> {
        if self.times.is_some() || matches!(unit, Unit::Count | Unit::Rate | Unit::Share) {
            return text
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .with_context(|| format!("{text:?} is no number"));
        }
        match unit {
            Unit::Latency => {
                let span: Span = text.parse().map_err(anyhow::Error::msg)?;
                Ok(span.0.as_secs_f64() * 1e6)
            }
            Unit::Memory | Unit::Octets => {
                let size: Size = text.parse().map_err(anyhow::Error::msg)?;
                Ok(size.0 as f64)
            }
            Unit::Count | Unit::Rate | Unit::Share => bail!("{text:?} is no number"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.times.as_ref().map(|step| format!(" × that of {step}")).unwrap_or_default();
        let bounds = [("at least", &self.at_least), ("at most", &self.at_most)];
        let bounds = bounds.into_iter().filter_map(|(word, value)| Some(format!("{word} {}{times}", value.as_ref()?)));
        formatter.write_str(&bounds.collect::<Vec<_>>().join(", "))
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Rate => format!("{value:.0}/s"),
            Self::Octets => format!("{:.2} MB/s", value / 1e6),
            Self::Latency => report::latency(value),
            Self::Memory => format!("{:.1} MiB", value / 1024.0 / 1024.0),
            Self::Share => format!("{value:.4}"),
        }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            at_least: Option<Value>,
            at_most: Option<Value>,
            times: Option<String>,
        }
        struct AnyBound;
        impl AnyBound {
            fn at_most<E>(value: impl ToString) -> Result<Bound, E> {
                Ok(Bound { at_most: Some(value.to_string()), ..Bound::default() })
            }
        }
        impl<'de> Visitor<'de> for AnyBound {
            type Value = Bound;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value, or a table of at_least, at_most and times")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bound, E> {
                Self::at_most(text)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bound, E> {
                Self::at_most(number)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Bound, E> {
                Self::at_most(number)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Bound, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let text = |value: Option<Value>| value.map(|Value(text)| text);
                Ok(Bound { at_least: text(table.at_least), at_most: text(table.at_most), times: table.times })
            }
        }
        deserializer.deserialize_any(AnyBound)
    }
}

/// A string or a number.
struct Value(String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::units::from_text(deserializer).map(Self)
    }
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
    fn what_is_to_be_reached_scales() {
        let mut expect: Expect = toml::from_str("goodput = { at_least = 11600 }\nfailures = 5").unwrap();
        expect.scale(0.1);
        let least = expect.goodput.unwrap().at_least.unwrap().parse::<f64>().unwrap();
        assert!((least - 1160.0).abs() < 1e-6 && expect.failures.unwrap().at_most.unwrap() == "5");
    }
}
