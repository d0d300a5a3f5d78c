//! `mailweir check`: everything that can be known to be wrong before serving. The configuration's own errors were
//! printed before this is reached.
#![expect(clippy::print_stdout, reason = "its result goes to standard output")]

use std::process::ExitCode;

use super::CheckArguments;
use super::run::all;
use crate::admin::metrics::Metrics;
use crate::config::Config;
use crate::generation::{Generation, Surroundings};

/// Loads and configures every plugin of a configuration that holds together.
///
/// # Errors
///
/// Everything that stands in the way of serving.
pub async fn run(arguments: &CheckArguments, config: Config) -> anyhow::Result<ExitCode> {
    let (summary, complaint) = (summary(&config), crate::bounds::descriptor_complaint(&config));
    Generation::build(config, None, &Surroundings::offline(&Metrics::new())).await.map_err(|errors| all(&errors))?;
    if let Some(complaint) = complaint {
        println!("warning: {complaint}");
    }
    println!("{}: {}", arguments.config.config.display(), summary);
    Ok(ExitCode::SUCCESS)
}

/// "2 listeners, 2 chains, 4 plugins, 3 routes"
fn summary(config: &Config) -> String {
    [
        (config.listeners.len(), "listener"),
        (config.chains.len(), "chain"),
        (config.plugins.len(), "plugin"),
        (config.routes.len(), "route"),
    ]
    .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
    .join(", ")
}
