//! Postfix's smtpd as a proxy before the queue (SMTPD_PROXY_README): it answers as the server behind it answers.

use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "postfix",
    programs: &["postfix"],
    files: &[("etc/main.cf", MAIN), ("etc/master.cf", MASTER), ("queue/", ""), ("data/", "")],
    prepare: &["chown postfix @directory@/data"],
    processes: &["postfix -c @directory@/etc start-fg"],
    ready: &["@listen@"],
    stop: Some("postfix -c @directory@/etc abort"),
    tls: true,
    filters: Filters::Never,
    slowness: 8,
    idle: 50,
};

/// What any Postfix of ours needs.
macro_rules! main_cf {
    ($rest:literal) => {
        concat!(
            "compatibility_level = 3.6
myhostname = mx.example.com
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = @directory@/queue
data_directory = @directory@/data
maillog_file = @directory@/postfix.log
maillog_file_prefixes = @directory@
mydestination =
alias_maps =
local_recipient_maps =
message_size_limit = 104857600
smtpd_relay_restrictions = permit_mynetworks, reject
@tls smtpd_tls_security_level = may
@tls smtpd_tls_cert_file = @certificate@
@tls smtpd_tls_key_file = @key@
",
            $rest
        )
    };
}
pub(super) use main_cf;

const MAIN: &str = main_cf!("smtpd_proxy_filter = @upstream@\n");

const MASTER: &str = "@listen@ inet n - n - - smtpd
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";
