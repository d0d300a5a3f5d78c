//! `cargo xtask licences`: that every dependency's licence is one that deny.toml allows.
//!
//! The same as `cargo deny check licenses`, for machines on which building cargo-deny takes longer than all the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Looks at the dependencies of all workspaces but fuzz/, of which nothing is shipped or linked to what is.
pub(crate) fn run() -> Result<()> {
    let allowed = allowed(&std::fs::read_to_string("deny.toml").context("read deny.toml")?)?;
    let mut packages = 0;
    let mut refused = BTreeMap::new();
    for manifest in ["Cargo.toml", "plugins/Cargo.toml", "sdk/rust/Cargo.toml"] {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest])
            .output()?;
        ensure!(output.status.success(), "{manifest}: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        for package in metadata["packages"].as_array().into_iter().flatten() {
            packages += 1;
            let licence = package["license"].as_str().unwrap_or("none named");
            if !is_allowed(licence, &allowed) {
                refused.insert(package["name"].to_string(), licence.to_owned());
            }
        }
    }
    if !refused.is_empty() {
        bail!("licences that deny.toml does not allow: {refused:?}");
    }
    println!("{packages} packages, every licence allowed");
    Ok(())
}

/// The `allow` list of deny.toml.
fn allowed(deny: &str) -> Result<BTreeSet<String>> {
    let list = deny
        .split_once("\nallow = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .context("deny.toml has no licence list `allow = [...]`")?
        .0;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Whether an SPDX expression can be met. Parentheses occur in practice only around alternatives within a conjunction.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    split_outside(&expression, " AND ").iter().all(|needed| {
        let needed = needed.trim();
        let inner = needed.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(needed);
        inner.split(" OR ").any(|choice| {
            let choice = choice.trim().trim_matches(['(', ')']);
            allowed.contains(choice) || choice.split(" AND ").all(|part| allowed.contains(part.trim()))
        })
    })
}

/// Splits at `separator` where no parenthesis is open.
fn split_outside<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut depth = 0_usize;
    for (place, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && text[place..].starts_with(separator) => {
                parts.push(&text[start..place]);
                start = place + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_when_it_can_be_met() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("none named", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), met, "{expression}");
        }
    }
}
