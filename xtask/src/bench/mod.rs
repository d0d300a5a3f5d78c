//! `cargo xtask bench`: measurements, which are no part of `cargo xtask test`. mailweir and other servers side by side, in
//! one run on one machine, where only ratios mean anything; and instructions counted, which do not depend on the machine.

mod instructions;
mod profile;
mod parts;
mod tree;
mod template;
mod peer;
mod scenario;
mod message;
mod surroundings;
mod server;
mod traffic;
mod stage;
mod sample;
mod table;
mod contestant;
mod peers;
mod idle;

use anyhow::{Result, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Instructions that each case of the benches takes, counted by valgrind and compared with another build
    Instructions(instructions::Options),
    /// CPU time a message, in each server's processes alone, kernel included
    Peers(peers::Options),
    /// A flame graph of the proxy under load, or of one case of the benches
    Profile(profile::Options),
    /// User-space memory of an idle connection
    Idle(idle::Options),
}

/// An error if `peers` does not know one of these scenarios.
pub(crate) fn known_scenarios(names: &[String]) -> Result<()> {
    peers::scenarios(names).map(drop)
}

/// Measures, and prints tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let What::Instructions(options) = &options.what {
        return instructions::run(options);
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        tokio::select! {
            done = measure(&options.what) => done,
            // What was started is killed on the way out.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn measure(what: &What) -> Result<()> {
    match what {
        What::Instructions(_) => Ok(()),
        What::Peers(options) => peers::run(options).await,
        What::Profile(options) => profile::run(options).await,
        What::Idle(options) => idle::run(options).await,
    }
}
