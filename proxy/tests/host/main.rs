//! The Wasm host against guests of every kind: see `tests/guests`.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../guests/mod.rs"]
mod guests;
mod support;

mod configured;
mod failures;
mod hostile;
mod interfaces;
mod isolation;
mod loading;
mod phases;
mod returned;

/// A guest that no test runs tests nothing.
#[test]
fn every_guest_has_a_test() {
    let tests = [
        include_str!("configured.rs"),
        include_str!("failures.rs"),
        include_str!("hostile.rs"),
        include_str!("interfaces.rs"),
        include_str!("isolation.rs"),
        include_str!("loading.rs"),
        include_str!("phases.rs"),
        include_str!("returned.rs"),
        include_str!("../chain/verdicts.rs"),
        include_str!("../chain/edits.rs"),
        include_str!("../chain/pushing.rs"),
    ];
    for name in guests::names() {
        let mentioned = format!("\"{name}\"");
        assert!(tests.iter().any(|test| test.contains(&mentioned)), "no test runs {name}.wat");
    }
}
