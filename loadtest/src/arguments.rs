//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::options::LoadOptions;
use crate::report::Output;
use crate::sink::SinkArguments;

/// Sends mail to an SMTP server and measures how it takes it.
#[derive(Debug, Parser)]
#[command(name = "mailweir-load", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends messages: as fast as the server takes them, or with --rate as fast as they are due.
    ///
    /// Exits with 0 when every message was taken, 1 when one was not, 2 when it could not begin.
    Send(Box<SendArguments>),
    /// Runs a scenario: a file, or one that comes with the program (small, latency, mixed, large, tls, one-a-connection,
    /// idle-18k, slowloris, overload, overload-cpu, a-billion-a-day, fleet).
    ///
    /// Exits with 0 when every claim holds, 1 when one does not, 2 when it could not begin.
    Run(Box<RunArguments>),
    /// Compares what was sent with what a sink elsewhere received: exits with 1 when a message was lost, doubled or altered.
    Verify(VerifyArguments),
    /// A server that takes mail and gets rid of it, or fails as it is told, at next to no cost.
    Sink(Box<SinkArguments>),
}

#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    /// The server, as host:port.
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// With --proof, write the numbers of the messages to a file, for `verify`.
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub(crate) proof_out: Option<PathBuf>,
    /// Worker threads; as many as there are cores when not given.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU16>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// What `send --proof-out` wrote.
    pub(crate) sent: PathBuf,
    /// What `sink --json` wrote.
    pub(crate) received: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// A scenario's file or name.
    pub(crate) scenario: PathBuf,
    /// Shrink times, numbers of messages, rates, and connections that are held or trickle.
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    pub(crate) scale: f64,
    /// Another server, as host:port, in place of those that the scenario starts.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) target: Option<String>,
    /// Where the scenario's sink listens; with --target there is a sink only if this is given.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) sink: Option<SocketAddr>,
    /// Worker threads; as many as there are cores when not given.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU16>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests {
    use mailweir_smtp::address::ReversePath;

    use super::*;

    fn parse(words: &[&str]) -> Result<SendArguments, clap::Error> {
        let words = ["mailweir-load", "send", "127.0.0.1:25"].iter().chain(words);
        match Arguments::try_parse_from(words)?.command {
            Command::Send(arguments) => Ok(*arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn of_pipelining_and_no_pipelining_the_last_one_counts() {
        for (words, off) in [
            (&[][..], false),
            (&["--pipelining"], false),
            (&["--no-pipelining"], true),
            (&["--no-pipelining", "--pipelining"], false),
            (&["--pipelining", "--no-pipelining"], true),
        ] {
            assert_eq!(parse(words).unwrap().load.no_pipelining, off, "{words:?}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(parse(&["--from", "<>"]).unwrap().load.from, ReversePath::Null);
        for words in [["--from", "nobody"], ["--to", ""], ["--helo", "a b"], ["--timeout", "-1"], ["--sessions", "0"]] {
            parse(&words).unwrap_err();
        }
    }
}
