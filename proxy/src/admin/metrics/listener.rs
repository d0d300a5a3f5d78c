//! Connections and messages of a listener.

use std::sync::Arc;

use super::primitive::{Counter, Gauge};
use super::text::Page;
use crate::listener::Stress;

/// What a listener counts.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    connections: Counter,
    active: Gauge,
    refused: [Counter; Refusal::ALL.len()],
    stressed: Gauge,
    /// Under no stress, and under stress.
    timed_out: [Counter; 2],
    limits: [Counter; Limit::ALL.len()],
    messages: [Counter; MessageOutcome::ALL.len()],
    bytes: Counter,
    tls: [Counter; TlsOutcome::ALL.len()],
    content: [Counter; CONTENT.len()],
}

/// An open connection; it counts as active until dropped.
#[derive(Debug)]
pub struct Connection(Arc<ListenerMetrics>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.active.decrement();
    }
}

/// Why a connection was turned away before its first command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.connections`
    Connections,
    /// `limits.connections_per_ip`
    ConnectionsPerIp,
    /// No PROXY protocol header where one is required, a broken one, or a peer that is not believed.
    ProxyProtocol,
    /// The process drains.
    Draining,
}

impl Refusal {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Connections, "connections"),
        (Self::ConnectionsPerIp, "connections_per_ip"),
        (Self::ProxyProtocol, "proxy_protocol"),
        (Self::Draining, "draining"),
    ];
}

/// A limit of `[listener.NAME.limits]` that a session ran into after its greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `command_timeout`
    CommandTimeout,
    /// `data_timeout`
    DataTimeout,
    /// `errors`
    Errors,
    /// `messages`
    Messages,
    /// `recipients`: each one that was refused.
    Recipients,
    /// `message_size`, at the end of a message.
    MessageSize,
    /// `hops`
    Hops,
}

impl Limit {
    const ALL: [(Self, &'static str); 7] = [
        (Self::CommandTimeout, "command_timeout"),
        (Self::DataTimeout, "data_timeout"),
        (Self::Errors, "errors"),
        (Self::Messages, "messages"),
        (Self::Recipients, "recipients"),
        (Self::MessageSize, "message_size"),
        (Self::Hops, "hops"),
    ];
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The upstream has it.
    Delivered,
    /// 5xx, by a filter or by us.
    Rejected,
    /// 4xx, by a filter or by us.
    TempFailed,
    /// 250, and dropped.
    Discarded,
    /// 250, and kept in the quarantine.
    Quarantined,
    /// The upstream's 4xx or 5xx was handed on.
    UpstreamRefused,
    /// The client left in the middle.
    Aborted,
}

impl MessageOutcome {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Delivered, "deliver"),
        (Self::Rejected, "reject"),
        (Self::TempFailed, "tempfail"),
        (Self::Discarded, "discard"),
        (Self::Quarantined, "quarantine"),
        (Self::UpstreamRefused, "upstream_refused"),
        (Self::Aborted, "aborted"),
    ];

    /// The label's value, which is the word in the message's log line too.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What can be odd about a message's content: values of the tag `mailweir-content`.
const CONTENT: [&str; 5] = ["ambiguous", "damaged", "encrypted", "unsupported", "excess"];

/// How a TLS handshake with a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOutcome {
    /// A new session.
    Established,
    /// A resumed one.
    Resumed,
    /// It failed.
    Failed,
}

impl TlsOutcome {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Established, "established"), (Self::Resumed, "resumed"), (Self::Failed, "failed")];
}

impl ListenerMetrics {
    /// A connection was accepted.
    pub fn connection(self: &Arc<Self>) -> Connection {
        self.connections.add(1);
        self.active.increment();
        Connection(Arc::clone(self))
    }

    /// A connection was turned away.
    pub fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].add(1);
    }

    /// Stress began or ended.
    pub fn stressed(&self, stress: Stress) {
        self.stressed.set(stress as u64);
    }

    /// A client said nothing for as long as it may.
    pub fn timed_out(&self, stress: Stress) {
        self.timed_out[stress as usize].add(1);
    }

    /// A session ran into a limit, so often.
    pub fn over_limit(&self, limit: Limit, times: u64) {
        self.limits[limit as usize].add(times);
    }

    /// A message ended, having brought this many bytes.
    pub fn message(&self, outcome: MessageOutcome, bytes: u64) {
        self.messages[outcome as usize].add(1);
        self.bytes.add(bytes);
    }

    /// A message was tagged with this for its content.
    pub fn content(&self, mark: &str) {
        if let Some(index) = CONTENT.iter().position(|known| *known == mark) {
            self.content[index].add(1);
        }
    }

    /// A TLS handshake ended.
    pub fn tls(&self, outcome: TlsOutcome) {
        self.tls[outcome as usize].add(1);
    }

    /// Connections open now.
    pub fn active(&self) -> u64 {
        self.active.value()
    }
}

pub(super) fn encode(page: &mut Page, listeners: &[(String, Arc<ListenerMetrics>)]) {
    page.family("mailweir_connections_total", "counter", "Connections accepted.");
    for (name, metrics) in listeners {
        page.sample("mailweir_connections_total", &[("listener", name)], metrics.connections.value());
    }
    page.family("mailweir_connections", "gauge", "Connections open.");
    for (name, metrics) in listeners {
        page.sample("mailweir_connections", &[("listener", name)], metrics.active.value());
    }
    page.family("mailweir_connections_refused_total", "counter", "Connections turned away.");
    for (name, metrics) in listeners {
        for (refusal, reason) in Refusal::ALL {
            let count = metrics.refused[refusal as usize].value();
            page.sample("mailweir_connections_refused_total", &[("listener", name), ("reason", reason)], count);
        }
    }
    page.family("mailweir_listener_stressed", "gauge", "1 while nearly all connections are taken.");
    for (name, metrics) in listeners {
        page.sample("mailweir_listener_stressed", &[("listener", name)], metrics.stressed.value());
    }
    page.family("mailweir_connections_timed_out_total", "counter", "Connections ended because nothing came.");
    for (name, metrics) in listeners {
        for (count, stressed) in metrics.timed_out.iter().zip(["false", "true"]) {
            let labels = [("listener", name.as_str()), ("stressed", stressed)];
            page.sample("mailweir_connections_timed_out_total", &labels, count.value());
        }
    }
    page.family("mailweir_limits_reached_total", "counter", "Sessions that ran into a limit, by its key.");
    for (name, metrics) in listeners {
        for (limit, key) in Limit::ALL {
            let count = metrics.limits[limit as usize].value();
            page.sample("mailweir_limits_reached_total", &[("listener", name), ("limit", key)], count);
        }
    }
    page.family("mailweir_messages_total", "counter", "Messages, by what became of them.");
    for (name, metrics) in listeners {
        for (outcome, verdict) in MessageOutcome::ALL {
            let count = metrics.messages[outcome as usize].value();
            page.sample("mailweir_messages_total", &[("listener", name), ("verdict", verdict)], count);
        }
    }
    page.family("mailweir_message_bytes_total", "counter", "Bytes of messages received.");
    for (name, metrics) in listeners {
        page.sample("mailweir_message_bytes_total", &[("listener", name)], metrics.bytes.value());
    }
    page.family("mailweir_message_content_total", "counter", "Messages whose content is odd, by how.");
    for (name, metrics) in listeners {
        for (content, counter) in CONTENT.iter().zip(&metrics.content) {
            page.sample("mailweir_message_content_total", &[("listener", name), ("content", content)], counter.value());
        }
    }
    page.family("mailweir_tls_handshakes_total", "counter", "TLS handshakes with clients.");
    for (name, metrics) in listeners {
        for (outcome, result) in TlsOutcome::ALL {
            let count = metrics.tls[outcome as usize].value();
            page.sample("mailweir_tls_handshakes_total", &[("listener", name), ("result", result)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_variant() {
        assert!(Refusal::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
        assert!(Limit::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
        assert!(MessageOutcome::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
        assert!(TlsOutcome::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
    }
}
