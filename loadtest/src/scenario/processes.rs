//! What processes use, from /proc: processor time, memory and descriptors of a process and its descendants.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::report::model::{Process, ProcessSample, ServerUse};

/// A process that is watched, with its descendants.
pub(crate) struct Watched {
    name: String,
    root: u32,
    /// Whether descendants are watched with it.
    with_family: bool,
    /// The root and its descendants at the last look.
    members: Vec<u32>,
    refreshed: Option<Instant>,
    samples: Vec<ProcessSample>,
    /// When the last sample was taken, and the processor time then.
    last: (Instant, f64),
    peak: Peak,
    /// Processor time at the beginning of the step.
    cpu_before_step: f64,
    cpu_at_start: f64,
    peak_of_all: u64,
}

/// The most seen in a step.
#[derive(Debug, Clone, Copy, Default)]
struct Peak {
    memory: u64,
    descriptors: u64,
}

/// Descendants come and go, and finding them means reading all of /proc; counting descriptors means reading as many names.
const REFRESH: Duration = Duration::from_secs(1);

/// In memory: some hours.
const MOST_SAMPLES: usize = 20_000;

impl Watched {
    /// From now on, with its descendants.
    pub(crate) fn new(name: &str, root: u32) -> Self {
        Self::begin(name, root, true)
    }

    /// From now on, without its descendants, which are watched themselves.
    pub(crate) fn alone(name: &str, root: u32) -> Self {
        Self::begin(name, root, false)
    }

    fn begin(name: &str, root: u32, with_family: bool) -> Self {
        let mut watched = Self {
            name: name.to_owned(),
            root,
            with_family,
            members: vec![root],
            refreshed: None,
            samples: Vec::new(),
            last: (Instant::now(), 0.0),
            peak: Peak::default(),
            cpu_before_step: 0.0,
            cpu_at_start: 0.0,
            peak_of_all: 0,
        };
        watched.refresh();
        watched.cpu_at_start = watched.cpu();
        watched.last.1 = watched.cpu_at_start;
        watched
    }

    /// A step begins: the most memory is counted anew.
    pub(crate) fn begin_step(&mut self) {
        self.refreshed = None;
        self.refresh();
        self.refreshed = None;
        self.peak = Peak::default();
        self.cpu_before_step = self.cpu();
        for member in &self.members {
            // Resets VmHWM; where it may not be reset, the peak is that since the start.
            let _ = fs::write(proc(*member, "clear_refs"), "5");
        }
    }

    /// Takes a sample. `epoch`: when everything began.
    pub(crate) fn sample(&mut self, epoch: Instant) {
        let refreshed = self.refresh();
        let now = Instant::now();
        let cpu = self.cpu();
        let (mut memory, mut highest) = (0, 0);
        for member in &self.members {
            let status = fs::read_to_string(proc(*member, "status")).unwrap_or_default();
            let resident = kibibytes(&status, "VmRSS:");
            memory += resident;
            highest += kibibytes(&status, "VmHWM:").max(resident);
            if refreshed {
                let descriptors = fs::read_dir(proc(*member, "fd")).map_or(0, |entries| entries.count() as u64);
                self.peak.descriptors = self.peak.descriptors.max(descriptors);
            }
        }
        self.peak.memory = self.peak.memory.max(highest);
        self.peak_of_all = self.peak_of_all.max(highest);
        let elapsed = (now - self.last.0).as_secs_f64();
        if self.samples.len() < MOST_SAMPLES && elapsed > 0.0 {
            let busy = (cpu - self.last.1).max(0.0) / elapsed;
            self.samples.push(ProcessSample { second: (now - epoch).as_secs_f64(), cpu: busy, memory });
        }
        self.last = (now, cpu);
    }

    /// What the step that ends now used, while so many messages were taken.
    pub(crate) fn end_step(&mut self, messages: u64) -> ServerUse {
        let cpu_seconds = (self.cpu() - self.cpu_before_step).max(0.0);
        ServerUse {
            name: self.name.clone(),
            cpu_seconds,
            cpu_per_message: (messages > 0).then(|| cpu_seconds / messages as f64 * 1e6),
            peak_memory: self.peak.memory,
            peak_descriptors: self.peak.descriptors,
        }
    }

    /// All of it.
    pub(crate) fn process(&self, messages: u64) -> Process {
        let cpu_seconds = (self.last.1 - self.cpu_at_start).max(0.0);
        Process {
            name: self.name.clone(),
            cpu_seconds,
            cpu_per_message: (messages > 0).then(|| cpu_seconds / messages as f64 * 1e6),
            peak_memory: self.peak_of_all,
            samples: self.samples.clone(),
        }
    }

    /// Finds the members again when it is time; true when it was.
    fn refresh(&mut self) -> bool {
        let due = self.refreshed.is_none_or(|time| time.elapsed() >= REFRESH);
        if due {
            self.refreshed = Some(Instant::now());
            self.members = if self.with_family { family(self.root) } else { vec![self.root] };
        }
        due
    }

    /// Seconds of processor time, with that of descendants that are no more.
    fn cpu(&self) -> f64 {
        let ticks: u64 = self.members.iter().filter_map(|member| Stat::read(*member)).map(|stat| stat.ticks).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

/// Of /proc/PID/stat.
struct Stat {
    parent: u32,
    /// utime, stime, cutime and cstime.
    ticks: u64,
}

impl Stat {
    fn read(process: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(proc(process, "stat")).ok()?)
    }

    /// The second field is a name in parentheses, which may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        Some(Self { parent, ticks })
    }
}

/// A process and its descendants.
fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(stat) = Stat::read(process)
        {
            children.entry(stat.parent).or_default().push(process);
        }
    }
    let mut members = vec![root];
    let mut index = 0;
    while let Some(member) = members.get(index) {
        members.extend(children.remove(member).unwrap_or_default());
        index += 1;
    }
    members
}

fn proc(process: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/{file}"))
}

/// A line of /proc/PID/status, in octets.
fn kibibytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let line = "42 (a) R 1 (b) S 7 1 1 0 -1 4194304 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.ticks), (7, 127));
        assert!(Stat::parse("42 a").is_none());
    }

    #[test]
    fn this_process_uses_something() {
        let mut watched = Watched::new("self", std::process::id());
        watched.begin_step();
        watched.sample(Instant::now());
        let used = watched.end_step(1);
        assert!(used.peak_memory > 1 << 20 && used.peak_descriptors > 2, "{used:?}");
        assert!(family(std::process::id()).contains(&std::process::id()));
        assert_eq!(kibibytes("VmPeak:\t 1 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), 12 * 1024);
    }
}
