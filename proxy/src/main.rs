//! The `mailweir` command.

use std::process::ExitCode;

use clap::Parser;
use mailweir::command::{self, Arguments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::execute(Arguments::parse())
}
