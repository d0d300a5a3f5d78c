//! `mailweir check` on the example configuration and on broken ones.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::{Outcome, Setting, shown};

/// The line that begins an expectation: `# expect: LINE KEY: WHAT`.
const EXPECT: &str = "# expect: ";
const EXAMPLE: &str = "../shared/mailweir.example.toml";

pub(super) async fn run(setting: &Setting) -> Result<Vec<Outcome>> {
    Ok(vec![example(setting).await?, broken(setting).await?])
}

/// The example is accepted, with its folders where this machine has them.
async fn example(setting: &Setting) -> Result<Outcome> {
    let command = "mailweir check --config mailweir.example.toml".to_owned();
    let file = crate::workspace_root().join(EXAMPLE);
    let Ok(text) = std::fs::read_to_string(&file) else {
        return Ok(Outcome::skipped("check", command, &format!("there is no {EXAMPLE}")));
    };
    let directory = tempfile::tempdir()?;
    let adapted = text.replace("\"target/plugins\"", &format!("\"{}\"", setting.plugins.display()));
    let file = directory.path().join("mailweir.example.toml");
    std::fs::write(&file, adapted)?;
    let (accepted, output) = check(&setting.binary, &file).await?;
    let output = output.replace(&format!("{}/", directory.path().display()), "");
    let wrong = if accepted { Vec::new() } else { vec!["it is refused".to_owned()] };
    Ok(Outcome::new("check", command, wrong, output.lines().map(str::to_owned).collect()))
}

/// Each broken one is refused with exactly the errors that it names, each with file, line and key.
async fn broken(setting: &Setting) -> Result<Outcome> {
    let folder = crate::workspace_root().join("proxy/tests/configs");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| shown(file))?;
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(EXPECT)).collect();
        let (accepted, output) = check(&setting.binary, file).await?;
        if accepted {
            wrong.push(format!("{} is accepted", shown(file)));
        }
        let named: Vec<&str> = output.lines().collect();
        if named.len() != expected.len() {
            wrong.push(format!("{}: {} errors, not {}", shown(file), named.len(), expected.len()));
        }
        let missing = expected.iter().zip(&named).find(|(expected, named)| !names(named, file, expected));
        wrong.extend(missing.map(|(expected, named)| format!("{}: {expected:?} is not {named:?}", shown(file))));
        count += named.len();
    }
    let command = format!("mailweir check --config FILE, {} broken files", files.len());
    let figures = vec![format!("all refused; {count} errors, each with file, line and key")];
    Ok(Outcome::new("check", command, wrong, figures))
}

/// Whether an error, "FILE:LINE:COLUMN: KEY: WHAT", is the expected "LINE KEY: WHAT".
fn names(error: &str, file: &Path, expected: &str) -> bool {
    let Some((line, expected)) = expected.split_once(' ') else { return false };
    let place = error.strip_prefix(&format!("{}:{line}:", file.display()));
    place.and_then(|place| place.split_once(": ")).is_some_and(|(_, said)| said.starts_with(expected))
}

/// Whether a configuration is accepted, and all that was said.
async fn check(binary: &Path, file: &Path) -> Result<(bool, String)> {
    let output = Command::new(binary)
        .args(["check", "--config"])
        .arg(file)
        .env("MAILWEIR_LOG", "error")
        .stdin(Stdio::null())
        .output()
        .await
        .context("mailweir check")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
