//! Tells the crate which build it is, from the lock file: compiled filters are cached between runs, and an artifact
//! made by another version of the compiler must never be loaded.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::{env, fs};

const LOCK_FILE: &str = "../Cargo.lock";

fn main() {
    println!("cargo::rerun-if-changed={LOCK_FILE}");
    println!("cargo::rerun-if-changed=build.rs");
    let lock = fs::read_to_string(LOCK_FILE).unwrap_or_default();
    let wasmtime = version_in(&lock, "wasmtime").unwrap_or("unknown");
    let mut hasher = DefaultHasher::new();
    lock.hash(&mut hasher);
    for variable in ["TARGET", "PROFILE", "OPT_LEVEL", "RUSTC"] {
        env::var(variable).unwrap_or_default().hash(&mut hasher);
    }
    println!("cargo::rustc-env=MAILWEIR_WASMTIME={wasmtime}");
    println!("cargo::rustc-env=MAILWEIR_BUILD={:016x}", hasher.finish());
}

/// The version of a package in a lock file.
fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}
