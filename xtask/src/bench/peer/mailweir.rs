//! mailweir: with a chain of no filter, or of auth, surbl and dlp.

use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "mailweir",
    programs: &[],
    files: &[("mailweir.toml", CONFIGURATION)],
    prepare: &[],
    processes: &["@binary@ run --config @directory@/mailweir.toml"],
    ready: &["@listen@"],
    stop: None,
    tls: true,
    filters: Filters::WhenAsked,
    slowness: 1,
    idle: 5000,
};

const CONFIGURATION: &str = r#"
[server]
hostname = "mx.example.com"
state_dir = "@directory@/state"
plugin_dir = "@plugins@"

[dns]
resolvers = ["@dns@"]

[listener.in]
listen = ["@listen@"]
chain = "bench"
route = "sink"
relay_domains = ["example.com"]
limits = { messages = 1000000, connections_per_ip = 20000 }
@tls tls = { mode = "opportunistic", certificate = "@certificate@", key = "@key@" }

[chain.bench]
@filters plugins = ["auth", "surbl", "dlp"]

[route.sink]
upstreams = ["@upstream@"]
tls = "off"

@filters [plugin.auth]
@filters source = "auth.wasm"
@filters grants = ["dns", "authentication"]
@filters [plugin.auth.config]
@filters dmarc = "enforce"
@filters spf_fail = "tag"

@filters [plugin.surbl]
@filters source = "surbl.wasm"
@filters grants = ["dns"]
@filters [plugin.surbl.config]
@filters zones = [{ zone = "multi.surbl.org", reject_bits = [2, 4, 8, 16, 64, 128] }]

@filters [plugin.dlp]
@filters source = "dlp.wasm"
@filters grants = ["scan"]
@filters [[plugin.dlp.config.rules]]
@filters name = "payment cards"
@filters detect = ["credit-card"]
@filters minimum = 2
@filters action = { reject = "5.7.1 payment card data may not leave unencrypted" }
@filters [[plugin.dlp.config.rules]]
@filters name = "confidential stays here"
@filters keywords = ["confidential", "vertraulich", "confidentiel"]
@filters action = { reject = "5.7.1 confidential mail may not leave unencrypted" }
"#;
