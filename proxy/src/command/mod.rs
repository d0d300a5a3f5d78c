//! The commands of the mailweir binary: from the command line to an exit status.

mod arguments;
pub mod run;
pub mod check;
pub mod replay;
pub mod sink;
pub mod quarantine;
pub mod reload;
mod pid_file;
mod idle_memory;
#[cfg(target_os = "linux")]
mod huge_pages;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

pub use arguments::{
    Arguments, CheckArguments, Command, CompileArguments, ConfigArgument, QuarantineArguments, QuarantineCommand,
    ReloadArguments, ReplayArguments, RunArguments, SinkArguments,
};
pub use pid_file::{PidFile, PidFileError};

use crate::config::{self, Config};
use crate::listener::Workers;
use crate::logging;

/// Does what the command line says. The status is 0 when all went well and 1 when it did not.
pub fn execute(arguments: Arguments) -> ExitCode {
    logging::init(logging::Format::detect());
    let done = match arguments.command {
        Command::Run(arguments) => with_config(&arguments.config, |config| {
            #[cfg(target_os = "linux")]
            huge_pages::disable();
            let count = workers(config.server.workers);
            let blocking = (2 + BLOCKING_THREADS / count).max(LEAST_BLOCKING_THREADS);
            let workers = Workers::start(count, blocking, KEEP_ALIVE, idle_memory::give_back)?;
            // Beside them: signals, reloads, the admin port.
            let runtime = runtime(1)?;
            let ended = runtime.block_on(run::run(config, &arguments.config.config, workers.crew()));
            // Whatever still blocks, such as a look-up by the system's resolver, must not hold up the exit.
            workers.shut_down();
            runtime.shutdown_background();
            ended.map(|()| ExitCode::SUCCESS)
        }),
        Command::Check(arguments) => {
            with_config(&arguments.config, |config| runtime(1)?.block_on(check::run(&arguments, config)))
        }
        Command::Replay(arguments) => {
            let file = arguments.config.clone();
            with_config(&file, |config| runtime(config.server.workers)?.block_on(replay::run(arguments, config)))
        }
        Command::Sink(arguments) => {
            runtime(0).and_then(|runtime| runtime.block_on(sink::run(arguments))).map(|()| ExitCode::SUCCESS)
        }
        Command::Quarantine(arguments) => {
            let file = arguments.command.config().clone();
            with_config(&file, |config| runtime(1)?.block_on(quarantine::run(arguments.command, config)))
        }
        Command::Reload(arguments) => {
            with_config(&arguments.config, |config| reload::run(&config).map(|()| ExitCode::SUCCESS))
        }
        Command::Compile(CompileArguments { source, cache, fuel, configured, memory }) => {
            let compiled = match memory.filter(|_| configured) {
                Some(memory) => runtime(1).and_then(|runtime| {
                    runtime.block_on(crate::host::compile_configured(&source, &cache, fuel, memory))
                }),
                None => crate::host::compile(&source, &cache, fuel),
            };
            compiled.map(|()| ExitCode::SUCCESS)
        }
    };
    logging::flush();
    done.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Loads the configuration; its errors are printed, one a line.
fn with_config(
    argument: &ConfigArgument,
    then: impl FnOnce(Config) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let file: &Path = &argument.config;
    match config::load(file) {
        Ok(config) => then(config),
        Err(errors) => {
            for error in errors.iter() {
                complain(&error.to_string());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Threads that wait for files or work on large messages, beside the workers. Each keeps memory of its own for a while;
/// work beyond them waits.
const BLOCKING_THREADS: usize = 16;
/// For each worker, which cannot use those of another.
const LEAST_BLOCKING_THREADS: usize = 8;
/// How long such a thread waits for more work.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(1);

/// Worker threads: as many as are configured, 0 being one a core.
pub(crate) fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        configured => configured,
    }
}

fn runtime(configured: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let workers = workers(configured);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).max_blocking_threads(BLOCKING_THREADS + 2 * workers).thread_keep_alive(KEEP_ALIVE);
    builder.on_thread_park(idle_memory::give_back);
    Ok(builder.enable_all().build()?)
}

/// Output of a command. A reader that has seen enough, such as `head`, is no error.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A line for the person at the keyboard.
#[expect(clippy::print_stderr, reason = "a command's errors go to standard error")]
fn complain(text: &str) {
    eprintln!("{text}");
}
