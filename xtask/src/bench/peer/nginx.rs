//! nginx as a mail proxy. It asks an HTTP server where each session goes, and passes bytes on after RCPT.

use super::{Filters, Peer};

pub(super) const PEER: Peer = Peer {
    name: "nginx",
    programs: &["nginx", "/usr/lib/nginx/modules/ngx_mail_module.so"],
    files: &[("nginx.conf", CONFIGURATION)],
    prepare: &[],
    processes: &["nginx -p @directory@ -c nginx.conf -e stderr"],
    ready: &["@listen@"],
    stop: None,
    tls: true,
    filters: Filters::Never,
    slowness: 4,
    idle: 5000,
};

const CONFIGURATION: &str = "
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
worker_processes auto;
pid nginx.pid;
error_log stderr error;

events {
    worker_connections 9000;
}

mail {
    server_name mx.example.com;
    auth_http @auth_http@/;
    smtp_auth none;
    smtp_capabilities PIPELINING 8BITMIME \"SIZE 52428800\";
    xclient off;
    proxy_pass_error_message on;
    # With the 4 KiB that it has otherwise, the end of a 4 KiB message waits for a delayed acknowledgement (40 ms).
    smtp_client_buffer 16k;
    proxy_buffer 16k;
    timeout 10m;
@tls starttls on;
@tls ssl_certificate @certificate@;
@tls ssl_certificate_key @key@;
@tls ssl_session_cache shared:mail:10m;

    server {
        listen @listen@;
        protocol smtp;
    }
}
";
