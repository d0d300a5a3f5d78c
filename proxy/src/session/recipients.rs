//! Which recipients a listener takes, so that it is never an open relay.

use mailweir_smtp::address::ForwardPath;
use mailweir_smtp::reply::Reply;

use crate::config::RelayDomains;

/// Refuses a recipient whose domain is not taken from this client.
pub(super) fn check(relay: &RelayDomains, trusted: bool, recipient: &ForwardPath) -> Result<(), Reply> {
    let ForwardPath::Mailbox(mailbox) = recipient else {
        // RFC 5321 section 4.5.1: every server takes mail for Postmaster.
        return Ok(());
    };
    if (relay.any && trusted) || relay.lists(mailbox.domain().as_str()) {
        return Ok(());
    }
    Err(Reply::new(550, "5.7.1", "Relaying denied: this server does not take mail for that domain from you"))
}

#[cfg(test)]
mod tests {
    use mailweir_smtp::address::Mailbox;

    use super::*;

    fn relay(any: bool, domains: &[&str]) -> RelayDomains {
        RelayDomains { any, domains: domains.iter().map(|domain| (*domain).to_owned()).collect() }
    }

    fn path(address: &str) -> ForwardPath {
        ForwardPath::Mailbox(Mailbox::parse(address.as_bytes()).unwrap())
    }

    #[test]
    fn a_listed_domain_is_taken_from_anyone_and_any_other_from_trusted_clients_only() {
        let inbound = relay(false, &["example.com", "xn--bcher-kva.example"]);
        let outbound = relay(true, &[]);
        for (relay, trusted, address, taken) in [
            (&inbound, false, "a@example.com", true),
            (&inbound, false, "a@EXAMPLE.com", true),
            (&inbound, false, "a@b\u{fc}cher.example", true),
            (&inbound, false, "a@sub.example.com", false),
            (&inbound, false, "a@example.com.evil.test", false),
            (&inbound, true, "a@other.test", false),
            (&outbound, true, "a@other.test", true),
            (&outbound, false, "a@other.test", false),
        ] {
            assert_eq!(check(relay, trusted, &path(address)).is_ok(), taken, "{address}, trusted {trusted}");
        }
    }

    #[test]
    fn postmaster_is_always_taken() {
        assert!(check(&relay(false, &[]), false, &ForwardPath::Postmaster).is_ok());
    }
}
