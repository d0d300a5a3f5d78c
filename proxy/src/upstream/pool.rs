//! Connections that wait for the next message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::connection::Connection;
use crate::config::{self, UpstreamHost};

/// Idle connections of a route in all, however many mail exchangers it leads to.
const IDLE_IN_ALL: usize = 512;

/// Idle connections by host.
pub(super) struct Pool {
    limits: config::Pool,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    hosts: HashMap<Arc<UpstreamHost>, Vec<(Box<Connection>, Instant)>>,
    count: usize,
}

impl Pool {
    /// An empty one.
    pub(super) fn new(limits: config::Pool) -> Self {
        Self { limits, idle: Mutex::default() }
    }

    /// The connection to a host that was used last, since that is the likeliest to be alive; dead ones are dropped. One
    /// of another worker's only when there is none of this thread's.
    pub(super) fn take(&self, host: &Arc<UpstreamHost>, now: Instant) -> Option<Box<Connection>> {
        loop {
            let (mut connection, since) = self.lock().pop(host)?;
            if now.saturating_duration_since(since) < self.limits.idle_timeout && connection.is_alive() {
                connection.is_reused = true;
                match connection.is_at_home() {
                    true => return Some(connection),
                    false => match connection.moved_here() {
                        Ok(connection) => return Some(Box::new(connection)),
                        // It is gone, and so is the need for it.
                        Err(_) => continue,
                    },
                }
            }
            connection.quit();
        }
    }

    /// Keeps a connection between transactions, or closes it when it has served long enough or there is no room.
    pub(super) fn put(&self, mut connection: Box<Connection>, now: Instant) {
        if connection.messages >= self.limits.reuse || !connection.is_alive() {
            return connection.quit();
        }
        // Free when the connection is counted as idle, or closed.
        let _slot = connection.slot.take();
        let refused = self.lock().push(connection, now, self.limits.idle);
        if let Some(connection) = refused {
            connection.quit();
        }
    }

    /// Closes the connections that have been idle longest, to make room for others.
    pub(super) fn evict(&self, count: usize) {
        for _ in 0..count {
            let Some(connection) = self.lock().pop_oldest() else { return };
            connection.quit();
        }
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let limit = self.limits.idle_timeout;
        for (connection, _) in self.lock().expired(|since| now.saturating_duration_since(since) >= limit) {
            connection.quit();
        }
    }

    /// How many are idle.
    pub(super) fn len(&self) -> usize {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Nothing that can panic leaves the map half-changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, host: &Arc<UpstreamHost>) -> Option<(Box<Connection>, Instant)> {
        let waiting = self.hosts.get_mut(host)?;
        let at_home = waiting.iter().rposition(|(connection, _)| connection.is_at_home());
        let chosen = at_home.or_else(|| waiting.iter().rposition(|(connection, _)| connection.can_move()))?;
        self.count -= 1;
        Some(waiting.remove(chosen))
    }

    fn pop_oldest(&mut self) -> Option<Box<Connection>> {
        // Within a host, the first came first.
        let since = |waiting: &Vec<(Box<Connection>, Instant)>| waiting.first().map(|(_, since)| *since);
        let oldest =
            self.hosts.values_mut().filter(|waiting| !waiting.is_empty()).min_by_key(|waiting| since(waiting))?;
        self.count -= 1;
        Some(oldest.remove(0).0)
    }

    /// Gives the connection back when there is no room for it.
    fn push(&mut self, connection: Box<Connection>, now: Instant, limit: usize) -> Option<Box<Connection>> {
        let host = Arc::clone(&connection.host);
        let waiting = self.hosts.entry(host).or_default();
        // What another worker cannot use does not keep this one from keeping its own.
        let usable = waiting.iter().filter(|(idle, _)| idle.is_at_home() || idle.can_move()).count();
        if usable >= limit || self.count >= IDLE_IN_ALL {
            return Some(connection);
        }
        waiting.push((connection, now));
        self.count += 1;
        None
    }

    fn expired(&mut self, is_expired: impl Fn(Instant) -> bool) -> Vec<(Box<Connection>, Instant)> {
        let mut expired = Vec::new();
        for waiting in self.hosts.values_mut() {
            expired.extend(waiting.extract_if(.., |(_, since)| is_expired(*since)));
        }
        // An exchanger of a far-off domain may never be used again.
        self.hosts.retain(|_, waiting| !waiting.is_empty());
        self.count -= expired.len();
        expired
    }
}
