//! The client's name: PTR, and back again (RFC 8601 section 3).

use std::net::IpAddr;

use super::lookups::Lookups;
use super::results::{IprevResult, Outcome, clean_domain};

/// PTR names that are looked at; busy hosts have hundreds.
const NAMES: usize = 10;

pub(super) async fn verify(lookups: &Lookups, client: IpAddr) -> IprevResult {
    let none = |outcome| IprevResult { outcome, name: None };
    let client = client.to_canonical();
    let names = match lookups.ptr(client).await {
        Ok(answer) => answer.values,
        Err(error) if error.is_temporary() => return none(Outcome::TempError),
        Err(_) => return none(Outcome::PermError),
    };
    let mut outcome = Outcome::Fail;
    for name in names.iter().take(NAMES) {
        let confirmed = match client {
            IpAddr::V4(v4) => lookups.ipv4(name).await.map(|answer| answer.values.contains(&v4)),
            IpAddr::V6(v6) => lookups.ipv6(name).await.map(|answer| answer.values.contains(&v6)),
        };
        match confirmed {
            Ok(true) => return IprevResult { outcome: Outcome::Pass, name: Some(clean_domain(name)) },
            Err(error) if error.is_temporary() => outcome = Outcome::TempError,
            _ => {}
        }
    }
    none(outcome)
}
