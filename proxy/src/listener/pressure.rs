//! Stress: a listener with hardly a place left waits less long, so that those who hold places and do nothing with them
//! do not keep the others out. Postfix knows the same as its stress-adaptive behaviour.

use tokio::sync::watch;

/// Tenths of a listener's connections at which stress begins, and below which it ends. Apart, so that it does not begin
/// and end with each connection.
const BEGINS: usize = 9;
const ENDS: usize = 8;

/// How full a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stress {
    /// There is room.
    #[default]
    None,
    /// Nine tenths of `limits.connections` are taken.
    NearlyFull,
}

/// A listener's stress, kept by its connection cap.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauge {
    stress: watch::Sender<Stress>,
}

/// A view of a listener's stress.
#[derive(Debug, Clone)]
pub struct Pressure {
    stress: watch::Receiver<Stress>,
}

impl Gauge {
    /// There are so many connections now, of so many that there may be.
    pub(super) fn set(&self, connections: usize, limit: usize) {
        self.stress.send_if_modified(|stress| {
            let threshold = match *stress {
                Stress::None => BEGINS,
                Stress::NearlyFull => ENDS,
            };
            // A cap of a few connections is meant to be used up.
            let is_full = limit >= 10 && connections.saturating_mul(10) >= limit.saturating_mul(threshold);
            let now = if is_full { Stress::NearlyFull } else { Stress::None };
            std::mem::replace(stress, now) != now
        });
    }

    pub(super) fn watch(&self) -> Pressure {
        Pressure { stress: self.stress.subscribe() }
    }
}

impl Pressure {
    /// Now.
    pub fn now(&self) -> Stress {
        *self.stress.borrow()
    }

    /// Returns when it is no longer as it was.
    pub async fn changed(&mut self, from: Stress) {
        if self.stress.wait_for(|stress| *stress != from).await.is_err() {
            // The listener is gone, and nobody counts its connections any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stress_begins_when_it_is_nearly_full_and_ends_a_little_later() {
        let gauge = Gauge::default();
        let mut pressure = gauge.watch();
        for (connections, expected) in [
            (89, Stress::None),
            (90, Stress::NearlyFull),
            (100, Stress::NearlyFull),
            (80, Stress::NearlyFull),
            (79, Stress::None),
            (89, Stress::None),
            (90, Stress::NearlyFull),
        ] {
            gauge.set(connections, 100);
            assert_eq!(pressure.now(), expected, "{connections}");
        }
        pressure.changed(Stress::None).await;
        gauge.set(usize::MAX, usize::MAX);
        gauge.set(1, 1);
        assert_eq!(pressure.now(), Stress::None, "one place that is taken is no stress");
    }
}
