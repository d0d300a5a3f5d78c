//! Loading: what is refused and with which words, and the cache of compiled components.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use mailweir::config::{self, Grant};
use mailweir::host::{Host, Options, Services};
use mailweir::services::state::StateStore;

use crate::guests;
use crate::support::{Bench, cause, with_grants};

/// Loads a guest that cannot be, and tells why.
async fn refused(bench: &Bench, plugin: &config::Plugin) -> String {
    let error = bench.load_error("guest", plugin).await.to_string();
    assert_eq!(bench.host.counters().live, 0);
    let words = error.strip_prefix("mailweir.toml:7: plugin.guest: ");
    words.unwrap_or_else(|| panic!("no place in {error}")).to_owned()
}

#[tokio::test]
async fn a_grant_is_missing() {
    let bench = Bench::new();
    let error = refused(&bench, &bench.guest("looks-up")).await;
    assert_eq!(
        error,
        "imports mailweir:filter/dns@0.1.0, which the configuration does not grant; if it may have it, \
         add to [plugin.guest]: grants = [\"dns\"]"
    );
    // The line keeps what is granted already.
    let some = with_grants(bench.guest("looks-up"), &[Grant::State, Grant::Scan]);
    let error = refused(&bench, &some).await;
    assert!(error.ends_with("grants = [\"scan\", \"dns\", \"state\"]"), "{error}");
    let enough = with_grants(bench.guest("looks-up"), &[Grant::Dns]);
    assert!(bench.host.load("guest", &enough).await.is_ok());
}

#[tokio::test]
async fn a_service_is_missing() {
    let bench = Bench::new();
    let error = refused(&bench, &with_grants(bench.guest("pass"), &[Grant::Antivirus])).await;
    assert_eq!(error, "is granted \"antivirus\", but the configuration has no [antivirus] table");
}

#[tokio::test]
async fn what_no_filter_gets() {
    let bench = Bench::new();
    let error = refused(&bench, &bench.guest("wants-sockets")).await;
    assert!(error.starts_with("imports wasi:sockets/tcp@0.2.3, which mailweir does not offer"), "{error}");
    let error = refused(&bench, &bench.guest("from-the-future")).await;
    assert_eq!(error, "was made for mailweir:filter/message@0.2.0; this mailweir serves mailweir:filter@0.1.0");
    let error = refused(&bench, &bench.guest("no-filter")).await;
    assert_eq!(error, "is no filter: it does not export mailweir:filter/handler@0.1.0");
}

#[tokio::test]
async fn files_that_are_no_components() {
    let bench = Bench::new();
    let error = refused(&bench, &bench.file("module", &guests::core_module("pass"))).await;
    assert!(error.contains("module.wasm: a core WebAssembly module, not a component"), "{error}");
    for content in [&b""[..], b"\0as", b"#!/bin/sh\n", &[0; 100]] {
        let error = refused(&bench, &bench.file("other", content)).await;
        assert!(error.ends_with("other.wasm: not a WebAssembly component"), "{error}");
    }
    let missing = config::Plugin { source: PathBuf::from("/nonexistent/x.wasm"), ..bench.guest("pass") };
    let error = refused(&bench, &missing).await;
    assert!(error.starts_with("source: /nonexistent/x.wasm: No such file"), "{error}");
}

#[tokio::test]
async fn a_damaged_component_is_an_error_wherever_it_is_damaged() {
    let bench = Bench::new();
    let good = guests::component("pass");
    for end in [9, good.len() / 4, good.len() / 2, good.len() - 1] {
        let error = refused(&bench, &bench.file("cut", &good[..end])).await;
        assert!(error.contains("cut.wasm: ") || error.contains("is no filter"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let mut noise = good;
    noise[8..].fill(0xff);
    assert!(refused(&bench, &bench.file("noise", &noise)).await.contains("noise.wasm: "));
}

#[tokio::test]
async fn the_filters_own_word_on_its_configuration() {
    let bench = Bench::new();
    let error = refused(&bench, &bench.guest("configure-error")).await;
    assert_eq!(error, "config: zones: expected a list\\r\\nof names");
    let config = serde_json::json!({ "zones": ["multi.surbl.test"], "max": 20, "é": null });
    let echo = config::Plugin { config: config.clone(), ..bench.guest("configure-echo") };
    let error = refused(&bench, &echo).await;
    let text = error.strip_prefix("config: ").unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), config);
}

#[tokio::test]
async fn configure_has_the_limits_of_a_phase() {
    let bench = Bench::new();
    let plugin = config::Plugin { cpu: Duration::from_millis(20), ..bench.guest("configure-loop") };
    let error = refused(&bench, &plugin).await;
    assert_eq!(error, "fails in configure: timeout: more than 20ms of CPU time in a phase");
}

#[tokio::test]
async fn plans_that_make_no_sense_or_change() {
    let bench = Bench::new();
    let error = refused(&bench, &bench.guest("muddled-plan")).await;
    assert_eq!(error, "its plan wants the body pushed, but does not ask for the body phase");
    let fickle = with_grants(bench.guest("fickle"), &[Grant::State]);
    let fickle = bench.host.load("fickle", &fickle).await.unwrap();
    let failure = bench.sandbox(&fickle).await.err().unwrap();
    assert_eq!(cause(&failure), mailweir::host::Cause::Trap);
    assert!(failure.to_string().contains("another plan"), "{failure}");
}

/// The compiled components in the cache.
fn cached(bench: &Bench) -> Vec<PathBuf> {
    let files = std::fs::read_dir(bench.folder.path().join("state/cache")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// Loads the guest in a new host with the same folder: how often it was compiled and found in the cache.
async fn start_again(bench: Bench) -> (Bench, (u64, u64)) {
    let options = Options { slots: Some(16), ..Options::default() };
    let bench = Bench::in_folder(bench.folder, options, "127.0.0.1:1".parse().unwrap());
    let mut sandbox = bench.ready("reply").await;
    assert!(sandbox.mail(b"").await.is_ok());
    let counters = bench.host.counters();
    (bench, (counters.compiled, counters.cache_hits))
}

#[tokio::test]
async fn compiled_components_are_cached() {
    let (bench, counts) = start_again(Bench::new()).await;
    assert_eq!(counts, (2, 0));
    // As built, and configured.
    let files = cached(&bench);
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (bench, counts) = start_again(bench).await;
    assert_eq!(counts, (0, 2));
    // Another engine has other code: counting fuel changes it.
    let fuel = Options { slots: Some(16), fuel: true, ..Options::default() };
    let bench = Bench::in_folder(bench.folder, fuel, "127.0.0.1:1".parse().unwrap());
    bench.load("reply").await;
    assert_eq!(bench.host.counters().compiled, 2);
    assert_eq!(cached(&bench).len(), 4);
}

#[tokio::test]
async fn a_cache_that_cannot_be_trusted_is_made_anew() {
    let (mut bench, _) = start_again(Bench::new()).await;
    let file = cached(&bench).remove(0);
    let good = std::fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let restore = |content: &[u8]| std::fs::write(&file, content).unwrap();
    for content in [&b""[..], &good[..good.len() / 2], &flipped, &[good.clone(), good.clone()].concat()] {
        restore(content);
        let (again, counts) = start_again(bench).await;
        assert_eq!(counts, (1, 1));
        assert_eq!(std::fs::read(&file).unwrap().len(), good.len());
        bench = again;
    }
    // Somebody else could have written it.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (bench, counts) = start_again(bench).await;
    assert_eq!(counts, (1, 1));
    // Not a file but a link to one.
    let elsewhere = bench.folder.path().join("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let (bench, counts) = start_again(bench).await;
    assert_eq!(counts, (1, 1));
    let (_, counts) = start_again(bench).await;
    assert_eq!(counts, (0, 2));
}

#[tokio::test]
async fn a_host_without_a_place_for_its_cache_still_loads() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let server = config::Server {
        hostname: "mx.example.com".to_owned(),
        plugin_dir: file.clone(),
        state_dir: file,
        memory_budget: 0,
        spill_budget: 0,
        workers: 1,
        shutdown_grace: Duration::ZERO,
    };
    let services = Services { dns: None, clamd: None, state: StateStore::default() };
    let host = Host::with_options(&server, services, Options { slots: Some(4), ..Options::default() }).unwrap();
    assert!(host.load("pass", &bench.guest("pass")).await.is_ok());
    // A reload may bring the resolver that there was none of.
    let granted = with_grants(bench.guest("looks-up"), &[Grant::Dns]);
    assert!(host.load("looks-up", &granted).await.is_err());
    let services = Services { dns: Some(bench.dns.clone()), clamd: None, state: StateStore::default() };
    let reloaded = host.with_services(services);
    assert!(reloaded.load("looks-up", &granted).await.is_ok());
    assert_eq!(reloaded.counters(), host.counters());
}
