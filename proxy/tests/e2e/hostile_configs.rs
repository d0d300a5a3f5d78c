//! Configurations and plugin files that are none, are too much, or never end: refused with a reason, soon, and a server that
//! is told to take one goes on as before.

use std::path::Path;
use std::process::Command;

use crate::client::expect;
use crate::guests;
use crate::stage::{PATIENCE, Setup, command, plugin, sink};

const HEAD: &str = "[server]\nhostname = \"mx.example.com\"\nplugin_dir = \".\"\n";

/// What `check` says of the file; it has to refuse it.
async fn refused(file: &Path) -> String {
    let check = tokio::time::timeout(PATIENCE, command(file, &["check"]));
    let errors = check.await.unwrap_or_else(|_| panic!("{} is never refused", file.display())).unwrap_err();
    assert!(!errors.contains("panicked") && !errors.is_empty(), "{errors}");
    errors
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn files_that_are_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailweir.toml");
    let nested = |open: &str, close: &str| format!("a = {}{}", open.repeat(100_000), close.repeat(100_000));
    let cases: [(Vec<u8>, &str); 10] = [
        (b"\xff\xfe[server]".to_vec(), "is not UTF-8"),
        (b"[server]\nhostname = \"a\0b\"\n".to_vec(), "mailweir.toml:2"),
        (b"\0".repeat(1000), "mailweir.toml:1"),
        (nested("[", "]").into_bytes(), "mailweir.toml:1"),
        (nested("{a=", "}").into_bytes(), "mailweir.toml:1"),
        (format!("{} = 1", vec!["a"; 100_000].join(".")).into_bytes(), "mailweir.toml:1"),
        (format!("[{}]", vec!["a"; 100_000].join(".")).into_bytes(), "mailweir.toml:1"),
        (format!("a = \"{}", "x".repeat(1_000_000)).into_bytes(), "mailweir.toml:1"),
        ("[plugin.a]\n".repeat(100_000).into_bytes(), "duplicate"),
        (vec![b'#'; 100 << 20], "at most 16777216"),
    ];
    for (content, words) in cases {
        std::fs::write(&file, &content).unwrap();
        let errors = refused(&file).await;
        assert!(
            errors.contains(words),
            "{}: {}",
            content[..content.len().min(20)].escape_ascii(),
            &errors[..errors.len().min(500)]
        );
    }
    std::fs::remove_file(&file).unwrap();
    assert!(refused(&file).await.contains("No such file"));
    std::fs::create_dir(&file).unwrap();
    assert!(refused(&file).await.contains("cannot be read: is a directory"));
    std::fs::remove_dir(&file).unwrap();
    fifo(&file);
    assert!(refused(&file).await.contains("not a regular file"));
    assert!(refused(Path::new("/dev/zero")).await.contains("not a regular file"));
}

#[tokio::test]
async fn files_that_are_no_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let (file, wasm) = (folder.path().join("mailweir.toml"), folder.path().join("a.wasm"));
    std::fs::write(&file, HEAD.to_owned() + "[plugin.a]\n").unwrap();
    // A gigabyte that takes no room on the disk.
    std::fs::File::create(&wasm).unwrap().set_len(1 << 30).unwrap();
    assert!(refused(&file).await.contains("at most 268435456"));
    std::fs::remove_file(&wasm).unwrap();
    fifo(&wasm);
    assert!(refused(&file).await.contains("not a regular file"));
    std::fs::remove_file(&wasm).unwrap();
    std::fs::create_dir(&wasm).unwrap();
    assert!(refused(&file).await.contains("is a directory"));
    std::fs::remove_dir(&wasm).unwrap();
    std::os::unix::fs::symlink("a.wasm", &wasm).unwrap();
    assert!(refused(&file).await.contains("symbolic links"));
    std::fs::remove_file(&wasm).unwrap();
    std::fs::write(&wasm, guests::core_module("pass")).unwrap();
    assert!(refused(&file).await.contains("a core WebAssembly module"));
}

/// Names stand in paths of the state directory, in logs and in metrics.
#[tokio::test]
async fn names_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailweir.toml");
    for name in ["../../etc/cron.d/x", "a/b", "..", "a b", "a\\nb", "a\\u0000b", "a\\\"b", "\u{202e}a", ""] {
        for section in ["plugin", "chain", "route", "listener"] {
            std::fs::write(&file, format!("{HEAD}[{section}.\"{name}\"]\n")).unwrap();
            let errors = refused(&file).await;
            assert!(errors.contains("mailweir.toml:4"), "{section} {name:?}: {errors}");
            assert!(!errors.chars().any(|character| character.is_control() && character != '\n'), "{errors:?}");
        }
    }
}

/// Patterns that other engines never come back from, and patterns that are too large when compiled.
#[tokio::test]
async fn patterns_that_explode() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailweir.toml");
    std::fs::write(folder.path().join("dlp.wasm"), plugin("dlp")).unwrap();
    let config = |patterns: &str| {
        format!(
            "{HEAD}[plugin.dlp]\ngrants = [\"scan\"]\ncpu = \"30s\"\ntimeout = \"60s\"\n\
             config = {{ rules = [{{ name = \"x\", patterns = [{patterns}], action = {{ tag = \"x\" }} }}] }}\n\
             [chain.x]\nplugins = [\"dlp\"]\n"
        )
    };
    let nested = format!("'{}a{}'", "(".repeat(100_000), ")".repeat(100_000));
    for patterns in ["'((a{1000}){1000}){1000}'", "'a{4294967295}'", &nested, "'(a'", "'\\w{2000}{200}'"] {
        std::fs::write(&file, config(patterns)).unwrap();
        let errors = refused(&file).await;
        assert!(errors.contains("plugin.dlp: config: "), "{errors}");
        assert!(errors.len() < 10_000, "{} bytes of errors", errors.len());
    }
    // What backtracks elsewhere is linear here.
    std::fs::write(&file, config("'(a*)*(a*)*(a*)*$', '(x+x+)+y'")).unwrap();
    let message = folder.path().join("message.eml");
    std::fs::write(&message, format!("Subject: x\r\n\r\n{}\r\n{}\r\n", "a".repeat(900), "x".repeat(900))).unwrap();
    let arguments = ["replay", "--chain", "x", message.to_str().unwrap()];
    let replayed = tokio::time::timeout(PATIENCE, command(&file, &arguments)).await.unwrap();
    assert!(replayed.is_ok(), "{replayed:?}");
}

/// A pipe in the configuration's place does not hold the server up: neither its sessions nor SIGTERM.
#[tokio::test]
async fn a_reload_of_what_never_ends_changes_nothing() {
    let main = sink().await;
    let config = "[listener.inbound]\nlisten = [\"@inbound\"]\nchain = \"none\"\nroute = \"main\"\n\
                  relay_domains = [\"example.com\"]\n[chain.none]\n[route.main]\nupstreams = [\"@main\"]\ntls = \"off\"\n";
    let mut stage = Setup::new(config).address("main", main.address()).start().await;
    let file = stage.proxy.directory().join("mailweir.toml");
    std::fs::remove_file(&file).unwrap();
    fifo(&file);
    stage.proxy.signal("HUP").await.unwrap();
    stage.wait_for_metric("mailweir_reloads_total", &["result=\"failure\""], 1.0).await;
    expect(&stage.client("inbound").await.deliver_to_bob("x").await, "250");
    let status = stage.proxy.terminate(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0));
}
