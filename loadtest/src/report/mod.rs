//! Results, for people and for programs.

pub(crate) mod model;
pub(crate) mod live;
mod output;
mod figures;
mod table;
mod html;

pub(crate) use figures::latency;
use html::html;
pub(crate) use output::Output;
use table::table;
