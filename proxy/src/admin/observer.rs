//! Counts the traffic with upstreams.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::Metrics;
use crate::upstream::Observer;

/// Gives what upstreams do to the metrics of their route.
pub struct RouteObserver(Arc<Metrics>);

impl RouteObserver {
    /// Counts in these metrics.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self(Arc::clone(metrics))
    }
}

impl Observer for RouteObserver {
    fn connected(&self, route: &str, took: Duration) {
        self.0.route(route).connected(took);
    }

    fn connect_failed(&self, route: &str) {
        self.0.route(route).connect_failed();
    }

    fn full(&self, route: &str) {
        self.0.route(route).full();
    }

    fn reused(&self, route: &str) {
        self.0.route(route).reused();
    }

    fn answered(&self, route: &str, code: u16, took: Duration) {
        self.0.route(route).answered(code, took);
    }

    fn lost(&self, route: &str, in_doubt: bool) {
        let metrics = self.0.route(route);
        if in_doubt {
            metrics.lost_in_doubt();
        } else {
            metrics.lost();
        }
    }
}
