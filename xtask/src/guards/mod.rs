//! `cargo xtask guards`: that the tests against attacks fail when the guard that they are about is taken out.
//!
//! Each guard of [`list::GUARDS`] is taken out of a copy of the tree by replacing a few words, and its tests are run there:
//! they have to compile, to fail without it, and to pass with it. The copy shares what was compiled of the dependencies.

mod list;
mod scratch;

use std::time::Instant;

use anyhow::{Result, ensure};

use list::{GUARDS, Guard};
use scratch::{Outcome, Scratch};

/// What `guards` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The guards to take out; all of them when none is named
    names: Vec<String>,
}

/// Takes each guard out in turn and prints a table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let known: Vec<&str> = GUARDS.iter().map(|guard| guard.name).collect();
    for name in &options.names {
        ensure!(known.contains(&name.as_str()), "no guard is called {name}; there are {}", known.join(", "));
    }
    let wanted = |guard: &&Guard| options.names.is_empty() || options.names.iter().any(|name| name == guard.name);
    let guards: Vec<&Guard> = GUARDS.iter().filter(wanted).collect();
    let scratch = Scratch::new(&crate::workspace_root())?;
    let mut rows = Vec::new();
    for guard in guards {
        println!("{}: {}", guard.name, guard.about);
        let began = Instant::now();
        let with = scratch.test(guard)?;
        let before = scratch.take_out(guard)?;
        let without = scratch.test(guard);
        for (path, text) in before.into_iter().rev() {
            std::fs::write(path, text)?;
        }
        let without = without?;
        println!("  with it: {with}; without it: {without} ({} s)", began.elapsed().as_secs());
        rows.push((guard, with, without));
    }
    println!("\n{:24} {:56} {:8} fails without the guard", "guard", "test", "passes");
    for (guard, with, without) in &rows {
        let word = |is_so: bool| if is_so { "yes" } else { "NO" };
        let (passes, fails) = (*with == Outcome::Passed, *without == Outcome::Failed);
        println!("{:24} {:56} {:8} {}", guard.name, guard.test, word(passes), word(fails));
    }
    let is_proven = |with: &Outcome, without: &Outcome| *with == Outcome::Passed && *without == Outcome::Failed;
    ensure!(rows.iter().all(|(_, with, without)| is_proven(with, without)), "a guard is not proven");
    Ok(())
}
