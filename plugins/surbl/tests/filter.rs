//! The filter against messages with URLs and scripted lists.

use mailweir_filter::Verdict;
use mailweir_filter::dns::Error;
use mailweir_filter::mail::UrlSource;
use mailweir_filter::testing::Harness;
use surbl::Surbl;

const ZONE: &str =
    r#"{"zone":"multi.surbl.test","reject_bits":[8,16],"tempfail_bits":[32],"quarantine_bits":[64],"tag_bits":[128]}"#;

/// A harness with this zone and more keys of the configuration.
fn harness(more: &str) -> Harness {
    Harness::new::<Surbl>(format!(r#"{{"zones":[{ZONE}]{more}}}"#)).expect("a configuration")
}

fn message(body: &str) -> String {
    format!("From: a@sender.example\nSubject: hi\n\n{body}\n")
}

#[test]
fn a_listed_domain_is_refused_with_domain_and_listing() {
    let harness = harness("").dnsbl("bad.test.multi.surbl.test", &["127.0.0.24"]);
    let outcome = harness.run(message("see http://www.bad.test/path"));
    assert_eq!(
        outcome.reply().as_deref(),
        Some("550 5.7.1 the message names bad.test, listed in multi.surbl.test (bits 8 and 16)")
    );
    assert_eq!(outcome.reasons(), ["bad.test, listed in multi.surbl.test (bits 8 and 16)"]);
    assert_eq!(outcome.tag("surbl"), Some("listed"));
}

#[test]
fn bits_choose_the_action_and_the_most_severe_wins() {
    let harness = harness("")
        .dnsbl("later.test.multi.surbl.test", &["127.0.0.32"])
        .dnsbl("keep.test.multi.surbl.test", &["127.0.0.64"])
        .dnsbl("note.test.multi.surbl.test", &["127.0.0.128"])
        .dnsbl("other.test.multi.surbl.test", &["127.0.0.4"])
        .dnsbl("bad.test.multi.surbl.test", &["127.0.0.8"]);
    assert_eq!(
        harness.run(message("http://later.test/")).reply().as_deref(),
        Some("451 4.7.1 the message names later.test, listed in multi.surbl.test (bit 32)")
    );
    let kept = harness.run(message("http://keep.test/"));
    assert_eq!(kept.verdict, Verdict::Quarantine("keep.test, listed in multi.surbl.test (bit 64)".to_owned()));
    let noted = harness.run(message("http://note.test/"));
    assert_eq!((noted.verdict.clone(), noted.tag("surbl")), (Verdict::Pass, Some("listed")));
    let other = harness.run(message("http://other.test/"));
    assert_eq!((other.verdict.clone(), other.tag("surbl")), (Verdict::Pass, Some("clean")));
    let all = harness.run(message("http://note.test/ http://keep.test/ http://later.test/ http://bad.test/"));
    assert!(all.reply().is_some_and(|reply| reply.contains("bad.test")));
    assert_eq!(all.reasons()[0].matches("listed in").count(), 4);
}

#[test]
fn what_is_no_listing() {
    for address in ["127.0.0.1", "127.0.0.255", "127.255.255.254", "192.0.2.8", "127.0.1.8", "8.8.8.8"] {
        let harness = harness("").dnsbl("fine.test.multi.surbl.test", &[address]);
        let outcome = harness.run(message("http://fine.test/"));
        assert_eq!(outcome.verdict, Verdict::Pass, "{address}");
        let is_logged = outcome.logs.iter().any(|(_, text)| text.contains(address));
        assert_eq!(is_logged, address != "127.0.1.8", "{address}: {:?}", outcome.logs);
    }
}

#[test]
fn a_refusal_is_logged_once_a_message() {
    let harness =
        harness("").dnsbl("a.test.multi.surbl.test", &["127.0.0.1"]).dnsbl("b.test.multi.surbl.test", &["127.0.0.1"]);
    let outcome = harness.run(message("http://a.test/ http://b.test/"));
    assert_eq!(outcome.logs.len(), 1);
    assert_eq!(outcome.tag("surbl"), Some("temperror"));
}

#[test]
fn registrable_domains_are_asked_for_once_and_addresses_reversed() {
    let harness = harness(r#","extra_suffixes":["hosting.test"]"#)
        .url("http://[2001:db8::1]/", "2001:db8::1", UrlSource::Html)
        .url("http://3221225985/", "192.0.2.1", UrlSource::Html);
    let outcome = harness.run(message("http://www.shop.co.uk/ http://shop.co.uk/x http://a.user.hosting.test/"));
    let mut queries = outcome.dns_queries.clone();
    queries.sort();
    assert_eq!(
        queries,
        [
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.multi.surbl.test",
            "1.2.0.192.multi.surbl.test",
            "sender.example.multi.surbl.test",
            "shop.co.uk.multi.surbl.test",
            "user.hosting.test.multi.surbl.test"
        ]
    );
}

#[test]
fn a_mapped_address_is_asked_for_in_both_families() {
    let harness = harness("").url("http://[::ffff:192.0.2.1]/", "::ffff:192.0.2.1", UrlSource::Html);
    let outcome = harness.run("Subject: hi\n\nx\n");
    assert_eq!(
        outcome.dns_queries,
        [
            "1.0.2.0.0.0.0.c.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.multi.surbl.test",
            "1.2.0.192.multi.surbl.test"
        ]
    );
}

#[test]
fn lists_of_codes() {
    let config = r#"{"zones":[{"zone":"dbl.test","reject_codes":["127.0.1.2-127.0.1.99"],
        "tag_codes":["127.0.1.102-106"],"addresses":false}]}"#;
    let run = |answer: &str| {
        let harness = Harness::new::<Surbl>(config).expect("a configuration").dnsbl("bad.test.dbl.test", &[answer]);
        harness.run(message("http://www.bad.test/"))
    };
    let listed = run("127.0.1.4");
    assert_eq!(listed.reply().as_deref(), Some("550 5.7.1 the message names bad.test, listed in dbl.test (127.0.1.4)"));
    let tagged = run("127.0.1.103");
    assert_eq!((tagged.verdict.clone(), tagged.tag("surbl")), (Verdict::Pass, Some("listed")));
    for (answer, tag) in [("127.0.0.2", "clean"), ("127.0.1.255", "temperror"), ("127.255.255.254", "temperror")] {
        let outcome = run(answer);
        assert_eq!((outcome.verdict.clone(), outcome.tag("surbl")), (Verdict::Pass, Some(tag)), "{answer}");
    }
    assert_eq!(
        run("127.255.255.254").reasons(),
        ["dbl.test answers 127.255.255.254: it refuses to serve this resolver"]
    );
}

#[test]
fn a_zone_without_addresses_is_not_asked_for_them() {
    let config = r#"{"zones":[{"zone":"dbl.test","reject_bits":[2],"addresses":false}]}"#;
    let harness =
        Harness::new::<Surbl>(config).expect("a configuration").url("http://192.0.2.1/", "192.0.2.1", UrlSource::Text);
    let outcome = harness.run("Subject: hi\n\nx\n");
    assert!(outcome.dns_queries.is_empty(), "{:?}", outcome.dns_queries);
}

#[test]
fn ignored_domains_are_not_asked_for() {
    let outcome = harness(r#","ignore":["Sender.Example","user.github.io"]"#)
        .run(message("http://www.sender.example/ http://user.github.io/ http://other.github.io/"));
    assert_eq!(outcome.dns_queries, ["other.github.io.multi.surbl.test"]);
    let outcome = harness(r#","ignore":["sender.example"]"#).run(message("plain"));
    assert_eq!(outcome.tag("surbl"), Some("none"));
}

#[test]
fn a_sender_cannot_hide_behind_the_cap() {
    let decoys: String = (0..100).map(|number| format!("http://harmless{number}.test/\n")).collect();
    let outcome = harness(r#","max_domains":20"#).run(message(&format!("{decoys}http://bad.test/")));
    assert_eq!(outcome.dns_queries.len(), 20);
    assert_eq!(outcome.tag("surbl-capped"), Some("20"));
    let first_twenty = (0..20).map(|number| format!("harmless{number}.test.multi.surbl.test"));
    assert!(!first_twenty.eq(outcome.dns_queries.iter().cloned()), "the order of the message decides");
    assert!(!outcome.dns_queries.iter().any(|query| query.starts_with("sender.example")), "links come first");
}

#[test]
fn a_list_that_does_not_answer() {
    let silent = |more: &str| harness(more).dns_failure(Error::Timeout).run(message("http://bad.test/"));
    let outcome = silent("");
    assert_eq!((outcome.verdict.clone(), outcome.tag("surbl")), (Verdict::Pass, Some("temperror")));
    let outcome = silent(r#","on_dns_failure":"tempfail""#);
    assert_eq!(
        outcome.reply().as_deref(),
        Some("451 4.4.3 domains in the message cannot be looked up now, try again later")
    );
    // Another list's answer stands.
    let config =
        format!(r#"{{"zones":[{ZONE},{{"zone":"second.test","reject_bits":[2]}}],"on_dns_failure":"tempfail"}}"#);
    let outcome = Harness::new::<Surbl>(config)
        .expect("a configuration")
        .dnsbl_error("bad.test.multi.surbl.test", Error::Failure("SERVFAIL".to_owned()))
        .dnsbl("bad.test.second.test", &["127.0.0.2"])
        .run(message("http://bad.test/"));
    assert!(outcome.reply().is_some_and(|reply| reply.starts_with("550 5.7.1")));
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (config, expected) in [
        ("{}", "missing field `zones`"),
        (r#"{"zones":[]}"#, "zones: there is none"),
        (r#"{"zones":[{"zone":"a b","reject_bits":[2]}]}"#, "zones.zone: \"a b\" is not a domain name"),
        (r#"{"zones":[{"zone":"l.test"}]}"#, "zone \"l.test\": it has no bits and no codes"),
        (r#"{"zones":[{"zone":"l.test","reject_codes":["127.0.1"]}]}"#, "\"127.0.1\" is not a code such as"),
        (r#"{"zones":[{"zone":"l.test","reject_codes":["10.0.0.1"]}]}"#, "10.0.0.1 is not within 127.0.0.0/8"),
        (r#"{"zones":[{"zone":"l.test","reject_codes":["127.0.0.9-2"]}]}"#, "127.0.0.9-2 ends before it begins"),
        (r#"{"zones":[{"zone":"l.test","reject_codes":["127.0.0.0-9"]}]}"#, "127.0.0.0-9 holds 127.0.0.1"),
        (r#"{"zones":[{"zone":"l.test","tag_codes":["127.255.255.254"]}]}"#, "refuse us; that is no listing"),
        (
            r#"{"zones":[{"zone":"l.test","reject_codes":["127.0.1.2-9"],"tag_codes":["127.0.1.9"]}]}"#,
            "tag_codes: 127.0.1.9 overlaps 127.0.1.2-127.0.1.9",
        ),
        (r#"{"zones":[{"zone":"l.test","reject_bits":[6]}]}"#, "reject_bits: 6 is not a bit"),
        (r#"{"zones":[{"zone":"l.test","reject_bits":[256]}]}"#, "reject_bits: 256 is not a bit"),
        (r#"{"zones":[{"zone":"l.test","tag_bits":[1]}]}"#, "tag_bits: lists answer 127.0.0.1"),
        (r#"{"zones":[{"zone":"l.test","reject_bits":[2],"tag_bits":[2]}]}"#, "tag_bits: bit 2 stands twice"),
        (
            r#"{"zones":[{"zone":"l.test","reject_bits":[2]}],"max_domains":0}"#,
            "max_domains: 0 is not between 1 and 200",
        ),
        (
            r#"{"zones":[{"zone":"l.test","reject_bits":[2]}],"ignore":["bücher.example"]}"#,
            "ignore: \"bücher.example\" is not ASCII",
        ),
        (r#"{"zones":[{"zone":"l.test","reject_bit":[2]}]}"#, "unknown field `reject_bit`"),
    ] {
        let error = Harness::new::<Surbl>(config).expect_err(config);
        assert!(error.contains(expected), "{error}");
    }
}
