//! A scenario's file. Loads that make no sense and claims about steps that do not exist are errors before anything is started.

use std::num::NonZeroU32;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::claims::Expect;
use crate::options::LoadOptions;
use crate::sink::Behaviour;
use crate::units::{Rate, Span};

/// A scenario as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// In one line.
    pub(crate) title: String,
    /// What it shows, and why.
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) target: Target,
    /// A sink in this process, behind the server or in its place.
    pub(crate) sink: Option<SinkTable>,
    /// Started in this order, ended in the reverse one.
    #[serde(default, rename = "server")]
    pub(crate) servers: Vec<ServerTable>,
    /// Whether messages are marked and looked for at the sink.
    #[serde(default = "yes")]
    pub(crate) proof: bool,
    /// How long acknowledged messages may take to the sink: for servers with a queue.
    #[serde(default)]
    pub(crate) delivery: Span,
    /// How often all steps are run, one after another each time.
    #[serde(default = "once")]
    pub(crate) rounds: NonZeroU32,
    #[serde(rename = "step")]
    pub(crate) steps: Vec<Step>,
    #[serde(default, rename = "expect")]
    pub(crate) expectations: Vec<Expect>,
}

/// Where loads are sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// host:port, with placeholders.
    pub(crate) address: String,
}

/// The sink.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkTable {
    /// Where it listens; a port of its own choice when absent.
    #[serde(default = "anywhere")]
    pub(crate) listen: String,
    #[serde(default)]
    pub(crate) behaviour: Behaviour,
}

/// A process to start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerTable {
    pub(crate) name: String,
    /// Program and arguments, with placeholders.
    pub(crate) command: Vec<String>,
    /// The text of a configuration file, with placeholders; its path is `{config}`.
    pub(crate) config: Option<String>,
    /// host:port where it greets when it is ready; the target when absent.
    pub(crate) ready: Option<String>,
    /// How long that may take.
    #[serde(default = "soon")]
    pub(crate) ready_within: Span,
}

/// Loads at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// Where its loads are sent, host:port with placeholders; the scenario's target when absent.
    pub(crate) target: Option<String>,
    /// Of the loads that say nothing else.
    pub(crate) duration: Option<Span>,
    /// A rest before it.
    #[serde(default)]
    pub(crate) pause: Span,
    #[serde(rename = "load")]
    pub(crate) loads: Vec<LoadOptions>,
}

fn yes() -> bool {
    true
}

fn once() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn anywhere() -> String {
    "127.0.0.1:0".to_owned()
}

fn soon() -> Span {
    Span(std::time::Duration::from_secs(60))
}

/// The scenarios that come with the program, by name.
const BUILT_IN: [(&str, &str); 12] = [
    ("small", include_str!("../../scenarios/small.toml")),
    ("latency", include_str!("../../scenarios/latency.toml")),
    ("mixed", include_str!("../../scenarios/mixed.toml")),
    ("large", include_str!("../../scenarios/large.toml")),
    ("tls", include_str!("../../scenarios/tls.toml")),
    ("one-a-connection", include_str!("../../scenarios/one-a-connection.toml")),
    ("idle-18k", include_str!("../../scenarios/idle-18k.toml")),
    ("slowloris", include_str!("../../scenarios/slowloris.toml")),
    ("overload", include_str!("../../scenarios/overload.toml")),
    ("overload-cpu", include_str!("../../scenarios/overload-cpu.toml")),
    ("a-billion-a-day", include_str!("../../scenarios/a-billion-a-day.toml")),
    ("fleet", include_str!("../../scenarios/fleet.toml")),
];

impl Scenario {
    /// Reads a file, or the built-in scenario of that name.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is wrong: with the file, the line and the key.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let built_in = BUILT_IN.iter().find(|(name, _)| Path::new(name) == path && !path.exists());
        if let Some((_, text)) = built_in {
            return Self::parse(text, path);
        }
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} is neither a file nor one of {}", path.display(), names.join(", ")))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> anyhow::Result<Self> {
        let mut scenario: Self = toml::from_str(text).with_context(|| path.display().to_string())?;
        scenario
            .complete(path.parent().unwrap_or_else(|| Path::new("")))
            .with_context(|| path.display().to_string())?;
        Ok(scenario)
    }

    /// Fills in what loads take from their step, and checks what the types do not.
    fn complete(&mut self, folder: &Path) -> anyhow::Result<()> {
        ensure!(!self.steps.is_empty(), "step: there is none");
        let mut names: Vec<String> = Vec::new();
        for step in &mut self.steps {
            step.complete(&names, folder).with_context(|| format!("step {:?}", step.name))?;
            ensure!(!names.contains(&step.name), "step: two are called {:?}", step.name);
            names.push(step.name.clone());
        }
        if self.expectations.is_empty() {
            self.expectations.push(Expect::no_failures());
        }
        for (number, expect) in (1..).zip(&self.expectations) {
            expect.check(&self.steps).with_context(|| format!("expect, number {number}"))?;
        }
        Ok(())
    }

    /// Shrinks times, numbers of messages, rates, and connections that are held or trickle.
    pub(crate) fn scale(&mut self, scale: f64) {
        for load in self.steps.iter_mut().flat_map(|step| &mut step.loads) {
            load.duration = load.duration.map(|span| Span(span.0.mul_f64(scale).max(SHORTEST)));
            load.ramp = load.ramp.map(|span| Span(span.0.mul_f64(scale)));
            load.messages = load.messages.map(|count| scaled(count.get(), scale));
            if let Some(Rate::PerSecond(rate)) = &mut load.rate {
                *rate = (*rate * scale).max(1.0);
            }
            if load.idle || load.slow.is_some() {
                load.sessions =
                    load.sessions.map(|count| scaled(count.get().into(), scale).try_into().unwrap_or(count));
            }
        }
        self.expectations.iter_mut().for_each(|expect| expect.scale(scale));
    }
}

/// Less says nothing.
const SHORTEST: std::time::Duration = std::time::Duration::from_millis(300);

fn scaled(count: u64, scale: f64) -> std::num::NonZeroU64 {
    std::num::NonZeroU64::new((count as f64 * scale).ceil() as u64).unwrap_or(std::num::NonZeroU64::MIN)
}

impl Step {
    /// The most at once.
    pub(crate) fn connections(&self) -> u64 {
        self.loads.iter().map(LoadOptions::connections).sum()
    }

    fn complete(&mut self, earlier: &[String], folder: &Path) -> anyhow::Result<()> {
        ensure!(self.loads.iter().any(|load| !load.background), "load: there is none but in the background");
        let mut names: Vec<String> = Vec::new();
        for (number, load) in (1..).zip(&mut self.loads) {
            let name = load.name.get_or_insert_with(|| format!("load-{number}")).clone();
            ensure!(!names.contains(&name), "load: two are called {name:?}");
            names.push(name.clone());
            if load.duration.is_none() && !load.background && load.messages.is_none() {
                load.duration = self.duration;
            }
            check(load, earlier).with_context(|| format!("load {name:?}"))?;
            for path in load.eml.iter_mut().chain(&mut load.ca) {
                *path = folder.join(&*path);
            }
        }
        Ok(())
    }
}

fn check(load: &LoadOptions, earlier: &[String]) -> anyhow::Result<()> {
    if load.background {
        ensure!(
            load.duration.is_none() && load.messages.is_none(),
            "background: it ends with the other loads of its step"
        );
    } else {
        let ends = load.duration.is_some() || (load.messages.is_some() && !load.idle);
        ensure!(ends, "duration: it needs one here or in its step, or messages");
    }
    match &load.rate {
        Some(Rate::Times { step: Some(step), .. }) if !earlier.contains(step) => {
            bail!("rate: there is no earlier step {step:?}")
        }
        Some(Rate::Times { step: None, .. }) if earlier.is_empty() => bail!("rate: there is no earlier step"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_the_program_loads() {
        for (name, text) in BUILT_IN {
            let mut scenario = Scenario::read(Path::new(name)).unwrap_or_else(|error| panic!("{error:#}"));
            assert!(!scenario.title.is_empty() && !scenario.description.is_empty(), "{name}");
            assert!(text.contains("[[expect]]"), "{name} claims nothing");
            assert!(scenario.proof && scenario.sink.is_some(), "{name} proves nothing");
            scenario.scale(0.01);
            assert!(text.len() < 20_000);
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(files, BUILT_IN.len(), "each file is built in");
    }

    const WHOLE: &str = r#"
title = "a"
[target]
address = "{sink}"
[sink]
[[step]]
name = "one"
duration = "1s"
[[step.load]]
sessions = 5
[[step]]
name = "two"
[[step.load]]
name = "mail"
rate = "2x one"
duration = "1s"
[[step.load]]
idle = true
background = true
[[expect]]
step = "two"
failures = 0
goodput = { at_least = 0.9, times = "one" }
"#;

    fn error(from: &str, to: &str) -> String {
        assert!(from.is_empty() || WHOLE.contains(from), "{from}");
        let text = if from.is_empty() { format!("{WHOLE}{to}") } else { WHOLE.replacen(from, to, 1) };
        format!("{:#}", Scenario::parse(&text, Path::new("x.toml")).unwrap_err())
    }

    #[test]
    fn errors_name_file_and_key() {
        let scenario = Scenario::parse(WHOLE, Path::new("x.toml")).unwrap();
        assert_eq!(scenario.steps[0].loads[0].duration, Some("1s".parse().unwrap()), "from its step");
        for (from, to, expected) in [
            ("title = \"a\"", "titel = \"a\"", "unknown field `titel`"),
            ("title = \"a\"", "", "missing field `title`"),
            ("sessions = 5", "sesions = 5", "unknown field `sesions`"),
            ("sessions = 5", "size = \"big\"", "line 10"),
            ("sessions = 5", "idle = true\nmessages = 5\nsessions = 5", ""),
            ("duration = \"1s\"", "", "step \"one\": load \"load-1\": duration: it needs one"),
            ("duration = \"1s\"", "duration = \"1 parsec\"", "no span of time"),
            (
                "rate = \"2x one\"",
                "rate = \"2x three\"",
                "step \"two\": load \"mail\": rate: there is no earlier step \"three\"",
            ),
            ("rate = \"2x one\"", "rate = \"fast\"", "no rate"),
            ("name = \"two\"", "name = \"one\"", "two are called \"one\""),
            ("background = true", "background = true\nduration = 1", "load \"load-2\": background: it ends with"),
            ("step = \"two\"", "step = \"tow\"", "expect, number 1: step: there is none called \"tow\""),
            (
                "step = \"two\"",
                "step = \"two\"\nload = \"male\"",
                "expect, number 1: load: there is none called \"male\"",
            ),
            ("times = \"one\"", "times = \"none\"", "expect, number 1: goodput: there is no step \"none\""),
            ("goodput = { at_least = 0.9, times = \"one\" }", "p99 = \"fast\"", "expect, number 1: p99: \"fast\""),
            ("goodput = { at_least", "goodput = { at_lest", "unknown field `at_lest`"),
            (
                "times = \"one\"",
                "times = \"one\", beyond = \"one\"",
                "expect, number 1: goodput: times and beyond: it is one",
            ),
            ("times = \"one\"", "beyond = \"none\"", "expect, number 1: goodput: there is no step \"none\""),
            ("title = \"a\"", "title = \"a\"\nrounds = 0", "line 3"),
            ("failures = 0", "failurs = 0", "unknown field `failurs`"),
            ("", "[[server]]\nname = \"a\"\ncomand = []", "unknown field `comand`"),
            ("[sink]", "[sink]\nbehaviour = { drops = [] }", "unknown field `drops`"),
        ] {
            let found = error(from, to);
            assert!(found.starts_with("x.toml: ") && found.contains(expected), "{to}: {found}");
        }
        let missing = format!("{:#}", Scenario::read(Path::new("/nowhere/x.toml")).unwrap_err());
        assert!(missing.starts_with("/nowhere/x.toml is neither a file nor one of small, latency"), "{missing}");
    }
}
