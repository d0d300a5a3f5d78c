//! Running a transaction through the filters of its chain: which is called when, and what follows from what they say.
//!
//! A chain belongs to a generation of the configuration and is shared by its transactions; `Run` is one transaction's
//! way through it. Nothing here speaks SMTP or touches a socket.

mod run;
mod seat;
mod merge;
mod envelope;
mod breaker;

use std::sync::Arc;

use crate::config::Grant;
use crate::host::{BodyMode, Phases, Plugin};

use breaker::Breaker;

pub use envelope::Envelope;
pub use merge::{CONTENT, Conclusion, Disposition, PluginRecord, Refusal, Ruling};
pub use run::Run;

/// The filters of one `[chain.NAME]`, in order.
pub struct Chain {
    name: String,
    links: Vec<Breaker>,
    phases: Phases,
}

impl Chain {
    /// A chain of these filters; `previous` is the chain of the same name in the generation before, whose versions are
    /// fallen back on when the new ones keep failing.
    pub fn new(name: &str, plugins: impl IntoIterator<Item = Plugin>, previous: Option<&Self>) -> Arc<Self> {
        let links: Vec<Breaker> = plugins
            .into_iter()
            .map(|plugin| {
                let before = previous.and_then(|chain| chain.link(plugin.name()));
                let last_good = before.and_then(|link| link.fallback_for(&plugin)).cloned();
                Breaker::new(plugin, last_good)
            })
            .collect();
        let phases = links
            .iter()
            .flat_map(|link| [Some(link.current()), link.last_good()])
            .flatten()
            .fold(Phases::empty(), |phases, plugin| phases | plugin.plan().phases);
        Arc::new(Self { name: name.to_owned(), links, phases })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has no filters.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The phases that at least one filter asked for.
    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// Whether a filter may ask for a virus scan, so that it pays to begin one while the message arrives.
    pub fn scans_for_viruses(&self) -> bool {
        self.is_granted(Grant::Antivirus)
    }

    /// Whether a filter may check signatures, so that it pays to hash the body while the message arrives.
    pub fn checks_signatures(&self) -> bool {
        self.is_granted(Grant::Authentication)
    }

    fn is_granted(&self, grant: Grant) -> bool {
        self.links.iter().any(|link| link.plugin().grants().contains(&grant))
    }

    fn link(&self, name: &str) -> Option<&Breaker> {
        self.links.iter().find(|link| link.current().name() == name)
    }
}

/// Whether raw bytes can be pushed to each of these filters while they arrive: it wants them, and no filter before it may
/// edit the message.
fn pushes_early<'a>(plugins: impl Iterator<Item = &'a Plugin>) -> Vec<bool> {
    let mut edited_before = false;
    plugins
        .map(|plugin| {
            let plan = plugin.plan();
            let early = plan.body == BodyMode::PushRaw && plan.phases.contains(Phases::BODY) && !edited_before;
            edited_before |= plan.edits;
            early
        })
        .collect()
}
