//! mailweir-load: sends mail as fast as a server takes it, and says how long each step took.
//!
//! It knows nothing of mailweir but the SMTP machines, so it measures any other server as well.

mod arguments;
mod options;
mod units;
mod sizes;
mod send;
mod verify;
mod scenario;
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
mod descriptors;
mod content;
mod proof;
mod measure;
mod report;
mod sink;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Arguments, Command, RunArguments, SendArguments};
use report::live::{Goal, Watch};
use report::model::Results;

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Send(arguments) => send(&arguments).map(|results| results.passed()),
        Command::Run(arguments) => run(&arguments).map(|results| results.passed()),
        Command::Verify(arguments) => verify::verify(&arguments),
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
    let began = report::now();
    let mut watch = Watch::new(goal(arguments), arguments.output.loudness());
    let results = runtime.block_on(send::send(arguments, &mut watch))?;
    watch.finish();
    let title = format!("send to {}", arguments.server);
    let results = Results { title, began, command: report::command_line(), ..results };
    arguments.output.write(&results)?;
    Ok(results)
}

/// Runs a scenario, and prints the result.
fn run(arguments: &RunArguments) -> anyhow::Result<Results> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let began = report::now();
    let results = runtime.block_on(scenario::run(arguments))?;
    let results = Results { began, command: report::command_line(), ..results };
    arguments.output.write(&results)?;
    Ok(results)
}

fn goal(arguments: &SendArguments) -> Goal {
    match (arguments.load.duration, arguments.load.messages) {
        (Some(duration), _) => Goal::Time(duration.0),
        (None, Some(messages)) => Goal::Messages(messages.get()),
        (None, None) => Goal::None,
    }
}
