//! What the kernel says of a process: memory and descriptors.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// A running process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    directory: PathBuf,
}

impl Process {
    pub(super) fn new(id: u32) -> Self {
        Self { directory: PathBuf::from(format!("/proc/{id}")) }
    }

    /// Memory of its own now, in MiB: what the kernel cannot drop and read again from a file.
    pub(super) fn own(&self) -> Result<u64> {
        self.status("RssAnon")
    }

    /// The most memory that it ever had, in MiB: its own and what it mapped of files.
    pub(super) fn peak(&self) -> Result<u64> {
        self.status("VmHWM")
    }

    /// What its memory now consists of.
    pub(super) fn breakdown(&self) -> Result<String> {
        Ok(format!("{} MiB of its own and {} of files", self.status("RssAnon")?, self.status("RssFile")?))
    }

    /// Open descriptors.
    pub(super) fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(self.directory.join("fd"))?.count())
    }

    /// Seconds of CPU it has used.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(self.directory.join("stat"))?;
        // proc_pid_stat(5): the name, in brackets, may hold spaces; utime and stime are the 12th and 13th field behind it,
        // in ticks, of which Linux shows 100 a second everywhere.
        let fields = stat.rsplit_once(')').context("/proc/PID/stat")?.1.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    fn status(&self, key: &str) -> Result<u64> {
        let status = std::fs::read_to_string(self.directory.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kibibytes: u64 =
            line.and_then(|line| line.trim().strip_suffix(" kB")).context("/proc/PID/status")?.parse()?;
        Ok(kibibytes / 1024)
    }
}
