//! The load generator and the sink behind the servers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mailweir_testkit::ports;
use mailweir_testkit::programs::{self, Program};

use super::message::{ADDRESS, HOST};
use super::scenario::{Connections, Content, Scenario};

/// Connections that the sink takes at once.
const CLIENTS: &str = "15000";
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
        let program = programs::smtp_sink(&["-c", "-m", CLIENTS], address, 1024)
            .context("smtp-sink (Postfix) is not installed")?;
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

/// Who sends: smtp-source makes messages of its own; what it cannot send, mailweir-load does.
#[derive(Debug, Clone)]
pub(super) struct Generator {
    pub(super) mailweir_load: PathBuf,
    pub(super) sessions: u32,
    /// The message, where it is not generated.
    pub(super) message: Option<PathBuf>,
}

impl Generator {
    /// Sends messages to a server as the scenario says; how long it took.
    ///
    /// # Errors
    /// When one is not taken.
    pub(super) async fn send(&self, scenario: &Scenario, server: SocketAddr, messages: u32) -> Result<Duration> {
        let sessions = self.sessions.min(messages);
        let begin = Instant::now();
        let (name, program) = match scenario.content {
            Content::Generated(length) if !scenario.tls => {
                ("smtp-source", smtp_source(scenario, server, messages, sessions, length))
            }
            _ => ("mailweir-load", self.mailweir_load(scenario, server, messages, sessions)),
        };
        let report = program.with_context(|| format!("{name} is not installed"))?.finish(LIMIT).await?;
        ensure!(report.success, "{name}: {}", report.text.trim());
        Ok(begin.elapsed())
    }

    fn mailweir_load(&self, scenario: &Scenario, server: SocketAddr, messages: u32, sessions: u32) -> Option<Program> {
        let mut options = format!(
            "send {server} --messages {messages} --sessions {sessions} --threads 1 --no-pipelining --helo {HOST} \
             --from {ADDRESS} --to user@example.com"
        );
        if scenario.connections != Connections::Reused {
            options.push_str(" --messages-per-connection 1");
        }
        if scenario.tls {
            options.push_str(" --tls starttls");
        }
        if scenario.connections == Connections::OneEachUnresumed {
            options.push_str(" --no-resumption");
        }
        let mut options: Vec<String> = options.split(' ').map(str::to_owned).collect();
        match (&self.message, scenario.content) {
            (Some(file), _) => options.extend(["--eml".to_owned(), file.display().to_string()]),
            (None, content) => options.extend(["--size".to_owned(), content.size().to_string()]),
        }
        programs::run(&self.mailweir_load.display().to_string(), &options, b"")
    }
}

fn smtp_source(scenario: &Scenario, server: SocketAddr, messages: u32, sessions: u32, length: u32) -> Option<Program> {
    let options = format!("-m {messages} -s {sessions} -l {length} -M {HOST} -f {ADDRESS} -t user@example.com");
    let mut options: Vec<&str> = options.split(' ').collect();
    if scenario.connections == Connections::Reused {
        options.push("-d");
    }
    programs::smtp_source(&options, server)
}
