//! mailweir: with a chain of no filter, or of auth, surbl and dlp.

use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "mailweir",
    programs: &[],
    files: &[("mailweir.toml", CONFIGURATION)],
    prepare: &[],
    processes: &["@binary@ run --config @directory@/mailweir.toml"],
    stop: None,
    tls: true,
    filters: Filters::WhenAsked,
    slowness: 1,
};

const CONFIGURATION: &str = r#"
[server]
hostname = "mx.example.com"
state_dir = "@directory@/state"
plugin_dir = "@plugins@"

[listener.in]
listen = ["@listen@"]
chain = "bench"
route = "sink"
relay_domains = ["example.com"]
limits = { messages = 1000000, connections_per_ip = 20000 }

[chain.bench]
plugins = []

[route.sink]
upstreams = ["@upstream@"]
tls = "off"
"#;
