//! The crate covers the contract: each function, verdict, edit and phase of sdk/wit has its counterpart for authors.
//!
//! That the types agree needs no test, as they are generated; that something was forgotten would go unnoticed.

use std::fs;
use std::path::Path;

/// The block that begins with this line, up to the closing brace at the same indentation.
fn block<'w>(wit: &'w str, opening: &str) -> &'w str {
    let start = wit.find(opening).unwrap_or_else(|| panic!("{opening} is not in the contract"));
    let line_start = wit[..start].rfind('\n').map_or(0, |position| position + 1);
    let closing = format!("\n{}}}", &wit[line_start..start]);
    let end = wit[start..].find(&closing).expect("a closing brace");
    &wit[start..start + end]
}

/// The names in a block that this predicate takes for members.
fn members(block: &str, is_member: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = block.lines().skip(1).map(str::trim).filter(|line| !line.starts_with("//") && is_member(line));
    let name = |line: &str| line.split(['(', ':', ',']).next().unwrap_or_default().trim().replace('-', "_");
    lines.map(name).collect()
}

fn source(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).expect("a source file")
}

#[track_caller]
fn assert_covered(file: &str, names: &[String]) {
    let source = source(file);
    assert!(!names.is_empty(), "nothing was found for {file}");
    for name in names {
        let found = source.contains(&format!("fn {name}("));
        assert!(found, "src/{file} has no function `{name}`, which the contract has");
    }
}

fn contract() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/filter.wit")).expect("the contract")
}

#[test]
fn every_host_function_is_offered() {
    let wit = contract();
    for (interface, file) in [
        ("message", "mail.rs"),
        ("scan", "scan.rs"),
        ("dns", "dns.rs"),
        ("authentication", "authentication.rs"),
        ("antivirus", "antivirus.rs"),
        ("state", "state.rs"),
        ("observe", "observe.rs"),
    ] {
        let block = block(&wit, &format!("interface {interface} {{"));
        let functions = members(block, |line| line.contains(": func(") || line.contains(": static func("));
        assert_covered(file, &functions);
    }
    let world = members(block(&wit, "world filter {"), |line| line.starts_with("import "));
    assert_eq!(world.len(), 7, "a new interface wants a module in this crate and a line in this test");
}

#[test]
fn every_phase_can_be_handled() {
    let wit = contract();
    let handler = members(block(&wit, "interface handler {"), |line| line.contains(": func("));
    assert_covered("filter.rs", &handler);
}

#[test]
fn every_verdict_and_edit_can_be_built() {
    let wit = contract();
    assert_covered("decision.rs", &members(block(&wit, "variant verdict {"), |line| line.ends_with(',')));
    assert_covered("edits.rs", &members(block(&wit, "variant edit {"), |line| line.ends_with(',')));
}

#[test]
fn every_phase_can_be_planned() {
    let wit = contract();
    let phases = members(block(&wit, "flags phases {"), |line| line.ends_with(','));
    let plan = source("plan.rs");
    for phase in phases {
        assert!(plan.contains(&format!("Phases::{}", phase.to_uppercase())), "src/plan.rs has no {phase}");
    }
}
