//! How upstreams answer.

use std::sync::Arc;
use std::time::Duration;

use super::primitive::{Counter, Histogram};
use super::text::Page;

/// What a route counts.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    seconds: [Histogram; Step::ALL.len()],
    relayed: [Counter; Relay::ALL.len()],
    connect_failures: Counter,
    full: Counter,
    reused: Counter,
}

/// What an upstream takes its time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Until the connection stands, EHLO and TLS included.
    Connect,
    /// From the end of a message to the reply.
    Message,
}

impl Step {
    const ALL: [(Self, &'static str); 2] = [(Self::Connect, "connect"), (Self::Message, "message")];
}

/// How relaying a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relay {
    /// 2xx to the end of data.
    Delivered,
    /// 4xx.
    Deferred,
    /// 5xx.
    Refused,
    /// The connection was lost before the final dot.
    Lost,
    /// The connection was lost after the final dot: nobody knows.
    InDoubt,
}

impl Relay {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Delivered, "delivered"),
        (Self::Deferred, "deferred"),
        (Self::Refused, "refused"),
        (Self::Lost, "lost"),
        (Self::InDoubt, "in_doubt"),
    ];
}

impl RouteMetrics {
    /// A connection to an upstream stands, EHLO and TLS included, after this long.
    pub fn connected(&self, took: Duration) {
        self.seconds[Step::Connect as usize].observe(took);
    }

    /// An upstream could not be connected to, or was no use as a mail server.
    pub fn connect_failed(&self) {
        self.connect_failures.add(1);
    }

    /// All connections that the route may have were in use for too long.
    pub fn full(&self) {
        self.full.add(1);
    }

    /// An idle connection was used again.
    pub fn reused(&self) {
        self.reused.add(1);
    }

    /// The upstream answered a message with this code, this long after its end was sent.
    pub fn answered(&self, code: u16, took: Duration) {
        self.seconds[Step::Message as usize].observe(took);
        let relay = match code {
            200..300 => Relay::Delivered,
            500.. => Relay::Refused,
            _ => Relay::Deferred,
        };
        self.relayed[relay as usize].add(1);
    }

    /// A connection was lost before the whole message had been sent.
    pub fn lost(&self) {
        self.relayed[Relay::Lost as usize].add(1);
    }

    /// A connection was lost after the whole message had been sent, and before the reply.
    pub fn lost_in_doubt(&self) {
        self.relayed[Relay::InDoubt as usize].add(1);
    }
}

pub(super) fn encode(page: &mut Page, routes: &[(String, Arc<RouteMetrics>)]) {
    page.family("mailweir_upstream_seconds", "histogram", "How long upstreams took.");
    for (name, metrics) in routes {
        for (step, label) in Step::ALL {
            let histogram = &metrics.seconds[step as usize];
            page.histogram("mailweir_upstream_seconds", &[("route", name), ("step", label)], histogram);
        }
    }
    page.family("mailweir_upstream_messages_total", "counter", "Messages relayed, by how it ended.");
    for (name, metrics) in routes {
        for (result, label) in Relay::ALL {
            let count = metrics.relayed[result as usize].value();
            page.sample("mailweir_upstream_messages_total", &[("route", name), ("result", label)], count);
        }
    }
    page.family("mailweir_upstream_connect_failures_total", "counter", "Connections to upstreams that failed.");
    for (name, metrics) in routes {
        let count = metrics.connect_failures.value();
        page.sample("mailweir_upstream_connect_failures_total", &[("route", name)], count);
    }
    page.family("mailweir_upstream_full_total", "counter", "Times that no connection came free under max_connections.");
    for (name, metrics) in routes {
        page.sample("mailweir_upstream_full_total", &[("route", name)], metrics.full.value());
    }
    page.family("mailweir_upstream_reused_total", "counter", "Times an idle connection was used again.");
    for (name, metrics) in routes {
        page.sample("mailweir_upstream_reused_total", &[("route", name)], metrics.reused.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_variant() {
        assert!(Step::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
        assert!(Relay::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
    }
}
