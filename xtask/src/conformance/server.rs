//! A proxy that serves, in front of a sink that keeps what it gets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use tempfile::TempDir;

use super::Setting;

/// How long the sink may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both processes; they end when this is dropped.
pub(super) struct Server {
    /// Where the proxy listens.
    pub(super) address: SocketAddr,
    store: TempDir,
    _sink: Sink,
    _proxy: Mailweir,
}

/// Killed when it is dropped: it has nothing to lose.
struct Sink(Child);

impl Server {
    /// Starts both; `listener` has more lines of the listener's table, `chain` the chain "test" with its filters.
    pub(super) fn start(setting: &Setting, listener: &str, chain: &str) -> Result<Self> {
        let (address, admin, upstream) = (ports::free()?, ports::free()?, ports::free()?);
        let store = tempfile::Builder::new().prefix("mailweir-sink-").tempdir()?;
        let process = Command::new(&setting.binary)
            .args(["sink", "--listen", &upstream.to_string(), "--store"])
            .arg(store.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("mailweir sink")?;
        let sink = Sink(process);
        let config = format!(
            "[server]\nhostname = \"mx.example.com\"\nplugin_dir = {:?}\n[admin]\nlisten = \"{admin}\"\n\
             [route.sink]\nupstreams = [\"{upstream}\"]\ntls = \"off\"\n{chain}\n\
             [listener.in]\nlisten = [\"{address}\"]\nchain = \"test\"\nroute = \"sink\"\n{listener}\n",
            setting.plugins,
        );
        setting.runtime.block_on(ports::wait_until_open(upstream, PATIENCE))?;
        let proxy = setting.runtime.block_on(Mailweir::start(&setting.binary, &config, admin))?;
        Ok(Self { address, store, _sink: sink, _proxy: proxy })
    }

    /// The file of the message that was delivered as the so-manieth, counted from 1.
    pub(super) fn delivered(&self, number: usize) -> PathBuf {
        self.store.path().join(format!("{number}.eml"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
