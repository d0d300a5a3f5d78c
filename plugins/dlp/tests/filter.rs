//! The filter against whole messages.

use dlp::Dlp;
use mailweir_filter::Verdict;
use mailweir_filter::testing::Harness;

const CARDS: &str = r#"{"name":"payment cards","detect":["credit-card"],"minimum":2,"action":{"reject":"5.7.1 payment card data may not leave unencrypted"}}"#;

fn harness(rules: &[&str]) -> Harness {
    Harness::new::<Dlp>(format!(r#"{{"rules":[{}]}}"#, rules.join(","))).expect("a configuration")
}

fn text(body: &str) -> String {
    format!("From: a@example.com\nSubject: figures\n\n{body}\n")
}

#[test]
fn two_cards_are_refused_and_masked() {
    let outcome = harness(&[CARDS]).run(text("4111 1111 1111 1111\nand 5555-5555-5555-4444"));
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 payment card data may not leave unencrypted"));
    assert_eq!(outcome.reasons(), [r#"rule "payment cards": credit-card 2 (************1111, ************4444)"#]);
    assert_eq!(outcome.tag("dlp"), Some("payment cards"));
}

#[test]
fn the_threshold_counts_distinct_numbers() {
    for body in [
        "4111111111111111",
        "4111 1111 1111 1111, 4111-1111-1111-1111, 4111111111111111",
        "4111111111111112 5555555555554445",
    ] {
        assert_eq!(harness(&[CARDS]).run(text(body)).verdict, Verdict::Pass, "{body}");
    }
}

#[test]
fn subject_html_and_attachments_are_searched() {
    let message = "From: a@example.com\nSubject: =?utf-8?b?NDExMSAxMTExIDExMTEgMTExMQ==?=\nMIME-Version: 1.0\n\
        Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n\
        <p>5555 <b>5555</b> 5555 4444</p>\n--b\nContent-Type: text/csv; name=cards.csv\n\
        Content-Disposition: attachment; filename=cards.csv\nContent-Transfer-Encoding: base64\n\n\
        bmFtZSxjYXJkCkEsMzcxNDQ5NjM1Mzk4NDMxCg==\n--b--\n";
    let rule = CARDS.replace("\"minimum\":2", "\"minimum\":3");
    let outcome = harness(&[&rule]).run(message);
    assert!(outcome.reply().is_some(), "{:?}", outcome.reasons());
}

#[test]
fn a_long_list_is_found_in_full() {
    let cards: Vec<String> = (0..200).map(card).collect();
    for separator in [" ", "\n", ";", ", ", " - "] {
        let outcome = harness(&[CARDS]).run(text(&cards.join(separator)));
        assert!(outcome.reasons()[0].contains("credit-card 200 ("), "{separator:?}: {:?}", outcome.reasons());
    }
}

/// A Visa number with its check digit.
fn card(number: u32) -> String {
    let body = format!("400000{number:09}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, digit)| match u32::from(digit - b'0') {
            value if position % 2 == 0 => value * 2 / 10 + value * 2 % 10,
            value => value,
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

#[test]
fn every_detector_finds_its_own() {
    for (detector, body) in [
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("us-ssn", "his SSN is 536-90-4399."),
        ("us-ssn", "Social Security Number: 536904399"),
        ("fr-nir", "NIR 2 55 08 14 168 025 38"),
        ("de-steuer-id", "Steuer-ID 86 095 742 719"),
        ("ch-ahv", "AHV 756.9217.0769.85"),
        ("us-itin", "ITIN 911-70-1234"),
        ("uk-nhs", "NHS 401 023 2137"),
        ("uk-nino", "NI number AB 12 34 56 C"),
        ("es-nif", "DNI 12345678Z"),
        ("it-codice-fiscale", "CF RSSMRA85T10A562S"),
        ("pl-pesel", "PESEL 44051401458"),
        ("nl-bsn", "BSN 1112.22.333, or BSN: 111222333"),
        ("be-rijksregister", "nr. 85.07.30-033.28"),
        ("private-key", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"),
        ("aws-access-key", "key AKIAIOSFODNN7EXAMPLE"),
        ("email-address", "write to jane.doe@example.org"),
    ] {
        let rule = format!(r#"{{"name":"r","detect":["{detector}"],"action":{{"tag":"found"}}}}"#);
        let outcome = harness(&[&rule]).run(text(body));
        assert_eq!(outcome.tag("found"), Some("r"), "{detector}");
        let reason = outcome.reasons()[0];
        for secret in ["3704", "4399", "168", "742", "0769", "jane"] {
            assert!(!reason.contains(secret), "{reason}");
        }
        let other = harness(&[&rule]).run(text("order 123456789, call 440-600-5124, 2024-05-17"));
        assert_eq!(other.tag("found"), None, "{detector}");
    }
}

#[test]
fn keywords_in_any_script_and_case() {
    let rule = r#"{"name":"marked","keywords":["confidential","streng vertraulich","機密","секретно"],"action":{"route":"encryption"}}"#;
    for body in ["CONFIDENTIAL!", "Streng\n> Vertraulich", "社外機密です", "Совершенно СЕКРЕТНО"]
    {
        let outcome = harness(&[rule]).run(text(body));
        assert_eq!(outcome.verdict, Verdict::Route("encryption".to_owned()), "{body}");
    }
    for body in ["confidentiality", "vertraulich", "nonconfidential", "nothing"] {
        assert_eq!(harness(&[rule]).run(text(body)).verdict, Verdict::Pass, "{body}");
    }
    let parts = rule.replace("\"action\"", "\"whole_word\":false,\"action\"");
    assert_eq!(harness(&[&parts]).run(text("confidentiality")).verdict, Verdict::Route("encryption".to_owned()));
}

#[test]
fn keywords_in_disguise() {
    let rule =
        r#"{"name":"marked","keywords":["secret","réservé","top secret"],"minimum":1,"action":{"route":"encryption"}}"#;
    for body in ["s\u{ad}ec\u{200b}ret", "ｓｅｃｒｅｔ", "re\u{301}serve\u{301}", "top\u{a0}\u{200b}secret"] {
        let outcome = harness(&[rule]).run(text(body));
        assert_eq!(outcome.verdict, Verdict::Route("encryption".to_owned()), "{body}");
    }
    for body in ["s\u{ad}ec\u{200b}re", "secre\u{200b}cy", "sec ret"] {
        assert_eq!(harness(&[rule]).run(text(body)).verdict, Verdict::Pass, "{body}");
    }
    // Both searches find it, and it counts once.
    let rule = rule.replace("\"minimum\":1", "\"minimum\":2");
    assert_eq!(harness(&[&rule]).run(text("secret s\u{ad}ecret")).verdict, Verdict::Pass);
}

#[test]
fn keywords_count_once_each() {
    let rule = r#"{"name":"k","keywords":["red","Blue"],"minimum":2,"action":{"tag":"colours"}}"#;
    assert_eq!(harness(&[rule]).run(text("red RED red")).tag("colours"), None);
    let outcome = harness(&[rule]).run(text("red BLUE"));
    assert_eq!(outcome.reasons(), [r#"rule "k": keyword 2 (Blue, red)"#]);
}

#[test]
fn patterns_are_counted_but_not_shown() {
    let rule = r#"{"name":"p","patterns":["PRJ-[0-9]{4}"],"minimum":2,"action":{"quarantine":"project names"}}"#;
    assert_eq!(harness(&[rule]).run(text("PRJ-0001 PRJ-0001")).verdict, Verdict::Pass);
    let outcome = harness(&[rule]).run(text("PRJ-0001 PRJ-0002"));
    assert_eq!(outcome.verdict, Verdict::Quarantine("project names".to_owned()));
    assert_eq!(outcome.reasons(), [r#"rule "p": pattern 2"#]);
}

#[test]
fn sensitivity_labels() {
    let rule = r#"{"name":"l","labels":[{"header":"Sensitivity","equals":"Company-Confidential"},
        {"header":"msip_labels","contains":"Name=Secret"},{"header":"X-Internal"}],"action":{"reject":"internal"}}"#;
    for field in [
        "sensitivity:  company-confidential ",
        "msip_labels: MSIP_Label_1_Enabled=True;\n MSIP_Label_1_Name=secret;",
        "X-Internal: ",
    ] {
        let outcome = harness(&[rule]).run(format!("{field}\nSubject: x\n\nbody\n"));
        assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 internal"), "{field}");
    }
    for field in ["Sensitivity: Personal", "X-Other: Company-Confidential"] {
        assert_eq!(
            harness(&[rule]).run(format!("{field}\n\nX-Internal: in the body\n")).verdict,
            Verdict::Pass,
            "{field}"
        );
    }
}

#[test]
fn the_most_severe_action_wins_and_all_are_reported() {
    let rules = [
        r#"{"name":"a","keywords":["one"],"action":{"tag":"first"}}"#,
        r#"{"name":"b","keywords":["one"],"action":{"add_recipient":"audit@example.com"}}"#,
        r#"{"name":"c","keywords":["one"],"action":{"route":"encryption"}}"#,
        r#"{"name":"d","keywords":["two"],"action":{"quarantine":"held"}}"#,
        r#"{"name":"e","keywords":["three"],"action":{"reject":"5.7.0 no"}}"#,
        r#"{"name":"f","keywords":["three"],"action":{"reject":"5.7.0 not this one"}}"#,
    ];
    let outcome = harness(&rules).run(text("one"));
    assert_eq!(outcome.verdict, Verdict::Route("encryption".to_owned()));
    assert_eq!(outcome.recipients, [b"recipient@example.com".to_vec(), b"audit@example.com".to_vec()]);
    assert_eq!(outcome.tag("first"), Some("a"));
    let outcome = harness(&rules).run(text("one two"));
    assert_eq!(outcome.verdict, Verdict::Quarantine("held".to_owned()));
    assert_eq!(outcome.recipients.len(), 1);
    let outcome = harness(&rules).run(text("one two three"));
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.0 no"));
    for rule in ["a", "b", "c", "d", "e", "f"] {
        assert!(outcome.reasons()[0].contains(&format!("rule \"{rule}\"")), "{:?}", outcome.reasons());
    }
}

#[test]
fn more_rules_than_a_decision_has_room_for_tags() {
    let rule = |number: usize| format!(r#"{{"name":"r{number}","keywords":["one"],"action":{{"tag":"t{number}"}}}}"#);
    let rules: Vec<String> = (0..100).map(rule).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let outcome = harness(&rules).run(text("one"));
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!((outcome.tag("t0"), outcome.tag("t62")), (Some("r0"), Some("r62")));
    assert_eq!((outcome.tag("t63"), outcome.tag("dlp-more")), (None, Some("137")));
    let outcome = harness(&rules[..32]).run(text("one"));
    assert_eq!((outcome.tag("dlp"), outcome.tag("dlp-more")), (Some("r31"), None));
}

#[test]
fn a_recipient_is_not_added_twice() {
    let rule = |name: &str| {
        format!(r#"{{"name":"{name}","keywords":["one"],"action":{{"add_recipient":"Audit@example.com"}}}}"#)
    };
    let outcome = harness(&[&rule("a"), &rule("b")]).run(text("one"));
    assert_eq!(outcome.recipients.len(), 2);
    let outcome = harness(&[&rule("a")]).rcpt("audit@example.com").run(text("one"));
    assert_eq!(outcome.recipients.len(), 1);
}

/// Ten thousand decoys before two real cards.
fn flood() -> String {
    text(&format!("{}4111 1111 1111 1111\n5555 5555 5555 4444", "4111111111111112;\n".repeat(10_001)))
}

#[test]
fn data_does_not_hide_behind_decoys() {
    let outcome = harness(&[CARDS]).run(flood());
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 too many candidate matches to check"));
    assert_eq!(outcome.reasons(), ["credit-card: too many candidate matches to check"]);
    assert_eq!(outcome.tag("dlp-incomplete"), Some("credit-card"));
    let cards: Vec<String> = (0..10_500).map(card).collect();
    let outcome = harness(&[CARDS]).run(text(&cards.join(";\n")));
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 payment card data may not leave unencrypted"));
    assert!(outcome.reasons()[0].contains("credit-card at least 10000 ("), "{:?}", outcome.reasons());
}

#[test]
fn keywords_and_patterns_are_cut_short_too() {
    for (kind, finds, body) in
        [("keyword", r#""keywords":["red"]"#, "red "), ("pattern", r#""patterns":["PRJ-[0-9]"]"#, "PRJ-1 ")]
    {
        let rule = format!(r#"{{"name":"r",{finds},"minimum":2,"action":{{"tag":"found"}}}}"#);
        let outcome = harness(&[&rule]).run(text(&body.repeat(10_001)));
        assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 too many candidate matches to check"), "{kind}");
        assert_eq!(outcome.tag("dlp-incomplete"), Some(kind));
    }
}

#[test]
fn the_operator_says_what_becomes_of_an_incomplete_search() {
    // Ten thousand times the same project name: quicker to search than decoys of cards.
    const NAMES: &str = r#"{"name":"p","patterns":["PRJ-[0-9]"],"minimum":2,"action":{"reject":"5.7.0 names"}}"#;
    let flood = || text(&"PRJ-1 ".repeat(10_001));
    let run = |incomplete: &str, rules: &str, message: String| {
        let config = format!(r#"{{"rules":[{rules}],"incomplete":"{incomplete}"}}"#);
        Harness::new::<Dlp>(config).expect("a configuration").run(message)
    };
    let outcome = run("tempfail", NAMES, flood());
    assert_eq!(outcome.reply().as_deref(), Some("451 4.7.1 too many candidate matches to check"));
    let outcome = run("quarantine", NAMES, flood());
    assert_eq!(outcome.verdict, Verdict::Quarantine("too many candidate matches to check".to_owned()));
    let outcome = run("tag", NAMES, flood());
    assert_eq!((outcome.verdict.clone(), outcome.tag("dlp-incomplete")), (Verdict::Pass, Some("pattern")));
    // It never softens what a rule wants, and what it wants is not softened by one.
    let word = |action: &str| format!(r#"{NAMES},{{"name":"w","keywords":["figures"],"action":{action}}}"#);
    let outcome = run("quarantine", &word(r#"{"reject":"5.7.0 no"}"#), flood());
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.0 no"));
    let outcome = run("reject", &word(r#"{"quarantine":"held"}"#), flood());
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 too many candidate matches to check"));
    let outcome = run("reject", &word(r#"{"add_recipient":"audit@example.com"}"#), flood());
    assert_eq!(outcome.recipients.len(), 1);
    // A message that was searched to its end is none of this.
    assert_eq!(run("reject", NAMES, text("figures")).verdict, Verdict::Pass);
    let error = Harness::new::<Dlp>(format!(r#"{{"rules":[{NAMES}],"incomplete":"skip"}}"#)).expect_err("skip");
    assert!(error.contains("unknown variant `skip`"), "{error}");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (rules, expected) in [
        ("[]", "rules: there is none"),
        (
            r#"[{"name":"a","action":{"tag":"x"}}]"#,
            r#"rule "a": finds nothing; give it detect, keywords, patterns or labels"#,
        ),
        (r#"[{"name":" ","detect":["iban"],"action":{"tag":"x"}}]"#, "rules[0].name: is empty"),
        (
            r#"[{"name":"a","detect":["visa"],"action":{"tag":"x"}}]"#,
            "rules[0].detect[0]: unknown variant `visa`, expected one of `credit-card`",
        ),
        (r#"[{"name":"a","detect":["iban"],"minimum":0,"action":{"tag":"x"}}]"#, r#"rule "a": minimum: is 0"#),
        (
            r#"[{"name":"a","detect":["iban"],"action":{"reject":"4.7.1 x"}}]"#,
            r#"rule "a": action.reject: 4.7.1 is not a code of a refusal"#,
        ),
        (r#"[{"name":"a","detect":["iban"],"action":{"rejekt":"x"}}]"#, "unknown variant `rejekt`"),
        (r#"[{"name":"a","detect":["iban"],"action":{"route":" "}}]"#, r#"rule "a": action.route: is empty"#),
        (r#"[{"name":"a","detect":["iban"],"action":{"tag":"a\nb"}}]"#, r#"rule "a": action.tag: has a line break"#),
        (r#"[{"name":"a","detect":["iban"],"action":{"add_recipient":"<a@b>"}}]"#, "is not an address"),
        (r#"[{"name":"a","keywords":[""],"action":{"tag":"x"}}]"#, r#"rule "a": keywords: one of them is empty"#),
        (r#"[{"name":"a","patterns":["(x"],"action":{"tag":"x"}}]"#, r#"rule "a": patterns: "#),
        (r#"[{"name":"a","labels":[{"header":"a b"}],"action":{"tag":"x"}}]"#, "is not the name of a header field"),
        (r#"[{"name":"a","detect":["iban"],"minimun":1,"action":{"tag":"x"}}]"#, "unknown field `minimun`"),
    ] {
        let error = Harness::new::<Dlp>(format!(r#"{{"rules":{rules}}}"#)).expect_err(rules);
        assert!(error.contains(expected), "{error}");
    }
}
