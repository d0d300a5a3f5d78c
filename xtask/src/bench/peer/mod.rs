//! Servers to measure: each is data, in a file of its own.

mod mailweir;
mod haproxy;
mod nginx;
mod postfix;
mod rspamd;
mod haraka;

use std::path::Path;

use mailweir_testkit::programs;

use super::scenario::Scenario;

/// Ours.
pub(super) const MAILWEIR: &Peer = &mailweir::PEER;

/// Those that others wrote.
pub(super) const PEERS: &[&Peer] = &[&haproxy::PEER, &nginx::PEER, &postfix::PEER, &rspamd::PEER, &haraka::PEER];

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
    /// Where it listens when it is ready: addresses, and sockets in the file system.
    pub(super) ready: &'static [&'static str],
    /// How it is told to end, where SIGTERM to its processes is not enough.
    pub(super) stop: Option<&'static str>,
    /// Whether it can do TLS with its client.
    pub(super) tls: bool,
    /// Where it has a place.
    pub(super) filters: Filters,
    /// It gets this many times fewer messages than a TCP proxy, for samples of about the same duration.
    pub(super) slowness: u32,
    /// The most idle connections that it is asked to hold.
    pub(super) idle: u32,
}

/// Whether a server filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filters {
    /// It passes on what comes. Where others filter it is what they are compared with.
    PassesOn,
    /// It does not, and is not in scenarios where others do.
    Never,
    /// In scenarios with filters.
    WhenAsked,
    /// It is there for them, and is not in scenarios without.
    Always,
}

impl Peer {
    /// Whether it can do what the scenario asks for.
    pub(super) fn takes_part(&self, scenario: &Scenario) -> bool {
        let filters = match self.filters {
            Filters::PassesOn | Filters::WhenAsked => true,
            Filters::Never => !scenario.filters,
            Filters::Always => scenario.filters,
        };
        filters && (self.tls || !scenario.tls)
    }

    /// The first program that is not installed.
    pub(super) fn missing(&self) -> Option<&'static str> {
        self.programs.iter().copied().find(|name| {
            let is_there = match name.strip_prefix("target/") {
                Some(path) => crate::workspace_root().join("target").join(path).exists(),
                None => Path::new(name).exists() || programs::installed(name).is_some(),
            };
            !is_there
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::template::{KINDS, Values};

    /// Every place in every template has a name that is filled in.
    #[test]
    fn templates_can_be_filled_in() {
        let names = super::super::server::NAMES.map(|name| (name, format!("<{name}>")));
        for lines in [&KINDS[..], &KINDS[..1], &KINDS[1..], &[]] {
            let values = Values { names: names.clone().into(), lines: lines.to_vec() };
            for peer in PEERS.iter().chain([&MAILWEIR]) {
                let files = peer.files.iter().map(|(_, template)| template);
                for template in files.chain(peer.prepare).chain(peer.processes).chain(peer.ready).chain(&peer.stop) {
                    let text = values.fill(template).unwrap_or_else(|error| panic!("{}: {error:#}", peer.name));
                    assert!(!text.contains("@tls ") && !text.contains("@filters "), "{}: {text}", peer.name);
                }
            }
        }
    }

    #[test]
    fn configurations_follow_the_scenario() {
        let names = super::super::server::NAMES.map(|name| (name, name.to_owned()));
        for (peer, of_tls, of_filters) in [
            (MAILWEIR, Some("tls = { mode"), Some("plugins = [\"auth\", \"surbl\", \"dlp\"]")),
            (&nginx::PEER, Some("starttls on"), None),
            (&postfix::PEER, Some("smtpd_tls_security_level"), None),
            (&haraka::PEER, Some("\ntls\n"), Some("\nspf\ndkim\nuribl\n")),
        ] {
            let text = |lines: &[&'static str]| {
                let values = Values { names: names.clone().into(), lines: lines.to_vec() };
                let files = peer.files.iter().map(|(_, template)| values.fill(template).unwrap());
                format!("\n{}", files.collect::<Vec<_>>().join("\n"))
            };
            for (line, expected) in [("tls", of_tls), ("filters", of_filters)] {
                let Some(expected) = expected else { continue };
                assert!(text(&[line]).contains(expected), "{}: no {expected:?}\n{}", peer.name, text(&[line]));
                assert!(!text(&[]).contains(expected), "{}: {expected:?}", peer.name);
            }
        }
    }
}
