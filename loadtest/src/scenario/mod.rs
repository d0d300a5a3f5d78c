//! Scenarios: what is started, which loads run one after another and at once, and what is claimed of the outcome.

mod file;
mod bound;
mod claims;
mod processes;
mod servers;
mod run;

pub(crate) use run::run;
