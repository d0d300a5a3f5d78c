//! `cargo xtask plugins`: build filters and make them components.
//!
//! Cargo decides what needs compiling; a component is written only when it changed, so that nothing downstream takes
//! an unchanged one for new.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::component::Component;
use crate::toolchain::{TARGET, Toolchain};

/// What to build.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Plugins of this repository; all of them when none is named
    names: Vec<String>,
    /// Build the filter whose crate is in this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "names")]
    path: Option<PathBuf>,
    /// Write its component to this file; NAME.wasm in target/plugins otherwise
    #[arg(long, value_name = "FILE", requires = "path")]
    out: Option<PathBuf>,
}

/// A crate to build.
#[derive(Debug)]
struct Crate {
    /// The package's name, which is the plugin's.
    name: String,
    /// The file name of its module.
    module: String,
}

/// Build, print a line for each filter.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = crate::workspace_root();
    let (folder, single) = match &options.path {
        Some(path) => (std::path::absolute(path)?, true),
        None => (root.join("plugins"), false),
    };
    let manifest = folder.join("Cargo.toml");
    ensure!(manifest.is_file(), "{} is not there", manifest.display());
    let crates = chosen(crates(&manifest)?, options, single)?;

    let (toolchain, how) = Toolchain::find(&root)?;
    println!("plugins: built with {how}");
    let target = root.join("target").join(toolchain.target_directory());
    let mut build = toolchain.cargo_build(&root, &target);
    build.arg("--quiet").arg("--manifest-path").arg(&manifest);
    for each in &crates {
        build.args(["--package", &each.name]);
    }
    let status = build.status().with_context(|| format!("{} did not start", build.get_program().display()))?;
    ensure!(status.success(), "the build failed");

    let width = crates.iter().map(|each| each.name.len()).max().unwrap_or(0);
    for each in &crates {
        let module = target.join(TARGET).join("release").join(&each.module);
        let out =
            options.out.clone().unwrap_or_else(|| root.join("target/plugins").join(format!("{}.wasm", each.name)));
        let component = component(&module, &out).with_context(|| each.name.clone())?;
        let grants = component.grants().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let size = component.bytes.len().div_ceil(1024);
        println!(
            "{:width$}  {size:>4} KiB  {}  imports {}  grants = [{grants}]",
            each.name,
            shown(&out, &root),
            component.imports.join(" ")
        );
    }
    Ok(())
}

/// Make the component and write it where it belongs, unless it is there already.
fn component(module: &Path, out: &Path) -> Result<Component> {
    let bytes = std::fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let component = Component::from_module(&bytes)?;
    if std::fs::read(out).is_ok_and(|there| there == component.bytes) {
        return Ok(component);
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    // Renamed into place: a running proxy that reloads sees the old file or the new one.
    let temporary =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("writing in {}", folder.display()))?;
    std::fs::write(temporary.path(), &component.bytes)?;
    make_readable(temporary.path())?;
    temporary.persist(out).with_context(|| format!("writing {}", out.display()))?;
    Ok(component)
}

/// Temporary files are private; a component is for the proxy's user too.
fn make_readable(file: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// The filters of a workspace: its packages with a `cdylib`.
fn crates(manifest: &Path) -> Result<Vec<Crate>> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo metadata did not start")?;
    ensure!(output.status.success(), "{} cannot be read", manifest.display());
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    Ok(metadata["packages"].as_array().into_iter().flatten().filter_map(filter_crate).collect())
}

fn filter_crate(package: &Value) -> Option<Crate> {
    let holds = |value: &Value, text: &str| value.as_array().is_some_and(|list| list.iter().any(|item| item == text));
    let targets = package["targets"].as_array()?;
    let library = targets.iter().find(|target| holds(&target["crate_types"], "cdylib"))?;
    let module = format!("{}.wasm", library["name"].as_str()?.replace('-', "_"));
    Some(Crate { name: package["name"].as_str()?.to_owned(), module })
}

fn chosen(mut crates: Vec<Crate>, options: &Options, single: bool) -> Result<Vec<Crate>> {
    if crates.is_empty() {
        bail!("there is no filter: its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`");
    }
    if options.out.is_some() && crates.len() > 1 {
        bail!("--out names one file, and there are {} filters", crates.len());
    }
    if single || options.names.is_empty() {
        return Ok(crates);
    }
    for name in &options.names {
        let known = || crates.iter().map(|each| each.name.as_str()).collect::<Vec<_>>().join(", ");
        ensure!(crates.iter().any(|each| each.name == *name), "there is no plugin {name:?}; there are: {}", known());
    }
    crates.retain(|each| options.names.contains(&each.name));
    Ok(crates)
}

/// The path as seen from the repository, when it is in it.
fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
