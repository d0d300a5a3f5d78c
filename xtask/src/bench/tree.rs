//! CPU time of a process and all that descend from it, as the kernel counts it.
//!
//! The clock ticks of /proc/PID/stat are 10 ms long, too coarse for what a message costs, so the threads' own counts in
//! nanoseconds are added up. Ticks are taken where there is nothing better: for threads and children that have ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Linux shows 100 ticks a second everywhere (proc_pid_stat(5)).
const TICK: Duration = Duration::from_millis(10);

/// Processes, each with its descendants.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    roots: Vec<u32>,
}

/// CPU time used since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    /// In user space and in the kernel.
    pub(super) total: Duration,
    /// Ticks in the kernel, of all ticks: how the total is shared, roughly.
    system: u64,
    ticks: u64,
}

/// What /proc/PID/stat says, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
    /// Of children that ended and were waited for, and of theirs.
    children_user: u64,
    children_system: u64,
}

impl Tree {
    pub(super) const fn new(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// The processes, without those that descend from them.
    pub(super) fn roots(&self) -> &[u32] {
        &self.roots
    }

    /// The CPU time of all of them so far.
    ///
    /// # Errors
    /// When /proc cannot be read, or a root has ended.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        let processes = processes()?;
        let mut cpu = Cpu::default();
        for (id, stat) in self.members(&processes)? {
            let own = ticks(stat.user + stat.system);
            // One that ends just now counts by its ticks; so do threads that have ended.
            let threads = threads(id).unwrap_or_default();
            cpu.total += threads.max(own) + ticks(stat.children_user + stat.children_system);
            cpu.system += stat.system + stat.children_system;
            cpu.ticks += stat.user + stat.system + stat.children_user + stat.children_system;
        }
        Ok(cpu)
    }

    /// Memory that belongs to them alone and that no file holds, in bytes.
    ///
    /// # Errors
    /// As for [`Self::cpu`].
    pub(super) fn anonymous(&self) -> Result<u64> {
        let mut bytes = 0;
        for (id, _) in self.members(&processes()?)? {
            // It may have ended meanwhile.
            let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            bytes += anonymous(&rollup).unwrap_or_default();
        }
        Ok(bytes)
    }

    fn members(&self, processes: &BTreeMap<u32, Stat>) -> Result<Vec<(u32, Stat)>> {
        for root in &self.roots {
            processes.get(root).with_context(|| format!("process {root} has ended"))?;
        }
        let belongs = |mut id: u32| loop {
            if self.roots.contains(&id) {
                return true;
            }
            match processes.get(&id) {
                // Process 1 and the kernel's have no parent; a chain of parents cannot be a ring.
                Some(stat) if stat.parent != 0 => id = stat.parent,
                _ => return false,
            }
        };
        Ok(processes.iter().filter(|(id, _)| belongs(**id)).map(|(id, stat)| (*id, *stat)).collect())
    }
}

impl Cpu {
    /// What was used between an earlier count and this one.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            system: self.system.saturating_sub(earlier.system),
            ticks: self.ticks.saturating_sub(earlier.ticks),
        }
    }

    /// The share spent in the kernel, from 0 to 1.
    pub(super) fn system_share(self) -> f64 {
        self.system as f64 / self.ticks.max(1) as f64
    }
}

fn ticks(count: u64) -> Duration {
    TICK * u32::try_from(count).unwrap_or(u32::MAX)
}

/// All processes that run.
fn processes() -> Result<BTreeMap<u32, Stat>> {
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        // A process may end between the two looks.
        let Ok(text) = std::fs::read_to_string(path.join("stat")) else { continue };
        processes.insert(id, Stat::parse(&text).with_context(|| format!("/proc/{id}/stat"))?);
    }
    Ok(processes)
}

/// The threads of a process that have not ended.
fn threads(id: u32) -> std::io::Result<Duration> {
    let mut total = Duration::ZERO;
    for entry in std::fs::read_dir(Path::new("/proc").join(id.to_string()).join("task"))? {
        let text = std::fs::read_to_string(entry?.path().join("schedstat")).unwrap_or_default();
        total += on_cpu(&text).unwrap_or_default();
    }
    Ok(total)
}

/// The first number of a schedstat file: nanoseconds on a CPU.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The bytes of the line `Anonymous:` of a smaps_rollup file.
fn anonymous(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // proc_pid_stat(5): the name, in brackets, may hold anything. The parent is the second field behind it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<i64>().ok()?.try_into().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            user: field(11)?,
            system: field(12)?,
            children_user: field(13)?,
            children_system: field(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let text = "4711 (a) S 1 (b c) R 12 4711 4711 0 -1 4194304 1 2 3 4 50 60 70 80 20 0 1 0 1 1 1";
        let expected = Stat { parent: 12, user: 50, system: 60, children_user: 70, children_system: 80 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("4711 (a) S 12 4711"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn units_are_those_of_the_kernel() {
        assert_eq!(on_cpu("106917322 150303296 801\n"), Some(Duration::from_nanos(106_917_322)));
        assert_eq!(on_cpu(""), None);
        let rollup =
            "5581-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nAnonymous:        12 kB\nLazyFree: 0 kB\n";
        assert_eq!(anonymous(rollup), Some(12 * 1024));
        assert_eq!(anonymous("Rss: 1 kB\n"), None);
    }

    #[test]
    fn descendants_belong_to_their_root() {
        let stat = |parent| Stat { parent, user: 0, system: 0, children_user: 0, children_system: 0 };
        let processes = [(1, stat(0)), (2, stat(0)), (10, stat(1)), (11, stat(10)), (12, stat(11)), (20, stat(1))];
        let members = |roots: &[u32]| -> Option<Vec<u32>> {
            let members = Tree::new(roots.to_vec()).members(&processes.into()).ok()?;
            Some(members.into_iter().map(|(id, _)| id).collect())
        };
        assert_eq!(members(&[10]), Some(vec![10, 11, 12]));
        assert_eq!(members(&[11, 20]), Some(vec![11, 12, 20]));
        assert_eq!(members(&[10, 99]), None, "a root that has ended is not passed over");
    }

    #[test]
    fn work_done_by_this_process_is_seen() {
        let tree = Tree::new(vec![std::process::id()]);
        let before = tree.cpu().unwrap();
        let mut sum = 0_u64;
        let mut used = Cpu::default();
        while used.total < Duration::from_millis(2) {
            sum = (0..100_000).fold(sum, |sum: u64, number| std::hint::black_box(sum.wrapping_add(number)));
            used = tree.cpu().unwrap().since(before);
        }
        assert!(tree.anonymous().unwrap() > 0);
    }
}
