//! The sections of the file: which keys each has, their defaults, and what must hold between them.

mod server;
mod listener;
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
use super::types::{Chain, Config};
use super::value;

/// What a section must know of the others.
struct Context<'a> {
    /// Where relative paths begin.
    directory: &'a Path,
    /// Where plain plugin file names are looked up.
    plugin_dir: PathBuf,
    /// The largest message that fits, into memory or, since it is spilled as a whole, onto disk.
    storage: u64,
    plugins: Vec<String>,
    routes: Vec<String>,
    /// Chain names, with what bears on listeners.
    chains: BTreeMap<String, ChainFacts>,
    has_antivirus: bool,
    /// Addresses bound so far, each with its place.
    binds: RefCell<Vec<(SocketAddr, String)>>,
}

/// Whether a listener may do without a route of its own.
struct ChainFacts {
    always_routes: bool,
}

/// The whole file.
pub(super) fn config(root: Table<'_>, directory: &Path) -> Option<Config> {
    let mut context = Context {
        directory,
        plugin_dir: directory.to_owned(),
        storage: u64::MAX,
        plugins: root.names_in("plugin"),
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
    table.finish();
    (Chain { plugins }, ChainFacts { always_routes })
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
