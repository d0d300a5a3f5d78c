//! The rules beyond the published suites: signed bodies, iprev, and that each check is made once.

use mailweir_testkit::dkim::Signer;
use serde_json::json;

use super::*;

pub(super) const PLAIN: &str = "From: Joe <joe@example.com>\r\nTo: x@example.net\r\nSubject: hi\r\n\r\nHello.\r\n";

pub(super) fn signed(signer: &Signer) -> String {
    String::from_utf8(signer.sign(PLAIN.as_bytes()).unwrap()).unwrap()
}

pub(super) fn key_zone(signer: &Signer) -> Zone {
    let (name, text) = signer.record();
    Zone::new().txt(name, text)
}

async fn dkim(authentication: &Authentication, text: &str) -> Arc<[DkimResult]> {
    let evaluation = authentication.evaluation(Ipv4Addr::LOCALHOST.into());
    evaluation.dkim(&message(text)).await.unwrap()
}

async fn outcome(authentication: &Authentication, text: &str) -> (Outcome, String) {
    let results = dkim(authentication, text).await;
    (results[0].outcome, results[0].reason.clone())
}

#[tokio::test]
async fn what_was_changed_after_signing_does_not_pass() {
    let signer = Signer::generate("example.com", "s").unwrap();
    let (_server, authentication) = serve(key_zone(&signer)).await;
    let good = signed(&signer);
    let results = dkim(&authentication, &good).await;
    assert_eq!(results[0].outcome, Outcome::Pass, "{results:?}");
    assert_eq!((results[0].domain.as_str(), results[0].selector.as_str()), ("example.com", "s"));
    assert_eq!((results[0].algorithm.as_str(), results[0].signature.len()), ("ed25519-sha256", 8));
    assert_eq!(outcome(&authentication, &good.replace("Hello", "Hullo")).await.0, Outcome::Fail);
    assert_eq!(outcome(&authentication, &good.replace("Subject: hi", "Subject: ho")).await.0, Outcome::Fail);
    assert_eq!(outcome(&authentication, &format!("Subject: ho\r\n{good}")).await.0, Outcome::Policy);
    assert_eq!(outcome(&authentication, &format!("{good}appended\r\n")).await.0, Outcome::Fail);
}

#[tokio::test]
async fn a_length_never_covers_what_was_appended() {
    let signer = Signer::generate("example.com", "s").unwrap().with_length();
    let (_server, authentication) = serve(key_zone(&signer)).await;
    let good = signed(&signer);
    assert!(good.contains("l=8;"), "{good}");
    assert_eq!(outcome(&authentication, &good).await.0, Outcome::Pass);
    assert_eq!(outcome(&authentication, &format!("{good}appended\r\n")).await.0, Outcome::Policy);
    let zero = good.replace("l=8;", "l=0;");
    assert_eq!(outcome(&authentication, &zero).await.0, Outcome::Policy);
    let longer = good.replace("l=8;", "l=9;");
    assert_eq!(outcome(&authentication, &longer).await.0, Outcome::PermError);
}

#[tokio::test]
async fn weak_and_malformed_signatures_do_not_pass() {
    let signer = Signer::generate("example.com", "s").unwrap();
    // The modulus of 512 bits.
    let short = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALVnr2JXoZr1zqwbLuGXBiGjFyHqqh8f0Hs3W2B3bF2pQeDQ7UYd4r2xT1C9mR8T0QkdHPyZ8XQ0mB8J2gq9pQkCAwEAAQ==";
    let zone = key_zone(&signer)
        .txt("short._domainkey.example.com", &format!("v=DKIM1; p={short}"))
        .servfail("broken._domainkey.example.com")
        .silent("slow._domainkey.example.com");
    let (_server, authentication) = serve(zone).await;
    let good = signed(&signer);
    for (from, to, expected) in [
        ("a=ed25519-sha256", "a=rsa-sha1", Outcome::PermError),
        ("a=ed25519-sha256; s=s;", "a=rsa-sha256; s=short;", Outcome::PermError),
        ("a=ed25519-sha256", "a=rsa-sha256", Outcome::PermError),
        ("a=ed25519-sha256", "a=none", Outcome::PermError),
        ("s=s;", "s=absent;", Outcome::PermError),
        ("s=s;", "s=broken;", Outcome::TempError),
        ("s=s;", "s=slow;", Outcome::TempError),
        ("v=1;", "v=2;", Outcome::PermError),
        ("v=1;", "v=1; v=1;", Outcome::PermError),
        ("v=1;", "", Outcome::PermError),
        ("v=1;", "v=1; x=1;", Outcome::PermError),
        ("v=1;", "v=1; i=@example.net;", Outcome::PermError),
        ("d=example.com;", "d=exa mple.com;", Outcome::PermError),
    ] {
        assert!(good.contains(from), "{good}");
        let (found, reason) = outcome(&authentication, &good.replacen(from, to, 1)).await;
        assert_eq!(found, expected, "{to}: {reason}");
    }
    let hostile =
        "DKIM-Signature: v=1; a=\u{1b}[2J; d=a\u{7}b\0.com; s=x\r\n y; b=(\"<>; h=from\r\n".to_owned() + PLAIN;
    for result in &*dkim(&authentication, &hostile).await {
        for text in [&result.domain, &result.selector, &result.algorithm, &result.signature, &result.reason] {
            assert!(!text.chars().any(char::is_control), "{result:?}");
        }
    }
}

#[tokio::test]
async fn the_client_is_named_when_its_name_leads_back() {
    let reverse = "1.2.0.192.in-addr.arpa";
    for (zone, expected) in [
        (Zone::new().ptr(reverse, "mail.example.com").a("mail.example.com", [192, 0, 2, 1]), Outcome::Pass),
        (Zone::new().ptr(reverse, "mail.example.com").a("mail.example.com", [192, 0, 2, 2]), Outcome::Fail),
        (Zone::new().ptr(reverse, "mail.example.com").servfail("mail.example.com"), Outcome::TempError),
        (Zone::new().silent(reverse), Outcome::TempError),
        (Zone::new(), Outcome::PermError),
    ] {
        let (_server, authentication) = serve(zone).await;
        let result = authentication.evaluation("::ffff:192.0.2.1".parse().unwrap()).iprev().await;
        assert_eq!(result.outcome, expected);
        assert_eq!(result.name.is_some(), expected == Outcome::Pass);
    }
}

#[tokio::test]
async fn each_check_is_made_once_and_of_the_message_as_received() {
    let signer = Signer::generate("example.com", "s").unwrap();
    let (server, authentication) = serve(key_zone(&signer)).await;
    let received = message(signed(&signer));
    let edited = message(signed(&signer).replace("Hello", "Edited"));
    let evaluation = authentication.evaluation([192, 0, 2, 1].into());
    assert_eq!(evaluation.spf(Identity::MailFrom).await.outcome, Outcome::None);
    evaluation.helo("mail.example.com");
    evaluation.mail("joe@example.com");
    let mut hasher = evaluation.hasher(received.headers()).unwrap();
    hasher.update(b"Hel");
    hasher.update(b"lo.\r\n");
    evaluation.hashed(hasher.finish());
    evaluation.received(&received);
    let (first, second) = tokio::join!(evaluation.dkim(&edited), evaluation.dkim(&received));
    assert_eq!(first.unwrap()[0].outcome, Outcome::Pass);
    assert_eq!(second.unwrap()[0].outcome, Outcome::Pass);
    evaluation.dmarc(&edited).await.unwrap();
    let asked = server.queries();
    evaluation.dmarc(&edited).await.unwrap();
    evaluation.spf(Identity::MailFrom).await;
    evaluation.arc(&edited).await.unwrap();
    assert_eq!(server.queries(), asked);
    assert!(authentication.evaluation([192, 0, 2, 1].into()).hasher(message(PLAIN).headers()).is_none());
}

/// SPF: identities, names and records that the published suites leave out.
#[tokio::test]
async fn identities_and_names_of_spf() {
    use Outcome::{Fail, None, Pass, PermError, SoftFail, TempError};
    let label = "l".repeat(63);
    let long = [label.as_str(); 4].join(".");
    let pieces = json!({ "split.example": { "TXT": [["v=spf1 ip4:", "192.0.2.1", " -all"]] } });
    let zone = Zone::from_json(&pieces)
        .unwrap()
        .txt("helo.example", "v=spf1 exists:%{l}.%{o}.l.example -all")
        .a("postmaster.helo.example.l.example", [127, 0, 0, 2])
        .txt("sender.example", "v=spf1 exists:%{L}.l.example ~all")
        .a("joe.l.example", [127, 0, 0, 2])
        .a("postmaster.l.example", [127, 0, 0, 2])
        .a("%22a%40b%22.l.example", [127, 0, 0, 2])
        .txt("case.example", "V=SPF1 +ALL")
        .txt("tab.example", "v=spf1\t+all")
        .txt("v10.example", "v=spf10 +all")
        .txt("two.example", "v=spf1 +all")
        .txt("two.example", "v=spf1 -all")
        .txt("big.example", &format!("v=spf1{} ip4:192.0.2.1 -all", " ip4:10.0.0.1".repeat(150)))
        .txt("dot.example", "v=spf1 include:split.example. -all")
        .txt("loop.example", "v=spf1 include:loop.example -all")
        .txt("again.example", "v=spf1 redirect=again.example")
        .txt("utf8.example", "v=spf1 ip4:192.0.2.1 exp=\u{e9}.example -all")
        .txt(&format!("{label}.example"), "v=spf1 +all")
        .txt("xn--bcher-kva.example", "v=spf1 +all")
        .txt("p.example", "v=spf1 exists:%{p}.p.example -all")
        .a("unknown.p.example", [127, 0, 0, 2])
        .silent("slow.example")
        .servfail("broken.example");
    let (server, authentication) = serve(zone).await;
    for (helo, sender, client, expected) in [
        // The null sender and a sender without a local part are postmaster.
        ("helo.example", "", "192.0.2.1", Pass),
        ("helo.example.", "", "192.0.2.1", Pass),
        ("x", "@sender.example", "192.0.2.1", Pass),
        ("x", "sender.example", "192.0.2.1", Pass),
        ("x", "joe@sender.example", "192.0.2.1", Pass),
        ("x", "JOE@Sender.Example", "192.0.2.1", Pass),
        ("x", "jim@sender.example", "192.0.2.1", SoftFail),
        ("x", "\"a@b\"@sender.example", "192.0.2.1", Pass),
        ("x", "a b..@sender.example", "192.0.2.1", SoftFail),
        ("x", "j\u{f6}e@sender.example", "192.0.2.1", SoftFail),
        // Names that cannot have a record.
        ("localhost", "", "192.0.2.1", None),
        ("[192.0.2.1]", "", "192.0.2.1", None),
        ("[IPv6:2001:db8::1]", "", "2001:db8::1", None),
        ("", "", "192.0.2.1", None),
        ("x", "a@b..example", "192.0.2.1", None),
        ("x", &format!("a@{label}.example"), "192.0.2.1", Pass),
        ("x", &format!("a@l{label}.example"), "192.0.2.1", None),
        ("x", &format!("a@{long}"), "192.0.2.1", None),
        ("x", "a@b\u{fc}cher.example", "192.0.2.1", Pass),
        // Records.
        ("x", "a@split.example", "192.0.2.1", Pass),
        ("x", "a@split.example", "::ffff:192.0.2.1", Pass),
        ("x", "a@split.example", "2001:db8::1", Fail),
        ("x", "a@case.example", "192.0.2.1", Pass),
        ("x", "a@tab.example", "192.0.2.1", None),
        ("x", "a@v10.example", "192.0.2.1", None),
        ("x", "a@two.example", "192.0.2.1", PermError),
        ("x", "a@big.example", "192.0.2.1", Pass),
        ("x", "a@dot.example", "192.0.2.1", Pass),
        ("x", "a@loop.example", "192.0.2.1", PermError),
        ("x", "a@again.example", "192.0.2.1", PermError),
        ("x", "a@utf8.example", "192.0.2.1", PermError),
        ("x", "a@p.example", "192.0.2.1", Pass),
        ("x", "a@nothing.example", "192.0.2.1", None),
        ("x", "a@slow.example", "192.0.2.1", TempError),
        ("x", "a@broken.example", "192.0.2.1", TempError),
    ] {
        let evaluation = authentication.evaluation(client.parse().unwrap());
        evaluation.helo(helo);
        evaluation.mail(sender);
        let result = evaluation.spf(Identity::MailFrom).await;
        assert_eq!(result.outcome, expected, "{helo} {sender} {client}: {result:?}");
    }
    assert!(server.tcp_queries() > 0, "big.example does not fit into a datagram");
}
