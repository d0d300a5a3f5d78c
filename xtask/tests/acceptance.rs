//! `cargo xtask acceptance`, small: that every criterion runs and is met, not how fast.

use std::path::Path;
use std::process::Command;

use mailweir_testkit::mailweir::Mailweir;

#[test]
fn small_loads_and_reloads_pass() {
    passes(&["load", "reload"]);
}

#[test]
fn checks_and_replays_pass() {
    passes(&["check", "replay"]);
}

fn passes(criteria: &[&str]) {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    if Mailweir::binary().is_none() || !plugins.join("surbl.wasm").exists() {
        return println!("skipped: mailweir or its plugins are not built");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["acceptance", "--no-build", "--scale", "0.02"])
        .args(criteria)
        .output()
        .unwrap();
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{errors}");
    for criterion in criteria {
        assert!(table.lines().any(|line| line.starts_with(criterion)), "no {criterion} in\n{table}");
    }
}
