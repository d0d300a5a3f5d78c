//! mailweir-load: sends mail as fast as a server takes it, and says how long each step took.
//!
//! It knows nothing of mailweir but the SMTP machines, so it measures any other server as well.

mod arguments;
mod options;
mod units;
mod sizes;
mod send;
mod plan;
mod load;
mod workers;
mod share;
mod arrivals;
mod pool;
mod session;
mod connection;
mod tls;
mod sys;
mod content;
mod proof;
mod measure;
mod report;
mod sink;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Arguments, Command, SendArguments};
use report::model::Results;

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Send(arguments) => send(&arguments).map(|results| results.passed()),
        Command::Sink(arguments) => sink::run(&arguments).map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(std::io::stderr(), "mailweir-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Sends, and prints the result.
fn send(arguments: &SendArguments) -> anyhow::Result<Results> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let results = runtime.block_on(send::send(arguments, &mut load::Unobserved))?;
    let text = if arguments.json { serde_json::to_string(&results)? + "\n" } else { report::table(&results) };
    std::io::stdout().write_all(text.as_bytes()).context("writing the result")?;
    Ok(results)
}
