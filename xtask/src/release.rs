//! `cargo xtask release`: mailweir built with a profile of its own work, so that what runs for each message stands close
//! together and what does not is out of the way.
//!
//! Three steps: a build that counts what it does, the scenarios of `bench peers` through it, and a build that knows the
//! counts. The profile belongs to the sources it was taken from and to the compiler, and is made anew each time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// How to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Scenarios of `bench peers` that make the profile; all of them when none is named
    #[arg(long, value_name = "NAME", num_args = 1..)]
    scenarios: Vec<String>,
}

/// What rustc says of itself.
struct Compiler {
    host: String,
    /// The major version of its LLVM, whose `llvm-profdata` reads what its programs count.
    llvm: String,
}

/// Builds it, and says where it is.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = crate::workspace_root();
    let folder = root.join("target/pgo");
    crate::bench::known_scenarios(&options.scenarios)?;
    let compiler = Compiler::ask()?;
    let profdata = compiler.profdata()?;

    println!("release: filters, and the load generator");
    crate::plugins::run(&crate::plugins::Options::default())?;
    let mut generator = Command::new("cargo");
    generator.current_dir(&root).args(["build", "--release", "--package", "mailweir-load", "--target-dir", "target"]);
    succeed(&mut generator)?;

    println!("release: a build that counts what it does");
    let counts = folder.join("counts");
    if counts.exists() {
        std::fs::remove_dir_all(&counts).with_context(|| format!("{} does not go", counts.display()))?;
    }
    let counting = compiler.build(&root, "counting", &format!("-Cprofile-generate={}", counts.display()))?;
    // Filters are looked for in ../plugins.
    let training = root.join("target/pgo-training/mailweir");
    copy(&counting, &training)?;

    println!("release: the scenarios through it");
    let mut bench = Command::new(std::env::current_exe().context("where this program is")?);
    bench.args(["bench", "peers", "--peers", "mailweir", "--rounds", "1", "--binary"]).arg(&training);
    bench.arg("--generator").arg(root.join("target/release/mailweir-load"));
    if !options.scenarios.is_empty() {
        bench.arg("--scenarios").args(&options.scenarios);
    }
    succeed(&mut bench)?;
    let profile = folder.join("mailweir.profdata");
    succeed(Command::new(profdata).args(["merge", "--output"]).arg(&profile).arg(&counts))?;

    println!("release: a build that knows the counts");
    // Some generic functions stand in both builds in different forms, and then go without a profile.
    let flags = format!("-Cprofile-use={} -Cllvm-args=-no-pgo-warn-mismatch", profile.display());
    let built = compiler.build(&root, "guided", &flags)?;
    copy(&built, &folder.join("mailweir"))?;
    println!("release: {}", folder.join("mailweir").display());
    Ok(())
}

impl Compiler {
    fn ask() -> Result<Self> {
        let said = Command::new("rustc").arg("-vV").output().context("rustc does not start")?;
        let said = String::from_utf8(said.stdout).context("rustc -vV is no text")?;
        let field = |name: &str| {
            let value = said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            value.map(str::to_owned).with_context(|| format!("rustc -vV says nothing of \"{name}\""))
        };
        let llvm = field("LLVM version:")?;
        Ok(Self { host: field("host:")?, llvm: llvm.split('.').next().unwrap_or(&llvm).to_owned() })
    }

    /// The tool that reads the counts: rustup's, or Debian's of the same version.
    fn profdata(&self) -> Result<PathBuf> {
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc does not start")?;
        let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
        let places = [
            sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata"),
            PathBuf::from(format!("/usr/lib/llvm-{}/bin/llvm-profdata", self.llvm)),
        ];
        places.into_iter().find(|place| place.is_file()).with_context(|| {
            format!(
                "llvm-profdata of LLVM {} is missing: `rustup component add llvm-tools`, or `apt-get install llvm-{}`",
                self.llvm, self.llvm
            )
        })
    }

    /// Builds mailweir with these flags in a folder of its own; where the binary is.
    fn build(&self, root: &Path, name: &str, flags: &str) -> Result<PathBuf> {
        let target = root.join("target/pgo").join(name);
        let mut cargo = Command::new("cargo");
        // With a target of its own, build scripts and macros do without the flags.
        cargo.current_dir(root).args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "mailweir",
            "--target",
            &self.host,
        ]);
        let others = std::env::var("RUSTFLAGS").unwrap_or_default();
        cargo.arg("--target-dir").arg(&target).env("RUSTFLAGS", format!("{others} {flags}"));
        succeed(&mut cargo)?;
        Ok(target.join(&self.host).join("release/mailweir"))
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to.parent().unwrap_or(to))?;
    std::fs::copy(from, to).with_context(|| format!("{} cannot be written", to.display()))?;
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{program} does not start"))?;
    ensure!(status.success(), "{program} failed: {status}");
    Ok(())
}
