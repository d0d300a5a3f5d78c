//! `[route.NAME]`: where messages go on to.

use std::time::Duration;

use super::Context;
use super::listener::{holds_certificate, pem_file};
use crate::config::error::Problem;
use crate::config::table::Table;
use crate::config::types::{ClientTls, Pool, Route, UpstreamHost, Upstreams};
use crate::config::value;

const SMTP_PORT: u16 = 25;
const TLS_MODES: [(&str, ClientTls); 3] =
    [("off", ClientTls::Off), ("opportunistic", ClientTls::Opportunistic), ("required", ClientTls::Required)];

pub(super) fn route(table: Table<'_>, context: &Context<'_>) -> Option<Route> {
    let upstreams = upstreams(&table);
    let tls = table.optional("tls", value::one_of(&TLS_MODES)).unwrap_or(ClientTls::Opportunistic);
    let ca = table.optional("ca", |value| pem_file(value, context, "certificate", holds_certificate));
    if table.has("ca") && tls != ClientTls::Required {
        let remedy = "set tls = \"required\", or remove ca";
        table.error("ca", Problem::new("certificates are checked with tls = \"required\" only", remedy));
    }
    let xclient = xclient(&table, upstreams.as_ref());
    let pool = pool(table.table("pool"));
    // Each transaction of a client has one. Several times what a single client may have (`connections_per_ip`), so that
    // none can take them all; and few enough for a server that has no limit of its own.
    let max_connections = table.optional("max_connections", value::count(0)).unwrap_or(1000);
    let connect_timeout = table.optional("connect_timeout", value::duration).unwrap_or(Duration::from_secs(30));
    let command_timeout = table.optional("command_timeout", value::duration).unwrap_or(Duration::from_secs(300));
    // RFC 5321 section 4.5.3.2.6: a shorter wait for the reply to the final dot duplicates messages.
    let data_timeout = table.optional("data_timeout", value::duration).unwrap_or(Duration::from_secs(600));
    table.finish();
    Some(Route {
        upstreams: upstreams?,
        tls,
        ca,
        xclient,
        pool,
        max_connections,
        connect_timeout,
        command_timeout,
        data_timeout,
    })
}

fn upstreams(table: &Table<'_>) -> Option<Upstreams> {
    const EXAMPLE: &str = "[\"mail.example.com:25\"]";
    const REMEDY: &str = "write upstreams = [\"mail.example.com:25\"], or [\"mx\"] for the recipient domain's";
    let mut hosts: Vec<UpstreamHost> = Vec::new();
    let mut exchangers = false;
    let list = table.list("upstreams", EXAMPLE, |value| {
        let text = value::string(value)?;
        if text == "mx" {
            exchangers = true;
            return Ok(());
        }
        let host = value::upstream_host(text, SMTP_PORT)?;
        if hosts.contains(&host) {
            return Err(Problem::new(format!("{host} is listed twice"), "list each upstream once"));
        }
        hosts.push(host);
        Ok(())
    });
    if !table.has("upstreams") {
        table.error("upstreams", Problem::new("required, and missing", REMEDY));
    } else if table.is_empty_list("upstreams") {
        table.error("upstreams", Problem::new("must not be empty", REMEDY));
    }
    list?;
    if exchangers && !hosts.is_empty() {
        let what = "\"mx\" stands alone, not beside other upstreams";
        table.error("upstreams", Problem::new(what, "give \"mx\" a route of its own"));
    }
    Some(if exchangers { Upstreams::Mx } else { Upstreams::Hosts(hosts) })
}

/// An upstream offers XCLIENT to proxies that its operator trusts, so it is meant to be used. Strangers need not know.
fn xclient(table: &Table<'_>, upstreams: Option<&Upstreams>) -> bool {
    let follows_mx = upstreams == Some(&Upstreams::Mx);
    let asked = table.optional("xclient", |value| {
        let on = value::boolean(value)?;
        if on && follows_mx {
            let what = "true is for upstreams that are named, not for \"mx\"";
            return Err(Problem::new(what, "remove it, or name the upstreams"));
        }
        Ok(on)
    });
    asked.unwrap_or(!follows_mx)
}

fn pool(table: Option<Table<'_>>) -> Pool {
    let defaults = Pool { idle: 16, reuse: 100, idle_timeout: Duration::from_secs(60) };
    let Some(table) = table else { return defaults };
    let pool = Pool {
        idle: table.optional("idle", value::count(0)).unwrap_or(defaults.idle),
        reuse: table.optional("reuse", value::count(1)).unwrap_or(defaults.reuse),
        idle_timeout: table.optional("idle_timeout", value::duration).unwrap_or(defaults.idle_timeout),
    };
    table.finish();
    pool
}
