//! Finding a Rust that can build for Wasm.
//!
//! Filters are built for `wasm32-unknown-unknown`, whose standard library a plain Rust installation lacks. Where rustup
//! cannot fetch it, Debian's `rustc-web` brings its source, and cargo builds it once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What filters are built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's Rust for the web: compiler, cargo, library source, code generator and linker.
const DEBIAN_PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// 64 KiB of stack instead of 1 MiB: a sandbox is made for each message, so a filter begins small.
const RUSTFLAGS: &str = r#"target.wasm32-unknown-unknown.rustflags=["-Clink-arg=-zstack-size=65536"]"#;

/// What the cargo that runs us leaves in the environment, or a developer has set for other builds. Each of it would
/// lead another toolchain astray or change the output.
const NOT_PASSED_ON: [&str; 18] = [
    "CARGO",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN_SOURCE",
];

/// A way to build for Wasm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The active one has the target.
    Active,
    /// Debian's, building the standard library from source.
    Debian,
}

impl Toolchain {
    /// The first way that is open, made open if need be, and how it came about.
    pub(crate) fn find(root: &Path) -> Result<(Self, String)> {
        if active_has_target(root) {
            return Ok((Self::Active, format!("the active toolchain, which has {TARGET}")));
        }
        if debian_is_installed() {
            return Ok((Self::Debian, "Debian's rustc-web, with the standard library from source".to_owned()));
        }
        if is_root_on_debian() {
            match install_on_debian() {
                Ok(()) => return Ok((Self::Debian, "Debian's rustc-web, installed just now".to_owned())),
                Err(error) => eprintln!("plugins: {error:#}; trying rustup"),
            }
        }
        add_with_rustup(root)?;
        Ok((Self::Active, format!("the active toolchain, to which rustup added {TARGET}")))
    }

    /// A `cargo build` for Wasm in `target_directory`'s own corner, to be told what to build.
    pub(crate) fn cargo_build(self, root: &Path, target_directory: &Path) -> Command {
        let mut command = match self {
            Self::Active => Command::new("cargo"),
            Self::Debian => Command::new("/usr/bin/cargo"),
        };
        for name in NOT_PASSED_ON {
            command.env_remove(name);
        }
        command.current_dir(root).args(["build", "--release", "--target", TARGET, "--config", RUSTFLAGS]);
        command.arg("--target-dir").arg(target_directory);
        if self == Self::Debian {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let path =
                std::env::join_paths([PathBuf::from("/usr/bin")].into_iter().chain(std::env::split_paths(&path)));
            command.env_remove("RUSTUP_TOOLCHAIN");
            command.env("PATH", path.unwrap_or_else(|_| "/usr/bin:/bin".into()));
            // -Z is for nightly compilers; this variable lets a stable one take it.
            command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
        }
        command
    }

    /// The folder below `target` that holds what it compiled; two compilers cannot share one.
    pub(crate) const fn target_directory(self) -> &'static str {
        match self {
            Self::Active => "wasm",
            Self::Debian => "wasm-debian",
        }
    }
}

fn active_has_target(root: &Path) -> bool {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root)
        .env_remove("LD_LIBRARY_PATH")
        .stderr(Stdio::null())
        .output();
    let Ok(libraries) = libraries else { return false };
    let directory = PathBuf::from(String::from_utf8_lossy(&libraries.stdout).trim());
    let Ok(files) = std::fs::read_dir(directory) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn debian_is_installed() -> bool {
    let status = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Abbrev}\n"])
        .args(DEBIAN_PACKAGES)
        .stderr(Stdio::null())
        .output();
    let Ok(status) = status else { return false };
    let lines = String::from_utf8_lossy(&status.stdout);
    status.status.success() && lines.lines().filter(|line| line.starts_with("ii")).count() == DEBIAN_PACKAGES.len()
}

fn is_root_on_debian() -> bool {
    let user = Command::new("id").arg("-u").output();
    Path::new("/etc/debian_version").exists() && user.is_ok_and(|user| user.stdout == b"0\n")
}

fn install_on_debian() -> Result<()> {
    eprintln!("plugins: installing {}", DEBIAN_PACKAGES.join(" "));
    let apt_get = |arguments: &[&str]| {
        let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
        status.is_ok_and(|status| status.success())
    };
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"][..], &DEBIAN_PACKAGES].concat();
    // The package lists of a fresh machine are missing or old; those of another need not be fetched.
    if apt_get(&install) || (apt_get(&["update", "--quiet"]) && apt_get(&install)) {
        return Ok(());
    }
    bail!("apt-get could not install {}", DEBIAN_PACKAGES.join(" "))
}

fn add_with_rustup(root: &Path) -> Result<()> {
    let status = Command::new("rustup").args(["target", "add", TARGET]).current_dir(root).status();
    let status = status.with_context(|| {
        format!("no Rust here can build for {TARGET}, and there is no rustup to add it: see docs/filters.md")
    })?;
    if !status.success() {
        bail!("no Rust here can build for {TARGET}, and rustup could not add it: see docs/filters.md");
    }
    Ok(())
}
