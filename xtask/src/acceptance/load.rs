//! Small messages in many sessions, then a few large ones, through auth, surbl and antivirus with a real clamd.

use anyhow::Result;

use super::stage::{CLAMD_THREADS, MEMORY_BUDGET, Stage};
use super::traffic::Traffic;
use super::{Outcome, Setting, scaled};

const FILTERS: [&str; 3] = ["auth", "surbl", "antivirus"];

pub(super) async fn run(setting: &Setting) -> Result<Vec<Outcome>> {
    let small = scaled(5000, setting.scale, 50);
    let large = scaled(20, setting.scale, 2);
    let runs = [
        Traffic { messages: small, sessions: small.min(100), length: 4096 },
        Traffic { messages: large, sessions: large, length: 30_000_000 },
    ];
    let stage = match Stage::set(setting, &FILTERS).await? {
        Ok(stage) => stage,
        Err(missing) => return Ok(runs.map(|traffic| skipped(traffic, missing)).into()),
    };
    let mut outcomes = Vec::new();
    for traffic in runs.into_iter().flat_map(|traffic| std::iter::repeat_n(traffic, setting.rounds as usize)) {
        println!("{} …", traffic.command());
        let Some(running) = traffic.start(&stage).await? else {
            outcomes.push(skipped(traffic, "smtp-source (Postfix)"));
            continue;
        };
        let mut result = running.finish(&stage).await?;
        let note = format!("clamd with MaxThreads {CLAMD_THREADS}; memory_budget {MEMORY_BUDGET} MiB");
        result.figures.push(note);
        outcomes.push(Outcome::new("load", traffic.command(), result.wrong, result.figures));
    }
    Ok(outcomes)
}

fn skipped(traffic: Traffic, missing: &str) -> Outcome {
    Outcome::skipped("load", traffic.command(), &format!("{missing} is not installed"))
}
