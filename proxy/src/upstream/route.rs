//! A route at work: its hosts' health, its idle connections, what its upstreams can do.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mailweir_smtp::address::{ClientName, Domain};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::xclient::XClient;

use super::connect::Connector;
use super::connection::Connection;
use super::delivery::Delivery;
use super::destination::{self, Destination};
use super::error::UpstreamError;
use super::health::Health;
use super::observer::Observer;
use super::pool::Pool;
use super::slots::{RelayPlace, Slot, Slots};
use super::tls::{Tls, TlsError};
use crate::config::{self, UpstreamHost, Upstreams};
use crate::services::dns::Dns;

/// After this many connect timeouts no further host is tried: a client waits for the answer, and RFC 5321 section
/// 4.5.3.2 makes it wait five minutes.
const PATIENCE: u32 = 4;

/// What all routes share.
#[derive(Clone)]
pub struct Settings {
    /// Our name in EHLO; also how we know ourselves among the mail exchangers of a domain.
    pub hostname: String,
    /// For names of upstreams and for MX records.
    pub dns: Dns,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// Why routes cannot be set up. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Our hostname cannot be said in EHLO.
    #[error("hostname {0:?}: {1}")]
    Hostname(String, mailweir_smtp::address::AddressError),
    /// A route's TLS.
    #[error("route {0}: {1}")]
    Tls(String, TlsError),
}

/// All routes of a configuration.
pub struct Routes {
    routes: BTreeMap<String, Arc<RouteHandle>>,
}

/// One route.
pub struct RouteHandle {
    name: String,
    config: config::Route,
    settings: Settings,
    connector: Connector,
    destination: Destination,
    shared: Arc<Shared>,
}

/// What outlives a reload that leaves the route as it was.
struct Shared {
    pool: Pool,
    slots: Slots,
    health: Health,
    /// What each host offered last.
    seen: Mutex<HashMap<Arc<UpstreamHost>, Extensions>>,
    /// What they have in common.
    extensions: ArcSwap<Extensions>,
}

/// Hosts not tried yet for a message.
pub(super) struct Candidates {
    hosts: VecDeque<Arc<UpstreamHost>>,
    deadline: Instant,
    /// The last failure.
    detail: String,
    /// Whether so far every host turned out not to exist.
    none_exists: bool,
}

/// Whether an idle connection will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Yes.
    Allowed,
    /// No: one has just turned out to be dead, and the others are as old.
    Avoided,
}

impl Routes {
    /// The routes of a configuration. Those that `previous` has with the same settings keep their connections and what
    /// is known of their hosts; of those that changed, connections in use do not count against `max_connections` of the
    /// new ones. Has to be called within a tokio runtime if idle connections are to expire.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn new(
        routes: &BTreeMap<String, config::Route>,
        settings: &Settings,
        previous: Option<&Self>,
    ) -> Result<Self, RouteError> {
        let build = |(name, config): (&String, &config::Route)| {
            let same = previous.and_then(|previous| previous.routes.get(name));
            let same = same.filter(|old| old.config == *config && old.settings.hostname == settings.hostname);
            Ok((name.clone(), Arc::new(RouteHandle::new(name, config, settings, same.map(Arc::as_ref))?)))
        };
        Ok(Self { routes: routes.iter().map(build).collect::<Result<_, _>>()? })
    }

    /// The route of that name.
    pub fn route(&self, name: &str) -> Option<Arc<RouteHandle>> {
        self.routes.get(name).cloned()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RouteHandle>> {
        self.routes.values()
    }

    /// Says hello to every configured upstream: what they can do is known then before the first client asks, and the
    /// connections wait in the pool. One future a route, for where its connections are to be at home.
    pub fn probes(&self) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> {
        let routes: Vec<_> = self.routes.values().cloned().collect();
        routes.into_iter().map(|route| async move { route.probe().await })
    }
}

impl RouteHandle {
    fn new(name: &str, config: &config::Route, settings: &Settings, same: Option<&Self>) -> Result<Self, RouteError> {
        let hostname = ClientName::parse(settings.hostname.as_bytes())
            .map_err(|error| RouteError::Hostname(settings.hostname.clone(), error))?;
        let (connector, shared) = match same {
            Some(same) => (same.connector.clone(), Arc::clone(&same.shared)),
            None => {
                let tls = Tls::new(config.tls, config.ca.as_deref())
                    .map_err(|error| RouteError::Tls(name.to_owned(), error))?;
                let connector = Connector {
                    hostname,
                    tls,
                    connect_timeout: config.connect_timeout,
                    command_timeout: config.command_timeout,
                };
                (connector, Shared::new(config))
            }
        };
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            settings: settings.clone(),
            connector,
            destination: Destination::new(&config.upstreams),
            shared,
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a message to one domain may take another way than one to another domain.
    pub fn depends_on_domain(&self) -> bool {
        matches!(self.destination, Destination::Mx)
    }

    /// What all upstreams seen so far can do, for [`Extensions::relayed_to`] and the listener's EHLO.
    ///
    /// Before the first contact: 8BITMIME, which practically every server has. With `upstreams = ["mx"]` nothing is
    /// known about a server before it is met; then 8BITMIME and SMTPUTF8 are assumed, since a message that needs them
    /// can be refused when it turns out otherwise, and DSN is not, since nobody could take over its promises.
    pub fn extensions(&self) -> Extensions {
        Extensions::clone(&self.shared.extensions.load())
    }

    /// A connection to the best upstream that is there: an idle one, or a new one, on whichever host answers.
    ///
    /// `domain` is the recipient's; it matters only when [`Self::depends_on_domain`]. `client` is whom we speak for, which
    /// upstreams are told that offer XCLIENT, if the route is configured so.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`], [`UpstreamError::TooMany`] after `connect_timeout`, or those about the domain.
    pub async fn begin(
        self: &Arc<Self>,
        domain: &Domain,
        client: Option<&Arc<XClient>>,
    ) -> Result<Delivery, UpstreamError> {
        let mut candidates = self.candidates(domain).await?;
        let connection = self.connection(&mut candidates, Reuse::Allowed).await?;
        let client = client.map_or_else(|| Arc::new(XClient::unavailable()), Arc::clone);
        Ok(Delivery::new(Arc::clone(self), domain.clone(), client, candidates, connection))
    }

    /// Whether somebody waits for a connection because all of `max_connections` are taken.
    pub fn is_short_of_connections(&self) -> bool {
        self.shared.slots.are_wanted()
    }

    /// The right to use a connection for a message that still arrives.
    pub(super) fn try_relay(&self) -> Option<RelayPlace> {
        self.shared.slots.try_relay()
    }

    /// Connections that wait for work, over all hosts.
    pub fn idle_connections(&self) -> usize {
        self.shared.pool.len()
    }

    /// Hosts that failed lately and are tried last.
    pub fn failing_hosts(&self) -> usize {
        self.shared.health.failing(Instant::now())
    }

    #[cfg(test)]
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    #[cfg(test)]
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(super) fn config(&self) -> &config::Route {
        &self.config
    }

    /// Our name in EHLO.
    pub(super) fn own_name(&self) -> &ClientName {
        &self.connector.hostname
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        self.settings.observer.as_ref()
    }

    pub(super) async fn candidates(&self, domain: &Domain) -> Result<Candidates, UpstreamError> {
        let mut hosts = self.destination.hosts(domain, &self.settings.dns, &self.settings.hostname).await?;
        let now = Instant::now();
        self.shared.health.order(&mut hosts, now);
        Ok(Candidates {
            hosts: hosts.into(),
            deadline: now + self.config.connect_timeout * PATIENCE,
            detail: "no host".to_owned(),
            none_exists: true,
        })
    }

    /// The next connection worth trying. A host whose idle connection is handed out stays a candidate.
    pub(super) async fn connection(
        &self,
        candidates: &mut Candidates,
        reuse: Reuse,
    ) -> Result<Box<Connection>, UpstreamError> {
        let slot = self.slot().await?;
        while let Some(host) = candidates.hosts.front() {
            let idle = (reuse == Reuse::Allowed).then(|| self.shared.pool.take(host, Instant::now())).flatten();
            if let Some(connection) = idle {
                self.observer().reused(&self.name);
                return Ok(connection.in_slot(slot));
            }
            let Some(host) = candidates.hosts.pop_front() else { break };
            match Box::pin(self.connect(&host, candidates.deadline)).await {
                Ok(connection) => return Ok(connection.in_slot(slot)),
                Err(error) => {
                    tracing::warn!(route = self.name, host = host.host, port = host.port, %error, "upstream failed");
                    candidates.none_exists &= matches!(error, UpstreamError::NoMailServer(_));
                    candidates.detail = match error {
                        UpstreamError::Unreachable { detail, .. } => format!("{}: {detail}", host.host),
                        UpstreamError::NoMailServer(name) => name,
                        other => other.to_string(),
                    };
                }
            }
            if Instant::now() >= candidates.deadline {
                break;
            }
        }
        let detail = std::mem::take(&mut candidates.detail);
        // A configured name that does not exist is the operator's mistake, and no reason to bounce mail.
        Err(if self.depends_on_domain() && candidates.none_exists {
            UpstreamError::NoMailServer(detail)
        } else {
            UpstreamError::Unreachable { route: self.name.clone(), detail }
        })
    }

    /// The right to use a connection.
    async fn slot(&self) -> Result<Slot, UpstreamError> {
        match self.shared.slots.take(self.config.connect_timeout).await {
            Some(slot) => Ok(slot),
            None => {
                self.observer().full(&self.name);
                Err(UpstreamError::TooMany { route: self.name.clone() })
            }
        }
    }

    /// A new connection. Its user has a slot already; idle connections give way.
    async fn connect(&self, host: &Arc<UpstreamHost>, deadline: Instant) -> Result<Box<Connection>, UpstreamError> {
        self.shared.pool.evict(self.shared.slots.excess(self.shared.pool.len()));
        let started = Instant::now();
        let addresses = destination::addresses(host, &self.destination, &self.settings.dns).await?;
        match self.connector.connect(host, &addresses, deadline).await {
            Ok(connection) => {
                self.shared.health.succeeded(host);
                self.shared.learn(host, connection.client.extensions(), &self.destination);
                self.observer().connected(&self.name, started.elapsed());
                Ok(Box::new(connection))
            }
            Err(error) => {
                self.failed(host);
                Err(UpstreamError::Unreachable { route: self.name.clone(), detail: error.to_string() })
            }
        }
    }

    /// A host was no use.
    pub(super) fn failed(&self, host: &UpstreamHost) {
        self.shared.health.failed(host, Instant::now());
        self.observer().connect_failed(&self.name);
    }

    /// Takes a connection back.
    pub(super) fn put(&self, connection: Box<Connection>) {
        self.shared.pool.put(connection, Instant::now());
    }

    /// Says hello to every configured host.
    pub(super) async fn probe(&self) {
        let Destination::Hosts(hosts) = &self.destination else { return };
        for host in hosts.iter() {
            // Clients come first.
            let Some(slot) = self.shared.slots.try_take() else { return };
            match self.connect(host, Instant::now()).await {
                Ok(connection) => self.put(connection.in_slot(slot)),
                Err(error) => tracing::warn!(route = self.name, host = host.host, %error, "upstream does not answer"),
            }
        }
    }
}

impl Shared {
    fn new(config: &config::Route) -> Arc<Self> {
        let assumed =
            Extensions { eight_bit_mime: true, smtp_utf8: config.upstreams == Upstreams::Mx, ..Extensions::default() };
        let shared = Arc::new(Self {
            pool: Pool::new(config.pool),
            slots: Slots::new(config.max_connections),
            health: Health::default(),
            seen: Mutex::default(),
            extensions: ArcSwap::from_pointee(assumed),
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let every = (config.pool.idle_timeout / 2).clamp(Duration::from_millis(100), Duration::from_secs(30));
            runtime.spawn(sweep(Arc::downgrade(&shared), every));
        }
        shared
    }

    fn learn(&self, host: &Arc<UpstreamHost>, offered: &Extensions, destination: &Destination) {
        let Destination::Hosts(hosts) = destination else { return };
        // Nothing in here can panic halfway.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(host) == Some(offered) {
            return;
        }
        seen.insert(Arc::clone(host), offered.clone());
        let common = hosts.iter().filter_map(|host| seen.get(host)).cloned().reduce(|all, one| all.intersect(&one));
        self.extensions.store(Arc::new(common.unwrap_or_default()));
    }
}

impl Candidates {
    /// Whether there is a host left to try.
    pub(super) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

async fn sweep(shared: Weak<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.pool.sweep(Instant::now());
    }
}
