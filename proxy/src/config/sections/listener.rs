//! `[listener.NAME]`: where clients connect, what they may send, and where it goes.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use toml::de::DeValue;

use super::{Context, reference};
use crate::config::error::Problem;
use crate::config::table::Table;
use crate::config::types::{BareNewline, Certificate, Excess, Limits, Listener, RelayDomains, ServerTls};
use crate::config::{resolve, value};

pub(super) fn listener(table: Table<'_>, context: &Context<'_>) -> Option<Listener> {
    let place = table.place_of("listen");
    let listen = table
        .list("listen", "[\"0.0.0.0:25\", \"[::]:25\"]", |value| super::server::bind(value, place.clone(), context));
    require_some(&table, "listen", "write listen = [\"0.0.0.0:25\", \"[::]:25\"]");
    let chain = table.required("chain", "name the [chain.NAME] that messages run through", |value| {
        reference("chain", context.chains.keys(), value)
    });
    let route = table.optional("route", |value| reference("route", &context.routes, value));
    let always_routed =
        chain.as_ref().and_then(|name| context.chains.get(name)).is_some_and(|facts| facts.always_routes);
    if !table.has("route") && !always_routed && chain.is_some() {
        let remedy = "name the [route.NAME] that messages take, or set always_routes = true for the chain";
        table.error("route", Problem::new("required, and missing", remedy));
    }
    let trusted_networks =
        table.list("trusted_networks", "[\"10.0.0.0/8\", \"::1\"]", value::network).unwrap_or_default();
    if trusted_networks.is_empty()
        && let Some(name) = chain.as_ref().filter(|name| context.chains.get(*name).is_some_and(|facts| facts.signs))
    {
        let what = format!("[chain.{name}] signs, but for clients in trusted_networks only, and there are none");
        table.error("trusted_networks", Problem::new(what, "list them, or use a chain without sign"));
    }
    let relay_domains = relay_domains(&table, &trusted_networks);
    let proxy_protocol = proxy_protocol(&table, &trusted_networks);
    let xclient = table.list("xclient", "[\"192.0.2.10\"]", value::network).unwrap_or_default();
    let tls = match table.table("tls") {
        Some(tls) => server_tls(tls, context),
        None => Some(ServerTls::Off),
    };
    let bare_newline = table
        .optional(
            "bare_newline",
            value::one_of(&[("reject", BareNewline::Reject), ("normalize", BareNewline::Normalize)]),
        )
        .unwrap_or(BareNewline::Reject);
    let limits = limits(table.table("limits"), context);
    table.finish();
    Some(Listener {
        listen: listen?,
        chain: chain?,
        route,
        relay_domains,
        trusted_networks,
        tls: tls?,
        proxy_protocol,
        xclient,
        bare_newline,
        limits,
    })
}

/// Reports a list that is missing or empty. A list whose items are all wrong has been reported already.
fn require_some(table: &Table<'_>, key: &'static str, remedy: &str) {
    if !table.has(key) {
        table.error(key, Problem::new("required, and missing", remedy));
    } else if table.is_empty_list(key) {
        table.error(key, Problem::new("must not be empty", remedy));
    }
}

fn relay_domains(table: &Table<'_>, trusted_networks: &[IpNet]) -> RelayDomains {
    let mut domains = table.list("relay_domains", "[\"example.com\"]", value::mail_domain).unwrap_or_default();
    let remedy = "list the domains whose mail is accepted, or [\"*\"] for any from trusted_networks";
    require_some(table, "relay_domains", remedy);
    let any = domains.iter().any(|domain| domain == "*");
    if any && trusted_networks.is_empty() && !table.has("trusted_networks") {
        let what = "\"*\" is for clients in trusted_networks, and there are none";
        let remedy = "list trusted_networks; an open relay cannot be configured by accident";
        table.error("relay_domains", Problem::new(what, remedy));
    }
    if any && table.is_empty_list("trusted_networks") {
        let remedy = "list the networks that may send to any domain, or remove \"*\" from relay_domains";
        table.error("trusted_networks", Problem::new("must not be empty when relay_domains has \"*\"", remedy));
    }
    domains.retain(|domain| domain != "*");
    RelayDomains { any, domains }
}

/// `false`, `true` for the trusted networks, or networks.
fn proxy_protocol(table: &Table<'_>, trusted_networks: &[IpNet]) -> Vec<IpNet> {
    if table.is_list("proxy_protocol") {
        return table.list("proxy_protocol", "[\"10.0.0.0/8\"]", value::network).unwrap_or_default();
    }
    let on = table.optional("proxy_protocol", |value| {
        value::boolean(value).map_err(|_| {
            let remedy = "write false, true for peers in trusted_networks, or a list of networks";
            Problem::new("must be true, false or a list of networks", remedy)
        })
    });
    if on != Some(true) {
        return Vec::new();
    }
    if trusted_networks.is_empty() {
        let what = "true believes peers in trusted_networks, and there are none";
        let remedy = "list the load balancers: proxy_protocol = [\"192.0.2.10\"]";
        table.error("proxy_protocol", Problem::new(what, remedy));
    }
    trusted_networks.to_vec()
}

fn server_tls(table: Table<'_>, context: &Context<'_>) -> Option<ServerTls> {
    type MakeTls = fn(Certificate) -> ServerTls;
    let modes: [(&str, Option<MakeTls>); 4] = [
        ("off", None),
        ("opportunistic", Some(ServerTls::Opportunistic)),
        ("required", Some(ServerTls::Required)),
        ("implicit", Some(ServerTls::Implicit)),
    ];
    let mode =
        table.required("mode", "write mode = \"off\", \"opportunistic\", \"required\" or \"implicit\"", |value| {
            value::one_of(&modes)(value)
        });
    let Some(Some(tls)) = mode else {
        // With TLS off the files need not exist, so that it can be switched off and on again.
        table.optional("certificate", value::string);
        table.optional("key", value::string);
        table.finish();
        return mode.map(|_| ServerTls::Off);
    };
    let certificate =
        table.required("certificate", "write certificate = \"FILE.pem\", the chain, leaf first", |value| {
            pem_file(value, context, "certificate", holds_certificate)
        });
    let key = table.required("key", "write key = \"FILE.pem\", the certificate's private key", |value| {
        pem_file(value, context, "private key", |file| PrivateKeyDer::from_pem_file(file).is_ok())
    });
    table.finish();
    Some(tls(Certificate { certificate: certificate?, key: key? }))
}

/// Whether a PEM file holds at least one certificate.
pub(super) fn holds_certificate(file: &Path) -> bool {
    CertificateDer::pem_file_iter(file).and_then(|mut found| found.next().transpose()).is_ok_and(|one| one.is_some())
}

/// A file that exists, can be read, and holds what it should.
pub(super) fn pem_file(
    value: &DeValue<'_>,
    context: &Context<'_>,
    what: &str,
    holds: impl Fn(&Path) -> bool,
) -> Result<PathBuf, Problem> {
    let path = resolve(context.directory, value::string(value)?);
    if let Err(error) = std::fs::read(&path) {
        let problem = format!("{} cannot be read: {error}", path.display());
        return Err(Problem::new(problem, "relative paths begin where the configuration file is"));
    }
    if !holds(&path) {
        let problem = format!("{} holds no {what} in PEM", path.display());
        return Err(Problem::new(problem, format!("name a PEM file with a {what}")));
    }
    Ok(path)
}

fn limits(table: Option<Table<'_>>, context: &Context<'_>) -> Limits {
    let defaults = Limits::default();
    let Some(table) = table else { return defaults };
    let limits = Limits {
        message_size: table
            .optional("message_size", |value| message_size(value, context))
            .unwrap_or(defaults.message_size),
        recipients: table.optional("recipients", value::count(1)).unwrap_or(defaults.recipients),
        connections: table.optional("connections", value::count(1)).unwrap_or(defaults.connections),
        connections_per_ip: table
            .optional("connections_per_ip", value::count(1))
            .unwrap_or(defaults.connections_per_ip),
        messages: table.optional("messages", value::count(1)).unwrap_or(defaults.messages),
        errors: table.optional("errors", value::count(1)).unwrap_or(defaults.errors),
        hops: table.optional("hops", value::count(1)).unwrap_or(defaults.hops),
        command_timeout: table.optional("command_timeout", value::duration).unwrap_or(defaults.command_timeout),
        data_timeout: table.optional("data_timeout", value::duration).unwrap_or(defaults.data_timeout),
        stress_timeout: table.optional("stress_timeout", value::duration).unwrap_or(defaults.stress_timeout),
        header_size: table.optional("header_size", value::size).unwrap_or(defaults.header_size),
        header_fields: table.optional("header_fields", value::count(1)).unwrap_or(defaults.header_fields),
        mime_parts: table.optional("mime_parts", value::count(1)).unwrap_or(defaults.mime_parts),
        mime_depth: table.optional("mime_depth", value::count(1)).unwrap_or(defaults.mime_depth),
        decoded_size: table.optional("decoded_size", value::size).unwrap_or(defaults.decoded_size),
        decoded_ratio: table
            .optional("decoded_ratio", value::count(1))
            .map_or(defaults.decoded_ratio, |ratio| ratio as u64),
        decoded_entries: table.optional("decoded_entries", value::count(1)).unwrap_or(defaults.decoded_entries),
        decoded_depth: table.optional("decoded_depth", value::count(1)).unwrap_or(defaults.decoded_depth),
        decoded_excess: table
            .optional("decoded_excess", value::one_of(&[("reject", Excess::Reject), ("tag", Excess::Tag)]))
            .unwrap_or(defaults.decoded_excess),
    };
    table.finish();
    limits
}

/// A message that could never be held would be refused each time, after the client has sent all of it.
fn message_size(value: &DeValue<'_>, context: &Context<'_>) -> Result<u64, Problem> {
    let size = value::size(value)?;
    if size > context.storage {
        let what = format!("{:?} is more than memory_budget or spill_budget holds", value::string(value)?);
        return Err(Problem::new(what, "raise server.spill_budget, or lower message_size"));
    }
    Ok(size)
}
