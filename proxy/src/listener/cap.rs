//! How many connections a listener holds, in all and from one client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pressure::{Gauge, Pressure};

/// Counts a listener's connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionCap {
    counts: Arc<Mutex<Counts>>,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
    /// What there may be in all, as it was said last: a reload may change it.
    limit: usize,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    cap: ConnectionCap,
    /// Whose it is, once that is known.
    client: Option<IpAddr>,
}

/// There are as many connections as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl ConnectionCap {
    /// A place for a connection from whomever, if the listener has one left.
    pub(super) fn enter(&self, limit: usize) -> Result<Place, Full> {
        let mut counts = self.lock();
        counts.limit = limit;
        if counts.all >= limit {
            return Err(Full);
        }
        counts.all += 1;
        self.gauge.set(counts.all, limit);
        drop(counts);
        Ok(Place { cap: self.clone(), client: None })
    }

    /// For knowing how full it is.
    pub(super) fn pressure(&self) -> Pressure {
        self.gauge.watch()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says whose the place is, if that client may have one more.
    pub(super) fn claim(&mut self, address: IpAddr, limit: usize) -> Result<(), Full> {
        let client = network(address);
        let mut counts = self.cap.lock();
        let count = counts.by_client.entry(client).or_insert(0);
        if *count >= limit {
            return Err(Full);
        }
        *count += 1;
        drop(counts);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.cap.lock();
        counts.all -= 1;
        self.cap.gauge.set(counts.all, counts.limit);
        if let Some(client) = self.client
            && let Some(count) = counts.by_client.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_client.remove(&client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is what one customer is usually given.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_listener_and_client_and_given_back() {
        let cap = ConnectionCap::default();
        let enter = |address: &str, all: usize| {
            let mut place = cap.enter(all)?;
            place.claim(address.parse().unwrap(), 1).map(|()| place)
        };
        let first = enter("192.0.2.1", 9).unwrap();
        assert_eq!(enter("192.0.2.1", 9).unwrap_err(), Full);
        // An IPv4 client on a dual-stack socket is the same client.
        assert_eq!(enter("::ffff:192.0.2.1", 9).unwrap_err(), Full);
        let _second = enter("2001:db8::1", 9).unwrap();
        assert_eq!(enter("2001:db8::2", 9).unwrap_err(), Full);
        let _third = enter("2001:db8:0:1::1", 9).unwrap();
        assert_eq!(cap.enter(3).unwrap_err(), Full, "places of refused clients were given back, the three stay");
        drop(first);
        let _again = enter("192.0.2.1", 3).unwrap();
        assert_eq!(cap.lock().by_client.len(), 3);
    }
}
