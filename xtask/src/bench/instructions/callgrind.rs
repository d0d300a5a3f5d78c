//! Runs bench binaries under valgrind's callgrind, and reads what it counted.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::counts::{Cost, Counts};

/// The same caches on every machine: 32 KiB of instructions, 32 KiB of data, 8 MiB of both.
const CACHES: [&str; 4] = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=8388608,16,64"];
/// What is counted, and when the counts are written to a file: functions in `benches/src/harness.rs`.
const MARKS: [&str; 2] =
    ["--toggle-collect=mailweir_benches::harness::measured*", "--dump-before=mailweir_benches::harness::written_down*"];
/// No `rep movsb` for copies: it would be counted as one instruction a byte.
const TUNABLES: &str = "glibc.cpu.hwcaps=-ERMS";

/// An error that says what to do when valgrind is missing.
pub(super) fn is_installed() -> Result<()> {
    let found = Command::new("valgrind").arg("--version").output();
    ensure!(found.is_ok_and(|output| output.status.success()), "valgrind is missing: apt-get install valgrind");
    Ok(())
}

/// What the cases of these bench binaries cost whose names begin with one of `wanted`, or all of them when that is empty.
pub(super) fn count(root: &Path, binaries: &[PathBuf], wanted: &[String]) -> Result<Counts> {
    for binary in binaries {
        // Filters are compiled once for each build of the host, and callgrind would take many minutes to look on.
        run(root, &["--tool=none"], binary, "--set-up", wanted)?;
    }
    // All at once: what is counted does not depend on what else the machine does.
    let counted = thread::scope(|scope| {
        let threads: Vec<_> = binaries.iter().map(|binary| scope.spawn(|| count_cases(root, binary, wanted))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("counting panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut counts = Counts::default();
    counted.into_iter().flatten().for_each(|(name, cost)| counts.push(&name, cost));
    Ok(counts)
}

/// The cases of one bench binary, in its order.
fn count_cases(root: &Path, binary: &Path, wanted: &[String]) -> Result<Vec<(String, Cost)>> {
    let files = tempfile::tempdir()?;
    let out = format!("--callgrind-out-file={}", files.path().join("counts").display());
    let options = [&["--tool=callgrind", &out], &CACHES[..], &MARKS[..]].concat();
    let mut costs = Vec::new();
    // The nth case that the binary names, with the number of its runs, is in the nth file.
    for (number, line) in run(root, &options, binary, "--instructions", wanted)?.lines().enumerate() {
        let (runs, name) = line.split_once(' ').with_context(|| format!("not a case: {line}"))?;
        let path = files.path().join(format!("counts.{}", number + 1));
        let text = std::fs::read_to_string(&path).with_context(|| format!("what callgrind counted for {name}"))?;
        let all = cost(&text).with_context(|| format!("callgrind's counts for {name}"))?;
        let runs = runs.parse::<NonZeroU64>()?;
        costs.push((name.to_owned(), Cost { instructions: all.instructions / runs, cycles: all.cycles / runs }));
    }
    Ok(costs)
}

/// Runs a bench binary under valgrind. What it printed.
fn run(root: &Path, options: &[&str], binary: &Path, mode: &str, wanted: &[String]) -> Result<String> {
    let mut command = Command::new("valgrind");
    command.arg("--quiet").args(options).arg(binary).arg(mode).args(wanted);
    command.env("GLIBC_TUNABLES", TUNABLES);
    // Those of another revision, too, load the filters that are here.
    command.env("MAILWEIR_BENCH_PLUGINS", root.join("target/plugins"));
    command.env("MAILWEIR_BENCH_STATE", root.join("target/bench/state"));
    let output = command.output().context("valgrind did not start")?;
    // Valgrind warns of caches that this machine has and that are not the ones above.
    for line in String::from_utf8_lossy(&output.stderr).lines().filter(|line| !line.contains("-- warning: ")) {
        eprintln!("{line}");
    }
    ensure!(output.status.success(), "{} failed under valgrind", binary.display());
    Ok(String::from_utf8(output.stdout)?)
}

/// Reads the summary of a file in callgrind's format.
fn cost(text: &str) -> Option<Cost> {
    let line = |key| text.lines().find_map(|line: &str| line.strip_prefix(key));
    let events: Vec<&str> = line("events: ")?.split(' ').collect();
    let numbers: Vec<u64> = line("summary: ")?.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    // Zeros at the end are left out.
    let sum = |wanted: &[&str]| -> u64 {
        events.iter().zip(&numbers).filter(|(event, _)| wanted.contains(event)).map(|(_, number)| number).sum()
    };
    let instructions = sum(&["Ir"]);
    let first_level = sum(&["I1mr", "D1mr", "D1mw"]);
    let last_level = sum(&["ILmr", "DLmr", "DLmw"]);
    // The usual estimate, KCachegrind's.
    Some(Cost { instructions, cycles: instructions + 10 * first_level + 100 * last_level })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let text = "events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\nsummary: 1000 300 200 1 2 3 4\n\nfn=(1) f\n16 5\n";
        assert_eq!(cost(text), Some(Cost { instructions: 1000, cycles: 1000 + 60 + 400 }));
        assert_eq!(cost("events: Ir\nsummary: 12\n"), Some(Cost { instructions: 12, cycles: 12 }));
        assert_eq!(cost("events: Ir\n"), None);
    }
}
