//! Haraka with its SMTP proxy as the queue; with filters it checks SPF and DKIM and looks URLs up.

use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "haraka",
    programs: &["node", "target/peers/haraka/node_modules/Haraka/bin/haraka"],
    files: &[
        ("config/plugins", PLUGINS),
        ("config/host_list", "example.com\n"),
        ("config/me", "mx.example.com\n"),
        ("config/smtp.ini", "listen=@listen@\n"),
        ("config/smtp_proxy.ini", "host=@upstream_host@\nport=@upstream_port@\n"),
        ("config/tls.ini", "key=tls_key.pem\ncert=tls_cert.pem\n"),
        ("config/uribl.ini", "[multi.surbl.org]\nbody=true\nstrip_to_domain=true\nbitmask=222\n"),
        ("resolver.js", RESOLVER),
    ],
    prepare: &[
        // What we do not set is as it is installed.
        "cp -rn @haraka@/node_modules/Haraka/config/. @directory@/config",
        "cp @certificate@ @directory@/config/tls_cert.pem",
        "cp @key@ @directory@/config/tls_key.pem",
    ],
    processes: &["node --require @directory@/resolver.js @haraka@/node_modules/Haraka/bin/haraka -c @directory@"],
    ready: &["@listen@"],
    stop: None,
    tls: true,
    filters: Filters::WhenAsked,
    slowness: 30,
    idle: 1000,
};

const PLUGINS: &str = "@tls tls
@filters spf
@filters dkim
@filters uribl
rcpt_to.in_host_list
queue/smtp_proxy
";

/// Node takes resolvers from /etc/resolv.conf alone, and Haraka checks no client of this machine.
const RESOLVER: &str = "'use strict';
const dns = require('node:dns');
for (const module of [dns, dns.promises]) {
    module.setServers(['@dns@']);
    module.Resolver = class extends module.Resolver {
        constructor(options) {
            super(options);
            this.setServers(['@dns@']);
        }
    };
}
const addresses = require('@haraka@/node_modules/haraka-net-utils');
addresses.is_private_ip = addresses.is_local_ip = () => false;
";
