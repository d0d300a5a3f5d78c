//! Where a case is played: a zone server, a configuration, and `mailweir replay`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use mailweir_testkit::dns::{Zone, ZoneServer};
use serde_json::Value;
use tempfile::TempDir;

use super::Setting;
use super::report::Disagreement;

/// How long a question waits for its answer, on a busy machine too; some cases have none.
const DNS_TIMEOUT: &str = "3s";

/// A directory and a zone server, used for one case after the other.
pub(super) struct Stage<'a> {
    setting: &'a Setting,
    directory: TempDir,
    zone: ZoneServer,
    hostname: String,
}

/// What `mailweir replay --json` said of one message.
#[derive(Debug)]
pub(super) struct Replayed(Value);

impl Setting {
    /// Judges every case, some of them at once; the disagreements come in the order of the cases.
    pub(super) fn judge<C: Sync>(
        &self,
        cases: &[C],
        judge: impl Fn(&Stage<'_>, &C) -> Result<Vec<Disagreement>> + Sync,
    ) -> Result<Vec<Disagreement>> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::new());
        let work = || -> Result<()> {
            let stage = Stage::set(self)?;
            while let Some((index, case)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                cases.get(index).map(|case| (index, case))
            } {
                let disagreements = judge(&stage, case)?;
                found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, disagreements));
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.min(cases.len())).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.sort_by_key(|(index, _)| *index);
        Ok(found.into_iter().flat_map(|(_, disagreements)| disagreements).collect())
    }
}

impl<'a> Stage<'a> {
    pub(super) fn set(setting: &'a Setting) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mailweir-case-").tempdir()?;
        let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let zone = setting.runtime.block_on(ZoneServer::start(Zone::new(), address)).context("the zone server")?;
        Ok(Self { setting, directory, zone, hostname: "mx.example.com".to_owned() })
    }

    /// Another one, whose server has this name.
    pub(super) fn named(&self, hostname: &str) -> Result<Self> {
        Ok(Self { hostname: hostname.to_owned(), ..Self::set(self.setting)? })
    }

    /// Messages as bytes through a chain, as `replay_files`.
    pub(super) fn replay(
        &self,
        chain: &str,
        zone: Zone,
        arguments: &[String],
        messages: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Replayed>> {
        let mut files = Vec::new();
        for (number, message) in messages.iter().enumerate() {
            let file = self.directory.path().join(format!("{number}.eml"));
            std::fs::write(&file, message)?;
            files.push(file);
        }
        self.replay_files(chain, zone, arguments, &files)
    }

    /// Files through the chain "test", which `chain` configures together with its filters.
    pub(super) fn replay_files(
        &self,
        chain: &str,
        zone: Zone,
        arguments: &[String],
        files: &[PathBuf],
    ) -> Result<Vec<Replayed>> {
        self.zone.replace(zone);
        let config = self.directory.path().join("mailweir.toml");
        std::fs::write(&config, self.config(chain))?;
        let output = Command::new(&self.setting.binary)
            .args(["replay", "--json", "--chain", "test", "--config"])
            .arg(&config)
            .args(arguments)
            .arg("--")
            .args(files)
            .env("MAILWEIR_LOG", "error")
            .stdin(Stdio::null())
            .output()
            .context("mailweir replay")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mailweir replay: {}: {errors}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let replayed = text.lines().map(|line| Ok(Replayed(serde_json::from_str(line)?)));
        let replayed: Vec<Replayed> = replayed.collect::<Result<_>>().with_context(|| text.clone().into_owned())?;
        ensure!(replayed.len() == files.len(), "{} results of {} messages: {errors}", replayed.len(), files.len());
        Ok(replayed)
    }

    fn config(&self, chain: &str) -> String {
        format!(
            "[server]\nhostname = \"{}\"\nstate_dir = {:?}\nplugin_dir = {:?}\n\n\
             [dns]\nresolvers = [\"{}\"]\ntimeout = \"{DNS_TIMEOUT}\"\n\n{chain}",
            self.hostname,
            self.setting.state.path(),
            self.setting.plugins,
            self.zone.addr(),
        )
    }
}

impl Replayed {
    pub(super) fn verdict(&self) -> &str {
        super::text(&self.0, "verdict")
    }

    /// The reply to the client; empty when there is none.
    pub(super) fn reply(&self) -> &str {
        super::text(&self.0, "reply")
    }

    /// Why the message was refused or kept.
    pub(super) fn reason(&self) -> &str {
        super::text(&self.0, "reason")
    }

    /// What a filter gave as its reason.
    pub(super) fn reason_of(&self, filter: &str) -> &str {
        let plugins = self.0["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of_filter = plugins.iter().find(|plugin| plugin["name"] == filter);
        of_filter.map(|plugin| super::text(plugin, "reason")).unwrap_or_default()
    }

    /// The values of all tags of this name.
    pub(super) fn tags(&self, name: &str) -> Vec<&str> {
        let tags = self.0["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        tags.iter().filter(|tag| tag["name"] == name).filter_map(|tag| tag["value"].as_str()).collect()
    }

    /// The value of the first tag of this name; empty when there is none.
    pub(super) fn tag(&self, name: &str) -> &str {
        self.tags(name).first().copied().unwrap_or_default()
    }

    /// A field that a filter added; empty when there is none.
    pub(super) fn added_field(&self, name: &str) -> &str {
        let edits = self.0["edits"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of_name =
            edits.iter().find(|edit| edit["name"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)));
        of_name.map(|edit| super::text(edit, "value")).unwrap_or_default()
    }

    /// A filter that failed, and why.
    pub(super) fn failure(&self) -> Option<String> {
        let plugins = self.0["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed =
            plugins.iter().find(|plugin| plugin["verdict"].as_str().is_some_and(|said| said.contains("fail")))?;
        Some(format!("{} failed: {}", super::text(failed, "name"), super::text(failed, "reason")))
    }
}
