//! The mailweir binary from outside: exit statuses, and what is printed where.

use std::path::Path;
use std::process::{Command, Output};

use mailweir::quarantine::{NewRecord, Quarantine};

fn mailweir(arguments: &[&str]) -> Output {
    match Command::new(env!("CARGO_BIN_EXE_mailweir")).args(arguments).env_remove("RUST_LOG").output() {
        Ok(output) => output,
        Err(error) => panic!("mailweir does not start: {error}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A configuration without plugins, whose state directory is the file's own.
fn config_in(directory: &Path) -> String {
    let file = directory.join("mailweir.toml");
    let written = std::fs::write(&file, "[server]\nhostname = \"mx.example.com\"\nstate_dir = \".\"\n");
    assert!(written.is_ok(), "{written:?}");
    file.display().to_string()
}

#[test]
fn check_names_file_line_and_key() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs/unknown_references.toml");
    let output = mailweir(&["check", "--config", file]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().count(), 5, "{errors}");
    assert!(
        errors.starts_with(&format!("{file}:8:9: listener.inbound.chain: there is no chain \"inbuond\"; ")),
        "{errors}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn check_accepts_what_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let output = mailweir(&["check", "--config", &config_in(directory.path())]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("0 listeners"));
}

#[test]
fn a_wrong_command_line_is_status_2() {
    assert_eq!(mailweir(&["chekc"]).status.code(), Some(2));
    assert_eq!(mailweir(&["run"]).status.code(), Some(2));
    assert_eq!(mailweir(&["--help"]).status.code(), Some(0));
    assert_eq!(text(&mailweir(&["--version"]).stdout), format!("mailweir {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn reload_without_a_server_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let output = mailweir(&["reload", "--config", &config_in(directory.path())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no process runs with"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn the_quarantine_from_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let config = config_in(directory.path());
    let quarantine =
        |command: &str, more: &[&str]| mailweir(&[&["quarantine", command, "--config", &config], more].concat());
    let record = NewRecord {
        sender: "a\x1b[2J@example.com".to_owned(),
        recipients: vec!["b@example.net".to_owned()],
        route: "gone".to_owned(),
        plugin: "dlp".to_owned(),
        reason: "2 cards".to_owned(),
        ..NewRecord::default()
    };
    let content = b"Subject: x\r\n\r\nbody\r\n";
    let id = Quarantine::new(directory.path())
        .store(record, [Ok::<_, std::io::Error>(content.as_slice().into())].into_iter())
        .await
        .unwrap()
        .to_string();

    let listed = text(&quarantine("list", &[]).stdout);
    assert!(listed.contains(&id) && listed.contains("<b@example.net>") && listed.contains("dlp: 2 cards"), "{listed}");
    assert!(!listed.contains('\x1b'), "{listed:?}");
    let json: serde_json::Value = serde_json::from_slice(&quarantine("list", &["--json"]).stdout).unwrap();
    assert_eq!(json["size"], content.len());
    assert_eq!(quarantine("show", &[&id, "--raw"]).stdout, content);
    assert!(text(&quarantine("show", &[&id]).stdout).contains("reason       2 cards\n"));

    let released = quarantine("release", &[&id]);
    assert_eq!(released.status.code(), Some(1));
    assert!(text(&released.stderr).contains("there is no route \"gone\""), "{}", text(&released.stderr));
    for hostile in ["../mailweir", "/etc/passwd", "..", "a\x1b[2J"] {
        let deleted = quarantine("delete", &[hostile]);
        assert_eq!(deleted.status.code(), Some(1), "{hostile}");
        assert!(!text(&deleted.stderr).contains('\x1b'));
    }
    assert_eq!(quarantine("delete", &[&id]).status.code(), Some(0));
    assert_eq!(quarantine("delete", &[&id]).status.code(), Some(1));
    assert!(quarantine("list", &[]).stdout.is_empty());
}
