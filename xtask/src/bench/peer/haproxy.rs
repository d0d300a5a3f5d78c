//! HAProxy, which passes bytes on without looking at them: what everybody else is compared with.

use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "haproxy",
    programs: &["haproxy"],
    files: &[("haproxy.cfg", CONFIGURATION)],
    prepare: &[],
    processes: &["haproxy -db -f @directory@/haproxy.cfg"],
    ready: &["@listen@"],
    stop: None,
    tls: false,
    filters: Filters::PassesOn,
    slowness: 1,
    idle: 5000,
};

const CONFIGURATION: &str = "
global
    maxconn 9000

defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m

listen smtp
    bind @listen@
    server sink @upstream@
";
