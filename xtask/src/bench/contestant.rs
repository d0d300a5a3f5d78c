//! Which servers take part: those that are installed, and one or several builds of mailweir.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::peer::{MAILWEIR, PEERS, Peer};

/// Which ones, as it is said on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Only these servers; every one that is installed when none is named
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    peers: Vec<String>,
    /// mailweir's binary, with its filters in ../plugins beside it; several, as LABEL=PATH each, are compared
    #[arg(long, value_name = "[LABEL=]PATH", num_args = 1..)]
    binary: Vec<String>,
    /// mailweir-load, for what smtp-source cannot send; the one beside mailweir when not given
    #[arg(long, value_name = "PATH")]
    generator: Option<PathBuf>,
    /// Use the release build as it is
    #[arg(long)]
    no_build: bool,
}

/// A server that takes part, under a name in the tables.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) label: String,
    pub(super) peer: &'static Peer,
    /// Of mailweir alone, as its filters.
    pub(super) binary: PathBuf,
    pub(super) plugins: PathBuf,
    /// Variables that its processes get besides ours.
    pub(super) environment: &'static [(&'static str, &'static str)],
}

impl Selection {
    /// The servers, in the order of their turns. mailweir is built when no binary of it was named.
    ///
    /// # Errors
    /// When one that was named is not known, or not installed.
    pub(super) fn contestants(&self) -> Result<Vec<Contestant>> {
        let known = || PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
        for name in &self.peers {
            let is_known = name == MAILWEIR.name || PEERS.iter().any(|peer| peer.name == name);
            ensure!(is_known, "there is no {name:?}; there are: {}, {}", MAILWEIR.name, known());
        }
        let is_named = |peer: &Peer| self.peers.is_empty() || self.peers.iter().any(|name| name == peer.name);
        let mut contestants = if is_named(MAILWEIR) { self.builds()? } else { Vec::new() };
        for &peer in PEERS.iter().filter(|peer| is_named(peer)) {
            match peer.missing() {
                None => contestants.push(Contestant {
                    label: peer.name.to_owned(),
                    peer,
                    binary: PathBuf::new(),
                    plugins: PathBuf::new(),
                    environment: &[],
                }),
                Some(what) if self.peers.is_empty() => println!("{} is left out: no {what} here", peer.name),
                Some(what) => bail!("{}: no {what} here; .ci/bench-peers installs it", peer.name),
            }
        }
        Ok(contestants)
    }

    /// The builds of mailweir.
    fn builds(&self) -> Result<Vec<Contestant>> {
        let mut named = self.binary.clone();
        if named.is_empty() {
            if !self.no_build {
                build_release()?;
            }
            named.push(release().display().to_string());
        }
        let builds = named.iter().map(|text| {
            let label = text.split_once('=').map_or(MAILWEIR.name, |(label, _)| label);
            Contestant::build(label, Path::new(path_of(text)), &[])
        });
        builds.collect()
    }

    /// mailweir-load: as it was named, or from beside a binary of mailweir, or of this program.
    pub(super) fn generator(&self) -> PathBuf {
        let binaries = self.binary.iter().map(|text| PathBuf::from(path_of(text)));
        let named = self.generator.as_ref().and_then(|path| std::path::absolute(path).ok());
        named.unwrap_or_else(|| generator_beside(binaries.chain([release()])))
    }
}

impl Contestant {
    /// A build of mailweir.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn build(
        label: &str,
        binary: &Path,
        environment: &'static [(&'static str, &'static str)],
    ) -> Result<Self> {
        let binary = std::path::absolute(binary)?;
        ensure!(binary.is_file(), "{} is not there", binary.display());
        Ok(Self { label: label.to_owned(), peer: MAILWEIR, plugins: plugins_of(&binary), binary, environment })
    }
}

/// The mailweir-load beside one of these, or beside this program; an empty path when there is none.
pub(super) fn generator_beside(programs: impl Iterator<Item = PathBuf>) -> PathBuf {
    let beside = programs.chain(std::env::current_exe()).map(|path| path.with_file_name("mailweir-load"));
    let found = beside.map(std::path::absolute).filter_map(Result::ok).find(|path| path.is_file());
    found.unwrap_or_default()
}

/// The path in LABEL=PATH, or in PATH.
fn path_of(binary: &str) -> &str {
    binary.split_once('=').map_or(binary, |(_, path)| path)
}

/// The filters built beside a binary, or those of this checkout.
fn plugins_of(binary: &Path) -> PathBuf {
    let beside = binary.ancestors().nth(2).map(|target| target.join("plugins"));
    beside.filter(|folder| folder.is_dir()).unwrap_or_else(|| crate::workspace_root().join("target/plugins"))
}

fn release() -> PathBuf {
    crate::workspace_root().join("target/release/mailweir")
}

fn build_release() -> Result<()> {
    crate::plugins::run(&crate::plugins::Options::default())?;
    println!("building mailweir for release (the first time takes many minutes) …");
    let status = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--workspace", "--bin", "mailweir", "--bin", "mailweir-load"])
        .current_dir(crate::workspace_root())
        .status()?;
    ensure!(status.success(), "mailweir does not build");
    Ok(())
}
