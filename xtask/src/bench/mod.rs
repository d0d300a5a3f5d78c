//! `cargo xtask bench`: measurements, which are no part of `cargo xtask test`.

mod instructions;

use anyhow::Result;

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
}

/// Measures, and prints tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Instructions(options) => instructions::run(options),
    }
}
