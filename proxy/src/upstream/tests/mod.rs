//! Routes against servers that do as a script says, and against a real one.

mod connecting;
mod early;
mod exchangers;
mod introductions;
mod messages;
mod pooling;
mod postfix;
mod slow_clients;
mod tls;
mod transactions;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailweir_smtp::address::{Domain, ForwardPath, ReversePath};
use mailweir_smtp::parameter::{MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;
use mailweir_testkit::script::ScriptedServer;

use super::*;
use crate::config::{self, ClientTls, Dnssec, UpstreamHost, Upstreams};
use crate::message::{DecodingLimits, Message, MessageLimits};
use crate::services::dns::Dns;

/// A connection up to the point where it takes mail, with PIPELINING.
const READY: &str = "S: 220 mx\nC: EHLO proxy.example.test\nS: 250-mx\nS: 250-8BITMIME\nS: 250 PIPELINING\n";
/// The same without any extension.
const READY_BARE: &str = "S: 220 mx\nC: EHLO proxy.example.test\nS: 250 mx\n";
/// A transaction up to the message.
const ENVELOPE: &str = "C: MAIL FROM:<a@example.org>\nC: RCPT TO:<b@example.com>\nS: 250 sender\nS: 250 recipient\n";
/// A message taken by DATA.
const TAKEN: &str = "C: DATA\nS: 354 go\n-- message\nS: 250 2.0.0 taken\n";

const MESSAGE: &str = "Subject: x\r\n\r\n.dot\r\n";

fn route_to(addresses: &[SocketAddr]) -> config::Route {
    let host = |address: &SocketAddr| UpstreamHost { host: address.ip().to_string(), port: address.port() };
    config::Route {
        upstreams: Upstreams::Hosts(addresses.iter().map(host).collect()),
        tls: ClientTls::Off,
        ca: None,
        xclient: true,
        pool: config::Pool { idle: 16, reuse: 100, idle_timeout: Duration::from_secs(60) },
        max_connections: 0,
        connect_timeout: Duration::from_secs(5),
        command_timeout: Duration::from_secs(5),
        data_timeout: Duration::from_secs(5),
    }
}

fn handle(route: config::Route) -> Arc<RouteHandle> {
    let dns = config::Dns {
        // Nobody answers there: these tests need no names.
        resolvers: vec![SocketAddr::from(([127, 0, 0, 1], 9))],
        dnssec: Dnssec::Off,
        timeout: Duration::from_millis(100),
        cache_size: 16,
    };
    let settings = Settings {
        hostname: "proxy.example.test".to_owned(),
        dns: Dns::new(&dns).unwrap(),
        observer: Arc::new(Unobserved),
    };
    let routes = Routes::new(&[("test".to_owned(), route)].into(), &settings, None).unwrap();
    routes.route("test").unwrap()
}

async fn server(scripts: &[&str]) -> ScriptedServer {
    ScriptedServer::start(scripts).await.unwrap()
}

/// A route to one server with these scripts.
async fn route_with(scripts: &[&str]) -> (ScriptedServer, Arc<RouteHandle>) {
    let server = server(scripts).await;
    let route = handle(route_to(&[server.address()]));
    (server, route)
}

fn domain() -> Domain {
    Domain::parse(b"example.com").unwrap()
}

fn sender() -> ReversePath {
    ReversePath::parse(b"a@example.org").unwrap()
}

fn recipients(names: &[&str]) -> Vec<Recipient> {
    let recipient = |name: &&str| {
        (ForwardPath::parse(format!("{name}@example.com").as_bytes()).unwrap(), RcptParameters::default())
    };
    names.iter().map(recipient).collect()
}

fn message(text: impl Into<Bytes>) -> Message {
    let limits = MessageLimits {
        header_size: 1 << 20,
        header_fields: 1000,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    Message::from_bytes(text.into(), limits).unwrap()
}

/// A delivery with the envelope of [`ENVELOPE`].
async fn open(route: &Arc<RouteHandle>) -> Delivery {
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let replies = delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b"])).await.unwrap();
    assert!(replies[0].is_positive(), "{}", replies[0]);
    delivery
}

async fn deliver(route: &Arc<RouteHandle>) -> Result<Reply, UpstreamError> {
    open(route).await.message(&message(MESSAGE)).await
}

fn texts(replies: &[Reply]) -> Vec<String> {
    replies.iter().map(Reply::to_string).collect()
}

fn script(parts: &[&str]) -> String {
    parts.concat()
}

fn ca(path: &Path) -> Option<std::path::PathBuf> {
    Some(path.to_owned())
}
