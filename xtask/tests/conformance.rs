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
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testdata");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["conformance", "--no-build", "dkim", "dmarc", "public-suffix"])
        .output()
        .unwrap();
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{errors}");
    for (suite, data) in
        [("DKIM dkim_verifier", "dkim_lieser"), ("DMARC mailauth", "dmarc_mailauth"), ("public-suffix list", "psl")]
    {
        let row =
            table.lines().find(|line| line.starts_with(suite)).unwrap_or_else(|| panic!("no {suite} in\n{table}"));
        assert_eq!(row.contains("skipped"), !testdata.join(data).exists(), "{row}");
    }
}
