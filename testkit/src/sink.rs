//! `mailweir sink` as a process that can be killed and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};

use crate::{ports, programs};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mail server that takes everything; killed on drop.
pub struct Sink {
    binary: PathBuf,
    address: SocketAddr,
    store: Option<PathBuf>,
    child: Child,
}

impl Sink {
    /// Starts `binary sink`, and waits until it listens. What it takes is written to `store`.
    ///
    /// # Errors
    /// When it does not listen within 30 s.
    pub async fn start(binary: &Path, address: SocketAddr, store: Option<&Path>) -> anyhow::Result<Self> {
        let child = spawn(binary, address, store)?;
        let sink = Self { binary: binary.to_owned(), address, store: store.map(Path::to_owned), child };
        ports::wait_until_open(address, PATIENCE).await?;
        Ok(sink)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it at once, as `kill -9` does, in the middle of whatever it is at.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again where it was, with the store it had.
    ///
    /// # Errors
    /// When it does not listen within 30 s.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.binary, self.address, self.store.as_deref())?;
        ports::wait_until_open(self.address, PATIENCE).await
    }

    /// Ends it as Control-C would; the messages that it has taken.
    ///
    /// # Errors
    /// When it has ended, or does not print its counts.
    pub async fn stop(self) -> anyhow::Result<u64> {
        programs::signal(self.child.id().context("the sink has ended")?, "INT").await?;
        let output = tokio::time::timeout(Duration::from_secs(10), self.child.wait_with_output());
        let output = output.await.context("the sink does not end")??;
        let counts: serde_json::Value = serde_json::from_slice(&output.stdout).context("the sink's counts")?;
        counts["messages"].as_u64().context("the sink's counts")
    }
}

fn spawn(binary: &Path, address: SocketAddr, store: Option<&Path>) -> anyhow::Result<Child> {
    let mut command = Command::new(binary);
    command.args(["sink", "--json", "--listen", &address.to_string()]);
    if let Some(store) = store {
        command.arg("--store").arg(store);
    }
    command
        .env("MAILWEIR_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {} sink", binary.display()))
}
