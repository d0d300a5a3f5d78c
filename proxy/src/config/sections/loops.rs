//! Listeners whose mail would come back to them. Each turn would hold a connection of the last one, until a cap on
//! connections ends it, long before the cap on hops.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::error::Problem;
use super::super::table::Table;
use super::super::types::{Listener, Route, UpstreamHost, Upstreams};

/// Reports each route that leads a listener's mail back to that listener, whether at once or by way of others. What
/// filters choose, and what the DNS says, nobody knows here.
pub(super) fn check(root: &Table<'_>, listeners: &BTreeMap<String, Listener>, routes: &BTreeMap<String, Route>) {
    if routes.is_empty() {
        return;
    }
    for (name, table) in root.named_tables("route") {
        let leads_back = listeners
            .iter()
            .filter(|(_, listener)| listener.route.as_ref() == Some(&name))
            .find(|(start, _)| reachable(start, listeners, routes).contains(start.as_str()));
        if let Some((start, _)) = leads_back {
            let what = format!("mail of [listener.{start}] would come back to it");
            table.error("upstreams", Problem::new(what, "name the mail server behind, not mailweir itself"));
        }
    }
}

/// The listeners that get mail of this one.
fn reachable<'a>(
    start: &'a str,
    listeners: &'a BTreeMap<String, Listener>,
    routes: &BTreeMap<String, Route>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(name) = next.pop() {
        let route = listeners.get(name).and_then(|listener| routes.get(listener.route.as_ref()?));
        let Some(Upstreams::Hosts(hosts)) = route.map(|route| &route.upstreams) else { continue };
        for (name, listener) in listeners {
            let serves = |host: &UpstreamHost| listener.listen.iter().any(|bound| is_at(host, *bound));
            if hosts.iter().any(serves) && reached.insert(name.as_str()) {
                next.push(name);
            }
        }
    }
    reached
}

/// Whether an upstream is surely the address that is bound.
fn is_at(host: &UpstreamHost, bound: SocketAddr) -> bool {
    let address = match host.host.as_str() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        text => match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => return false,
        },
    };
    let is_any = bound.ip().is_unspecified() && bound.is_ipv4() == address.is_ipv4();
    host.port == bound.port()
        && (bound.ip() == address || is_any && (address.is_loopback() || address.is_unspecified()))
}
