//! `[plugin.NAME]`: a filter, what it may use, and what its failure leads to.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::Context;
use crate::config::error::Problem;
use crate::config::table::{Table, described};
use crate::config::types::{Effect, Grant, OnError, Plugin};
use crate::config::{resolve, value};

const EFFECTS: [(&str, Effect); 3] =
    [("tempfail", Effect::TempFail), ("skip", Effect::Skip), ("reject", Effect::Reject)];

const GRANTS: [(&str, Grant); 5] = [
    ("scan", Grant::Scan),
    ("dns", Grant::Dns),
    ("authentication", Grant::Authentication),
    ("antivirus", Grant::Antivirus),
    ("state", Grant::State),
];

/// A wasm32 memory cannot be larger, and a page is the least there is.
const MEMORY: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;

pub(super) fn plugin(name: &str, table: Table<'_>, context: &Context<'_>) -> Option<Plugin> {
    let source = table.optional("source", |value| source(value::string(value)?, context));
    let mut grants = table.list("grants", "[\"dns\"]", grant).unwrap_or_default();
    grants.sort_unstable();
    grants.dedup();
    if grants.contains(&Grant::Antivirus) && !context.has_antivirus {
        let remedy = "add an [antivirus] table with clamd = \"unix:/run/clamav/clamd.ctl\"";
        table.error("grants", Problem::new("\"antivirus\" is granted, but there is no [antivirus]", remedy));
    }
    let on_error = on_error(&table);
    let timeout = table.optional("timeout", value::duration).unwrap_or(Duration::from_secs(10));
    let cpu = table.optional("cpu", value::duration).unwrap_or(Duration::from_millis(100));
    let memory = table.optional("memory", memory).unwrap_or(32 << 20);
    let host_calls = table.optional("host_calls", value::count(1)).unwrap_or(10_000) as u64;
    let config = table.optional("config", |value| match value {
        DeValue::Table(entries) => json_object(entries),
        other => {
            let what = format!("must be a table, not {}", described(other));
            Err(Problem::new(what, format!("write it as [plugin.{name}.config]")))
        }
    });
    let place = table.place();
    table.finish();
    Some(Plugin {
        source: source.unwrap_or_else(|| context.plugin_dir.join(format!("{name}.wasm"))),
        grants,
        on_error,
        timeout,
        cpu,
        memory,
        host_calls,
        config: config.unwrap_or_else(|| Json::Object(serde_json::Map::new())),
        place,
    })
}

/// A plain file name is looked up in `plugin_dir`; anything else is a path.
fn source(text: &str, context: &Context<'_>) -> Result<PathBuf, Problem> {
    if text.is_empty() {
        return Err(Problem::new("is empty", "name the component's file, such as \"auth.wasm\""));
    }
    let directory = if text.contains('/') { context.directory } else { &context.plugin_dir };
    Ok(resolve(directory, text))
}

fn grant(value: &DeValue<'_>) -> Result<Grant, Problem> {
    if let Some(always @ ("message" | "observe")) = value.as_str() {
        return Err(Problem::new(format!("{always:?} needs no grant"), "remove it; every plugin has it"));
    }
    value::one_of(&GRANTS)(value)
}

fn memory(value: &DeValue<'_>) -> Result<u64, Problem> {
    let size = value::size(value)?;
    if !MEMORY.contains(&size) {
        return Err(Problem::new("is out of range", "write a size from \"64KiB\" to \"4GiB\""));
    }
    Ok(size)
}

/// One effect for all causes, or one for each.
fn on_error(table: &Table<'_>) -> OnError {
    if let Some(causes) = table.table_form("on_error") {
        let effect = |cause| causes.optional(cause, value::one_of(&EFFECTS)).unwrap_or(Effect::TempFail);
        let on_error = OnError {
            trap: effect("trap"),
            timeout: effect("timeout"),
            memory: effect("memory"),
            unavailable: effect("unavailable"),
        };
        causes.finish();
        return on_error;
    }
    let effect = table.optional("on_error", value::one_of(&EFFECTS)).unwrap_or(Effect::TempFail);
    OnError { trap: effect, timeout: effect, memory: effect, unavailable: effect }
}

fn json_object(table: &DeTable<'_>) -> Result<Json, Problem> {
    let entries = table.iter().map(|(key, value)| {
        let key: &str = key.get_ref();
        let value = json(value.get_ref())
            .map_err(|problem| Problem::new(format!("{key}: {}", problem.what), problem.remedy))?;
        Ok((key.to_owned(), value))
    });
    Ok(Json::Object(entries.collect::<Result<_, Problem>>()?))
}

/// Dates become strings, since JSON has none; numbers that JSON cannot hold are errors.
fn json(value: &DeValue<'_>) -> Result<Json, Problem> {
    match value {
        DeValue::String(text) => Ok(Json::from(text.as_ref())),
        DeValue::Boolean(flag) => Ok(Json::from(*flag)),
        DeValue::Datetime(datetime) => Ok(Json::from(datetime.to_string())),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Json::from)
            .map_err(|_| Problem::new(format!("{integer} is out of range"), "write an integer of 64 bits")),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Json::Number)
            .ok_or_else(|| Problem::new(format!("{float} cannot be given in JSON"), "write a finite number")),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>().map(Json::Array)
        }
        DeValue::Table(entries) => json_object(entries),
    }
}
