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

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// All of them.
pub(super) const SCENARIOS: &[Scenario] = {
    use Connections::{OneEach, Reused};
    use Content::Generated;
    &[
        plain("4k-reused", Generated(4 * KIB), Reused, 8000),
        plain("4k-single", Generated(4 * KIB), OneEach, 4000),
        plain("64k-reused", Generated(64 * KIB), Reused, 4000),
        plain("1m-reused", Generated(MIB), Reused, 400),
    ]
};

const fn plain(name: &'static str, content: Content, connections: Connections, messages: u32) -> Scenario {
    Scenario { name, content, connections, tls: false, filters: false, messages }
}
