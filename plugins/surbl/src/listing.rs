//! Reading the answers of a list.

use std::net::Ipv4Addr;

use crate::config::Zone;

/// What to do because of a listing; the order is the severity, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Tag,
    Quarantine,
    Tempfail,
    Reject,
}

/// An answer, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Listed, with bits for which the zone has an action; the bits of the most severe one.
    Listed(Action, u16),
    /// Listed with bits that nothing was configured for, or not a listing at all.
    Irrelevant,
    /// The list refuses to serve us. Never a listing.
    Refused(Ipv4Addr),
    /// Outside 127.0.0.0/8: not the list speaks but a wildcard or a hijacked zone (RFC 5782 section 2.1).
    Foreign(Ipv4Addr),
}

/// What an address means in a zone.
///
/// 127.0.0.1, and any answer with that bit, is how SURBL and URIBL say "query refused"; 127.255.255.x is Spamhaus'
/// way of saying it. Bits stand in the last octet of 127.0.0.x; other answers inside 127/8 belong to lists that do not
/// use bits.
pub fn read(address: Ipv4Addr, zone: &Zone) -> Answer {
    match address.octets() {
        [127, 255, 255, _] => Answer::Refused(address),
        [127, 0, 0, bits] if bits & 1 == 1 => Answer::Refused(address),
        [127, 0, 0, bits] => {
            let set = |wanted: &[u16]| wanted.iter().filter(|&&bit| u16::from(bits) & bit != 0).sum::<u16>();
            let actions = [
                (Action::Reject, set(&zone.reject_bits)),
                (Action::Tempfail, set(&zone.tempfail_bits)),
                (Action::Quarantine, set(&zone.quarantine_bits)),
                (Action::Tag, set(&zone.tag_bits)),
            ];
            let first = actions.into_iter().find(|(_, bits)| *bits != 0);
            first.map_or(Answer::Irrelevant, |(action, bits)| Answer::Listed(action, bits))
        }
        [127, ..] => Answer::Irrelevant,
        _ => Answer::Foreign(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_what_is_no_listing() {
        let zone = Zone {
            zone: "multi.surbl.test".to_owned(),
            reject_bits: vec![8, 16],
            tempfail_bits: vec![32],
            quarantine_bits: vec![64],
            tag_bits: vec![128],
            addresses: true,
        };
        for (address, expected) in [
            ([127, 0, 0, 8], Answer::Listed(Action::Reject, 8)),
            ([127, 0, 0, 24], Answer::Listed(Action::Reject, 24)),
            ([127, 0, 0, 12], Answer::Listed(Action::Reject, 8)),
            ([127, 0, 0, 160], Answer::Listed(Action::Tempfail, 32)),
            ([127, 0, 0, 192], Answer::Listed(Action::Quarantine, 64)),
            ([127, 0, 0, 128], Answer::Listed(Action::Tag, 128)),
            ([127, 0, 0, 4], Answer::Irrelevant),
            ([127, 0, 0, 0], Answer::Irrelevant),
            ([127, 0, 1, 8], Answer::Irrelevant),
            ([127, 0, 0, 1], Answer::Refused(Ipv4Addr::new(127, 0, 0, 1))),
            ([127, 0, 0, 255], Answer::Refused(Ipv4Addr::new(127, 0, 0, 255))),
            ([127, 255, 255, 254], Answer::Refused(Ipv4Addr::new(127, 255, 255, 254))),
            ([192, 0, 2, 8], Answer::Foreign(Ipv4Addr::new(192, 0, 2, 8))),
        ] {
            assert_eq!(read(Ipv4Addr::from(address), &zone), expected, "{address:?}");
        }
    }
}
