//! A peer that runs, in a directory of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mailweir_testkit::programs;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};

use super::peer::Peer;
use super::scenario::Scenario;
use super::surroundings::Surroundings;
use super::template::Values;
use super::tree::Tree;

/// What templates may refer to.
pub(super) const NAMES: [&str; 12] = [
    "listen",
    "upstream",
    "upstream_host",
    "upstream_port",
    "directory",
    "binary",
    "plugins",
    "dns",
    "auth_http",
    "certificate",
    "key",
    "haraka",
];
/// How long one may take to start: plugins, or patterns, may have to be compiled.
const START: Duration = Duration::from_secs(180);
/// One that does next to nothing for so long has started.
const REST: Duration = Duration::from_millis(300);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(25);
/// How long one may take to end when it is told to.
const STOP: Duration = Duration::from_secs(10);

/// Where a server is, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) listen: SocketAddr,
    pub(super) upstream: SocketAddr,
    /// Of mailweir alone, as its filters.
    pub(super) binary: PathBuf,
    pub(super) plugins: PathBuf,
    /// Variables that its processes get besides ours.
    pub(super) environment: &'static [(&'static str, &'static str)],
}

/// A server. It is ended when it is dropped.
pub(super) struct Server {
    directory: TempDir,
    children: Vec<Child>,
    stop: Option<String>,
    pub(super) address: SocketAddr,
    pub(super) tree: Tree,
}

impl Server {
    /// Starts it for a scenario, and waits until it listens.
    ///
    /// # Errors
    /// When it does not; the error holds what it said.
    pub(super) async fn start(
        peer: &Peer,
        scenario: &Scenario,
        place: &Place,
        surroundings: &Surroundings,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mailweir-bench-").tempdir()?;
        // Some run as users of their own.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let values = values(place, scenario, surroundings, directory.path());
        for (name, template) in peer.files {
            let path = directory.path().join(name);
            if name.ends_with('/') {
                std::fs::create_dir_all(path)?;
                continue;
            }
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(path, values.fill(template)?)?;
        }
        for template in peer.prepare {
            let line = values.fill(template)?;
            let output = command(&line, directory.path())?.output().await.with_context(|| line.clone())?;
            ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let stop = peer.stop.map(|template| values.fill(template)).transpose()?;
        let mut server =
            Self { directory, children: Vec::new(), stop, address: place.listen, tree: Tree::new(Vec::new()) };
        for template in peer.processes {
            server.spawn(&values.fill(template)?, place.environment)?;
        }
        server.tree = Tree::new(server.children.iter().filter_map(Child::id).collect());
        let ready: Vec<String> = peer.ready.iter().map(|template| values.fill(template)).collect::<Result<_>>()?;
        match server.wait_until_ready(&ready).await {
            Ok(()) => Ok(server),
            Err(error) => {
                let log = server.log();
                // Some of its processes may run; that it could not start is what matters.
                let _ = server.stop();
                Err(error.context(log))
            }
        }
    }

    async fn wait_until_ready(&mut self, ready: &[String]) -> Result<()> {
        let deadline = Instant::now() + START;
        for place in ready {
            while !is_open(place).await {
                for child in &mut self.children {
                    if let Some(status) = child.try_wait()? {
                        bail!("ended with {status}");
                    }
                }
                ensure!(Instant::now() < deadline, "nothing listens on {place} after {START:?}");
                // Another process is starting; there is nothing to wait on.
                tokio::time::sleep(LOOK).await;
            }
        }
        self.wait_until_idle().await
    }

    /// Waits until it comes to rest: some go on compiling patterns after they have begun to listen.
    ///
    /// # Errors
    /// When it does not.
    pub(super) async fn wait_until_idle(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        let mut before = self.tree.cpu()?;
        loop {
            tokio::time::sleep(REST).await;
            let now = self.tree.cpu()?;
            if now.since(before).total < REST / 20 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "still at work {START:?} after its start");
            before = now;
        }
    }

    fn spawn(&mut self, line: &str, environment: &[(&str, &str)]) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.directory.path().join("bench.log"))?;
        let mut command = command(line, self.directory.path())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.envs(environment.iter().copied());
        self.children.push(command.spawn().with_context(|| line.to_owned())?);
        Ok(())
    }

    /// The end of what it said.
    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(self.directory.path().join("bench.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends it, with the processes that it started.
    ///
    /// # Errors
    /// When it does not end in time; what was started is killed then, but not what that has started.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// As [`Self::stop`]. It waits in place, since a destructor can do nothing else.
    fn end(&mut self) -> Result<()> {
        if let Some(line) = self.stop.take() {
            let mut stop = command(&line, self.directory.path())?.into_std();
            let status = stop.stderr(Stdio::null()).status().with_context(|| line.clone())?;
            ensure!(status.success(), "{line}: {status}");
        }
        let deadline = Instant::now() + STOP;
        for child in &mut self.children {
            if let (None, Some(id)) = (child.try_wait()?, child.id()) {
                std::process::Command::new("kill").arg(id.to_string()).status().context("kill")?;
            }
        }
        for child in &mut self.children {
            while child.try_wait()?.is_none() {
                ensure!(Instant::now() < deadline, "still runs {STOP:?} after it was told to end");
                #[expect(clippy::disallowed_methods, reason = "nothing else is to be done on this thread")]
                std::thread::sleep(LOOK);
            }
        }
        self.children.clear();
        Ok(())
    }
}

impl Drop for Server {
    /// Processes that have started others must not be killed before they have ended those.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

/// Whether something listens at an address, or at a socket in the file system.
async fn is_open(place: &str) -> bool {
    match place.starts_with('/') {
        true => UnixStream::connect(place).await.is_ok(),
        false => TcpStream::connect(place).await.is_ok(),
    }
}

/// The words of a line as a command.
fn command(line: &str, directory: &Path) -> Result<Command> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let mut command = Command::new(programs::installed(program).unwrap_or_else(|| program.into()));
    command.args(words).current_dir(directory);
    Ok(command)
}

fn values(place: &Place, scenario: &Scenario, surroundings: &Surroundings, directory: &Path) -> Values {
    let Place { listen, upstream, binary, plugins, .. } = place;
    let certificate = &surroundings.certificate;
    let values = [
        listen.to_string(),
        upstream.to_string(),
        upstream.ip().to_string(),
        upstream.port().to_string(),
        directory.display().to_string(),
        binary.display().to_string(),
        plugins.display().to_string(),
        surroundings.dns().to_string(),
        surroundings.auth_http.to_string(),
        certificate.certificate.display().to_string(),
        certificate.key.display().to_string(),
        crate::workspace_root().join("target/peers/haraka").display().to_string(),
    ];
    let lines = [("tls", scenario.tls), ("filters", scenario.filters)];
    Values {
        names: NAMES.into_iter().zip(values).collect(),
        lines: lines.into_iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| kind).collect(),
    }
}
