//! The load generator and the sink behind the servers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mailweir_testkit::ports;
use mailweir_testkit::programs::{self, Program};

use super::scenario::{Connections, Content, Scenario};

/// The longest that a sample may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How long after the generator's end the last message may arrive: servers with a queue.
const ARRIVAL: Duration = Duration::from_secs(120);
/// How often the sink's count is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What takes the messages that all servers pass on.
pub(super) struct Sink {
    program: Program,
    pub(super) address: SocketAddr,
}

impl Sink {
    /// Starts one.
    ///
    /// # Errors
    /// When there is none, or it does not listen.
    pub(super) async fn start() -> Result<Self> {
        let address = ports::free()?;
        let program = programs::smtp_sink(&["-c"], address, 1024).context("smtp-sink (Postfix) is not installed")?;
        ports::wait_until_open(address, Duration::from_secs(10)).await?;
        Ok(Self { program, address })
    }

    /// Messages it has taken.
    pub(super) fn count(&self) -> u64 {
        // It writes "sess=3 quit=2 mesg=2\r" again and again.
        let text = self.program.text();
        let Some((_, last)) = text.rsplit_once("mesg=") else { return 0 };
        let digits: String = last.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    /// Waits until it has taken so many, and no more.
    ///
    /// # Errors
    /// When they do not arrive.
    pub(super) async fn wait_for(&self, count: u64) -> Result<()> {
        let deadline = Instant::now() + ARRIVAL;
        loop {
            let taken = self.count();
            if taken == count {
                return Ok(());
            }
            ensure!(taken < count && Instant::now() < deadline, "{taken} messages arrived of {count}");
            // Its count has no event to wait for.
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Sends messages to a server as the scenario says; how long it took.
///
/// # Errors
/// When one is not taken.
pub(super) async fn send(scenario: &Scenario, server: SocketAddr, messages: u32, sessions: u32) -> Result<Duration> {
    let Content::Generated(length) = scenario.content else { anyhow::bail!("smtp-source makes messages of its own") };
    let (messages, sessions, length) = (messages.to_string(), sessions.min(messages).to_string(), length.to_string());
    let mut options = vec!["-m", &messages, "-s", &sessions, "-l", &length, "-M", "mx.sender.test"];
    options.extend(["-f", "load@sender.test", "-t", "user@example.com"]);
    if scenario.connections == Connections::Reused {
        options.push("-d");
    }
    let begin = Instant::now();
    let source = programs::smtp_source(&options, server).context("smtp-source (Postfix) is not installed")?;
    let report = source.finish(LIMIT).await?;
    ensure!(report.success, "smtp-source: {}", report.text.trim());
    Ok(begin.elapsed())
}
