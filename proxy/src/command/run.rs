//! `mailweir run`: serves until SIGTERM.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::PidFile;
use crate::admin::metrics::Metrics;
use crate::admin::{self, Readiness};
use crate::bounds;
use crate::config::{self, Config};
use crate::generation::{Generation, Proxy, Surroundings};
use crate::listener::{Crew, Listeners, bind};
use crate::logging;

/// How often the drain looks whether sessions are left.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Serves: connections on the crew's threads, everything else on this one's runtime.
///
/// # Errors
///
/// When a listener, a plugin or the state directory cannot be set up.
pub async fn run(config: Config, file: &Path, crew: Crew) -> Result<()> {
    ensure!(!config.listeners.is_empty(), "there is no listener; add [listener.NAME]");
    bounds::raise_descriptor_limit();
    if let Some(complaint) = bounds::descriptor_complaint(&config) {
        tracing::warn!("{complaint}");
    }
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let state_dir = &config.server.state_dir;
    std::fs::create_dir_all(state_dir).with_context(|| format!("[server] state_dir {}", state_dir.display()))?;
    let _pid_file = PidFile::create(state_dir)?;
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    if let Some(admin) = &config.admin {
        let listener = bind(admin.listen).with_context(|| format!("[admin] listen {}", admin.listen))?;
        tokio::spawn(admin::serve(listener, Arc::clone(&metrics), readiness.clone()));
    }
    let mut surroundings = Surroundings::serving(&metrics);
    surroundings.host.separate_compiler = true;
    let generation = Generation::build(config, None, &surroundings).await.map_err(|errors| all(&errors))?;
    generation.routes().probes().for_each(|probe| crew.spawn(probe));
    let configured = generation.config.listeners.clone();
    let proxy = Proxy::new(generation)?;
    proxy.publish(&metrics);
    proxy.quarantine().remove_unfinished().await?;
    let mut listeners = Listeners::new(crew);
    let bound = listeners.bind_new(&configured)?;
    tokio::spawn(surroundings.certificates.clone().watch());
    listeners.serve(&proxy, bound, &configured).await;
    metrics.generation_began(1);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file.display(), "serving");
    // Whoever waits for this process finds in the log where it listens.
    logging::flush();
    readiness.serving();
    let reloading = async {
        loop {
            received(&mut hangup).await;
            reload(file, &proxy, &surroundings, &mut listeners).await;
        }
    };
    tokio::select! {
        () = reloading => {}
        () = received(&mut terminate) => {}
        () = received(&mut interrupt) => {}
    }
    readiness.draining();
    drain(&proxy, listeners).await;
    Ok(())
}

/// The next generation, or the old one and a reason.
async fn reload(file: &Path, proxy: &Arc<Proxy>, surroundings: &Surroundings, listeners: &mut Listeners) {
    match next_generation(file, proxy, surroundings, listeners).await {
        Ok(number) => {
            tracing::info!(generation = number, "reloaded");
            logging::flush();
            surroundings.metrics.generation_began(number);
        }
        Err(error) => {
            surroundings.metrics.reload_failed();
            tracing::error!(error = format!("{error:#}"), "the reload failed; the configuration in use stays");
        }
    }
}

async fn next_generation(
    file: &Path,
    proxy: &Arc<Proxy>,
    surroundings: &Surroundings,
    listeners: &mut Listeners,
) -> Result<u64> {
    let mut config = config::load(file).map_err(|errors| anyhow!("{errors}"))?;
    let current = proxy.generation();
    keep_what_is_fixed(&mut config, &current.config);
    surroundings.certificates.refresh();
    let generation = Generation::build(config, Some(&current), surroundings).await.map_err(|errors| all(&errors))?;
    let configured = generation.config.listeners.clone();
    let bound = listeners.bind_new(&configured)?;
    let number = generation.number;
    proxy.swap(generation);
    listeners.serve(proxy, bound, &configured).await;
    Ok(number)
}

/// What the process was started with and cannot change while it serves.
fn keep_what_is_fixed(config: &mut Config, current: &Config) {
    let fixed = |config: &Config| {
        let config::Server { state_dir, memory_budget, spill_budget, workers, .. } = &config.server;
        (state_dir.clone(), *memory_budget, *spill_budget, *workers, config.admin.clone())
    };
    if fixed(config) == fixed(current) {
        return;
    }
    tracing::warn!(
        "[admin] and state_dir, memory_budget, spill_budget and workers of [server] take effect at the next start; the rest \
         of the configuration is taken now"
    );
    (
        config.server.state_dir,
        config.server.memory_budget,
        config.server.spill_budget,
        config.server.workers,
        config.admin,
    ) = fixed(current);
}

/// Lets sessions finish the message they are at.
async fn drain(proxy: &Proxy, mut listeners: Listeners) {
    listeners.close().await;
    proxy.begin_drain();
    let grace = proxy.generation().config.server.shutdown_grace;
    tracing::info!(sessions = proxy.sessions(), ?grace, "draining");
    let emptied = async {
        while proxy.sessions() > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    match tokio::time::timeout(grace, emptied).await {
        Ok(()) => tracing::info!("drained"),
        Err(_) => tracing::warn!(sessions = proxy.sessions(), "shutdown_grace is over: the last sessions are cut off"),
    }
}

/// All errors, a line each.
pub(super) fn all(errors: &[impl std::fmt::Display]) -> anyhow::Error {
    anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Waits for a signal.
async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        // The runtime gives no signals any more; it is ending.
        std::future::pending::<()>().await;
    }
}
