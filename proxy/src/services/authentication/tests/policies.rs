//! DMARC beyond the published suite: the tree walk, which policy applies, alignment, and what is left undecided.

use mailweir_testkit::dkim::Signer;

use super::rules::{PLAIN, key_zone, signed};
use super::*;

struct Mail<'a> {
    zone: Zone,
    sender: &'a str,
    text: &'a str,
}

async fn dmarc(mail: Mail<'_>) -> DmarcResult {
    let (_server, authentication) = serve(mail.zone).await;
    let evaluation = authentication.evaluation([192, 0, 2, 1].into());
    evaluation.helo("mail.example.com");
    evaluation.mail(mail.sender);
    let message = message(mail.text);
    evaluation.received(&message);
    DmarcResult::clone(&*evaluation.dmarc(&message).await.unwrap())
}

fn policy_zone(record: &str) -> Zone {
    Zone::new()
        .txt("_dmarc.example.com", record)
        .a("example.com", [192, 0, 2, 7])
        .a("real.example.com", [192, 0, 2, 7])
        .txt("text.example.com", "x")
        .a("below.empty.example.com", [192, 0, 2, 7])
}

#[tokio::test]
async fn the_policy_is_the_one_for_this_domain() {
    for (record, from, expected) in [
        ("v=DMARC1; p=reject", "example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1; p=reject; t=y", "example.com", Some(DmarcPolicy::Quarantine)),
        ("v=DMARC1; p=quarantine; t=y", "example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=reject; pct=0", "example.com", Some(DmarcPolicy::Quarantine)),
        ("v=DMARC1; p=reject; pct=0; t=n", "example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1; p=reject; sp=none", "example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1; p=reject; sp=none", "real.example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=none; np=reject", "real.example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=none; np=reject", "fake.example.com", Some(DmarcPolicy::Reject)),
        // A name with other records, or with names below it, exists.
        ("v=DMARC1; p=none; np=reject", "text.example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=none; np=reject", "empty.example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=none; np=reject", "a.fake.example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1; p=reject; np=none; t=y", "fake.example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=none; sp=reject; np=quarantine; t=y", "real.example.com", Some(DmarcPolicy::Quarantine)),
        ("v=DMARC1; p=reject; sp=none; np=reject", "example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1; sp=reject", "real.example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1", "example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=reject; sp=nonsense", "example.com", None),
        ("v=DMARC1; p=reject; sp=nonsense; rua=mailto:a@example.com", "example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=reject; pct=100; rf=afrf; ri=86400; fo=1:d:s; ruf=x", "example.com", Some(DmarcPolicy::Reject)),
        ("v=DMARC1; p=none; sp=quarantine", "fake.example.com", Some(DmarcPolicy::Quarantine)),
        ("v=DMARC1; p=nonsense; rua=mailto:a@example.com", "example.com", Some(DmarcPolicy::None)),
        ("v=DMARC1; p=nonsense", "example.com", None),
        ("v=DMARC2; p=reject", "example.com", None),
        ("p=reject; v=DMARC1", "example.com", None),
    ] {
        let text = format!("From: a@{from}\r\n\r\nx\r\n");
        let result = dmarc(Mail { zone: policy_zone(record), sender: "a@elsewhere.example", text: &text }).await;
        match expected {
            Some(policy) => assert_eq!((result.outcome, result.policy), (Outcome::Fail, policy), "{record} {from}"),
            None => assert_eq!(result.outcome, Outcome::None, "{record} {from}"),
        }
    }
}

#[tokio::test]
async fn spf_and_dkim_count_when_they_are_aligned() {
    let signer = Signer::generate("example.com", "s").unwrap();
    let signed = signed(&signer);
    let zone = || policy_zone("v=DMARC1; p=reject").txt("bounce.example.com", "v=spf1 ip4:192.0.2.1 -all");
    let by_spf = dmarc(Mail { zone: zone(), sender: "a@bounce.example.com", text: PLAIN }).await;
    assert!(by_spf.outcome == Outcome::Pass && by_spf.spf_aligned && !by_spf.dkim_aligned, "{by_spf:?}");
    let by_dkim = dmarc(Mail { zone: zone().merged(key_zone(&signer)), sender: "a@example.org", text: &signed }).await;
    assert!(by_dkim.outcome == Outcome::Pass && !by_dkim.spf_aligned && by_dkim.dkim_aligned, "{by_dkim:?}");
    let null = zone().txt("mail.example.com", "v=spf1 ip4:192.0.2.1 -all");
    assert_eq!(dmarc(Mail { zone: null, sender: "", text: PLAIN }).await.outcome, Outcome::Pass);
    let (name, _) = signer.record();
    let undecided = dmarc(Mail { zone: zone().servfail(name), sender: "a@example.org", text: &signed }).await;
    assert_eq!(undecided.outcome, Outcome::TempError);
    let broken = Zone::new().servfail("_dmarc.example.com");
    assert_eq!(dmarc(Mail { zone: broken, sender: "", text: PLAIN }).await.outcome, Outcome::TempError);
}

#[tokio::test]
async fn several_authors_get_the_strictest_result() {
    let zone = || policy_zone("v=DMARC1; p=reject").txt("bounce.example.org", "v=spf1 ip4:192.0.2.1 -all");
    let text = "From: a@example.org, b@example.com\r\n\r\nx\r\n";
    let result = dmarc(Mail { zone: zone(), sender: "a@bounce.example.org", text }).await;
    assert_eq!((result.outcome, result.from_domain.as_str()), (Outcome::Fail, "example.com"));
    let text = "From: a@example.org\r\nFrom: b@example.com\r\n\r\nx\r\n";
    let result = dmarc(Mail { zone: zone(), sender: "a@bounce.example.org", text }).await;
    assert_eq!((result.outcome, result.reason.as_str()), (Outcome::PermError, "2 From fields"));
}

/// What was authenticated, and what the records make of it. The zone has `name record` in each line.
struct Case {
    zone: &'static str,
    author: &'static str,
    spf: &'static str,
    dkim: &'static [&'static str],
    expected: (Outcome, DmarcPolicy, &'static str, bool, bool),
}

async fn evaluate(server: &ZoneServer, authentication: &Authentication, case: &Case) -> DmarcResult {
    let mut zone = Zone::new();
    for line in case.zone.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, record) = line.split_once(' ').unwrap();
        zone = match record {
            "SERVFAIL" => zone.servfail(name),
            _ => zone.txt(name, record),
        };
    }
    server.replace(zone);
    let spf = SpfResult {
        outcome: if case.spf.is_empty() { Outcome::Fail } else { Outcome::Pass },
        domain: case.spf.to_owned(),
        explanation: None,
        reason: String::new(),
    };
    let dkim: Vec<DkimResult> = case.dkim.iter().map(|domain| passed((*domain).to_owned())).collect();
    let authors = Ok(vec![format!("a@{}", case.author)]);
    dmarc::evaluate(&lookups(authentication), authors, &dmarc::Evidence { spf: &spf, dkim: &dkim }).await
}

/// Appendix B.4 of RFC 9989, and what follows from section 4.10.
#[tokio::test]
async fn the_tree_is_walked_as_in_the_rfc() {
    use DmarcPolicy::{None as NoPolicy, Quarantine, Reject};
    use Outcome::{Fail, None, Pass, TempError};
    for case in [
        // B.4.1
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject",
            author: "example.com",
            spf: "example.com",
            dkim: &["signing.example.com"],
            expected: (Pass, Reject, "example.com", true, true),
        },
        // B.4.2: more than eight labels.
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject; sp=quarantine
                _dmarc.signing.example.com v=DMARC1; p=none",
            author: "a.b.c.d.e.f.g.h.i.j.k.example.com",
            spf: "example.com",
            dkim: &["signing.example.com"],
            expected: (Pass, Quarantine, "example.com", true, true),
        },
        // A record between the first name and the cut is not found.
        Case {
            zone: "_dmarc.f.g.h.i.j.k.example.com v=DMARC1; p=reject",
            author: "a.b.c.d.e.f.g.h.i.j.k.example.com",
            spf: "",
            dkim: &[],
            expected: (None, NoPolicy, "", false, false),
        },
        // B.4.3: a public suffix with a record of its own.
        Case {
            zone: "_dmarc.bank.example v=DMARC1; p=reject; psd=y
                _dmarc.giant.bank.example v=DMARC1; p=quarantine",
            author: "giant.bank.example",
            spf: "mail.giant.bank.example",
            dkim: &["mail.mega.bank.example"],
            expected: (Pass, Quarantine, "giant.bank.example", true, false),
        },
        // The suffix's policy is for organizations without one.
        Case {
            zone: "_dmarc.bank.example v=DMARC1; p=none; sp=reject; psd=y",
            author: "mail.giant.bank.example",
            spf: "mega.bank.example",
            dkim: &["bank.example"],
            expected: (Fail, Reject, "bank.example", false, false),
        },
        // psd=n ends the walk: what stands above is another organization.
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject
                _dmarc.dept.example.com v=DMARC1; p=quarantine; psd=n",
            author: "a.dept.example.com",
            spf: "example.com",
            dkim: &["b.dept.example.com"],
            expected: (Pass, Quarantine, "dept.example.com", false, true),
        },
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject
                _dmarc.dept.example.com v=DMARC1; p=quarantine; psd=n",
            author: "example.com",
            spf: "dept.example.com",
            dkim: &[],
            expected: (Fail, Reject, "example.com", false, false),
        },
        // Several records are none, and the walk goes on.
        Case {
            zone: "_dmarc.mail.example.com v=DMARC1; p=none
                _dmarc.mail.example.com v=DMARC1; p=quarantine
                _dmarc.example.com v=DMARC1; p=none; sp=reject",
            author: "mail.example.com",
            spf: "",
            dkim: &[],
            expected: (Fail, Reject, "example.com", false, false),
        },
        // Other texts beside the record do not matter.
        Case {
            zone: "_dmarc.example.com v=spf1 -all
                _dmarc.example.com v=DMARC1; p=reject",
            author: "example.com",
            spf: "",
            dkim: &[],
            expected: (Fail, Reject, "example.com", false, false),
        },
        // Strict alignment is the same name, and each mechanism has its own.
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject; adkim=s",
            author: "example.com",
            spf: "a.example.com",
            dkim: &["a.example.com"],
            expected: (Pass, Reject, "example.com", true, false),
        },
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject; adkim=s; aspf=s",
            author: "example.com",
            spf: "a.example.com",
            dkim: &["a.example.com", "b.example.com"],
            expected: (Fail, Reject, "example.com", false, false),
        },
        // A name that only ends in the same letters.
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=reject",
            author: "example.com",
            spf: "notexample.com",
            dkim: &["com"],
            expected: (Fail, Reject, "example.com", false, false),
        },
        // Without any record there is nothing to fail, for a name of one label as well.
        Case {
            zone: "",
            author: "localhost",
            spf: "localhost",
            dkim: &[],
            expected: (None, NoPolicy, "", false, false),
        },
        // U-labels in the From field (section 5.3.1).
        Case {
            zone: "_dmarc.xn--bcher-kva.example v=DMARC1; p=reject",
            author: "b\u{fc}cher.EXAMPLE",
            spf: "mail.xn--bcher-kva.example",
            dkim: &[],
            expected: (Pass, Reject, "xn--bcher-kva.example", true, false),
        },
        // An address literal has no policy.
        Case {
            zone: "_dmarc.example v=DMARC1; p=reject",
            author: "[192.0.2.1]",
            spf: "",
            dkim: &[],
            expected: (None, NoPolicy, "", false, false),
        },
        // Trouble on the way up: the name's own record and an identical domain are enough, nothing less is.
        Case {
            zone: "_dmarc.mail.example.com v=DMARC1; p=reject
                _dmarc.example.com SERVFAIL",
            author: "mail.example.com",
            spf: "",
            dkim: &["mail.example.com"],
            expected: (Pass, Reject, "mail.example.com", false, true),
        },
        Case {
            zone: "_dmarc.mail.example.com v=DMARC1; p=reject
                _dmarc.example.com SERVFAIL",
            author: "mail.example.com",
            spf: "bounce.example.com",
            dkim: &[],
            expected: (TempError, NoPolicy, "mail.example.com", false, false),
        },
        Case {
            zone: "_dmarc.mail.example.com v=DMARC1; p=reject
                _dmarc.example.com SERVFAIL",
            author: "mail.example.com",
            spf: "",
            dkim: &[],
            expected: (Fail, Reject, "mail.example.com", false, false),
        },
        Case {
            zone: "_dmarc.mail.example.com SERVFAIL
                _dmarc.example.com v=DMARC1; p=reject",
            author: "mail.example.com",
            spf: "mail.example.com",
            dkim: &[],
            expected: (TempError, NoPolicy, "", false, false),
        },
        // Whether the name exists decides here, and cannot be found out.
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=none; np=reject
                mail.example.com SERVFAIL",
            author: "mail.example.com",
            spf: "",
            dkim: &[],
            expected: (TempError, NoPolicy, "example.com", false, false),
        },
        Case {
            zone: "_dmarc.example.com v=DMARC1; p=none; np=reject
                mail.example.com SERVFAIL",
            author: "mail.example.com",
            spf: "example.com",
            dkim: &[],
            expected: (Pass, NoPolicy, "example.com", true, false),
        },
    ] {
        let (server, authentication) = serve(Zone::new()).await;
        let result = evaluate(&server, &authentication, &case).await;
        let found =
            (result.outcome, result.policy, result.policy_domain.as_str(), result.spf_aligned, result.dkim_aligned);
        assert_eq!(found, case.expected, "{} {:?} {}", case.author, result, case.zone);
    }
}

#[tokio::test]
async fn a_name_with_many_labels_costs_eight_queries() {
    let (server, authentication) = serve(Zone::new()).await;
    let author: &'static str = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.example.com";
    let expected = (Outcome::None, DmarcPolicy::None, "", false, false);
    let case = Case { zone: "", author, spf: "a.example.com", dkim: &["b.example.com"], expected };
    assert_eq!(evaluate(&server, &authentication, &case).await.outcome, case.expected.0);
    assert_eq!(server.queries(), 8);
}

#[tokio::test]
async fn what_spf_costs_does_not_hide_a_policy() {
    // Ten exchangers each for ten names, and none of them is the client.
    let mut zone = Zone::new().txt("_dmarc.example.com", "v=DMARC1; p=reject");
    for sender in ["helo.example", "sender.example"] {
        let terms: String = (0..10).map(|term| format!(" mx:m{term}.{sender}")).collect();
        zone = zone.txt(sender, &format!("v=spf1{terms} -all"));
        for (term, host) in (0..10).flat_map(|term| (0..10).map(move |host| (term, host))) {
            let host = format!("h{host}.m{term}.{sender}");
            zone = zone.mx(&format!("m{term}.{sender}"), 10, &host).a(&host, [192, 0, 2, 9]);
        }
    }
    let (server, authentication) = serve(zone).await;
    let evaluation = authentication.evaluation([192, 0, 2, 1].into());
    evaluation.helo("helo.example");
    evaluation.mail("a@sender.example");
    assert_eq!(evaluation.spf(Identity::Helo).await.outcome, Outcome::Fail);
    assert_eq!(server.queries(), 111);
    let second = evaluation.spf(Identity::MailFrom).await;
    assert_eq!(second.outcome, Outcome::TempError, "{second:?}");
    assert!(second.reason.contains("more than 150 lookups for one message"), "{}", second.reason);
    assert_eq!(server.queries(), u64::from(lookups::QUESTIONS));
    assert_eq!(authentication.counters().lookups_refused(), 1);
    let result = evaluation.dmarc(&message(PLAIN)).await.unwrap();
    assert_eq!((result.outcome, result.policy), (Outcome::Fail, DmarcPolicy::Reject), "{result:?}");
    assert!(server.queries() <= u64::from(lookups::QUESTIONS + lookups::RESERVED));
}

/// A sender whose SPF check at HELO takes 111 questions and whose own begins with 33 more.
fn costly(zone: Zone, ending: &str) -> Zone {
    let mut zone = zone;
    for (sender, names, ending) in [("helo.example", 10, "-all"), ("sender.example", 3, ending)] {
        let terms: String = (0..names).map(|term| format!(" mx:m{term}.{sender}")).collect();
        zone = zone.txt(sender, &format!("v=spf1{terms} {ending}"));
        for (term, host) in (0..names).flat_map(|term| (0..10).map(move |host| (term, host))) {
            let host = format!("h{host}.m{term}.{sender}");
            zone = zone.mx(&format!("m{term}.{sender}"), 10, &host).a(&host, [192, 0, 2, 9]);
        }
    }
    zone
}

#[tokio::test]
async fn a_name_that_was_not_looked_up_any_more_is_no_failure_of_ptr() {
    // The tenth name is that of the sender; 111 + 34 + PTR leaves questions for four of them.
    let mut zone = costly(Zone::new(), "ptr -all");
    for name in 0..10 {
        let host = if name == 9 { "mail.sender.example".to_owned() } else { format!("h{name}.other.example") };
        zone = zone.ptr("1.2.0.192.in-addr.arpa", &host).a(&host, [192, 0, 2, 1]);
    }
    let (server, authentication) = serve(zone).await;
    let evaluation = authentication.evaluation([192, 0, 2, 1].into());
    evaluation.helo("helo.example");
    evaluation.mail("a@sender.example");
    assert_eq!(evaluation.spf(Identity::Helo).await.outcome, Outcome::Fail);
    let second = evaluation.spf(Identity::MailFrom).await;
    assert_eq!(second.outcome, Outcome::TempError, "{second:?}");
    assert_eq!(server.queries(), u64::from(lookups::QUESTIONS));
}

#[tokio::test]
async fn what_spf_costs_does_not_hide_the_keys_of_dkim() {
    let (server, authentication) = serve(costly(Zone::new(), "mx:m4.helo.example mx:m5.helo.example -all")).await;
    let evaluation = authentication.evaluation([192, 0, 2, 1].into());
    evaluation.helo("helo.example");
    evaluation.mail("a@sender.example");
    evaluation.spf(Identity::Helo).await;
    assert_eq!(evaluation.spf(Identity::MailFrom).await.outcome, Outcome::TempError);
    let asked = server.queries();
    let lookups = evaluation.lookups.clone();
    let keys = lookups.for_keys();
    for key in 0..lookups::KEYS {
        let answer = keys.txt(&format!("s{key}._domainkey.sender.example")).await;
        assert!(answer.as_ref().is_err_and(|error| !error.is_temporary()), "{key}: {answer:?}");
    }
    assert_eq!(server.queries(), asked + u64::from(lookups::KEYS));
    // As many as there are signatures, and not one more.
    assert!(keys.txt("another._domainkey.sender.example").await.is_err_and(|error| error.is_temporary()));
}

#[tokio::test]
async fn more_author_domains_than_are_evaluated_are_an_error() {
    let (server, authentication) = serve(Zone::new()).await;
    let from: Vec<String> = (0..5).map(|index| format!("a@d{index}.example")).collect();
    let text = format!("From: {}\r\n\r\nx\r\n", from.join(", "));
    let result = authentication.evaluation([192, 0, 2, 1].into()).dmarc(&message(text)).await.unwrap();
    assert_eq!((result.outcome, server.queries()), (Outcome::PermError, 0), "{result:?}");
}
