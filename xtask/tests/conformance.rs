//! `cargo xtask conformance`: that the quick suites run and agree.

use std::path::Path;
use std::process::Command;

use mailweir_testkit::mailweir::Mailweir;

#[test]
fn quick_suites_agree() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    if Mailweir::binary().is_none() || !plugins.join("surbl.wasm").exists() {
        return println!("skipped: mailweir or its plugins are not built");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["conformance", "--no-build", "dkim", "dmarc", "public-suffix"])
        .output()
        .unwrap();
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{errors}");
    for suite in ["DKIM dkim_verifier", "DMARC mailauth", "public-suffix list"] {
        assert!(table.lines().any(|line| line.starts_with(suite)), "no {suite} in\n{table}");
    }
}
