//! The checked configuration's types, one for each table of the file. Every name in one table that refers to another
//! (a chain, a plugin, a route) is known to exist.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::signing::SigningKey;

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[dns]`
    pub dns: Dns,
    /// `[admin]`; nothing listens without it.
    pub admin: Option<Admin>,
    /// `[listener.NAME]`
    pub listeners: BTreeMap<String, Listener>,
    /// `[chain.NAME]`
    pub chains: BTreeMap<String, Chain>,
    /// `[plugin.NAME]`
    pub plugins: BTreeMap<String, Plugin>,
    /// `[dkim.NAME]`
    pub dkim: BTreeMap<String, Dkim>,
    /// `[antivirus]`
    pub antivirus: Option<Antivirus>,
    /// `[route.NAME]`
    pub routes: BTreeMap<String, Route>,
}

/// `[server]`: what all listeners share.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Our name in the greeting, Received fields and Authentication-Results.
    pub hostname: String,
    /// Spool, compiled-plugin cache and quarantine; absolute.
    pub state_dir: PathBuf,
    /// Where a plain plugin file name is looked up; absolute.
    pub plugin_dir: PathBuf,
    /// Message bytes in memory, all sessions together.
    pub memory_budget: u64,
    /// Message bytes on disk beyond it, all sessions together.
    pub spill_budget: u64,
    /// Worker threads; never 0.
    pub workers: usize,
    /// How long a drain waits for sessions.
    pub shutdown_grace: Duration,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    /// Empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Whether answers are validated.
    pub dnssec: Dnssec,
    /// How long one query may take, retries included.
    pub timeout: Duration,
    /// Answers kept.
    pub cache_size: usize,
}

/// `dnssec = …`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dnssec {
    /// Answers are taken as they come.
    Off,
    /// Signatures are checked up to the root; bogus answers are errors.
    Validate,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Where /health, /ready and /metrics are served.
    pub listen: SocketAddr,
}

/// `[listener.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Addresses to bind; never empty.
    pub listen: Vec<SocketAddr>,
    /// The chain its messages run through.
    pub chain: String,
    /// The route its messages take unless a filter says otherwise.
    pub route: Option<String>,
    /// Recipient domains accepted from anyone.
    pub relay_domains: RelayDomains,
    /// Clients that may send to any domain when `relay_domains` lists `*`; never empty then.
    pub trusted_networks: Vec<IpNet>,
    /// TLS with clients.
    pub tls: ServerTls,
    /// Peers whose PROXY protocol header is required and believed; empty: the protocol is off.
    pub proxy_protocol: Vec<IpNet>,
    /// Peers that may say with XCLIENT whom they speak for.
    pub xclient: Vec<IpNet>,
    /// What a bare CR or LF in a message leads to.
    pub bare_newline: BareNewline,
    /// `[listener.NAME.limits]`
    pub limits: Limits,
}

/// `relay_domains = …`
#[derive(Debug, Clone, PartialEq)]
pub struct RelayDomains {
    /// `"*"` is listed: any domain, but for clients in `trusted_networks` only.
    pub any: bool,
    /// Domains listed, lower case, in A-labels.
    pub domains: Vec<String>,
}

impl RelayDomains {
    /// Whether a domain is listed by name, in whatever case and in A- or U-labels. `*` is not considered.
    pub fn lists(&self, domain: &str) -> bool {
        if domain.is_ascii() {
            return self.domains.iter().any(|listed| listed.eq_ignore_ascii_case(domain));
        }
        super::domain_to_ascii(domain).is_some_and(|ascii| self.domains.contains(&ascii))
    }
}

/// `tls = { mode = … }` of a listener.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerTls {
    /// STARTTLS is not offered.
    Off,
    /// STARTTLS is offered.
    Opportunistic(Certificate),
    /// MAIL is refused before STARTTLS.
    Required(Certificate),
    /// TLS from the first byte (RFC 8314).
    Implicit(Certificate),
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// The chain's file, leaf first.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// `bare_newline = …`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewline {
    /// 550 5.6.11
    Reject,
    /// Each becomes CRLF.
    Normalize,
}

/// `[listener.NAME.limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes a message.
    pub message_size: u64,
    /// Recipients a message.
    pub recipients: usize,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address (IPv6: one /64).
    pub connections_per_ip: usize,
    /// Messages a connection.
    pub messages: usize,
    /// Error replies after which a connection is closed with 421.
    pub errors: usize,
    /// Received fields after which a message is taken for a loop.
    pub hops: usize,
    /// Waiting for a command.
    pub command_timeout: Duration,
    /// Waiting for the next bytes of a message.
    pub data_timeout: Duration,
    /// The longest wait while nearly all connections are taken.
    pub stress_timeout: Duration,
    /// Bytes of a header section.
    pub header_size: u64,
    /// Fields of a header section.
    pub header_fields: usize,
    /// MIME parts of a message.
    pub mime_parts: usize,
    /// MIME parts inside one another.
    pub mime_depth: usize,
    /// Bytes that archives and the like unpack to, a message.
    pub decoded_size: u64,
    /// The same for each byte of the message, from 16 MiB on.
    pub decoded_ratio: u64,
    /// Files unpacked of a message.
    pub decoded_entries: usize,
    /// Archives inside one another.
    pub decoded_depth: usize,
    /// What a message over one of the last four leads to.
    pub decoded_excess: Excess,
}

/// `decoded_excess = …`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// 554 5.7.1
    Reject,
    /// The message goes on with a tag that says so, unpacked as far as the caps allow.
    Tag,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 50 << 20,
            recipients: 1000,
            connections: 20_000,
            connections_per_ip: 100,
            messages: 1000,
            errors: 20,
            // RFC 5321 section 6.3: the threshold is large, normally at least 100.
            hops: 100,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            stress_timeout: Duration::from_secs(10),
            header_size: 1 << 20,
            header_fields: 1000,
            mime_parts: 1000,
            mime_depth: 50,
            decoded_size: 100 << 20,
            decoded_ratio: 200,
            decoded_entries: 5000,
            decoded_depth: 8,
            decoded_excess: Excess::Reject,
        }
    }
}

/// `[chain.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Plugin names in order.
    pub plugins: Vec<String>,
    /// Names of the keys that sign its messages; the first one's signature stands on top.
    pub sign: Vec<String>,
    /// The name of the key that seals its messages; it has one domain.
    pub seal: Option<String>,
    /// What a seal says of a message.
    pub seal_results: SealResults,
}

/// `seal_results = …`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SealResults {
    /// What we find out about the message as it came.
    #[default]
    Evaluated,
    /// What its Authentication-Results fields in our name say when it leaves.
    Fields,
}

/// `[dkim.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Dkim {
    /// The private key, read with the configuration.
    pub key: Arc<SigningKey>,
    /// `s=`, lower case.
    pub selector: String,
    /// What may stand in `d=`: lower case, A-labels; never empty.
    pub domains: Vec<String>,
    /// Whether authors in domains below them are signed for, too.
    pub subdomains: bool,
    /// Fields that are signed, as often as a message has them. `From` is one.
    pub headers: Vec<String>,
    /// Those of them that are signed once more, so that none can be added.
    pub oversign: Vec<String>,
    /// `c=`
    pub canonicalization: CanonicalForms,
    /// From `t=` to `x=`; a signature does not expire without it.
    pub expiry: Option<Duration>,
    /// Whether a message that this key cannot sign is refused.
    pub required: bool,
}

/// A canonical form (RFC 6376 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanonicalForm {
    /// As it is.
    Simple,
    /// Changes of white space do not count.
    Relaxed,
}

/// `canonicalization = …`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalForms {
    /// Of the header section.
    pub header: CanonicalForm,
    /// Of the body.
    pub body: CanonicalForm,
}

impl fmt::Display for CanonicalForms {
    /// As `c=` has it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |form| match form {
            CanonicalForm::Simple => "simple",
            CanonicalForm::Relaxed => "relaxed",
        };
        write!(formatter, "{}/{}", word(self.header), word(self.body))
    }
}

/// `[plugin.NAME]`
///
/// Two are equal when they ask for the same plugin, wherever in the file they stand.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The component's file; absolute.
    pub source: PathBuf,
    /// Host interfaces it may import beyond message and observe.
    pub grants: Vec<Grant>,
    /// What follows from each cause of failure.
    pub on_error: OnError,
    /// Wall clock a phase.
    pub timeout: Duration,
    /// CPU time a phase.
    pub cpu: Duration,
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Host calls a transaction.
    pub host_calls: u64,
    /// Handed to `configure`.
    pub config: serde_json::Value,
    /// Where the plugin's table begins, as "file:line", for messages about it.
    pub place: String,
}

impl PartialEq for Plugin {
    fn eq(&self, other: &Self) -> bool {
        // The place is left out: a line added above does not make it another plugin, to be loaded anew.
        let Self { source, grants, on_error, timeout, cpu, memory, host_calls, config, place: _ } = self;
        *source == other.source
            && *grants == other.grants
            && *on_error == other.on_error
            && *timeout == other.timeout
            && *cpu == other.cpu
            && *memory == other.memory
            && *host_calls == other.host_calls
            && *config == other.config
    }
}

/// A host interface that must be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// `mailweir:filter/scan`
    Scan,
    /// `mailweir:filter/dns`
    Dns,
    /// `mailweir:filter/authentication`
    Authentication,
    /// `mailweir:filter/antivirus`
    Antivirus,
    /// `mailweir:filter/state`
    State,
}

/// `on_error = …`: the effect of each cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnError {
    /// The filter trapped, or answered what it may not.
    pub trap: Effect,
    /// It used up its CPU time or wall clock.
    pub timeout: Effect,
    /// It used up its memory.
    pub memory: Effect,
    /// It, or a service it needs, could not be had.
    pub unavailable: Effect,
}

/// What a filter's failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// 451 4.7.1: the client tries again.
    TempFail,
    /// The message goes on with a tag that says so.
    Skip,
    /// 554 5.7.1
    Reject,
}

/// `[antivirus]`
#[derive(Debug, Clone, PartialEq)]
pub struct Antivirus {
    /// The daemon.
    pub clamd: ClamdAddress,
    /// Bytes of a message that are sent to it, its decoded parts included; more count as failed, not clean.
    pub max_scan: u64,
    /// Connections to it at once.
    pub connections: usize,
    /// From the first byte sent to the answer, idle time while the message arrives not counted.
    pub timeout: Duration,
}

/// `clamd = "unix:…"` or `"tcp:…"`.
#[derive(Debug, Clone, PartialEq)]
pub enum ClamdAddress {
    /// A socket's path.
    Unix(PathBuf),
    /// host:port
    Tcp(String),
}

/// `[route.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Where it leads.
    pub upstreams: Upstreams,
    /// TLS with upstreams.
    pub tls: ClientTls,
    /// PEM certificates to trust in place of the system's, where `tls` is required; absolute.
    pub ca: Option<PathBuf>,
    /// Whether upstreams that offer XCLIENT are told whom we speak for.
    pub xclient: bool,
    /// Connections kept.
    pub pool: Pool,
    /// Connections at once, idle ones included; 0: no limit.
    pub max_connections: usize,
    /// Until the connection stands.
    pub connect_timeout: Duration,
    /// Waiting for a reply to a command.
    pub command_timeout: Duration,
    /// Waiting for the reply to the end of data (RFC 5321 section 4.5.3.2.6: 10 minutes).
    pub data_timeout: Duration,
}

/// `upstreams = …`
#[derive(Debug, Clone, PartialEq)]
pub enum Upstreams {
    /// host:port (25 when none is given), in order.
    Hosts(Vec<UpstreamHost>),
    /// The recipient domain's mail exchangers.
    Mx,
}

/// One upstream server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamHost {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for UpstreamHost {
    /// host:port, an IPv6 address in brackets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

/// `tls = …` of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTls {
    /// Never.
    Off,
    /// Where the server offers STARTTLS; its certificate is not checked.
    Opportunistic,
    /// Always, and the certificate must be valid for the upstream's name.
    Required,
}

/// `pool = …`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections kept for each upstream.
    pub idle: usize,
    /// Messages sent over one connection before it is closed.
    pub reuse: usize,
    /// How long one is kept idle.
    pub idle_timeout: Duration,
}
