//! The example configuration loads, and each broken one in tests/configs is refused with the errors it names.
#![expect(clippy::unwrap_used, reason = "tests, and what they share")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mailweir::config::{self, ConfigErrors};
use mailweir_testkit::dkim::KeyFile;

/// The line that begins an expectation: `# expect: LINE KEY: WHAT`.
const EXPECT: &str = "# expect: ";

#[test]
fn every_broken_config_is_refused_at_the_right_place() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 12, "only {} files", files.len());
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(EXPECT)).collect();
        assert!(!expected.is_empty(), "{} expects nothing", file.display());
        let found = match config::load(&file) {
            Ok(_) => Vec::new(),
            Err(errors) => summaries(&errors),
        };
        let same = expected.len() == found.len()
            && expected.iter().zip(&found).all(|(expected, found)| found.starts_with(expected));
        if !same {
            let (expected, found) = (expected.join("\n  "), found.join("\n  "));
            failures.push_str(&format!("{}\n expected\n  {expected}\n found\n  {found}\n", file.display()));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// "LINE KEY: WHAT; REMEDY" for each error.
fn summaries(errors: &ConfigErrors) -> Vec<String> {
    errors.iter().map(|error| format!("{} {}: {}; {}", error.place.line, error.key, error.what, error.remedy)).collect()
}

#[test]
fn the_shared_example_loads() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/mailweir.example.toml");
    if !Path::new(example).exists() {
        println!("skipped: there is no {example}");
        return;
    }
    let loaded = config::load(Path::new(example)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.listeners.len(), 2);
    assert_eq!(loaded.listeners["inbound"].route.as_deref(), Some("exchange"));
    assert!(loaded.listeners["outbound"].relay_domains.any);
    assert!(loaded.plugins["auth"].source.ends_with("target/plugins/auth.wasm"));
    assert_eq!(loaded.plugins["surbl"].config["zones"][0]["reject_bits"][5], 128);
    assert_eq!(loaded.plugins["dlp"].config["rules"][0]["minimum"], 2);
    assert_eq!(loaded.routes["internet"].upstreams, config::Upstreams::Mx);
}

/// Every table of a configuration with a key that none of them knows, so that each error names those it knows.
const PROBE: &str = r#"
[server]
zzzzzzzzzzzz = 1
[dns]
zzzzzzzzzzzz = 1
[admin]
zzzzzzzzzzzz = 1
[antivirus]
zzzzzzzzzzzz = 1
[listener.NAME]
zzzzzzzzzzzz = 1
[listener.NAME.tls]
mode = "implicit"
zzzzzzzzzzzz = 1
[listener.NAME.limits]
zzzzzzzzzzzz = 1
[chain.NAME]
zzzzzzzzzzzz = 1
[dkim.NAME]
zzzzzzzzzzzz = 1
[plugin.NAME]
zzzzzzzzzzzz = 1
[plugin.NAME.on_error]
zzzzzzzzzzzz = 1
[route.NAME]
zzzzzzzzzzzz = 1
[route.NAME.pool]
zzzzzzzzzzzz = 1
"#;

/// The keys of each table, by the table's dotted name, as the loader knows them.
fn known_keys() -> BTreeMap<String, Vec<String>> {
    let errors = config::parse(PROBE, Path::new("probe"), Path::new("/")).unwrap_err();
    let unknown = errors.iter().filter_map(|error| {
        let table = error.key.strip_suffix(".zzzzzzzzzzzz")?;
        let keys = error.remedy.strip_prefix("keys here: ")?;
        Some((table.to_owned(), keys.split(", ").map(str::to_owned).collect()))
    });
    unknown.collect()
}

fn documentation() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md")).unwrap()
}

#[test]
fn the_documentation_has_every_key_and_no_other() {
    let known = known_keys();
    assert_eq!(known.len(), PROBE.matches("zzzzzzzzzzzz").count());
    let mut documented: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in documentation().lines() {
        if line.starts_with('#') {
            table = line.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let key = row.split('`').next().unwrap_or_default().to_owned();
            documented.entry(table.clone()).or_default().push(key);
        }
    }
    for keys in documented.values_mut() {
        keys.sort();
    }
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    let known: BTreeMap<_, _> = known.into_iter().map(|(table, keys)| (table, sorted(keys))).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_example_in_the_documentation_loads_and_has_every_key() {
    let documentation = documentation();
    let example = documentation.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["mx.example.com".to_owned()]).unwrap();
    for directory in ["tls", "dkim"].map(|name| directory.path().join(name)) {
        std::fs::create_dir(directory).unwrap();
    }
    for (file, content) in [
        ("dkim/2026a.pem", KeyFile::rsa().unwrap().pem),
        ("dkim/2026b.pem", KeyFile::ed25519().unwrap().pem),
        ("tls/mx.pem", certificate.cert.pem()),
        ("tls/internal-ca.pem", certificate.cert.pem()),
        ("tls/mx.key", certificate.signing_key.serialize_pem()),
    ] {
        std::fs::write(directory.path().join(file), content).unwrap();
    }
    let file = directory.path().join("mailweir.toml");
    std::fs::write(&file, example).unwrap();
    let loaded = config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.listeners["inbound"].relay_domains.domains[1], "xn--bcher-kva.example");
    assert_eq!(loaded.plugins["antivirus"].source, Path::new("/usr/lib/mailweir/plugins/antivirus.wasm"));
    for (table, keys) in known_keys() {
        for key in keys {
            assert!(example.contains(&format!("{key} = ")) || example.contains(&format!(".{key}]")), "{table}.{key}");
        }
    }
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let text = r#"
        [server]
        hostname = "mx.example.com"
        [antivirus]
        [listener.NAME]
        listen = ["127.0.0.1:0"]
        chain = "NAME"
        route = "NAME"
        relay_domains = ["example.com"]
        [chain.NAME]
        [dkim.NAME]
        key = "key.pem"
        selector = "2026a"
        domains = ["example.com"]
        [plugin.NAME]
        [route.NAME]
        upstreams = ["mx"]
    "#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key.pem"), KeyFile::ed25519().unwrap().pem).unwrap();
    let loaded = config::parse(text, Path::new("defaults"), directory.path()).unwrap();
    // What the tables of the documentation say, written out: the two must load alike.
    let mut written = String::new();
    let mut table = String::new();
    for line in documentation().lines() {
        if line.starts_with("## A complete") {
            break;
        } else if line.starts_with('#') {
            table = line.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
            if table.is_empty() || table == "admin" || table.ends_with(".tls") || table.ends_with(".on_error") {
                table.clear();
                continue;
            }
            written.push_str(&format!("[{table}]\n{}\n", required_of(&table)));
        } else if let Some(row) = line.strip_prefix("| `").filter(|_| !table.is_empty()) {
            let mut cells = row.split(" | ");
            let key = cells.next().unwrap_or_default().trim_end_matches('`');
            let default = cells.nth(1).unwrap_or_default().trim();
            if let Some(default) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) {
                written.push_str(&format!("{key} = {default}\n"));
            }
        }
    }
    let explicit = config::parse(&written, Path::new("written"), directory.path())
        .unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(explicit, loaded);
}

/// The required keys of a table, as [`defaults_are_those_of_the_documentation`] sets them.
fn required_of(table: &str) -> &'static str {
    match table {
        "server" => "hostname = \"mx.example.com\"",
        "listener.NAME" => {
            "listen = [\"127.0.0.1:0\"]\nchain = \"NAME\"\nroute = \"NAME\"\nrelay_domains = [\"example.com\"]"
        }
        "dkim.NAME" => "key = \"key.pem\"\nselector = \"2026a\"\ndomains = [\"example.com\"]",
        "route.NAME" => "upstreams = [\"mx\"]",
        _ => "",
    }
}

#[test]
fn a_plugin_that_only_moved_is_the_same() {
    let config = |text: &str| config::parse(text, Path::new("f"), Path::new("/")).unwrap();
    let first = config("[server]\nhostname = \"a.example\"\n[plugin.x]\nmemory = \"1MiB\"");
    let moved = config("# a line more\n[server]\nhostname = \"a.example\"\n[plugin.x]\nmemory = \"1MiB\"");
    let changed = config("[server]\nhostname = \"a.example\"\n[plugin.x]\nmemory = \"2MiB\"");
    assert_eq!(first.plugins["x"].place, "f:3");
    assert_eq!(moved.plugins["x"].place, "f:4");
    assert_eq!(first, moved);
    assert_ne!(first.plugins, changed.plugins);
}
