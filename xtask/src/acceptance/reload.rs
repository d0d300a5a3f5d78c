//! Reloads while messages pass. Every second one changes a filter's configuration, so that filters are really replaced.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mailweir_testkit::mailweir::Mailweir;

use super::stage::Stage;
use super::traffic::{Running, Traffic};
use super::{Outcome, Setting, scaled};

/// Without antivirus: clamd would be what is measured, and it takes no part in a reload.
const FILTERS: [&str; 3] = ["auth", "surbl", "dlp"];
/// The longest that a reload may take.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
/// How often a counter is looked at that has no event to wait for.
const LOOK: Duration = Duration::from_millis(10);
/// The setting that changes from reload to reload.
const SETTINGS: [&str; 2] = ["spf_fail = \"tag\"", "spf_fail = \"reject\""];

pub(super) async fn run(setting: &Setting) -> Result<Outcome> {
    // Enough for filters to be compiled meanwhile.
    let messages = scaled(20_000, setting.scale, 2_000);
    let reloads = scaled(50, setting.scale, 3);
    let traffic = Traffic { messages, sessions: 20, length: 4096 };
    let command = format!("{reloads} × SIGHUP during {}", traffic.command());
    println!("{command} …");
    let stage = match Stage::set(setting, &FILTERS).await? {
        Ok(stage) => stage,
        Err(missing) => return Ok(Outcome::skipped("reload", command, &format!("{missing} is not installed"))),
    };
    let Some(running) = traffic.start(&stage).await? else {
        return Ok(Outcome::skipped("reload", command, "smtp-source (Postfix) is not installed"));
    };
    let mut times = Vec::new();
    let reloading = reload_all(&stage, &running, u64::from(messages), reloads, &mut times).await;
    let mut result = running.finish(&stage).await?;
    if let Err(error) = reloading {
        result.wrong.push(format!("{error:#}"));
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
    result.figures.push(format!(
        "{} reloads while messages passed, {:?} each in the middle, {:?} at most; chain {}",
        times.len(),
        at(50),
        at(100),
        FILTERS.join(", ")
    ));
    Ok(Outcome::new("reload", command, result.wrong, result.figures))
}

/// Spreads the reloads over the messages, and waits for each.
async fn reload_all(
    stage: &Stage,
    running: &Running,
    messages: u64,
    reloads: u32,
    times: &mut Vec<Duration>,
) -> Result<()> {
    let configuration = std::fs::read_to_string(stage.proxy.directory().join("mailweir.toml"))?;
    for number in 1..=u64::from(reloads) {
        let due = messages * number / (u64::from(reloads) + 1);
        let mut stuck = Stuck::default();
        while running.delivered(stage) < due {
            stuck.look(running.delivered(stage))?;
            tokio::time::sleep(LOOK).await;
        }
        let [first, second] = SETTINGS;
        let changed = if number % 2 == 0 { configuration.clone() } else { configuration.replace(first, second) };
        stage.proxy.write_config(&changed)?;
        let begin = Instant::now();
        stage.proxy.signal("HUP").await?;
        wait_for_reload(&stage.proxy, number + 1).await?;
        let took = begin.elapsed();
        ensure!(running.delivered(stage) < messages, "the messages were through before reload {number}");
        times.push(took);
    }
    Ok(())
}

/// Waits until the generation of this number serves.
async fn wait_for_reload(proxy: &Mailweir, number: u64) -> Result<()> {
    let begin = Instant::now();
    loop {
        let metrics = proxy.metrics().await?;
        #[expect(clippy::cast_precision_loss, reason = "a handful of reloads")]
        if metrics.sum("mailweir_generation", &[]) >= number as f64 {
            return Ok(());
        }
        ensure!(metrics.sum("mailweir_reloads_total", &["result=\"failed\""]) == 0.0, "a reload failed");
        ensure!(begin.elapsed() < RELOAD_LIMIT, "generation {number} does not begin within {RELOAD_LIMIT:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Notices when no message arrives any more.
struct Stuck {
    count: u64,
    since: Instant,
}

impl Default for Stuck {
    fn default() -> Self {
        Self { count: 0, since: Instant::now() }
    }
}

impl Stuck {
    fn look(&mut self, count: u64) -> Result<()> {
        if count != self.count {
            *self = Self { count, since: Instant::now() };
        }
        ensure!(self.since.elapsed() < RELOAD_LIMIT, "no message arrived for {RELOAD_LIMIT:?} after {count}");
        Ok(())
    }
}
