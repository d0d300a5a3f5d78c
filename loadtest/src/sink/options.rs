//! What a sink is told: by arguments, or in a scenario's file by the same names and in the same words.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use clap::Args;
use mailweir_smtp::extension::Extensions;
use serde::Deserialize;

use crate::units::Size;

use super::faults::{Faults, PhaseDelay, PhaseRate};

/// `mailweir-load sink`.
#[derive(Debug, Args)]
pub(crate) struct SinkArguments {
    /// Addresses to listen on.
    #[arg(long, value_name = "ADDRESS", num_args = 1.., required = true)]
    pub(crate) listen: Vec<SocketAddr>,
    #[command(flatten)]
    pub(crate) behaviour: Behaviour,
    /// End when so many messages were taken.
    #[arg(long, value_name = "N")]
    pub(crate) max: Option<NonZeroU64>,
    /// Write the counts and the proofs to this file, on SIGUSR1 and at the end; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// No live line.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// How a sink behaves.
#[derive(Debug, Clone, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Behaviour {
    /// What the sink calls itself.
    #[arg(long, value_name = "NAME", default_value = "sink.example")]
    pub(crate) name: String,
    /// Threads that serve.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) threads: NonZeroU16,
    /// Look at no content: proofs are not checked.
    #[arg(long, conflicts_with = "store")]
    pub(crate) discard: bool,
    /// Keep each message in a file of this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) store: Option<PathBuf>,
    /// The extensions that EHLO offers; "none" for none.
    #[arg(
        long,
        value_name = "KEYWORD",
        value_delimiter = ',',
        default_value = "pipelining,8bitmime,smtputf8,chunking,enhancedstatuscodes,dsn,size"
    )]
    pub(crate) offer: Vec<Keyword>,
    /// The largest message, announced with SIZE; 0 for no limit.
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub(crate) size: Size,
    /// Offer STARTTLS, with a certificate made for the occasion unless one is given.
    #[arg(long)]
    pub(crate) starttls: bool,
    /// Speak TLS from the first octet on, with such a certificate.
    #[arg(long, conflicts_with = "starttls")]
    pub(crate) implicit_tls: bool,
    /// The certificate for TLS, a PEM file.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Answer 4xx so often, as in rcpt=0.1,end=0.01. Phases: greeting, hello, mail, rcpt, data, end.
    #[arg(long, value_name = "PHASE=RATE", value_delimiter = ',')]
    pub(crate) tempfail: Vec<PhaseRate>,
    /// Answer 5xx so often.
    #[arg(long, value_name = "PHASE=RATE", value_delimiter = ',')]
    pub(crate) reject: Vec<PhaseRate>,
    /// Drop the connection so often instead of answering; in phase data, when the content begins to arrive.
    #[arg(long, value_name = "PHASE=RATE", value_delimiter = ',')]
    pub(crate) drop: Vec<PhaseRate>,
    /// Hold back replies, as in end=5ms, or log-normal around a median of 20 ms end=20ms~0.5, or of some only mail=2s@0.01.
    #[arg(long, value_name = "PHASE=DELAY", value_delimiter = ',')]
    pub(crate) delay: Vec<PhaseDelay>,
    /// Of the dice for all that. Each connection has its own, by its number.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
}

/// An extension that can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub(crate) enum Keyword {
    None,
    Pipelining,
    #[serde(rename = "8bitmime")]
    #[value(name = "8bitmime")]
    EightBitMime,
    SmtpUtf8,
    Chunking,
    BinaryMime,
    EnhancedStatusCodes,
    Dsn,
    Size,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            name: "sink.example".to_owned(),
            threads: NonZeroU16::MIN,
            discard: false,
            store: None,
            offer: vec![
                Keyword::Pipelining,
                Keyword::EightBitMime,
                Keyword::SmtpUtf8,
                Keyword::Chunking,
                Keyword::EnhancedStatusCodes,
                Keyword::Dsn,
                Keyword::Size,
            ],
            size: Size(0),
            starttls: false,
            implicit_tls: false,
            certificate: None,
            key: None,
            tempfail: Vec::new(),
            reject: Vec::new(),
            drop: Vec::new(),
            delay: Vec::new(),
            seed: 0,
        }
    }
}

impl Behaviour {
    /// # Errors
    ///
    /// What cannot be meant.
    pub(super) fn faults(&self) -> Result<Faults, String> {
        Faults::new(&self.tempfail, &self.reject, &self.drop, &self.delay)
    }

    pub(super) fn extensions(&self) -> Extensions {
        let mut offer = Extensions { start_tls: self.offers_tls(), ..Extensions::default() };
        for keyword in &self.offer {
            match keyword {
                Keyword::None => {}
                Keyword::Pipelining => offer.pipelining = true,
                Keyword::EightBitMime => offer.eight_bit_mime = true,
                Keyword::SmtpUtf8 => offer.smtp_utf8 = true,
                Keyword::Chunking => offer.chunking = true,
                Keyword::BinaryMime => offer.binary_mime = true,
                Keyword::EnhancedStatusCodes => offer.enhanced_status_codes = true,
                Keyword::Dsn => offer.dsn = true,
                Keyword::Size => offer.size = Some(self.size.0),
            }
        }
        offer
    }

    /// Whether STARTTLS is offered.
    pub(super) fn offers_tls(&self) -> bool {
        !self.implicit_tls && (self.starttls || self.certificate.is_some())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: SinkArguments,
    }

    fn parse(line: &str) -> Behaviour {
        let words = ["sink", "--listen", "127.0.0.1:0"].into_iter().chain(line.split_ascii_whitespace());
        Line::try_parse_from(words).unwrap().arguments.behaviour
    }

    #[test]
    fn arguments_and_files_say_the_same() {
        for (line, file) in [
            ("", ""),
            ("--offer none --seed 3", "offer = [\"none\"]\nseed = 3"),
            ("--offer 8bitmime,smtputf8,size --size 100", "offer = [\"8bitmime\", \"smtputf8\", \"size\"]\nsize = 100"),
            (
                "--tempfail rcpt=0.1,end=1 --delay end=5ms~0.5@0.1",
                "tempfail = [\"rcpt=0.1\", \"end=1\"]\ndelay = [\"end=5ms~0.5@0.1\"]",
            ),
            ("--discard --threads 2 --starttls", "discard = true\nthreads = 2\nstarttls = true"),
        ] {
            let file: Behaviour = toml::from_str(file).unwrap();
            assert_eq!(format!("{file:?}"), format!("{:?}", parse(line)));
        }
        toml::from_str::<Behaviour>("tempfail = [\"never=1\"]").unwrap_err();
        toml::from_str::<Behaviour>("nonsense = 1").unwrap_err();
    }
}
