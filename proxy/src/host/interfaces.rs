//! The interfaces of the contract: which there are, what each needs, and the host functions behind them.
//!
//! Every host function counts as a call, clamps the numbers that it is given, and copies no more into the sandbox
//! than was asked for. What goes wrong on our side ends the call; what a filter asked for in vain is an answer.

mod message;
mod observe;
mod scan;
mod dns;
mod authentication;
mod antivirus;
mod state;

use wasmtime::Engine;
use wasmtime::component::Linker;

use super::bindings::mailweir::filter as contract;
use super::context::{Context, HasContext};
use crate::config::Grant;

/// The package that this host serves.
pub(super) const PACKAGE: &str = "mailweir:filter@0.1.0";
/// What a filter exports.
pub(super) const HANDLER: &str = "mailweir:filter/handler@0.1.0";

/// Everything that can be granted.
pub(super) const ALL: [Grant; 5] = [Grant::Scan, Grant::Dns, Grant::Authentication, Grant::Antivirus, Grant::State];

/// What an import of a component is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Import {
    /// An interface that all filters have.
    Always,
    /// An interface that must be granted.
    Needs(Grant),
    /// Of the contract's package, but of a version that is not served.
    OtherVersion,
    /// Nothing of ours.
    Unknown,
}

impl Import {
    /// What the import of this name is.
    pub(super) fn of(name: &str) -> Self {
        let Some(name) = name.strip_prefix("mailweir:filter/") else { return Self::Unknown };
        let Some(interface) = name.strip_suffix("@0.1.0") else { return Self::OtherVersion };
        match interface {
            "types" | "message" | "observe" => Self::Always,
            "scan" => Self::Needs(Grant::Scan),
            "dns" => Self::Needs(Grant::Dns),
            "authentication" => Self::Needs(Grant::Authentication),
            "antivirus" => Self::Needs(Grant::Antivirus),
            "state" => Self::Needs(Grant::State),
            _ => Self::Unknown,
        }
    }
}

/// Whether this is the handler's interface, in any version.
pub(super) fn is_handler(name: &str) -> bool {
    name.starts_with("mailweir:filter/handler@")
}

/// A grant as it stands in the configuration.
pub(super) fn word(grant: Grant) -> &'static str {
    match grant {
        Grant::Scan => "scan",
        Grant::Dns => "dns",
        Grant::Authentication => "authentication",
        Grant::Antivirus => "antivirus",
        Grant::State => "state",
    }
}

/// A linker with what every filter has and what is granted: the rest is not there.
pub(super) fn linker(engine: &Engine, grants: &[Grant]) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    contract::message::add_to_linker::<_, HasContext>(&mut linker, |context| context)?;
    contract::observe::add_to_linker::<_, HasContext>(&mut linker, |context| context)?;
    let mut grants = grants.to_vec();
    grants.sort_unstable();
    grants.dedup();
    for grant in grants {
        match grant {
            Grant::Scan => contract::scan::add_to_linker::<_, HasContext>(&mut linker, |context| context)?,
            Grant::Dns => contract::dns::add_to_linker::<_, HasContext>(&mut linker, |context| context)?,
            Grant::Authentication => {
                contract::authentication::add_to_linker::<_, HasContext>(&mut linker, |context| context)?;
            }
            Grant::Antivirus => contract::antivirus::add_to_linker::<_, HasContext>(&mut linker, |context| context)?,
            Grant::State => contract::state::add_to_linker::<_, HasContext>(&mut linker, |context| context)?,
        }
    }
    Ok(linker)
}
