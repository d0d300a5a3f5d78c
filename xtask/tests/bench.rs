//! `cargo xtask bench`, small: that servers are started, sent to and measured, not how fast they are.

use std::process::Command;

use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::programs;
use serde_json::Value;

#[test]
fn servers_are_measured_side_by_side() {
    let Some(binary) = Mailweir::binary().filter(|_| programs::installed("smtp-source").is_some()) else {
        return println!("skipped: mailweir is not built, or Postfix's smtp-source not installed");
    };
    let others = ["haproxy"].into_iter().filter(|name| programs::installed(name).is_some());
    let peers: Vec<&str> = ["mailweir"].into_iter().chain(others).collect();
    let builds = ["one", "two"].map(|label| format!("{label}={}", binary.display()));
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "peers", "--scenarios", "4k-reused", "4k-single", "--rounds", "2", "--messages", "20"])
        .args(["--binary", &builds[0], &builds[1], "--peers", &peers.join(","), "--json"])
        .arg(file.path())
        .output()
        .unwrap();
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{errors}");
    let measured: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    for scenario in ["4k-reused", "4k-single"] {
        for label in ["one", "two"].iter().chain(&peers[1..]) {
            let server = &measured[scenario]["servers"][label];
            assert!(server["cpu_us"].as_f64() > Some(0.0), "{label}: {measured:#}");
            assert_eq!(server["rounds"]["cpu_us"].as_array().map(Vec::len), Some(2), "{label}: {measured:#}");
        }
    }
}
