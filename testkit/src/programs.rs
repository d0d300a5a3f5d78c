//! Other people's SMTP programs: Postfix's load generator and sink, Python's smtplib, clients by name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};

/// A program that runs; killed on drop. What it writes goes to unnamed files, so that it never waits for a reader.
pub struct Program {
    child: Child,
    name: String,
    output: File,
    errors: File,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// It exited with 0.
    pub success: bool,
    /// What it wrote: standard output, then standard error.
    pub text: String,
}

impl Program {
    fn spawn(command: Command) -> anyhow::Result<Self> {
        Self::spawn_with_input(command, Stdio::null())
    }

    fn spawn_with_input(mut command: Command, input: Stdio) -> anyhow::Result<Self> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let (output, errors) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(input).stdout(output.try_clone()?).stderr(errors.try_clone()?).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, name, output, errors })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it takes longer than `limit`; it is killed then.
    pub async fn finish(mut self, limit: Duration) -> anyhow::Result<Report> {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} still runs after {limit:?}\n{}", self.name, self.text()))??;
        Ok(Report { success: status.success(), text: self.text() })
    }

    /// Ends it as Control-C would; what it wrote.
    ///
    /// # Errors
    /// When it has ended by itself, or does not end within 10 seconds.
    pub async fn stop(self) -> anyhow::Result<String> {
        let process = self.child.id().with_context(|| format!("{} has ended\n{}", self.name, self.text()))?;
        signal(process, "INT").await?;
        Ok(self.finish(Duration::from_secs(10)).await?.text)
    }

    /// What it wrote so far: standard output, then standard error.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        for file in [&self.output, &self.errors] {
            let begin = text.len();
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            text.resize(begin + usize::try_from(size).unwrap_or_default(), 0);
            // Reading at a position: the program writes at the position that it shares with this handle.
            if file.read_exact_at(&mut text[begin..], 0).is_err() {
                text.truncate(begin);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// `smtp-source OPTIONS ADDRESS`; `None` when it is not installed. With `-c` it prints a running count.
pub fn smtp_source(options: &[&str], server: SocketAddr) -> Option<Program> {
    postfix_program("smtp-source", options, &[&format!("inet:{}:{}", server.ip(), server.port())])
}

/// `smtp-sink OPTIONS ADDRESS BACKLOG`; `None` when it is not installed. With `-c` it prints running counts.
pub fn smtp_sink(options: &[&str], listen: SocketAddr, backlog: u32) -> Option<Program> {
    // It refuses to run as the superuser.
    let user: &[&str] = if is_superuser() { &["-u", "nobody"] } else { &[] };
    postfix_program(
        "smtp-sink",
        &[user, options].concat(),
        &[&format!("inet:{}:{}", listen.ip(), listen.port()), &backlog.to_string()],
    )
}

fn postfix_program(name: &str, options: &[&str], operands: &[&str]) -> Option<Program> {
    let mut command = Command::new(installed(name)?);
    command.args(options).args(operands);
    Program::spawn(command).ok()
}

/// Runs a Python script with these arguments; `None` when there is no python3. `smtplib` is in its standard library.
pub fn python(script: &str, arguments: &[&str]) -> Option<Program> {
    let mut command = Command::new(installed("python3")?);
    command.arg("-c").arg(script).args(arguments);
    Program::spawn(command).ok()
}

/// Runs a program with `input` to read; `None` when it is not installed.
pub fn run(name: &str, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Option<Program> {
    let mut command = Command::new(installed(name)?);
    command.args(arguments);
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(input).ok()?;
    file.rewind().ok()?;
    Program::spawn_with_input(command, file.into()).ok()
}

/// Where a program is installed: on the search path, or in /usr/sbin, which a user's path often lacks.
pub fn installed(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// Whether we are root.
pub(crate) fn is_superuser() -> bool {
    let output = std::process::Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Sends a signal by name, such as "TERM", to a process.
///
/// # Errors
/// When there is no such process.
pub async fn signal(process: u32, name: &str) -> anyhow::Result<()> {
    let arguments = [OsStr::new("-s"), OsStr::new(name), OsStr::new(&process.to_string())].map(OsStr::to_owned);
    let status = Command::new(installed("kill").unwrap_or_else(|| Path::new("kill").to_owned()))
        .args(arguments)
        .status()
        .await
        .context("kill")?;
    anyhow::ensure!(status.success(), "kill -s {name} {process}: {status}");
    Ok(())
}
