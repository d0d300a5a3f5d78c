//! The filter against scripted results of the host's checks.

use auth::Auth;
use mailweir_filter::Verdict;
use mailweir_filter::authentication::{
    ArcResult, AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Identity, Outcome, SpfResult,
};
use mailweir_filter::testing::Harness;

const MESSAGE: &str = "From: Bank <info@bank.example>\nSubject: hi\n\nbody\n";

/// A harness in which everything passes for bank.example.
fn harness(config: &str) -> Harness {
    Harness::new::<Auth>(config)
        .expect("a configuration")
        .mail_from("info@bank.example")
        .spf(SpfResult::new(Outcome::Pass, "bank.example"))
        .dkim(DkimResult::new(Outcome::Pass, "bank.example", "s1"))
        .arc(ArcResult::new(Outcome::None, &[]))
        .dmarc(DmarcResult::new(Outcome::Pass, "bank.example", DmarcPolicy::Reject))
}

fn failing(config: &str, policy: DmarcPolicy) -> Harness {
    harness(config).spf(SpfResult::new(Outcome::Fail, "bank.example")).dmarc(DmarcResult::new(
        Outcome::Fail,
        "bank.example",
        policy,
    ))
}

#[test]
fn a_signed_message_passes_with_the_field_on_top() {
    let outcome = harness("{}").run(MESSAGE);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(
        outcome.header("Authentication-Results").as_deref(),
        Some(
            "mx.example.com;\r\n\tspf=pass smtp.mailfrom=info@bank.example;\r\n\tdkim=pass header.d=bank.example \
             header.s=s1 header.a=rsa-sha256\r\n\t header.b=AbCdEfGh;\r\n\tdmarc=pass (p=reject) \
             header.from=bank.example;\r\n\tarc=none"
        )
    );
    assert!(outcome.message.starts_with(b"Authentication-Results: mx.example.com;\r\n\tspf=pass"));
    for (name, value) in [("spf", "pass"), ("dkim", "pass"), ("arc", "none"), ("dmarc", "pass")] {
        assert_eq!(outcome.tag(name), Some(value), "{name}");
    }
}

#[test]
fn a_spoofed_from_is_treated_as_its_owner_asks() {
    let outcome = failing("{}", DmarcPolicy::Reject).run(MESSAGE);
    assert_eq!(
        outcome.reply().as_deref(),
        Some("550 5.7.1 DMARC: bank.example asks to refuse mail that it did not send")
    );
    assert_eq!(outcome.reasons(), ["DMARC fail for bank.example (p=reject)"]);
    assert!(outcome.edits.is_empty());
    assert_eq!(outcome.tag("dmarc"), Some("fail"));
    let outcome = failing("{}", DmarcPolicy::Quarantine).run(MESSAGE);
    assert_eq!(outcome.verdict, Verdict::Quarantine("DMARC fail for bank.example (p=quarantine)".to_owned()));
    assert_eq!(failing("{}", DmarcPolicy::None).run(MESSAGE).verdict, Verdict::Pass);
    let outcome = failing(r#"{"dmarc":"quarantine"}"#, DmarcPolicy::Reject).run(MESSAGE);
    assert!(matches!(outcome.verdict, Verdict::Quarantine(_)));
}

#[test]
fn tag_and_overrides_only_tell() {
    for config in [r#"{"dmarc":"tag"}"#, r#"{"overrides":{"bank.example":"tag"}}"#] {
        let outcome = failing(config, DmarcPolicy::Reject).run(MESSAGE);
        assert_eq!(outcome.verdict, Verdict::Pass, "{config}");
        assert_eq!(outcome.tag("dmarc"), Some("fail"));
        let field = outcome.header("Authentication-Results").expect("our field");
        assert!(field.contains("dmarc=fail (p=reject dis=none override=local_policy)"), "{field}");
    }
}

#[test]
fn a_trusted_forwarder_vouches() {
    let config = r#"{"trusted_arc_sealers":["lists.example.net"]}"#;
    let forwarded = |arc| failing(config, DmarcPolicy::Reject).arc(arc).run(MESSAGE);
    let outcome = forwarded(ArcResult::new(Outcome::Pass, &["bank.example", "lists.example.net"]));
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(outcome.tag("dmarc-override"), Some("lists.example.net"));
    let field = outcome.header("Authentication-Results").expect("our field");
    assert!(field.contains("override=trusted_forwarder)"), "{field}");
    assert!(field.contains("arc=pass (i=2 sealer=lists.example.net)"), "{field}");
    for arc in [
        ArcResult::new(Outcome::Fail, &["lists.example.net"]),
        ArcResult::new(Outcome::Pass, &["lists.example.net", "evil.example"]),
        ArcResult::new(Outcome::Pass, &["notlists.example.net"]),
    ] {
        assert!(forwarded(arc).reply().is_some_and(|reply| reply.starts_with("550 5.7.1")));
    }
}

#[test]
fn a_policy_that_cannot_be_looked_up() {
    let silent =
        |config| harness(config).dmarc(DmarcResult::new(Outcome::TempError, "bank.example", DmarcPolicy::None));
    assert_eq!(
        silent("{}").run(MESSAGE).reply().as_deref(),
        Some("451 4.4.3 DMARC: the policy of bank.example cannot be looked up now")
    );
    let outcome = silent(r#"{"temperror":"accept"}"#).run(MESSAGE);
    assert_eq!((outcome.verdict.clone(), outcome.tag("dmarc")), (Verdict::Pass, Some("temperror")));
}

#[test]
fn faults_of_the_from_field() {
    let two = vec!["a@bank.example".to_owned(), "b@evil.example".to_owned()];
    for (authors, text, tag) in [
        (Err(AuthorFault::Missing), "the message has no From field", "missing"),
        (Err(AuthorFault::Several(2)), "the message has several From fields", "several"),
        (
            Err(AuthorFault::Unparsable("\r\n".to_owned())),
            "the From field has no address that can be read",
            "unparsable",
        ),
        (Ok(Vec::new()), "the message has no From field", "missing"),
        (Ok(two), "the From field has addresses of several domains", "several-domains"),
    ] {
        let outcome = harness("{}").authors(authors.clone()).run(MESSAGE);
        assert_eq!(outcome.reply(), Some(format!("550 5.7.1 {text}")));
        assert_eq!(outcome.tag("from"), Some(tag));
        let tolerant = r#"{"from_faults":"tag","several_from_domains":"tag"}"#;
        let outcome = harness(tolerant).authors(authors).run(MESSAGE);
        // Of several domains there are policies to look up all the same; of none there is not.
        let (result, shown) = match tag {
            "several-domains" => ("pass", "dmarc=pass (p=reject)".to_owned()),
            _ => ("permerror", format!("dmarc=permerror ({text})")),
        };
        assert_eq!((outcome.verdict.clone(), outcome.tag("dmarc")), (Verdict::Pass, Some(result)));
        assert_eq!(outcome.tag("from"), Some(tag));
        let field = outcome.header("Authentication-Results").expect("our field");
        assert!(field.contains(&shown), "{field}");
    }
    let one_domain = vec!["a@bank.example".to_owned(), "b@BANK.example".to_owned()];
    assert_eq!(harness("{}").authors(Ok(one_domain)).run(MESSAGE).verdict, Verdict::Pass);
}

/// A second address must not be the way around the policy of the first.
#[test]
fn several_domains_are_tagged_and_their_policies_hold() {
    let two = vec!["ceo@bank.example".to_owned(), "x@evil.example".to_owned()];
    let config = r#"{"several_from_domains":"tag"}"#;
    let outcome = failing(config, DmarcPolicy::Reject).authors(Ok(two.clone())).run(MESSAGE);
    assert_eq!(
        outcome.reply().as_deref(),
        Some("550 5.7.1 DMARC: bank.example asks to refuse mail that it did not send")
    );
    assert_eq!((outcome.tag("from"), outcome.tag("dmarc")), (Some("several-domains"), Some("fail")));
    let outcome = failing(config, DmarcPolicy::Quarantine).authors(Ok(two.clone())).run(MESSAGE);
    assert!(matches!(outcome.verdict, Verdict::Quarantine(_)));
    let outcome = failing(config, DmarcPolicy::None).authors(Ok(two)).run(MESSAGE);
    assert_eq!((outcome.verdict.clone(), outcome.tag("from")), (Verdict::Pass, Some("several-domains")));
    // The host evaluates none of too many: nobody's policy is known then.
    let many = (0..5).map(|index| format!("a@d{index}.example")).collect();
    let unevaluated = DmarcResult::new(Outcome::PermError, "", DmarcPolicy::None);
    let outcome = harness(config).authors(Ok(many)).dmarc(unevaluated).run(MESSAGE);
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 the From field has addresses of too many domains"));
    assert_eq!(outcome.tag("from"), Some("several-domains"));
}

/// What the host makes of each field stands beside it; what the filter does then follows from that alone.
#[test]
fn hostile_from_fields() {
    let mut cases = 0;
    for line in include_str!("from_fields.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (found, section) = line.split_once(" | ").expect("what the host finds, and the section");
        let (authors, expected) = match found {
            "missing" => (Err(AuthorFault::Missing), Some("missing")),
            "several" => (Err(AuthorFault::Several(2)), Some("several")),
            "unparsable" => (Err(AuthorFault::Unparsable("x".to_owned())), Some("unparsable")),
            addresses => {
                let authors: Vec<String> = addresses.split(", ").map(str::to_owned).collect();
                let first = authors[0].rsplit_once('@').map(|(_, domain)| domain.to_owned());
                let one = authors.iter().all(|author| author.rsplit_once('@').map(|(_, d)| d) == first.as_deref());
                (Ok(authors), (!one).then_some("several-domains"))
            }
        };
        let strict = harness("{}").authors(authors.clone()).run(MESSAGE);
        assert_eq!(strict.tag("from"), expected, "{section}");
        assert_eq!(
            strict.reply().is_some_and(|reply| reply.starts_with("550 5.7.1 ")),
            expected.is_some(),
            "{section}"
        );
        let tolerant = r#"{"from_faults":"tag","several_from_domains":"tag"}"#;
        let tolerant = harness(tolerant).authors(authors).run(MESSAGE);
        assert_eq!((tolerant.verdict.clone(), tolerant.tag("from")), (Verdict::Pass, expected), "{section}");
        let has_author = matches!(expected, None | Some("several-domains"));
        let results = if has_author { "dmarc=pass" } else { "dmarc=permerror" };
        assert!(tolerant.header("Authentication-Results").is_some_and(|field| field.contains(results)), "{section}");
        cases += 1;
    }
    assert!(cases >= 70, "{cases}");
}

#[test]
fn real_from_fields() {
    for (fields, is_fine) in [
        ("From: info@bank.example\n", true),
        ("From: info@bank.example\nFrom: info@evil.example\n", false),
        ("Subject: none\n", false),
        ("From: nobody\n", false),
        ("From: a@bank.example, b@evil.example\n", false),
    ] {
        let outcome = harness("{}").run(format!("{fields}\nbody\n"));
        assert_eq!(outcome.verdict == Verdict::Pass, is_fine, "{fields}");
    }
}

#[test]
fn forged_fields_are_removed_and_others_stay() {
    let message = "Authentication-Results: mx.example.com; dmarc=pass header.from=bank.example\n\
        Received: from a by b\n\
        authentication-results: other.example; spf=pass\n\
        AUTHENTICATION-RESULTS: (x) \"MX.example.com\" 1;\n\tspf=pass\n\
        Authentication-Results: spf=pass\n\
        Authentication-Results: backup.example.com; spf=pass\n\
        From: info@bank.example\n\nbody\n";
    let outcome = harness("{}").run(message);
    let fields = outcome.headers("Authentication-Results");
    assert_eq!(fields.len(), 3, "{fields:?}");
    assert!(fields[0].starts_with("mx.example.com;\r\n\tspf=pass smtp.mailfrom="));
    assert_eq!(fields[1..], ["other.example; spf=pass", "backup.example.com; spf=pass"]);
    assert_eq!(outcome.counts.get("forged_results_removed"), Some(&3));
    let outcome = harness(r#"{"remove_results_of":["Backup.example.com"]}"#).run(message);
    assert_eq!(outcome.headers("Authentication-Results").len(), 2);
}

#[test]
fn spf_fail_is_tagged_or_refused_at_mail() {
    let outcome = harness("{}").spf(SpfResult::new(Outcome::Fail, "bank.example")).run(MESSAGE);
    assert_eq!((outcome.verdict.clone(), outcome.tag("spf")), (Verdict::Pass, Some("fail")));
    let mut result = SpfResult::new(Outcome::Fail, "bank.example");
    result.explanation = Some(format!("see\r\n250 ok {}", "x".repeat(600)));
    let outcome = harness(r#"{"spf_fail":"reject"}"#).spf(result).run(MESSAGE);
    let reply = outcome.reply().expect("a refusal");
    assert!(
        reply.starts_with(
            "550 5.7.23 SPF of bank.example does not allow 192.0.2.1; its owner explains: see??250 ok xxx"
        ),
        "{reply}"
    );
    for outcome in [Outcome::SoftFail, Outcome::Neutral, Outcome::None, Outcome::TempError, Outcome::PermError] {
        let run = harness(r#"{"spf_fail":"reject"}"#).spf(SpfResult::new(outcome, "bank.example")).run(MESSAGE);
        assert_eq!(run.verdict, Verdict::Pass, "{outcome:?}");
    }
}

#[test]
fn a_bounce_is_checked_by_its_helo_name() {
    let harness = harness(r#"{"spf_fail":"reject"}"#)
        .mail_from("")
        .helo("mail.bank.example")
        .spf_for(Identity::Helo, SpfResult::new(Outcome::Pass, "mail.bank.example"))
        .spf_for(Identity::MailFrom, SpfResult::new(Outcome::Fail, "bank.example"));
    let outcome = harness.run(MESSAGE);
    assert_eq!(outcome.verdict, Verdict::Pass);
    let field = outcome.header("Authentication-Results").expect("our field");
    assert!(field.contains("spf=pass smtp.helo=mail.bank.example;"), "{field}");
}

#[test]
fn the_address_is_checked_when_asked_for() {
    let outcome = harness(r#"{"iprev":true}"#).iprev(Outcome::Pass, Some("mail.bank.example")).run(MESSAGE);
    let field = outcome.header("Authentication-Results").expect("our field");
    assert!(
        field.starts_with("mx.example.com;\r\n\tiprev=pass (mail.bank.example) policy.iprev=192.0.2.1;"),
        "{field}"
    );
    assert_eq!(outcome.tag("iprev"), Some("pass"));
}

#[test]
fn trusted_clients_go_unchecked_unless_configured() {
    let outcome = failing("{}", DmarcPolicy::Reject).trusted().run(MESSAGE);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert!(outcome.edits.is_empty());
    let outcome = failing(r#"{"skip_trusted":false}"#, DmarcPolicy::Reject).trusted().run(MESSAGE);
    assert!(outcome.reply().is_some());
}

#[test]
fn hostile_names_stay_out_of_the_field_and_the_reply() {
    let hostile = "evil.example; dmarc=pass\r\nX-Injected: yes";
    let mut signature = DkimResult::new(Outcome::Fail, hostile, hostile);
    signature.reason = hostile.to_owned();
    let outcome = harness("{}")
        .mail_from(format!("\"a; dmarc=pass\"@{hostile}"))
        .helo(hostile)
        .spf(SpfResult::new(Outcome::Fail, hostile))
        .dkim(signature)
        .arc(ArcResult::new(Outcome::Fail, &[hostile]))
        .dmarc(DmarcResult::new(Outcome::Fail, hostile, DmarcPolicy::None))
        .run(MESSAGE);
    let field = outcome.header("Authentication-Results").expect("our field");
    assert_eq!(field.matches("dmarc=").count(), 1, "{field}");
    assert_eq!(field.matches("dmarc=fail (p=none)").count(), 1, "{field}");
    assert!(outcome.header("X-Injected").is_none());
    let long = "\u{1d54f}".repeat(1000);
    let outcome =
        harness("{}").dmarc(DmarcResult::new(Outcome::Fail, format!("{long}\r\n"), DmarcPolicy::Reject)).run(MESSAGE);
    assert!(outcome.reply().is_some());
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (config, expected) in [
        (r#"{"dmarc":"strict"}"#, "dmarc: unknown variant `strict`, expected one of `enforce`, `quarantine`, `tag`"),
        (r#"{"overrides":{"exa mple":"tag"}}"#, "overrides: \"exa mple\" is not a domain name"),
        (r#"{"overrides":{"example.org":"off"}}"#, "overrides.example.org: unknown variant `off`"),
        (r#"{"trusted_arc_sealers":["lists.example.net;"]}"#, "trusted_arc_sealers: \"lists.example.net;\" is not"),
        (r#"{"spf":"reject"}"#, "unknown field `spf`"),
    ] {
        let error = Harness::new::<Auth>(config).expect_err(config);
        assert!(error.contains(expected), "{error}");
    }
}
