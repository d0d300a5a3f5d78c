//! What a load is: the options of `send`, and the keys of a `[[step.load]]` table in a scenario.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, ValueEnum};
use mailweir_smtp::address::{ClientName, Mailbox, ReversePath};
use serde::{Deserialize, Deserializer};

use crate::sizes::Sizes;
use crate::units::{Rate, Size, Span, from_text};

/// How to send. The keys in a scenario are the long options with underscores; what is off by default is switched on with `true`.
#[derive(Debug, Clone, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoadOptions {
    /// In a scenario: what the load is called.
    #[arg(skip)]
    pub(crate) name: Option<String>,
    /// In a scenario: runs as long as the other loads of its step, and begins before them.
    #[arg(skip)]
    pub(crate) background: bool,
    /// Sessions at once, each with one connection; with --rate, the most there may be [default: 10, with --rate 200].
    #[arg(long, value_name = "N")]
    pub(crate) sessions: Option<NonZeroU32>,
    /// Messages, all sessions together [default: 1000, with --duration no limit].
    #[arg(long, value_name = "N")]
    pub(crate) messages: Option<NonZeroU64>,
    /// Begin no message after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<Span>,
    /// Open loop: begin so many messages a second whether or not the server keeps up.
    #[arg(long, value_name = "PER_SECOND", value_parser = per_second)]
    pub(crate) rate: Option<Rate>,
    /// How the messages of an open loop follow one another.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Reach the rate evenly within this time.
    #[arg(long, value_name = "TIME", requires = "rate")]
    pub(crate) ramp: Option<Span>,
    /// Begin the ramp with this rate.
    #[arg(long, value_name = "PER_SECOND", default_value = "0", requires = "ramp")]
    pub(crate) ramp_from: f64,
    /// After the end of an open loop, how long messages that wait for a connection are still sent.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(crate) drain: Span,
    /// Closed loop: pause between the messages of a session.
    #[arg(long, value_name = "TIME", conflicts_with = "rate")]
    pub(crate) think: Option<Span>,
    /// Messages sent over one connection before QUIT; without a limit when not given.
    #[arg(long, value_name = "N")]
    pub(crate) messages_per_connection: Option<NonZeroU64>,
    /// Bytes of a generated message, header section and line ends included: 4KiB, or lognormal:median=20KB,p99=1MB,max=30MB.
    #[arg(long, value_name = "SIZE", default_value = "4096", conflicts_with = "eml")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) size: Sizes,
    /// Messages to send in turn instead of a generated one, or folders of them; LF line ends become CRLF.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) eml: Vec<PathBuf>,
    /// Recipients a message. With more than one, "-1", "-2" and so on are added to the local part of --to.
    // Pipelined all at once: more could fill the sockets' buffers both ways.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    #[serde(deserialize_with = "recipients")]
    pub(crate) recipients: u16,
    /// Send MAIL, RCPT and DATA in one write where the server offers PIPELINING (the default).
    #[arg(long = "pipelining", overrides_with = "no_pipelining", action = ArgAction::SetTrue)]
    #[serde(skip)]
    pipelining: bool,
    /// Wait for each reply before the next command.
    #[arg(long, action = ArgAction::SetTrue)]
    #[serde(rename = "pipelining", deserialize_with = "off")]
    pub(crate) no_pipelining: bool,
    /// Send with BDAT where the server offers CHUNKING.
    #[arg(long)]
    pub(crate) chunking: bool,
    /// Encrypt: after STARTTLS, or from the first octet.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tls: TlsMode,
    /// Shake hands in full each time instead of resuming TLS sessions.
    #[arg(long, action = ArgAction::SetTrue)]
    #[serde(rename = "resumption", deserialize_with = "off")]
    pub(crate) no_resumption: bool,
    /// Check the server's certificate against those in a PEM file; without, any certificate will do.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The name that the certificate is checked for, and that is sent as SNI [default: the server's].
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Connect from these local addresses in turn: A, or a range A-B.
    #[arg(long, value_name = "ADDRESS", num_args = 1.., value_delimiter = ',')]
    pub(crate) bind: Vec<Sources>,
    /// Mark each message with its number and hash, so that a sink can tell whether one was lost, doubled or altered.
    #[arg(long)]
    pub(crate) proof: bool,
    /// Decides arrivals and sizes: the same seed gives the same ones.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Send nothing: hold the connections of all sessions open after EHLO, and open none again that ends.
    #[arg(long, conflicts_with_all = ["rate", "messages", "slow"])]
    pub(crate) idle: bool,
    /// Trickle: send so many octets a second.
    #[arg(long, value_name = "BYTES", conflicts_with = "rate")]
    pub(crate) slow: Option<Size>,
    /// What is trickled.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) slow_part: SlowPart,
    /// The envelope sender; "" or "<>" for the null reverse-path.
    #[arg(long, value_name = "ADDRESS", default_value = "sender@load.example", value_parser = reverse_path)]
    #[serde(deserialize_with = "sender")]
    pub(crate) from: ReversePath,
    /// The envelope recipient.
    #[arg(long, value_name = "ADDRESS", default_value = "recipient@load.example", value_parser = mailbox)]
    #[serde(deserialize_with = "recipient")]
    pub(crate) to: Mailbox,
    /// The name given in EHLO.
    #[arg(long, value_name = "NAME", default_value = "load.example", value_parser = client_name)]
    #[serde(deserialize_with = "client")]
    pub(crate) helo: ClientName,
    /// How long to wait for a connection or for the server to read or reply, before giving up.
    #[arg(long, value_name = "TIME", default_value = "60")]
    pub(crate) timeout: Span,
}

/// How arrivals are spread in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Each without regard to the others, as clients that know nothing of one another.
    #[default]
    Poisson,
    /// At even distances.
    Uniform,
}

/// Whether and how connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsMode {
    #[default]
    Off,
    Starttls,
    Implicit,
}

/// What a slow sender trickles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SlowPart {
    Commands,
    #[default]
    Data,
}

/// Local addresses: one, or a range of IPv4 addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources(pub(crate) Vec<IpAddr>);

/// A range of source addresses has no use for more.
const MOST_SOURCES: u32 = 65_536;

impl Default for LoadOptions {
    /// What the command line means when nothing is on it.
    fn default() -> Self {
        use clap::Parser;
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            options: LoadOptions,
        }
        Defaults::parse_from(["defaults"]).options
    }
}

impl LoadOptions {
    /// The most at once.
    pub(crate) fn connections(&self) -> u64 {
        let usual = if self.rate.is_some() { 200 } else { 10 };
        self.sessions.map_or(usual, |sessions| sessions.get().into())
    }
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |address: &str| format!("{address:?} is no address");
        let Some((first, last)) = text.split_once('-') else {
            return Ok(Self(vec![text.parse().map_err(|_| wrong(text))?]));
        };
        let number = |address: &str| address.parse().map(|address: std::net::Ipv4Addr| u32::from(address));
        let first = number(first).map_err(|_| wrong(first))?;
        let last = number(last).map_err(|_| wrong(last))?;
        if first > last || last - first >= MOST_SOURCES {
            return Err(format!("{text:?} is no range of 1 to {MOST_SOURCES} addresses"));
        }
        Ok(Self((first..=last).map(|number| IpAddr::V4(number.into())).collect()))
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

fn per_second(text: &str) -> Result<Rate, String> {
    match text.parse()? {
        Rate::Times { .. } => Err("a multiple is for scenarios, where there is an earlier step".to_owned()),
        rate => Ok(rate),
    }
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

/// A string of a scenario, read as the command line reads it.
fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn sender<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReversePath, D::Error> {
    parsed(deserializer, reverse_path)
}

fn recipient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mailbox, D::Error> {
    parsed(deserializer, mailbox)
}

fn client<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClientName, D::Error> {
    parsed(deserializer, client_name)
}

fn recipients<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let count = u16::deserialize(deserializer)?;
    if (1..=1000).contains(&count) { Ok(count) } else { Err(serde::de::Error::custom("from 1 to 1000 recipients")) }
}

/// A key that is on unless it says `false`, kept as what switches it off.
fn off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    bool::deserialize(deserializer).map(|on| !on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_one_by_one_or_as_ranges() {
        let addresses = |text: &str| text.parse::<Sources>().map(|sources| sources.0.len());
        assert_eq!(addresses("127.0.0.9"), Ok(1));
        assert_eq!(addresses("::1"), Ok(1));
        assert_eq!(addresses("127.0.0.250-127.0.1.5"), Ok(12));
        for text in ["", "127.0.0.1-", "127.0.0.2-127.0.0.1", "0.0.0.0-255.255.255.255", "::1-::2"] {
            addresses(text).unwrap_err();
        }
    }

    #[test]
    fn keys_of_a_scenario_are_options() {
        let options: LoadOptions = toml::from_str(
            "rate = 500\nsize = \"lognormal:median=20KB,sigma=1,max=1MB\"\nduration = \"10s\"\npipelining = false\n\
             tls = \"starttls\"\nbind = [\"127.0.0.1-127.0.0.4\"]\nfrom = \"<>\"\ntimeout = 5",
        )
        .unwrap();
        assert_eq!(options.rate, Some(Rate::PerSecond(500.0)));
        assert!(options.no_pipelining && !options.no_resumption);
        assert_eq!((options.tls, options.bind[0].0.len(), options.from), (TlsMode::Starttls, 4, ReversePath::Null));
        assert_eq!(options.timeout, "5s".parse().unwrap());
        for (line, error) in [
            ("sise = 1", "unknown field `sise`"),
            ("size = \"many\"", "\"many\" is no size"),
            ("tls = \"on\"", "unknown variant `on`"),
            ("recipients = 0", "from 1 to 1000 recipients"),
            ("to = \"nobody\"", ""),
        ] {
            let found = toml::from_str::<LoadOptions>(line).unwrap_err().to_string();
            assert!(found.contains(error) && found.contains(line), "{found}");
        }
    }
}
