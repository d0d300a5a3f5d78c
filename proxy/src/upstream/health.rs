//! Which hosts failed lately, so that others are tried before them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::UpstreamHost;

/// How long a host is put last after its first failure; doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// And at the most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Hosts remembered; mail exchangers of the whole world pass through one route.
const REMEMBERED: usize = 4096;

/// The hosts of one route that do not answer.
///
/// A host in its backoff is tried all the same when no other is left: a message that could be delivered is worth more
/// than the time a client waits.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: Mutex<HashMap<UpstreamHost, Failing>>,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    failures: u32,
    until: Instant,
}

impl Health {
    /// A host did not answer, or not as a mail server should.
    pub(super) fn failed(&self, host: &UpstreamHost, now: Instant) {
        let mut failing = self.lock();
        if failing.len() >= REMEMBERED {
            failing.retain(|_, failing| failing.until > now);
        }
        if failing.len() >= REMEMBERED && !failing.contains_key(host) {
            return;
        }
        let entry = failing.entry(host.clone()).or_insert(Failing { failures: 0, until: now });
        // Many sessions find out at the same time that a host is gone; together they count once.
        if entry.failures > 0 && entry.until > now {
            return;
        }
        entry.failures += 1;
        let backoff = FIRST_BACKOFF.saturating_mul(1 << (entry.failures - 1).min(16)).min(LONGEST_BACKOFF);
        entry.until = now + backoff;
    }

    /// A host answered.
    pub(super) fn succeeded(&self, host: &UpstreamHost) {
        let mut failing = self.lock();
        if !failing.is_empty() {
            failing.remove(host);
        }
    }

    /// Puts hosts in their backoff behind the others, the one whose backoff ends first before the rest. Otherwise the
    /// order stays.
    pub(super) fn order(&self, hosts: &mut [Arc<UpstreamHost>], now: Instant) {
        let failing = self.lock();
        if !failing.is_empty() {
            hosts.sort_by_key(|host| {
                failing.get(host.as_ref()).map(|failing| failing.until).filter(|until| *until > now)
            });
        }
    }

    /// How many hosts are in their backoff.
    pub(super) fn failing(&self, now: Instant) -> usize {
        self.lock().values().filter(|failing| failing.until > now).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UpstreamHost, Failing>> {
        // No code that can panic runs while it is held; and stale counts would do no harm.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Arc<UpstreamHost> {
        Arc::new(UpstreamHost { host: name.to_owned(), port: 25 })
    }

    fn order(health: &Health, now: Instant) -> String {
        let mut hosts = [host("a"), host("b"), host("c")];
        health.order(&mut hosts, now);
        hosts.iter().map(|host| host.host.as_str()).collect()
    }

    #[test]
    fn failing_hosts_come_last_until_their_backoff_ends() {
        let (health, start) = (Health::default(), Instant::now());
        assert_eq!(order(&health, start), "abc");
        health.failed(&host("a"), start);
        assert_eq!(order(&health, start), "bca");
        health.failed(&host("b"), start + Duration::from_millis(500));
        assert_eq!(order(&health, start + Duration::from_millis(500)), "cab");
        assert_eq!(order(&health, start + Duration::from_millis(1200)), "acb");
        assert_eq!(order(&health, start + Duration::from_secs(2)), "abc");
    }

    #[test]
    fn backoff_grows_with_failures_in_a_row_and_ends_with_success() {
        let (health, mut now) = (Health::default(), Instant::now());
        let backoffs: Vec<u64> = (0..8)
            .map(|_| {
                health.failed(&host("a"), now);
                // At the same time: counts once.
                health.failed(&host("a"), now);
                let backoff =
                    (1..100).find(|seconds| health.failing(now + Duration::from_secs(*seconds)) == 0).unwrap();
                now += Duration::from_secs(backoff);
                backoff
            })
            .collect();
        assert_eq!(backoffs, [1, 2, 4, 8, 16, 32, 60, 60]);
        health.succeeded(&host("a"));
        health.failed(&host("a"), now);
        assert_eq!(health.failing(now + Duration::from_secs(1)), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let (health, now) = (Health::default(), Instant::now());
        for number in 0..REMEMBERED + 100 {
            health.failed(&host(&number.to_string()), now);
        }
        assert_eq!(health.failing(now), REMEMBERED);
    }
}
