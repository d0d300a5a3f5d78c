//! The sections of the file: which keys each has, their defaults, and what must hold between them.

mod server;
mod listener;
mod dkim;
mod plugin;
mod route;
mod loops;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::error::{Problem, nearest};
use super::table::Table;
use super::types::{Chain, Config, Dkim, SealResults};
use super::value;

/// Signatures of one message: each costs a processor about a millisecond.
const SIGNATURES: usize = 4;

/// What a section must know of the others.
struct Context<'a> {
    /// Where relative paths begin.
    directory: &'a Path,
    /// Where plain plugin file names are looked up.
    plugin_dir: PathBuf,
    /// The largest message that fits, into memory or, since it is spilled as a whole, onto disk.
    storage: u64,
    plugins: Vec<String>,
    /// Keys that are sound.
    dkim: BTreeMap<String, Dkim>,
    dkim_names: Vec<String>,
    routes: Vec<String>,
    /// Chain names, with what bears on listeners.
    chains: BTreeMap<String, ChainFacts>,
    has_antivirus: bool,
    /// Addresses bound so far, each with its place.
    binds: RefCell<Vec<(SocketAddr, String)>>,
}

/// Whether a listener may do without a route of its own, and whether it needs clients to sign for.
struct ChainFacts {
    always_routes: bool,
    signs: bool,
}

/// The whole file.
pub(super) fn config(root: Table<'_>, directory: &Path) -> Option<Config> {
    let mut context = Context {
        directory,
        plugin_dir: directory.to_owned(),
        storage: u64::MAX,
        plugins: root.names_in("plugin"),
        dkim: BTreeMap::new(),
        dkim_names: root.names_in("dkim"),
        routes: root.names_in("route"),
        chains: BTreeMap::new(),
        has_antivirus: root.has("antivirus"),
        binds: RefCell::default(),
    };
    let server = server_section(&root, &context);
    if let Some(server) = &server {
        context.plugin_dir.clone_from(&server.plugin_dir);
        context.storage = server.memory_budget.max(server.spill_budget);
    }
    let dns = server::dns(root.table("dns"));
    let dkim = named(&root, "dkim", |_, table| dkim::dkim(table, &context));
    context.dkim = dkim.clone().unwrap_or_default();
    let mut chains = BTreeMap::new();
    for (name, table) in root.named_tables("chain") {
        let (chain, facts) = chain(table, &context);
        context.chains.insert(name.clone(), facts);
        chains.insert(name, chain);
    }
    let listeners = named(&root, "listener", |_, table| listener::listener(table, &context));
    let admin = root.table("admin").map(|table| server::admin(table, &context));
    let plugins = named(&root, "plugin", |name, table| plugin::plugin(name, table, &context));
    let antivirus = root.table("antivirus").map(|table| server::antivirus(table, &context));
    let routes = named(&root, "route", |_, table| route::route(table, &context));
    if let (Some(listeners), Some(routes)) = (&listeners, &routes) {
        loops::check(&root, listeners, routes);
    }
    root.finish();
    Some(Config {
        server: server?,
        dns,
        admin: flatten(admin)?,
        listeners: listeners?,
        chains,
        plugins: plugins?,
        dkim: dkim?,
        antivirus: flatten(antivirus)?,
        routes: routes?,
    })
}

fn server_section(root: &Table<'_>, context: &Context<'_>) -> Option<super::types::Server> {
    match root.table("server") {
        Some(table) => server::server(table, context),
        None if root.has("server") => None,
        None => {
            let remedy = "add a [server] table with hostname = \"mx.example.com\"";
            root.error("server.hostname", Problem::new("required, and missing", remedy));
            None
        }
    }
}

fn chain(table: Table<'_>, context: &Context<'_>) -> (Chain, ChainFacts) {
    let mut plugins: Vec<String> = Vec::new();
    table.list("plugins", "[\"NAME\", …]", |value| {
        let name = reference("plugin", &context.plugins, value)?;
        if plugins.contains(&name) {
            let remedy = "name each plugin once; a second [plugin.NAME] may have the same source";
            return Err(Problem::new(format!("{name:?} is listed twice"), remedy));
        }
        plugins.push(name);
        Ok(())
    });
    let always_routes = table.optional("always_routes", value::boolean).unwrap_or(false);
    if always_routes && plugins.is_empty() && table.has("always_routes") {
        let what = "a chain without plugins routes nothing";
        table.error("always_routes", Problem::new(what, "remove always_routes, or list the plugin that routes"));
    }
    let sign = table.list("sign", "[\"NAME\", …]", |value| reference("dkim", &context.dkim_names, value));
    let sign = sign.unwrap_or_default();
    if let Some(twice) = sign.iter().enumerate().find_map(|(at, name)| sign[..at].contains(name).then_some(name)) {
        table.error("sign", Problem::new(format!("{twice:?} is listed twice"), "name each key once"));
    }
    if sign.len() > SIGNATURES {
        let remedy = format!("list at most {SIGNATURES}; verifiers do not look at many");
        table.error("sign", Problem::new("is too long", remedy));
    }
    let seal = table.optional("seal", |value| {
        let name = reference("dkim", &context.dkim_names, value)?;
        if context.dkim.get(&name).is_some_and(|key| key.domains.len() > 1) {
            let remedy = format!("give it one, or seal with another [dkim.NAME] that has the same key as {name:?}");
            return Err(Problem::new(format!("{name:?} has several domains, and a seal names one"), remedy));
        }
        Ok(name)
    });
    let seal_results = table.optional(
        "seal_results",
        value::one_of(&[("evaluated", SealResults::Evaluated), ("fields", SealResults::Fields)]),
    );
    if seal_results == Some(SealResults::Fields) && !table.has("seal") {
        table.error("seal_results", Problem::new("nothing is sealed", "add seal = \"NAME\", or remove it"));
    }
    table.finish();
    let facts = ChainFacts { always_routes, signs: !sign.is_empty() };
    (Chain { plugins, sign, seal, seal_results: seal_results.unwrap_or_default() }, facts)
}

/// The tables `[section.NAME]`; `None` when one of them has an error.
fn named<T>(
    root: &Table<'_>,
    section: &'static str,
    convert: impl Fn(&str, Table<'_>) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    // Each is converted even after one failed, so that the errors of all are reported.
    let converted: Vec<_> =
        root.named_tables(section).into_iter().map(|(name, table)| (convert(&name, table), name)).collect();
    converted.into_iter().map(|(value, name)| Some((name, value?))).collect()
}

/// An absent section is fine, one with errors is not.
fn flatten<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// A name that refers to `[kind.NAME]`.
fn reference<'n>(
    kind: &str,
    names: impl IntoIterator<Item = &'n String>,
    value: &DeValue<'_>,
) -> Result<String, Problem> {
    let written = value::string(value)?;
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.contains(&written) {
        return Ok(written.to_owned());
    }
    let remedy = match nearest(written, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => format!("add a table [{kind}.{written}]"),
        None => format!("add a table [{kind}.{written}], or name one of {}", names.join(", ")),
    };
    Err(Problem::new(format!("there is no {kind} {written:?}"), remedy))
}
