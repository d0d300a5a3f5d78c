//! Servers to measure: each is data, in a file of its own.

mod haproxy;
mod mailweir;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) const MAILWEIR: &Peer = &mailweir::PEER;

/// Those that others wrote.
pub(super) const PEERS: &[&Peer] = &[&haproxy::PEER];

/// A server.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Programs that must be installed.
    pub(super) programs: &'static [&'static str],
    /// Files that it needs: the path below its directory, and a template. A path that ends in a slash is a directory.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Commands to be run to their end before it starts: templates of words.
    pub(super) prepare: &'static [&'static str],
    /// Its processes, each staying in the foreground.
    pub(super) processes: &'static [&'static str],
    /// How it is told to end, where SIGTERM to its processes is not enough.
    pub(super) stop: Option<&'static str>,
    /// Whether it can do TLS with its client.
    pub(super) tls: bool,
    /// Where it has a place.
    pub(super) filters: Filters,
    /// It gets this many times fewer messages than a TCP proxy, for samples of about the same duration.
    pub(super) slowness: u32,
}

/// Whether a server filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filters {
    /// It passes bytes on; with filters it is what others are compared with.
    Never,
    /// In scenarios with filters.
    WhenAsked,
    /// It is there for them, and is not in scenarios without.
    Always,
}

/// Where things are; what templates are filled in with.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) listen: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) binary: PathBuf,
    pub(super) plugins: PathBuf,
}
