//! `[server]`, `[dns]`, `[admin]` and `[antivirus]`: what all listeners share.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::Context;
use crate::config::error::Problem;
use crate::config::table::Table;
use crate::config::types::{Admin, Antivirus, ClamdAddress, Dns, Dnssec, Server};
use crate::config::{resolve, value};

/// clamd's socket on Debian.
const CLAMD_SOCKET: &str = "/run/clamav/clamd.ctl";
const CLAMD_PORT: u16 = 3310;

pub(super) fn server(table: Table<'_>, context: &Context<'_>) -> Option<Server> {
    let hostname =
        table.required("hostname", "write hostname = \"mx.example.com\", this server's name", value::host_name);
    let state_dir = directory(&table, "state_dir", "state", context);
    let plugin_dir = directory(&table, "plugin_dir", "plugins", context);
    let memory_budget = table.optional("memory_budget", value::size).unwrap_or(512 << 20);
    let spill_budget = table.optional("spill_budget", value::size_or_zero).unwrap_or(4 << 30);
    let workers = match table.optional("workers", value::count(0)).unwrap_or(0) {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        workers if workers > 1024 => {
            table.error("workers", Problem::new(format!("{workers} is out of range"), "write 0 for one per core"));
            1
        }
        workers => workers,
    };
    let shutdown_grace = table.optional("shutdown_grace", value::duration_or_zero).unwrap_or(Duration::from_secs(30));
    table.finish();
    Some(Server { hostname: hostname?, state_dir, plugin_dir, memory_budget, spill_budget, workers, shutdown_grace })
}

/// A directory that need not exist yet, but must not be something else.
fn directory(table: &Table<'_>, key: &'static str, default: &str, context: &Context<'_>) -> PathBuf {
    let path = table.optional(key, |value| {
        let path = resolve(context.directory, value::string(value)?);
        if path.exists() && !path.is_dir() {
            let what = format!("{} is not a directory", path.display());
            return Err(Problem::new(what, "name a directory; relative paths begin where the configuration file is"));
        }
        Ok(path)
    });
    path.unwrap_or_else(|| resolve(context.directory, default))
}

pub(super) fn dns(table: Option<Table<'_>>) -> Dns {
    let defaults =
        Dns { resolvers: Vec::new(), dnssec: Dnssec::Off, timeout: Duration::from_secs(3), cache_size: 65_536 };
    let Some(table) = table else { return defaults };
    let dns = Dns {
        resolvers: table.list("resolvers", "[\"127.0.0.1:53\"]", value::resolver).unwrap_or(defaults.resolvers),
        dnssec: table
            .optional("dnssec", value::one_of(&[("off", Dnssec::Off), ("validate", Dnssec::Validate)]))
            .unwrap_or(defaults.dnssec),
        timeout: table.optional("timeout", value::duration).unwrap_or(defaults.timeout),
        cache_size: table.optional("cache_size", value::count(1)).unwrap_or(defaults.cache_size),
    };
    table.finish();
    dns
}

pub(super) fn admin(table: Table<'_>, context: &Context<'_>) -> Option<Admin> {
    let listen = table.required("listen", "write listen = \"127.0.0.1:9191\"", |value| {
        bind(value, table.place_of("listen"), context)
    });
    table.finish();
    Some(Admin { listen: listen? })
}

/// An address that only one listener may bind. Port 0 means any free one, so it never clashes.
pub(super) fn bind(value: &DeValue<'_>, place: String, context: &Context<'_>) -> Result<SocketAddr, Problem> {
    let address = value::socket_address(value)?;
    let mut binds = context.binds.borrow_mut();
    let clash = binds.iter().find(|(other, _)| {
        let same_host = other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified();
        address.port() != 0 && other.port() == address.port() && other.is_ipv4() == address.is_ipv4() && same_host
    });
    if let Some((other, place)) = clash {
        let what = format!("{address} is taken by {other} at {place}");
        return Err(Problem::new(what, "give each listener an address or a port of its own"));
    }
    binds.push((address, place));
    Ok(address)
}

pub(super) fn antivirus(table: Table<'_>, context: &Context<'_>) -> Option<Antivirus> {
    let clamd = table
        .optional("clamd", |value| clamd_address(value, context))
        .unwrap_or_else(|| ClamdAddress::Unix(CLAMD_SOCKET.into()));
    let max_scan = table.optional("max_scan", value::size).unwrap_or(200 << 20);
    let connections = table.optional("connections", value::count(1)).unwrap_or(32);
    let timeout = table.optional("timeout", value::duration).unwrap_or(Duration::from_secs(30));
    table.finish();
    Some(Antivirus { clamd, max_scan, connections, timeout })
}

fn clamd_address(value: &DeValue<'_>, context: &Context<'_>) -> Result<ClamdAddress, Problem> {
    const REMEDY: &str = "write \"unix:/run/clamav/clamd.ctl\" or \"tcp:127.0.0.1:3310\"";
    let text = value::string(value)?;
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(ClamdAddress::Unix(resolve(context.directory, path)));
    }
    let Some(host) = text.strip_prefix("tcp:") else {
        return Err(Problem::new(format!("{text:?} is not a clamd address"), REMEDY));
    };
    let host = value::upstream_host(host, CLAMD_PORT).map_err(|problem| Problem::new(problem.what, REMEDY))?;
    Ok(ClamdAddress::Tcp(host.to_string()))
}
