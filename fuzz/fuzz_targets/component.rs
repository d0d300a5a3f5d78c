//! Files that are given to the loader as filters: text or binary, whole or broken, they are loaded or refused in bounded
//! time.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mailweir::config::{self, Effect, OnError, Plugin};
use mailweir::host::{Host, Options, Services};
use mailweir::services::state::StateStore;
use mailweir_fuzz::run;
use tempfile::TempDir;

struct Bench {
    host: Host,
    plugin: Plugin,
    _folder: TempDir,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("[server]\nhostname = \"mx.example.com\"\nstate_dir = {:?}\n", folder.path().join("state"));
    let config = config::parse(&(text + REST), "mailweir.toml".as_ref(), folder.path());
    let server = config.unwrap_or_else(|errors| panic!("{errors}")).server;
    let services = Services { dns: None, clamd: None, state: StateStore::default() };
    // What a second configuration does with a component is caught where it happens, which the fuzzer cannot tell.
    let host =
        Host::with_options(&server, services, Options { slots: Some(2), configure_each: true, ..Options::default() });
    let plugin = Plugin {
        source: folder.path().join("filter.wasm"),
        grants: Vec::new(),
        on_error: OnError {
            trap: Effect::TempFail,
            timeout: Effect::TempFail,
            memory: Effect::TempFail,
            unavailable: Effect::TempFail,
        },
        timeout: Duration::from_millis(500),
        cpu: Duration::from_millis(200),
        memory: 8 << 20,
        host_calls: 1000,
        config: serde_json::json!({}),
        place: "mailweir.toml:1".to_owned(),
    };
    Bench { host: host.expect("a host"), plugin, _folder: folder }
});

/// What a configuration needs besides its server.
const REST: &str = r#"
[listener.a]
listen = ["127.0.0.1:1"]
tls = { mode = "off" }
relay_domains = ["example.com"]
chain = "x"
route = "x"
[chain.x]
[route.x]
upstreams = ["mx"]
"#;

fuzz_target!(|data: &[u8]| {
    let bytes = match std::str::from_utf8(data) {
        Ok(text) if text.contains("(component") => match wat::parse_str(text) {
            Ok(bytes) => bytes,
            Err(_) => return,
        },
        _ => data.to_vec(),
    };
    std::fs::write(&BENCH.plugin.source, bytes).expect("room");
    if let Err(error) = run(BENCH.host.load("filter", &BENCH.plugin)) {
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
});
