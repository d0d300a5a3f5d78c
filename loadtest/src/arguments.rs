//! The command line.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use mailweir_smtp::address::{ClientName, Mailbox, ReversePath};

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
    /// Closed loop: each session sends its next message when the last one was answered.
    ///
    /// Exits with 0 when every message was taken, 1 when one was not, 2 when it could not begin.
    Send(SendArguments),
    /// A server that takes mail and gets rid of it, or fails as it is told, at next to no cost.
    Sink(SinkArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    /// The server, as host:port.
    pub(crate) server: String,
    /// Sessions at once, each with one connection.
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) sessions: NonZeroU32,
    /// Messages, all sessions together.
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) messages: NonZeroU64,
    /// Messages sent over one connection before QUIT; without a limit when not given.
    #[arg(long, value_name = "N")]
    pub(crate) messages_per_connection: Option<NonZeroU64>,
    /// Bytes of a generated message, header section and line ends included.
    #[arg(long, value_name = "BYTES", default_value = "4096", conflicts_with = "eml")]
    pub(crate) size: usize,
    /// Messages to send in turn instead of a generated one; LF line ends become CRLF.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) eml: Vec<PathBuf>,
    /// Recipients a message. With more than one, "-1", "-2" and so on are added to the local part of --to.
    // Pipelined all at once: more could fill the sockets' buffers both ways.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) recipients: u16,
    /// Send MAIL, RCPT and DATA in one write where the server offers PIPELINING (the default).
    #[arg(long, overrides_with = "no_pipelining", action = ArgAction::SetTrue)]
    pipelining: bool,
    /// Wait for each reply before the next command.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) no_pipelining: bool,
    /// Send with BDAT where the server offers CHUNKING.
    #[arg(long)]
    pub(crate) chunking: bool,
    /// The envelope sender; "" or "<>" for the null reverse-path.
    #[arg(long, value_name = "ADDRESS", default_value = "sender@load.example", value_parser = reverse_path)]
    pub(crate) from: ReversePath,
    /// The envelope recipient.
    #[arg(long, value_name = "ADDRESS", default_value = "recipient@load.example", value_parser = mailbox)]
    pub(crate) to: Mailbox,
    /// The name given in EHLO.
    #[arg(long, value_name = "NAME", default_value = "load.example", value_parser = client_name)]
    pub(crate) helo: ClientName,
    /// Seconds to wait for a connection or for the server to read or reply, before giving up.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Worker threads; as many as there are cores when not given.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU16>,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

fn reverse_path(text: &str) -> Result<ReversePath, String> {
    match text {
        "" | "<>" => Ok(ReversePath::Null),
        address => mailbox(address).map(ReversePath::Mailbox),
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text.as_bytes()).map_err(|error| error.to_string())
}

fn client_name(text: &str) -> Result<ClientName, String> {
    ClientName::parse(text.as_bytes()).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<SendArguments, clap::Error> {
        let words = ["mailweir-load", "send", "127.0.0.1:25"].iter().chain(words);
        match Arguments::try_parse_from(words)?.command {
            Command::Send(arguments) => Ok(arguments),
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
            assert_eq!(parse(words).unwrap().no_pipelining, off, "{words:?}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(parse(&["--from", "<>"]).unwrap().from, ReversePath::Null);
        for words in [["--from", "nobody"], ["--to", ""], ["--helo", "a b"], ["--timeout", "-1"], ["--sessions", "0"]] {
            parse(&words).unwrap_err();
        }
    }
}
