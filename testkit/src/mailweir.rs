//! The built `mailweir` binary with a configuration of the test's own, as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::programs;

/// How long it may take until it serves: plugins may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `mailweir run` process; killed on drop.
pub struct Mailweir {
    binary: PathBuf,
    directory: TempDir,
    child: Child,
    admin: SocketAddr,
}

/// What `/metrics` said: each sample's value under its name with labels, as printed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(BTreeMap<String, f64>);

impl Mailweir {
    /// Starts `binary run` in a temporary directory that holds `config` as mailweir.toml, and waits until `/ready` on
    /// `admin`, which the configuration must name as its admin listener, answers 200. Relative paths in the
    /// configuration are in that directory.
    ///
    /// # Errors
    /// When it ends, or is not ready within 60 s (plugins may have to be compiled); the error holds its log.
    pub async fn start(binary: &Path, config: &str, admin: SocketAddr) -> anyhow::Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("mailweir-run-").tempdir()?, binary, config, admin).await
    }

    /// As `start`, in a directory that already holds what the configuration refers to.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_in(directory: TempDir, binary: &Path, config: &str, admin: SocketAddr) -> anyhow::Result<Self> {
        std::fs::write(directory.path().join("mailweir.toml"), config)?;
        let child = spawn(binary, directory.path())?;
        let mut mailweir = Self { binary: binary.to_owned(), directory, child, admin };
        mailweir.wait_until_ready().await?;
        Ok(mailweir)
    }

    /// Ends it at once, as `kill -9` does, in the middle of whatever it is at.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again in its directory, once it has ended. Its log goes on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.binary, self.directory.path())?;
        Ok(())
    }

    /// The binary the current test was built beside; `None` when it was not built.
    pub fn binary() -> Option<PathBuf> {
        if let Some(path) = std::env::var_os("MAILWEIR_BINARY") {
            return Some(path.into());
        }
        let test = std::env::current_exe().ok()?;
        // A test runs in target/PROFILE/deps, xtask in target/PROFILE.
        test.ancestors().skip(1).take(2).map(|directory| directory.join("mailweir")).find(|path| path.is_file())
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("mailweir ended with {status}\n{}", self.log());
            }
            if let Ok((200, _)) = http_get(self.admin, "/ready").await {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "mailweir is not ready after {PATIENCE:?}\n{}", self.log());
            // Another process is starting; there is nothing to wait on.
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Its directory: the configuration is `mailweir.toml` in it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("mailweir.log")).unwrap_or_default()
    }

    /// Waits until its log holds `text`.
    ///
    /// # Errors
    /// When it does not within `limit`; the error holds the log.
    pub async fn wait_for_log(&self, text: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while !self.log().contains(text) {
            ensure!(Instant::now() < deadline, "no {text:?} in the log\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Replaces the configuration file; `signal("HUP")` makes the process read it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, config: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.directory.path().join("mailweir.toml"), config)?)
    }

    /// Sends it a signal by name: "HUP", "TERM".
    ///
    /// # Errors
    /// When it has ended.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        programs::signal(self.child.id().context("mailweir has ended")?, name).await
    }

    /// Asks it to drain with SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("TERM").await?;
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        Ok(ended.with_context(|| format!("still runs {limit:?} after SIGTERM\n{}", self.log()))??)
    }

    /// The current metrics.
    ///
    /// # Errors
    /// When the admin listener does not answer with 200.
    pub async fn metrics(&self) -> anyhow::Result<Samples> {
        let (status, body) = http_get(self.admin, "/metrics").await?;
        ensure!(status == 200, "/metrics answered {status}");
        Ok(Samples::parse(&body))
    }
}

impl Samples {
    /// Reads the Prometheus text format; lines that hold no sample are left out.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The sum of all samples of this name whose labels hold every one of `labels`, each such as `verdict="pass"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let matching = self.0.iter().filter(|(sample, _)| {
            let (sample_name, sample_labels) = sample.split_once('{').unwrap_or((sample.as_str(), ""));
            sample_name == name && labels.iter().all(|label| sample_labels.contains(label))
        });
        matching.map(|(_, value)| value).sum()
    }
}

fn spawn(binary: &Path, directory: &Path) -> anyhow::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("mailweir.log"))?;
    Command::new(binary)
        .arg("run")
        .arg("--config")
        .arg(directory.join("mailweir.toml"))
        .current_dir(directory)
        // Who has seen an answer looks for its line at once.
        .env("MAILWEIR_LOG_BATCHES", "off")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

/// A GET with HTTP/1.0, so that the answer ends with the connection: status and body.
///
/// # Errors
/// When nothing answers, or not with HTTP.
pub async fn http_get(server: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the HTTP header")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_add_up_by_label() {
        let text = "# HELP x y\nx_total{verdict=\"pass\",listener=\"a\"} 3\nx_total{verdict=\"pass\",listener=\"b\"} 4\n\
                    x_total{verdict=\"reject\",listener=\"a\"} 1\ny 2.5\n";
        let samples = Samples::parse(text);
        assert_eq!(samples.sum("x_total", &["verdict=\"pass\""]), 7.0);
        assert_eq!(samples.sum("x_total", &["verdict=\"pass\"", "listener=\"a\""]), 3.0);
        assert_eq!(samples.sum("y", &[]), 2.5);
        assert_eq!(samples.sum("z", &[]), 0.0);
    }
}
