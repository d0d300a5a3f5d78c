//! /health, /ready and /metrics.

pub mod metrics;
mod observer;
mod server;

pub use observer::RouteObserver;
pub use server::{Readiness, serve};
