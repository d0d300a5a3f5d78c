//! What a configuration becomes when it is loaded, and what all sessions share.
//!
//! A generation is immutable. A reload builds the next one beside it and swaps: sessions take the newest at each MAIL,
//! and a transaction stays with the one it began under. A reload that fails changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::sync::watch;

use crate::admin::RouteObserver;
use crate::admin::metrics::{ListenerMetrics, Metrics, PluginMetrics};
use crate::chain::Chain;
use crate::clock::Clock;
use crate::config::{self, Config, Listener, ServerTls};
use crate::host::{Host, HostError, LoadError, Options, Plugin, Services, Snapshot};
use crate::listener::{CertificateStore, TlsError};
use crate::message::{self, Budget};
use crate::quarantine::Quarantine;
use crate::services::antivirus::{self, Clamd};
use crate::services::authentication::{Authentication, Evaluation};
use crate::services::dns::{Dns, SetupError};
use crate::services::state::StateStore;
use crate::signing::Signing;
use crate::upstream::{Observer, RouteError, RouteHandle, Routes, Settings};

/// Why a configuration cannot be put to work. The operator's to mend; nothing has changed.
#[derive(Debug, Error)]
pub enum BuildError {
    /// DNS cannot be set up.
    #[error("[dns]: {0}")]
    Dns(#[from] SetupError),
    /// The Wasm host cannot be set up.
    #[error("the Wasm host: {0}")]
    Host(#[from] HostError),
    /// A plugin cannot be used.
    #[error("{0}")]
    Plugin(#[from] LoadError),
    /// A route cannot be used.
    #[error("[route]: {0}")]
    Route(#[from] RouteError),
    /// A certificate cannot be used.
    #[error("[listener.{name}]: tls: {error}")]
    Tls {
        /// The listener.
        name: String,
        /// What is wrong.
        error: TlsError,
    },
    /// A directory under state_dir cannot be made.
    #[error("[server]: state_dir: {path}: {error}")]
    State {
        /// The directory.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
}

/// A listener's settings, with what is made from them.
pub struct Listening {
    /// `[listener.NAME]`
    pub settings: Listener,
    /// TLS, where there is a certificate.
    pub tls: Option<Arc<ServerConfig>>,
    /// Its chain.
    pub chain: Arc<Chain>,
    /// Its counters.
    pub metrics: Arc<ListenerMetrics>,
}

/// A configuration at work.
pub struct Generation {
    /// 1 for the first, one more for each reload.
    pub number: u64,
    /// What it was made from.
    pub config: Config,
    listeners: BTreeMap<String, Arc<Listening>>,
    chains: BTreeMap<String, Arc<Chain>>,
    signing: BTreeMap<String, Signing>,
    plugins: BTreeMap<String, Arc<PluginMetrics>>,
    routes: Routes,
    dns: Dns,
    state: StateStore,
    clamd: Option<Clamd>,
    authentication: Authentication,
    host: Host,
    budget: Budget,
}

/// What a generation is built with, whatever the configuration says.
pub struct Surroundings {
    /// Certificates, shared by all generations.
    pub certificates: CertificateStore,
    /// Counters, shared by all generations.
    pub metrics: Arc<Metrics>,
    /// How the Wasm host is set up.
    pub host: Options,
    /// Who is told of the traffic with upstreams.
    pub observer: Arc<dyn Observer>,
    /// The time by which signatures are made and judged.
    pub clock: Clock,
}

impl Surroundings {
    /// For serving: what happens is counted.
    pub fn serving(metrics: &Arc<Metrics>) -> Self {
        Self {
            certificates: CertificateStore::default(),
            metrics: Arc::clone(metrics),
            host: Options::default(),
            observer: Arc::new(RouteObserver::new(metrics)),
            clock: Clock::System,
        }
    }

    /// For looking at a configuration, or at stored messages: a filter's work is counted in fuel, which is the same on
    /// every machine, and no image is made of a configured filter, which takes longer than a few messages ever gain by it.
    pub fn offline(metrics: &Arc<Metrics>) -> Self {
        let host = Options { fuel: true, configure_each: true, ..Options::default() };
        Self { host, ..Self::serving(metrics) }
    }
}

impl Generation {
    /// Puts a configuration to work. What has not changed since `previous` is shared with it: pooled connections, the DNS
    /// cache, the filters' state, the engine.
    ///
    /// # Errors
    ///
    /// Everything that stands in the way, not only the first.
    pub async fn build(
        config: Config,
        previous: Option<&Self>,
        surroundings: &Surroundings,
    ) -> Result<Self, Vec<BuildError>> {
        let one = |error: BuildError| vec![error];
        let dns = match previous.filter(|old| old.config.dns == config.dns) {
            Some(old) => old.dns.clone(),
            None => Dns::new(&config.dns).map_err(|error| one(error.into()))?,
        };
        let clamd = config.antivirus.as_ref().map(Clamd::new);
        let state = previous.map_or_else(StateStore::default, |old| old.state.clone());
        let services = Services { dns: Some(dns.clone()), clamd: clamd.clone(), state: state.clone() };
        // What the engine depends on does not change while the process serves.
        let host = match previous {
            Some(old) => old.host.with_services(services),
            None => {
                Host::with_options(&config.server, services, surroundings.host).map_err(|error| one(error.into()))?
            }
        };
        let budget = previous.map_or_else(|| budget(&config.server), |old| old.budget.clone());
        let authentication = Authentication::new(dns.clone(), &config.server.hostname).with_clock(surroundings.clock);
        let authentication = match previous {
            Some(old) => authentication.with_counters(Arc::clone(old.authentication.counters())),
            None => authentication,
        };
        let mut errors = Vec::new();
        let chains = chains(&host, &config, previous, &mut errors).await;
        let listeners = listeners(&config, &chains, surroundings, &mut errors);
        let settings = Settings {
            hostname: config.server.hostname.clone(),
            dns: dns.clone(),
            observer: Arc::clone(&surroundings.observer),
        };
        let routes = Routes::new(&config.routes, &settings, previous.map(|old| &old.routes));
        let routes = match routes {
            Ok(routes) if errors.is_empty() => routes,
            Ok(_) => return Err(errors),
            Err(error) => {
                errors.push(error.into());
                return Err(errors);
            }
        };
        let plugins = config.plugins.keys().map(|name| (name.clone(), surroundings.metrics.plugin(name))).collect();
        let signing = signing(&config, surroundings);
        let number = previous.map_or(1, |old| old.number + 1);
        Ok(Self {
            number,
            config,
            listeners,
            chains,
            signing,
            plugins,
            routes,
            dns,
            state,
            clamd,
            authentication,
            host,
            budget,
        })
    }

    /// A listener by its name.
    pub fn listening(&self, name: &str) -> Option<&Arc<Listening>> {
        self.listeners.get(name)
    }

    /// A chain by its name.
    pub fn chain(&self, name: &str) -> Option<&Arc<Chain>> {
        self.chains.get(name)
    }

    /// What a chain's messages are signed with, when they are.
    pub fn signing(&self, chain: &str) -> Option<&Signing> {
        self.signing.get(chain)
    }

    /// A route by its name.
    pub fn route(&self, name: &str) -> Option<Arc<RouteHandle>> {
        self.routes.route(name)
    }

    /// All routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The Wasm host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The resolver.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// A plugin's counters.
    pub fn plugin_metrics(&self, name: &str) -> Option<&Arc<PluginMetrics>> {
        self.plugins.get(name)
    }

    /// Sender authentication for one transaction; nothing is looked up until a filter asks.
    pub fn evaluation(&self, client: IpAddr) -> Arc<Evaluation> {
        self.authentication.evaluation(client)
    }

    /// A virus scan that begins while the message arrives, where a filter of the chain may ask for its result.
    pub fn begin_scan(&self, chain: &Chain) -> Option<antivirus::Stream> {
        let clamd = self.clamd.as_ref()?;
        chain.scans_for_viruses().then(|| clamd.begin())
    }
}

fn spool(server: &config::Server) -> PathBuf {
    server.state_dir.join("spool")
}

fn budget(server: &config::Server) -> Budget {
    Budget::for_server(server.memory_budget, server.spill_budget, &spool(server))
}

async fn chains(
    host: &Host,
    config: &Config,
    previous: Option<&Generation>,
    errors: &mut Vec<BuildError>,
) -> BTreeMap<String, Arc<Chain>> {
    let mut plugins: BTreeMap<&str, Plugin> = BTreeMap::new();
    for (name, plugin) in &config.plugins {
        match host.load(name, plugin).await {
            Ok(loaded) => {
                plugins.insert(name, loaded);
            }
            Err(error) => errors.push(error.into()),
        }
    }
    config
        .chains
        .iter()
        .map(|(name, chain)| {
            // A plugin that is missing here has left an error above, and the generation is not built.
            let links = chain.plugins.iter().filter_map(|plugin| plugins.get(plugin.as_str()).cloned());
            let old = previous.and_then(|old| old.chains.get(name));
            (name.clone(), Chain::new(name, links, old.map(Arc::as_ref)))
        })
        .collect()
}

/// What the chains sign with. What is unwise about a key is said when it is put to work.
fn signing(config: &Config, surroundings: &Surroundings) -> BTreeMap<String, Signing> {
    for (name, dkim) in &config.dkim {
        for warning in dkim.key.warnings() {
            tracing::warn!("[dkim.{name}] key: {warning}");
        }
    }
    let signing = |(name, chain): (&String, _)| {
        let metrics = || surroundings.metrics.signing(name);
        Some((name.clone(), Signing::new(chain, config, surroundings.clock, metrics)?))
    };
    config.chains.iter().filter_map(signing).collect()
}

fn listeners(
    config: &Config,
    chains: &BTreeMap<String, Arc<Chain>>,
    surroundings: &Surroundings,
    errors: &mut Vec<BuildError>,
) -> BTreeMap<String, Arc<Listening>> {
    let mut listeners = BTreeMap::new();
    for (name, settings) in &config.listeners {
        let tls = match &settings.tls {
            ServerTls::Off => None,
            ServerTls::Opportunistic(files) | ServerTls::Required(files) | ServerTls::Implicit(files) => {
                match surroundings.certificates.server_config(files) {
                    Ok(tls) => Some(tls),
                    Err(error) => {
                        errors.push(BuildError::Tls { name: name.clone(), error });
                        continue;
                    }
                }
            }
        };
        // The loader made sure that every listener's chain is configured.
        let Some(chain) = chains.get(&settings.chain) else { continue };
        let listening = Listening {
            settings: settings.clone(),
            tls,
            chain: Arc::clone(chain),
            metrics: surroundings.metrics.listener(name),
        };
        listeners.insert(name.clone(), Arc::new(listening));
    }
    listeners
}

/// What all sessions share, whatever the generation.
pub struct Proxy {
    current: ArcSwap<Generation>,
    budget: Budget,
    quarantine: Quarantine,
    draining: watch::Sender<bool>,
    sessions: AtomicUsize,
}

impl Proxy {
    /// A proxy that serves this generation.
    ///
    /// # Errors
    ///
    /// A directory under state_dir cannot be made.
    pub fn new(generation: Generation) -> Result<Arc<Self>, BuildError> {
        let server = &generation.config.server;
        let spool = spool(server);
        message::clear_spill_files(&spool)
            .map_err(|error| BuildError::State { path: spool.display().to_string(), error })?;
        generation.host.count_memory(&generation.budget);
        Ok(Arc::new(Self {
            budget: generation.budget.clone(),
            quarantine: Quarantine::new(&server.state_dir),
            current: ArcSwap::from_pointee(generation),
            draining: watch::Sender::new(false),
            sessions: AtomicUsize::new(0),
        }))
    }

    /// The newest generation.
    pub fn generation(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Later transactions belong to this generation.
    pub fn swap(&self, generation: Generation) {
        self.current.store(Arc::new(generation));
    }

    /// Where message bytes are counted.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Has what the proxy holds shown among the metrics.
    pub fn publish(self: &Arc<Self>, metrics: &Metrics) {
        crate::bounds::publish(self, metrics);
        let host = self.host_reader();
        metrics.gauge("mailweir_sandboxes", "Sandboxes that live.", move || host(|host| host.live as u64));
        let host = self.host_reader();
        let help = "Sandboxes made, for loading plugins too.";
        metrics.counter("mailweir_sandboxes_created_total", help, move || host(|host| host.created));
        let host = self.host_reader();
        metrics.counter("mailweir_plugins_compiled_total", "Plugins compiled.", move || host(|host| host.compiled));
        let host = self.host_reader();
        let help = "Plugins taken from the cache of compiled ones.";
        metrics.counter("mailweir_plugins_cached_total", help, move || host(|host| host.cache_hits));
        let host = self.host_reader();
        let help = "Log lines of plugins that were over their limit.";
        metrics.counter("mailweir_plugin_log_lines_dropped_total", help, move || host(|host| host.log_lines_dropped));
        // The counters live as long as the process: each generation takes them from the one before.
        let checks = Arc::clone(self.generation().authentication.counters());
        let help = "DNS lookups of a message's authentication beyond what one message may cause.";
        metrics.counter("mailweir_authentication_lookups_refused_total", help, move || checks.lookups_refused());
        let checks = Arc::clone(self.generation().authentication.counters());
        let help = "DKIM signatures beyond the number that is checked in one message.";
        metrics.counter("mailweir_authentication_signatures_skipped_total", help, move || checks.signatures_skipped());
        let proxy = Arc::downgrade(self);
        metrics
            .plugin_events(move || proxy.upgrade().map_or_else(Vec::new, |proxy| proxy.generation().host().events()));
    }

    /// Reads something of the newest generation, 0 once the proxy is gone.
    pub(crate) fn reader(self: &Arc<Self>) -> impl Fn(fn(&Generation) -> u64) -> u64 + Send + Sync + 'static {
        let proxy = Arc::downgrade(self);
        move |read| proxy.upgrade().map_or(0, |proxy| read(&proxy.generation()))
    }

    /// Reads one of the Wasm host's counters, 0 once the proxy is gone.
    fn host_reader(self: &Arc<Self>) -> impl Fn(fn(Snapshot) -> u64) -> u64 + Send + Sync + 'static {
        let proxy = Arc::downgrade(self);
        move |read| proxy.upgrade().map_or(0, |proxy| read(proxy.generation().host().counters()))
    }

    /// Where messages are kept.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Counts a session until what is returned is dropped.
    pub fn session(self: &Arc<Self>) -> SessionCount {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        SessionCount(Arc::clone(self))
    }

    /// Sessions now.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Asks sessions to end after the message they are at.
    pub fn begin_drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether sessions are to end.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// For waiting until a drain begins.
    pub fn drain(&self) -> Drain {
        Drain { draining: self.draining.subscribe() }
    }
}

/// A session that counts.
pub struct SessionCount(Arc<Proxy>);

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session's view of the drain.
pub struct Drain {
    draining: watch::Receiver<bool>,
}

impl Drain {
    /// Returns once a drain has begun; at once when it has.
    pub async fn begun(&mut self) {
        // The sender lives as long as the proxy, which outlives its sessions.
        let _ = self.draining.wait_for(|draining| *draining).await;
    }
}
