//! docs/filters.md, followed word by word from an empty folder.
//!
//! A fenced block after a line that ends in `` `NAME`: `` is written to that file; each `sh` block is run as it stands,
//! with `cargo xtask` and `mailweir` being those of this build and with ports that are free.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A step of the page.
#[derive(Debug, PartialEq)]
enum Step {
    Write { file: String, text: String },
    Run(String),
}

/// The steps under the headings before `end`, in order.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    let mut prose = "";
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                prose = line;
            }
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = block.join("\n") + "\n";
        let file = prose.strip_suffix("`:").and_then(|prose| prose.rsplit('`').next());
        match (language, file) {
            ("sh", _) => steps.push(Step::Run(text)),
            (_, Some(file)) => steps.push(Step::Write { file: file.to_owned(), text }),
            _ => {}
        }
        prose = "";
    }
    steps
}

fn repository() -> PathBuf {
    fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap()
}

fn page() -> String {
    fs::read_to_string(repository().join("docs/filters.md")).unwrap()
}

/// An empty folder beside a checkout, which is a folder with this repository's SDK in it. Its place is the same each
/// time, so that what cargo compiled for it is used again.
fn empty_folder() -> PathBuf {
    let repository = repository();
    let name = repository.to_string_lossy().replace('/', "-");
    let beside = std::env::temp_dir().join(format!("mailweir-filters-page{name}"));
    let _ = fs::remove_dir_all(&beside);
    fs::create_dir_all(beside.join("mailweir")).unwrap();
    std::os::unix::fs::symlink(repository.join("sdk"), beside.join("mailweir/sdk")).unwrap();
    let folder = beside.join("my-filter");
    fs::create_dir(&folder).unwrap();
    folder
}

/// The proxy built next to this test, if it is.
fn proxy() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("mailweir");
    let version = Command::new(&program).arg("--version").output().ok()?;
    String::from_utf8_lossy(&version.stdout).starts_with("mailweir ").then_some(program)
}

/// Ports that nothing listens on.
fn free_ports<const N: usize>() -> [String; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port().to_string())
}

/// What stands between the reader's shell and the page's commands.
fn prelude(port: &str) -> String {
    let xtask = env!("CARGO_BIN_EXE_xtask");
    // In the path rather than a function: in the background a function is a shell, whose end is not that of the program.
    let programs = proxy().and_then(|program| program.parent().map(Path::to_owned)).unwrap_or_default();
    let programs = programs.display();
    format!(
        r#"set -euo pipefail
cargo() {{ if [ "$1" = xtask ]; then shift; "{xtask}" "$@"; else command cargo "$@"; fi; }}
PATH="{programs}:$PATH"
# A reader takes a moment between two commands.
curl() {{
  for _ in $(seq 100); do (: < /dev/tcp/127.0.0.1/{port}) 2> /dev/null && break; sleep 0.1; done
  command curl "$@"
}}
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
"#
    )
}

#[test]
fn a_filter_written_by_the_page_works() {
    let folder = empty_folder();
    let [listener, sink] = free_ports();
    let with_free_ports = |text: &str| text.replace("2525", &listener).replace("2600", &sink);
    let running = proxy().is_some();
    let mut script = prelude(&listener);
    for (number, step) in steps(&with_free_ports(&page())).into_iter().enumerate() {
        match step {
            Step::Run(commands) if running || !needs_proxy(&commands) => script += &commands,
            Step::Run(_) => {}
            Step::Write { file, text } => {
                let kept = folder.join(format!(".step-{number}"));
                fs::write(&kept, text).unwrap();
                script += &format!("mkdir -p $(dirname {file}) && cp {} {file}\n", kept.display());
            }
        }
    }
    let output = run(&folder, &script);
    for (expected, times) in [("test result: ok. 2 passed", 1), ("test result: ok. 3 passed", 2), ("grants = []", 2)] {
        assert_eq!(output.matches(expected).count(), times, "{expected:?} in:\n{output}");
    }
    assert!(output.contains("grants = [\"dns\"]"), "{output}");
    if running {
        assert!(output.contains("X-Hello: Good day"), "{output}");
        assert!(output.contains("the subject has \"lunch\""), "{output}");
    } else {
        println!("skipped the proxy's part: the mailweir program is not built");
    }
}

/// Whether the commands speak to the proxy.
fn needs_proxy(commands: &str) -> bool {
    commands.lines().any(|line| line.starts_with("mailweir ") || line.starts_with("curl "))
        && !commands.contains("cargo ")
}

/// Run the script and give what it printed.
fn run(folder: &Path, script: &str) -> String {
    let mut bash = Command::new("bash")
        .current_dir(folder)
        // What this test was compiled with must not leak into another build; its compiled dependencies are shared.
        .env_remove("CARGO_MANIFEST_DIR")
        .env("CARGO_TARGET_DIR", repository().join("plugins/target"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the page's commands failed:\n{printed}\n{errors}\n=== script\n{script}");
    printed.into_owned()
}

#[test]
fn the_first_filter_of_the_page_is_the_hello_plugin() {
    let hello = fs::read_to_string(repository().join("plugins/hello/src/lib.rs")).unwrap();
    let steps = steps(&page());
    let first = steps.iter().find_map(|step| match step {
        Step::Write { file, text } if file == "src/lib.rs" => Some(text),
        _ => None,
    });
    assert_eq!(first, Some(&hello));
}

#[test]
fn blocks_are_files_commands_or_neither() {
    let page = "Text `a.toml`:\n\n```toml\na = 1\n```\n\nRun:\n\n```sh\nls\n```\n\n```text\nb\n```\n";
    let expected =
        [Step::Write { file: "a.toml".to_owned(), text: "a = 1\n".to_owned() }, Step::Run("ls\n".to_owned())];
    assert_eq!(steps(page), expected);
}
