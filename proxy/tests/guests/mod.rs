//! Guests for tests of the host, and for acceptance runs: each a small file of WebAssembly text with one behaviour, made into a component here.
//!
//! A guest's file holds the functions it has something to say with, such as `(func $on-mail …)`; [`ABSENT`] gives the
//! others. `prelude.wat` holds what all share. What `configure` asks for stands in the file's first lines, as in `;;
//! phases: mail end-of-message`, `;; body: push-raw`, `;; max-body: 100`, `;; edits`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Functions of the handler that a guest may leave out, each with what stands in for it.
const ABSENT: &[(&str, &str)] = &[
    ("$configure", "(param i32 i32) (result i32) (call $plan)"),
    ("$constructor", "(param i32) (result i32) (call $transaction-new (i32.const 0))"),
    ("$on-connect", "(param i32) (result i32) (call $pass)"),
    ("$on-helo", "(param i32 i32 i32) (result i32) (call $pass)"),
    ("$on-mail", "(param i32 i32 i32) (result i32) (call $pass)"),
    ("$on-rcpt", "(param i32 i32 i32) (result i32) (call $pass)"),
    (
        "$on-headers",
        "(param $self i32) (param $mail i32) (result i32) (call $drop-mail (local.get $mail)) (call $pass)",
    ),
    ("$on-body", "(param i32 i32 i32) (result i32) (call $no-decision)"),
    ("$on-end", "(param $self i32) (param $mail i32) (result i32) (call $drop-mail (local.get $mail)) (call $pass)"),
    ("$on-abort", "(param i32)"),
];

const PHASES: [&str; 8] = ["connect", "helo", "mail", "rcpt", "headers", "body", "end-of-message", "abort"];
const BODY_MODES: [&str; 4] = ["none", "push-decoded-text", "push-raw", "pull"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/guests")
}

/// The names of all guests.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|file| file.strip_suffix(".wat").map(str::to_owned)).filter(|name| name != "prelude").collect()
}

/// The component of the guest in `NAME.wat`.
pub(crate) fn component(name: &str) -> Vec<u8> {
    component_of(name, &read(name))
}

/// The component of a guest whose text need not stand in a file.
pub(crate) fn component_of(name: &str, text: &str) -> Vec<u8> {
    // A few guests are about what no module can say.
    if text.lines().any(|line| line.starts_with("(component")) {
        return wat::parse_str(text).unwrap();
    }
    let mut module = module_of(name, text);
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("filter")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The core module that the component is made of.
pub(crate) fn core_module(name: &str) -> Vec<u8> {
    module_of(name, &read(name))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.wat"))).unwrap()
}

fn module_of(name: &str, text: &str) -> Vec<u8> {
    let mut prelude = std::fs::read_to_string(folder().join("prelude.wat")).unwrap();
    if text.contains("\"cabi_realloc\"") {
        // The guest has its own.
        let start = prelude.find("(func $realloc ").unwrap();
        let end = start + prelude[start..].find("\n\n").unwrap();
        prelude.replace_range(start..end, "");
    }
    let mut module = String::from("(module\n");
    // Imports stand before everything else, so a guest that has any writes them first.
    let (imports, functions): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("(import "));
    for line in imports {
        writeln!(module, "{line}").unwrap();
    }
    writeln!(module, "{prelude}\n{}", plan(text)).unwrap();
    for line in functions {
        writeln!(module, "{line}").unwrap();
    }
    for (function, body) in ABSENT {
        if !text.contains(&format!("(func {function} ")) {
            writeln!(module, "(func {function} {body})").unwrap();
        }
    }
    if !text.contains("(memory ") {
        module.push_str("(memory (export \"memory\") 2)\n");
    }
    module.push_str(")\n");
    wat::parse_str(&module).unwrap_or_else(|error| panic!("{name}.wat: {error}\n{module}"))
}

/// The plan as globals.
fn plan(text: &str) -> String {
    let directive = |key: &str| text.lines().find_map(|line| line.strip_prefix(&format!(";; {key}"))).map(str::trim);
    let position = |all: &[&str], word: &str| all.iter().position(|other| *other == word).unwrap();
    let phases = directive("phases:").unwrap_or_default().split_whitespace();
    let phases = phases.fold(0, |flags, phase| flags | 1 << position(&PHASES, phase));
    let body = directive("body:").map_or(0, |mode| position(&BODY_MODES, mode));
    let max_body: u64 = directive("max-body:").map_or(0, |max| max.parse().unwrap());
    let edits = i32::from(directive("edits").is_some());
    format!(
        "(global $phases i32 (i32.const {phases}))\n(global $body i32 (i32.const {body}))\n\
         (global $max-body i64 (i64.const {max_body}))\n(global $edits i32 (i32.const {edits}))"
    )
}
