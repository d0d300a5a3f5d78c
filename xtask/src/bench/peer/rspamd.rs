//! Postfix with rspamd as a milter: SPF, DKIM, DMARC, block lists of URLs and all else that rspamd does as it is installed.
//! Messages go through Postfix's queue, as with any milter.

use super::postfix::main_cf;
use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "postfix-rspamd",
    programs: &["postfix", "rspamd", "redis-server"],
    files: &[
        ("etc/main.cf", MAIN),
        ("etc/master.cf", MASTER),
        ("queue/", ""),
        ("data/", ""),
        ("redis.conf", REDIS),
        ("rspamd/db/", ""),
        ("rspamd/local.d/options.inc", OPTIONS),
        ("rspamd/local.d/logging.inc", "type = \"file\";\nfilename = \"@directory@/rspamd/rspamd.log\";\n"),
        ("rspamd/local.d/worker-proxy.inc", PROXY),
        ("rspamd/local.d/worker-normal.inc", "enabled = false;\n"),
        ("rspamd/local.d/worker-controller.inc", "enabled = false;\n"),
        ("rspamd/local.d/redis.conf", "servers = \"@directory@/redis.sock\";\n"),
        ("rspamd/local.d/spf.conf", CHECK_LOCAL),
        ("rspamd/local.d/dkim.conf", CHECK_LOCAL),
        ("rspamd/local.d/dmarc.conf", CHECK_LOCAL),
        ("rspamd/local.d/rbl.conf", "default_exclude_local = false;\n"),
    ],
    prepare: &["chown postfix @directory@/data", "chown -R _rspamd @directory@/rspamd"],
    processes: &[
        "redis-server @directory@/redis.conf",
        "rspamd -f -u _rspamd -g _rspamd -c /etc/rspamd/rspamd.conf --var=LOCAL_CONFDIR=@directory@/rspamd \
         --var=DBDIR=@directory@/rspamd/db --var=RUNDIR=@directory@/rspamd --var=LOGDIR=@directory@/rspamd",
        "postfix -c @directory@/etc start-fg",
    ],
    ready: &["@directory@/rspamd/milter.sock", "@listen@"],
    stop: Some("postfix -c @directory@/etc abort"),
    tls: true,
    filters: Filters::Always,
    slowness: 40,
    idle: 50,
};

const MAIN: &str = main_cf!(
    "smtpd_milters = unix:@directory@/rspamd/milter.sock
milter_default_action = tempfail
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_transport = smtp:[@upstream_host@]:@upstream_port@
"
);

const MASTER: &str = "@listen@ inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
smtp unix - - n - - smtp
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
";

const REDIS: &str = "port 0
unixsocket @directory@/redis.sock
unixsocketperm 777
dir @directory@
save \"\"
";

const OPTIONS: &str = "dns {
    nameserver = [\"@dns@\"];
}
";

const PROXY: &str = "bind_socket = \"@directory@/rspamd/milter.sock mode=0666\";
milter = yes;
upstream \"local\" {
    self_scan = yes;
}
";

/// Clients of this machine would not be checked otherwise, and every client here is one.
const CHECK_LOCAL: &str = "check_local = true;\ncheck_authed = true;\n";
