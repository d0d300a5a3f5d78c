//! Results, for people and for programs.

pub(crate) mod model;
pub(crate) mod live;
mod table;

pub(crate) use table::table;
