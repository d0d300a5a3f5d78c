//! What is sent: each scenario is a line of data.

/// How mail is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) content: Content,
    pub(super) connections: Connections,
    /// Whether the client says STARTTLS.
    pub(super) tls: bool,
    /// Whether servers look at what they pass on.
    pub(super) filters: bool,
    /// How many messages make a sample, for servers that are as fast as a TCP proxy.
    pub(super) messages: u32,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// So many bytes of text, as the generator makes them.
    Generated(u32),
    /// About so many bytes: unsigned text without links.
    Plain(u32),
    /// About so many bytes: a DKIM-signed MIME message with 16 links to 8 domains.
    Signed(u32),
}

/// How messages share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connections {
    /// Each session sends all its messages over one.
    Reused,
    /// A new one for each message, TLS sessions resumed where there are any.
    OneEach,
    /// A new one for each message, each with a full handshake.
    OneEachUnresumed,
}

/// Bytes.
const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

impl Scenario {
    /// Nothing is sent after EHLO.
    pub(super) const IDLE: Self = plain("EHLO", Content::Generated(0), Connections::Reused, 0);
    /// Nothing is sent after STARTTLS and another EHLO.
    pub(super) const IDLE_TLS: Self = tls("STARTTLS", Content::Generated(0), Connections::Reused, 0);
}

impl Content {
    /// Bytes, about.
    pub(super) const fn size(self) -> u32 {
        match self {
            Self::Generated(size) | Self::Plain(size) | Self::Signed(size) => size,
        }
    }
}

/// All of them.
pub(super) const SCENARIOS: &[Scenario] = {
    use Connections::{OneEach, OneEachUnresumed, Reused};
    use Content::{Generated, Plain, Signed};
    &[
        plain("4k-reused", Generated(4 * KIB), Reused, 6000),
        plain("4k-single", Generated(4 * KIB), OneEach, 3000),
        plain("64k-reused", Generated(64 * KIB), Reused, 2000),
        plain("1m-reused", Generated(MIB), Reused, 200),
        tls("tls-4k-reused", Generated(4 * KIB), Reused, 4000),
        tls("tls-4k-resumed", Generated(4 * KIB), OneEach, 1500),
        tls("tls-4k-single", Generated(4 * KIB), OneEachUnresumed, 1500),
        tls("tls-64k-reused", Generated(64 * KIB), Reused, 2000),
        tls("tls-1m-reused", Generated(MIB), Reused, 200),
        filters("filters-plain-4k-reused", Plain(4 * KIB), Reused, 4000),
        filters("filters-plain-1m-reused", Plain(MIB), Reused, 200),
        filters("filters-signed-4k-reused", Signed(4 * KIB), Reused, 3000),
        filters("filters-signed-4k-single", Signed(4 * KIB), OneEach, 2000),
        filters("filters-signed-64k-reused", Signed(64 * KIB), Reused, 1500),
    ]
};

const fn plain(name: &'static str, content: Content, connections: Connections, messages: u32) -> Scenario {
    Scenario { name, content, connections, tls: false, filters: false, messages }
}

const fn tls(name: &'static str, content: Content, connections: Connections, messages: u32) -> Scenario {
    Scenario { tls: true, ..plain(name, content, connections, messages) }
}

const fn filters(name: &'static str, content: Content, connections: Connections, messages: u32) -> Scenario {
    Scenario { filters: true, ..plain(name, content, connections, messages) }
}
