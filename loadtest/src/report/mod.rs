//! Results, for people and for programs.

pub(crate) mod model;
mod table;

pub(crate) use table::table;
