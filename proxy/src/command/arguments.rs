//! The command line (clap). Only its form; what each command does is in the module of its name.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A streaming SMTP proxy that runs every message through a chain of sandboxed WebAssembly filters.
#[derive(Debug, Parser)]
#[command(name = "mailweir", version, propagate_version = true, after_help = ENVIRONMENT)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const ENVIRONMENT: &str = "\
Environment:
  MAILWEIR_LOG   what is logged, such as info, debug or mailweir::session=trace [default: info]
  RUST_LOG       the same, when MAILWEIR_LOG is not set
  MAILWEIR_LOG_BATCHES=off   writes each JSON line at once, not within 20 milliseconds
  MAILWEIR_PERF_MAP=on       tells perf where the code of filters is, in /tmp/perf-PID.map

Logs go to standard error: for people on a terminal, one JSON object a line otherwise.
Exit status: 0 when all went well, 1 when it did not, 2 when the command line was wrong.";

/// The end of the year 9999: RFC 6376 section 3.5 wants readers to know times of 12 digits.
const LAST_SECOND: u64 = 253_402_300_799;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: accept mail, filter it, pass it on
    ///
    /// SIGHUP, or `mailweir reload`, loads the configuration and the plugins again for new transactions; when that
    /// fails, the old ones stay and the log says why. SIGTERM stops accepting, lets sessions end for
    /// server.shutdown_grace, and exits 0.
    Run(RunArguments),
    /// Check a configuration: parse it, then load and configure every plugin
    ///
    /// Needs no network. Prints each error with its file, line and key, and exits 1 if there was one.
    Check(CheckArguments),
    /// Run messages through a chain, offline, and print each verdict with its reasons
    Replay(ReplayArguments),
    /// An SMTP server that accepts everything, for trying things out and for load tests
    Sink(SinkArguments),
    /// Look into the quarantine
    Quarantine(QuarantineArguments),
    /// Make the running server load its configuration and plugins again
    ///
    /// The configuration's file is checked first; with an error in it the server is left alone. What only a filter can tell,
    /// such as an error in its own settings, the server finds: it keeps what it has and says so in its log.
    Reload(ReloadArguments),
    /// Compile a plugin into a cache folder: what `run` starts for each new one
    #[command(hide = true)]
    Compile(CompileArguments),
}

/// The configuration's file.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgument {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// `mailweir run`
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgument,
}

/// `mailweir compile`
#[derive(Debug, Args)]
pub struct CompileArguments {
    /// The component.
    pub source: PathBuf,
    /// The cache folder.
    pub cache: PathBuf,
    /// Count fuel.
    #[arg(long)]
    pub fuel: bool,
    /// With the configuration, JSON on standard input, in its memory.
    #[arg(long, requires = "memory")]
    pub configured: bool,
    /// The filter's limit, in bytes.
    #[arg(long)]
    pub memory: Option<u64>,
}

/// `mailweir check`
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgument,
}

/// `mailweir reload`
#[derive(Debug, Args)]
pub struct ReloadArguments {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgument,
}

/// `mailweir replay`
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgument,
    /// The chain to run, as in [chain.NAME]
    #[arg(long, value_name = "NAME")]
    pub chain: String,
    /// The address the messages are taken to come from
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub ip: IpAddr,
    /// What the client calls itself
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub helo: String,
    /// The envelope sender; "" is the null sender [default: the message's first Return-Path or From]
    #[arg(long, value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// An envelope recipient; may be given more than once [default: postmaster at server.hostname]
    #[arg(long, value_name = "ADDRESS")]
    pub rcpt: Vec<String>,
    /// The time by which signatures are judged and made, in seconds since 1970 (UTC) [default: now]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=LAST_SECOND))]
    pub time: Option<u64>,
    /// Write each message that is not refused into this directory, under its own name, as it would leave: edited, signed
    /// and sealed as for a trusted client, without the Received field that a session adds
    #[arg(long, value_name = "DIRECTORY")]
    pub write: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Messages to run; - is standard input
    #[arg(value_name = "MESSAGE", required = true)]
    pub messages: Vec<PathBuf>,
}

/// `mailweir sink`
#[derive(Debug, Args)]
pub struct SinkArguments {
    /// Where to listen; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    pub listen: Vec<SocketAddr>,
    /// Store each message in this directory, as NUMBER.eml with its envelope in NUMBER.json
    #[arg(long, value_name = "DIRECTORY")]
    pub store: Option<PathBuf>,
    /// Answer this share of messages with 451, from 0 to 1
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate)]
    pub tempfail: f64,
    /// Answer this share of messages with 550, from 0 to 1
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate)]
    pub reject: f64,
    /// Close the connection in place of answering this share of messages, from 0 to 1
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate)]
    pub drop: f64,
    /// Wait this many milliseconds before each answer to a message
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pub delay: u64,
    /// Offer STARTTLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// An extension to leave out of the answer to EHLO, such as CHUNKING; may be given more than once
    #[arg(long, value_name = "KEYWORD")]
    pub without: Vec<String>,
    /// End after this many messages were taken
    #[arg(long, value_name = "MESSAGES")]
    pub max: Option<u64>,
    /// Print one line a message: its number, envelope and size
    #[arg(long)]
    pub print: bool,
    /// Print messages, and the counts at the end, as JSON
    #[arg(long)]
    pub json: bool,
}

/// `mailweir quarantine`
#[derive(Debug, Args)]
pub struct QuarantineArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// The commands of `mailweir quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List what is kept, the oldest first
    List {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgument,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show why a message is kept, or the message
    Show {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgument,
        /// The message's id, as listed
        id: String,
        /// Print the message itself, byte by byte
        #[arg(long)]
        raw: bool,
    },
    /// Send a message on through its route, then remove it from the quarantine
    ///
    /// Recipients that the upstream refuses stay in the quarantine, the others get it once.
    Release {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgument,
        /// The message's id, as listed
        id: String,
    },
    /// Remove a message for good
    Delete {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgument,
        /// The message's id, as listed
        id: String,
    },
}

impl QuarantineCommand {
    /// The configuration, which each of them needs.
    pub fn config(&self) -> &ConfigArgument {
        let (Self::List { config, .. }
        | Self::Show { config, .. }
        | Self::Release { config, .. }
        | Self::Delete { config, .. }) = self;
        config
    }
}

/// A share from 0 to 1.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("write a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn contract_lines_parse() {
        for line in [
            "mailweir run --config mailweir.toml",
            "mailweir check --config mailweir.toml",
            "mailweir replay --config m.toml --chain inbound --ip ::1 --helo h --mail-from a@b --rcpt c@d --rcpt e@f --json x.eml -",
            "mailweir replay --config m.toml --chain inbound --time 12345 --write out x.eml",
            "mailweir sink --listen 127.0.0.1:2600 --store out --tempfail 0.1",
            "mailweir quarantine list --config m.toml",
            "mailweir quarantine show --config m.toml 01 --raw",
            "mailweir reload --config m.toml",
        ] {
            if let Err(error) = Arguments::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
        assert!(Arguments::try_parse_from(["mailweir", "sink", "--listen", "127.0.0.1:1", "--tempfail", "2"]).is_err());
        assert!(Arguments::try_parse_from(["mailweir", "run"]).is_err());
    }
}
