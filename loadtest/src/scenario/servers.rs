//! Servers that a scenario starts: their ports, their configuration, their first greeting and their end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::file::ServerTable;

/// What placeholders stand for.
///
/// `{port:NAME}` is a free port, the same for the same name; `{sink}` is the sink's address, `{folder}` a folder that is
/// gone afterwards, `{config}` the path of the server's configuration, `{certificate}` and `{key}` those of a certificate
/// made for the occasion, `{mailweir}` the mailweir program, `{plugins}` the folder of its filters. Other braces are left alone.
pub(crate) struct Placeholders {
    pub(crate) sink: Option<String>,
    pub(crate) folder: PathBuf,
    ports: BTreeMap<String, u16>,
}

/// A server that was started.
pub(crate) struct Server {
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
}

/// A server that does not end in this time after SIGTERM is killed.
const GRACE: Duration = Duration::from_secs(30);

/// Between two looks whether a server is ready.
const AGAIN: Duration = Duration::from_millis(50);

/// The end of a log that is shown.
const TAIL: usize = 2000;

/// Below those that the system gives to outgoing connections, so that none of them is in the way.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

impl Placeholders {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { sink: None, folder, ports: BTreeMap::new() }
    }

    /// # Errors
    ///
    /// When a placeholder stands for nothing here.
    pub(crate) fn fill(&mut self, text: &str, config: Option<&Path>) -> anyhow::Result<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find('{') {
            filled.push_str(&rest[..begin]);
            let inner = &rest[begin + 1..];
            let named = inner.find('}').map(|end| &inner[..end]).filter(|name| is_name(name));
            let Some(name) = named else {
                filled.push('{');
                rest = inner;
                continue;
            };
            filled.push_str(&self.value(name, config)?);
            rest = &inner[name.len() + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&mut self, name: &str, config: Option<&Path>) -> anyhow::Result<String> {
        if let Some(port) = name.strip_prefix("port:") {
            return self.port(port).map(|port| port.to_string());
        }
        Ok(match name {
            "sink" => self.sink.clone().context("{sink}: the scenario has no [sink]")?,
            "folder" => self.folder.display().to_string(),
            "config" => config.context("{config}: the server has no config")?.display().to_string(),
            "certificate" | "key" => self.pem(name)?.display().to_string(),
            "mailweir" => mailweir().display().to_string(),
            "plugins" => plugins()?.display().to_string(),
            other => bail!(
                "{{{other}}} is none of {{port:NAME}}, {{sink}}, {{folder}}, {{config}}, {{certificate}}, {{key}}, {{mailweir}}, {{plugins}}"
            ),
        })
    }

    /// The file of the certificate, or of its key; both are made when first asked for.
    fn pem(&self, name: &str) -> anyhow::Result<PathBuf> {
        let file = |name: &str| self.folder.join(format!("{name}.pem"));
        if !file(name).exists() {
            let made =
                rcgen::generate_simple_self_signed(vec!["mx.load.example".to_owned()]).context("a certificate")?;
            for (name, pem) in [("certificate", made.cert.pem()), ("key", made.signing_key.serialize_pem())] {
                fs::write(file(name), pem).with_context(|| file(name).display().to_string())?;
            }
        }
        Ok(file(name))
    }

    fn port(&mut self, name: &str) -> anyhow::Result<u16> {
        if let Some(port) = self.ports.get(name) {
            return Ok(*port);
        }
        let first = fastrand::u16(PORTS);
        let mut candidates = (first..PORTS.end).chain(PORTS.start..first);
        let free = |port: &u16| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
            listener.is_ok() && !self.ports.values().any(|other| other == port)
        };
        let port = candidates.find(free).context("no port is free")?;
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }
}

/// What may stand in a placeholder; `{ a = 1 }` and `{}` of a configuration are none.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-".contains(&byte))
}

/// The program named by MAILWEIR_BINARY, or beside this one, or on the path.
fn mailweir() -> PathBuf {
    if let Some(path) = std::env::var_os("MAILWEIR_BINARY") {
        return path.into();
    }
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("mailweir"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "mailweir".into())
}

/// The folder named by MAILWEIR_PLUGINS, or `plugins` beside the folder of the program, as under target.
fn plugins() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MAILWEIR_PLUGINS") {
        return Ok(path.into());
    }
    let folder = mailweir().ancestors().nth(2).map(|above| above.join("plugins")).filter(|folder| folder.is_dir());
    folder.context("{plugins}: there are none beside mailweir: cargo xtask plugins, or MAILWEIR_PLUGINS")
}

impl Server {
    /// Starts it; it may not be ready yet.
    ///
    /// # Errors
    ///
    /// When there is no such program, or a placeholder stands for nothing.
    pub(crate) fn start(table: &ServerTable, placeholders: &mut Placeholders) -> anyhow::Result<Self> {
        let config = table.config.as_ref().map(|_| placeholders.folder.join(format!("{}.conf", table.name)));
        if let (Some(path), Some(text)) = (&config, &table.config) {
            let text = placeholders.fill(text, Some(path)).context("config")?;
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        let mut words = Vec::new();
        for word in &table.command {
            words.push(placeholders.fill(word, config.as_deref()).context("command")?);
        }
        let (program, arguments) = words.split_first().context("command: it is empty")?;
        let log = placeholders.folder.join(format!("{}.log", table.name));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let errors = output.try_clone().with_context(|| log.display().to_string())?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&placeholders.folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A SIGINT at the terminal is for the load: servers are to see the rest of it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("command: {program:?} cannot be started; is it installed?"))?;
        Ok(Self { name: table.name.clone(), child, log })
    }

    /// Its process.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it greets.
    ///
    /// # Errors
    ///
    /// When it ends instead, or does not in this time.
    pub(crate) async fn ready(&mut self, address: &str, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().context("waiting")? {
                bail!("it ended at once: {status}{}", self.log_tail());
            }
            if greets(address).await {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it does not greet at {address} within {within:?}{}", self.log_tail());
            sleep(AGAIN).await;
        }
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// When it had ended before, or ends with a failure, or has to be killed.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait().context("waiting")? {
            bail!("it ended during the run: {status}{}", self.log_tail());
        }
        if let Some(process) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(process, Signal::TERM).context("SIGTERM")?;
        }
        let Ok(status) = timeout(GRACE, self.child.wait()).await else {
            self.child.kill().await.context("SIGKILL")?;
            bail!("it did not end within {GRACE:?} after SIGTERM, and was killed{}", self.log_tail());
        };
        let status = status.context("waiting")?;
        // Who does not handle the signal ends by it; some shells and HAProxy say 128 + 15 instead.
        let by_signal =
            std::os::unix::process::ExitStatusExt::signal(&status) == Some(15) || status.code() == Some(143);
        ensure!(status.success() || by_signal, "it ended with {status}{}", self.log_tail());
        Ok(())
    }

    /// The last of what it said.
    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(TAIL)..];
        if tail.is_empty() {
            String::new()
        } else {
            format!("; it said:\n{}", String::from_utf8_lossy(tail).trim_end())
        }
    }
}

/// Whether somebody listens and says 220.
async fn greets(address: &str) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut code = [0; 3];
        stream.read_exact(&mut code).await.ok()?;
        (&code == b"220").then_some(())
    };
    matches!(timeout(Duration::from_secs(2), greeting).await, Ok(Some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_braces_are_not() {
        let mut placeholders = Placeholders::new("/tmp/x".into());
        placeholders.sink = Some("127.0.0.1:1".to_owned());
        let port = placeholders.fill("{port:smtp}", None).unwrap();
        assert!(PORTS.contains(&port.parse().unwrap()));
        let filled =
            placeholders.fill("a = { b = 1 }\n{}{{port:smtp}} {sink} {folder} {config} {", Some(Path::new("c")));
        assert_eq!(filled.unwrap(), format!("a = {{ b = 1 }}\n{{}}{{{port}}} 127.0.0.1:1 /tmp/x c {{"));
        assert_ne!(placeholders.fill("{port:other}", None).unwrap(), port);
        let error = placeholders.fill("{nothing}", None).unwrap_err().to_string();
        assert!(error.contains("{nothing} is none of {port:NAME}"), "{error}");
        let error = placeholders.fill("{config}", None).unwrap_err().to_string();
        assert!(error.contains("the server has no config"), "{error}");
    }
}
