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

impl Action {
    /// How its keys in the configuration begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Quarantine => "quarantine",
            Self::Tempfail => "tempfail",
            Self::Reject => "reject",
        }
    }
}

/// An answer, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Listed, in a way for which the zone has an action.
    Listed(Action, Evidence),
    /// Listed in a way that nothing was configured for, or not a listing at all.
    Irrelevant,
    /// The list refuses to serve us. Never a listing.
    Refused(Ipv4Addr),
    /// Outside 127.0.0.0/8: not the list speaks but a wildcard or a hijacked zone (RFC 5782 section 2.1).
    Foreign(Ipv4Addr),
}

/// What of an answer an action stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The bits of the most severe action.
    Bits(u16),
    /// The whole address.
    Code(Ipv4Addr),
}

/// What an address means in a zone.
///
/// Some answers are the list's way to say "query refused", whatever the zone: see [`is_refusal`]. Of the others, those
/// that the configuration names as codes mean what it says. In a zone of bits, these stand in the last octet of
/// 127.0.0.x, and an odd x has SURBL's and URIBL's bit for a refusal. Other answers inside 127/8 were not asked for.
pub fn read(address: Ipv4Addr, zone: &Zone) -> Answer {
    if !address.is_loopback() {
        return Answer::Foreign(address);
    }
    if is_refusal(address) {
        return Answer::Refused(address);
    }
    let coded = zone.codes().find(|(_, ranges)| ranges.iter().any(|range| range.contains(address)));
    if let Some((action, _)) = coded {
        return Answer::Listed(action, Evidence::Code(address));
    }
    match address.octets() {
        [127, 0, 0, bits] if zone.has_bits() => {
            if bits & 1 == 1 {
                return Answer::Refused(address);
            }
            let set = |wanted: &[u16]| wanted.iter().filter(|&&bit| u16::from(bits) & bit != 0).sum::<u16>();
            let mut found = zone.bits().map(|(action, wanted)| (action, set(wanted)));
            let first = found.find(|(_, bits)| *bits != 0);
            first.map_or(Answer::Irrelevant, |(action, bits)| Answer::Listed(action, Evidence::Bits(bits)))
        }
        _ => Answer::Irrelevant,
    }
}

/// 127.0.0.1 is how SURBL and URIBL say that they refuse to answer, and no listing anywhere (RFC 5782 section 5);
/// 127.255.255.x says it at Spamhaus, and 127.0.1.255 that its domain list was asked for an address.
pub fn is_refusal(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [127, 0, 0, 1] | [127, 255, 255, _] | [127, 0, 1, 255])
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = match self {
            Self::Code(address) => return address.fmt(formatter),
            Self::Bits(set) => set,
        };
        let bits = (1..8).map(|bit| 1u16 << bit).filter(|bit| set & bit != 0);
        let bits: Vec<String> = bits.map(|bit| bit.to_string()).collect();
        write!(formatter, "{} {}", if bits.len() == 1 { "bit" } else { "bits" }, bits.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Codes;

    fn codes(text: &str) -> Vec<Codes> {
        vec![text.to_owned().try_into().expect("codes")]
    }

    #[test]
    fn bits_and_what_is_no_listing() {
        let zone = Zone {
            reject_bits: vec![8, 16],
            tempfail_bits: vec![32],
            quarantine_bits: vec![64],
            tag_bits: vec![128],
            ..Zone::named("multi.surbl.test")
        };
        let listed = |action, bits| Answer::Listed(action, Evidence::Bits(bits));
        for (address, expected) in [
            ([127, 0, 0, 8], listed(Action::Reject, 8)),
            ([127, 0, 0, 24], listed(Action::Reject, 24)),
            ([127, 0, 0, 12], listed(Action::Reject, 8)),
            ([127, 0, 0, 160], listed(Action::Tempfail, 32)),
            ([127, 0, 0, 192], listed(Action::Quarantine, 64)),
            ([127, 0, 0, 128], listed(Action::Tag, 128)),
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

    #[test]
    fn codes_are_no_bits() {
        let zone = Zone {
            reject_codes: codes("127.0.1.2-99"),
            quarantine_codes: codes("127.0.0.3"),
            tag_codes: codes("127.0.1.102-127.0.1.106"),
            ..Zone::named("dbl.test")
        };
        for (address, action) in [
            ([127, 0, 1, 2], Some(Action::Reject)),
            ([127, 0, 1, 5], Some(Action::Reject)),
            ([127, 0, 1, 99], Some(Action::Reject)),
            ([127, 0, 0, 3], Some(Action::Quarantine)),
            ([127, 0, 1, 104], Some(Action::Tag)),
            ([127, 0, 1, 100], None),
            ([127, 0, 0, 2], None),
            ([127, 0, 0, 5], None),
        ] {
            let address = Ipv4Addr::from(address);
            let expected = action.map_or(Answer::Irrelevant, |action| Answer::Listed(action, Evidence::Code(address)));
            assert_eq!(read(address, &zone), expected, "{address}");
        }
        for refusal in [[127, 0, 0, 1], [127, 0, 1, 255], [127, 255, 255, 252], [127, 255, 255, 254]] {
            let refusal = Ipv4Addr::from(refusal);
            assert_eq!(read(refusal, &zone), Answer::Refused(refusal));
        }
    }
}
