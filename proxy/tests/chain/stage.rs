//! Where the filters play: chains of scripted filters, and transactions through them.

use std::sync::Arc;

use bytes::Bytes;
use mailweir::chain::{Chain, Conclusion, Disposition, Envelope, PluginRecord, Refusal, Ruling, Run};
use mailweir::config::{self, Effect};
use mailweir::host::Plugin;
use mailweir::message::{DecodingLimits, Message, MessageLimits};

use crate::guests;
use crate::script::guest;
use crate::support::{Bench, facts};

pub(crate) const MESSAGE: &[u8] = b"From: a@example.com\r\nSubject: first\r\n\r\nHello\r\n";

/// A host, and chains of filters in it.
pub(crate) struct Stage {
    pub(crate) bench: Bench,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { bench: Bench::new() }
    }

    /// A filter: a script, or the name of a guest that has a file.
    pub(crate) async fn filter(&self, name: &str, script: &str) -> Plugin {
        self.filter_with(name, script, |_| {}).await
    }

    pub(crate) async fn filter_with(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut config::Plugin),
    ) -> Plugin {
        let component = if script.contains(": ") {
            guests::component_of(script, &guest(script))
        } else {
            guests::component(script)
        };
        let mut plugin = self.bench.file(name, &component);
        change(&mut plugin);
        self.bench.host.load(name, &plugin).await.unwrap()
    }

    /// One whose every failure has this effect.
    pub(crate) async fn failing(&self, name: &str, script: &str, effect: Effect) -> Plugin {
        let on_error = config::OnError { trap: effect, timeout: effect, memory: effect, unavailable: effect };
        self.filter_with(name, script, |plugin| plugin.on_error = on_error).await
    }

    /// Filters that are called by their place: a, b, c ...
    pub(crate) async fn chain(&self, scripts: &[&str]) -> Arc<Chain> {
        let mut plugins = Vec::new();
        for (name, script) in ["a", "b", "c", "d"].into_iter().zip(scripts) {
            plugins.push(self.filter(name, script).await);
        }
        Chain::new("chain", plugins, None)
    }

    pub(crate) async fn run(&self, scripts: &[&str]) -> Run {
        self.start(&self.chain(scripts).await)
    }

    pub(crate) fn start(&self, chain: &Arc<Chain>) -> Run {
        Run::new(Arc::clone(chain), facts(), self.bench.evaluation())
    }

    /// How often a filter was called in a phase; `phase` as in the contract, with underscores.
    pub(crate) fn calls(&self, filter: &str, phase: &str) -> u64 {
        let events = self.bench.host.events();
        let found = events.into_iter().find(|(plugin, event, _)| plugin == filter && event == phase);
        found.map_or(0, |(_, _, count)| count)
    }

    /// All calls of a filter.
    pub(crate) fn all_calls(&self, filter: &str) -> u64 {
        let events = self.bench.host.events();
        events.into_iter().filter(|(plugin, ..)| plugin == filter).map(|(_, _, count)| count).sum()
    }
}

pub(crate) fn message(bytes: &[u8]) -> Message {
    let limits = MessageLimits {
        header_size: 1 << 20,
        header_fields: 1000,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    Message::from_bytes(Bytes::copy_from_slice(bytes), limits).unwrap()
}

pub(crate) fn envelope() -> Envelope {
    Envelope { sender: "a@example.com".to_owned(), recipients: vec!["b@example.net".to_owned()] }
}

/// The end of [`MESSAGE`].
pub(crate) async fn end(run: &mut Run) -> Conclusion {
    run.end(message(MESSAGE), envelope(), None).await
}

pub(crate) fn record(run: &Run, name: &str) -> PluginRecord {
    run.records().into_iter().find(|record| record.name == name).unwrap().into_owned()
}

/// A ruling in a few words: "on", or the reply's code and "close".
pub(crate) fn ruled(ruling: Ruling) -> String {
    match ruling {
        Ruling::Continue => "on".to_owned(),
        Ruling::Refuse(refusal) => refused(&refusal),
    }
}

/// A disposition in a few words.
pub(crate) fn disposed(conclusion: &Conclusion) -> String {
    match &conclusion.disposition {
        Disposition::Deliver { route: None } => "deliver".to_owned(),
        Disposition::Deliver { route: Some(route) } => format!("deliver through {route}"),
        Disposition::Refuse(refusal) => refused(refusal),
        Disposition::Discard => "discard".to_owned(),
        Disposition::Quarantine { plugin, reason } => format!("quarantine of {plugin}: {reason}"),
    }
}

fn refused(refusal: &Refusal) -> String {
    let close = if refusal.disconnect { " and close" } else { "" };
    format!("{}{close}", refusal.reply.code())
}
