//! The harness calls a filter as mailweir does, and shows what came of it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use mailweir_filter::authentication::{self, Identity, SpfResult};
use mailweir_filter::mail::{Disposition, UrlSource};
use mailweir_filter::observe::Level;
use mailweir_filter::plan::Phases;
use mailweir_filter::prelude::*;
use mailweir_filter::scan::{DigestAlgorithm, PatternOptions, PatternSet, Scope};
use mailweir_filter::testing::{Harness, Outcome, Phase};
use mailweir_filter::{antivirus, dns, observe, scan, state};
use serde::Deserialize;

const PLAIN: &str = "From: a@example.org\nSubject: hi\n\nbody\n";

/// Answers each phase with what its configuration says.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Scripted {
    phases: Vec<String>,
    connect: String,
    mail: String,
    rcpt: String,
    headers: String,
    end: String,
    add: Vec<(String, String)>,
    edits: bool,
}

fn decide(what: &str) -> Decision {
    match what.split_once(' ').unwrap_or((what, "")) {
        ("" | "pass", _) => Decision::pass(),
        ("accept", _) => Decision::accept(),
        ("reject", text) => Decision::reject("5.7.1", text).because("scripted"),
        ("tempfail", text) => Decision::tempfail("4.7.1", text),
        ("quarantine", reason) => Decision::quarantine(reason),
        ("route", name) => Decision::route(name),
        ("badcode", _) => Decision::reject("5.7.1", "no").code(450),
        ("badtext", _) => Decision::reject("5.7.1", "two\nlines"),
        ("badclass", _) => Decision::reject("4.7.1", "no"),
        (other, _) => panic!("{other:?} is not understood"),
    }
}

impl Filter for Scripted {
    type Config = Self;

    fn configure(config: Self) -> Result<(Self, Plan), String> {
        let mut plan = Plan::new();
        for phase in &config.phases {
            plan = match phase.as_str() {
                "connect" => plan.on_connect(),
                "mail" => plan.on_mail(),
                "rcpt" => plan.on_rcpt(),
                "headers" => plan.on_headers(),
                "end" => plan.on_end(),
                "abort" => plan.on_abort(),
                other => return Err(format!("no phase {other:?}")),
            };
        }
        let plan = if config.edits { plan.edits() } else { plan };
        Ok((config, plan))
    }

    fn on_connect(&mut self, session: &Session) -> Decision {
        assert!(session.helo.is_empty());
        decide(&self.connect)
    }

    fn on_mail(&mut self, session: &Session, _: &[u8]) -> Decision {
        assert!(!session.helo.is_empty());
        decide(&self.mail)
    }

    fn on_rcpt(&mut self, _: &Session, recipient: &[u8]) -> Decision {
        let known = recipient.ends_with(b"@example.com");
        if known { Decision::pass() } else { decide(&self.rcpt) }
    }

    fn on_headers(&mut self, mail: &Mail) -> Decision {
        assert_eq!(mail.header("subject"), [b"hi"]);
        assert!(mail.raw(0, 1000).ends_with(b"Subject: hi\r\n"));
        decide(&self.headers)
    }

    fn on_end(&mut self, _: &Mail) -> (Decision, Edits) {
        let edits = self.add.iter().fold(Edits::new(), |edits, (name, value)| edits.add_header(name, value.as_str()));
        decide(&self.end).with(edits)
    }

    fn on_abort(&mut self) {
        observe::info("aborted");
    }
}

fn scripted(json: &str) -> Harness {
    Harness::new::<Scripted>(json).unwrap()
}

#[test]
fn the_verdict_is_what_the_decisions_come_to() {
    for (json, expected) in [
        (r#"{"phases":["mail","end"]}"#, "pass"),
        (r#"{"phases":["mail","end"],"mail":"reject no","end":"reject never"}"#, "550 5.7.1 no"),
        (r#"{"phases":["mail","end"],"mail":"accept","end":"reject never"}"#, "pass"),
        (r#"{"phases":["headers","end"],"headers":"quarantine odd"}"#, "quarantine odd"),
        (r#"{"phases":["headers","end"],"headers":"quarantine odd","end":"reject no"}"#, "550 5.7.1 no"),
        (r#"{"phases":["mail","end"],"mail":"route a","end":"route b"}"#, "route b"),
        (r#"{"phases":["end"],"mail":"reject not asked"}"#, "pass"),
        (r#"{"phases":["connect"],"connect":"tempfail later"}"#, "451 4.7.1 later"),
    ] {
        let outcome = scripted(json).run(PLAIN);
        let found = match &outcome.verdict {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Quarantine(reason) => format!("quarantine {reason}"),
            Verdict::Route(name) => format!("route {name}"),
            _ => outcome.reply().unwrap(),
        };
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn a_refused_recipient_is_left_out() {
    let harness = scripted(r#"{"phases":["rcpt","end","abort"],"rcpt":"reject unknown"}"#);
    let outcome = harness.rcpt("a@example.com").rcpt("b@elsewhere.example").run(PLAIN);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(outcome.recipients, [b"a@example.com"]);
    assert_eq!(outcome.decisions.last().unwrap().0, Phase::End);

    let harness = scripted(r#"{"phases":["rcpt","end","abort"],"rcpt":"reject unknown"}"#);
    let outcome = harness.rcpt("b@elsewhere.example").run(PLAIN);
    assert_eq!(outcome.reply().as_deref(), Some("550 5.7.1 unknown"));
    assert_eq!(outcome.logs, [(Level::Info, "aborted".to_owned())]);
}

#[test]
fn answers_that_mailweir_would_not_take_are_errors() {
    for (json, expected) in [
        (r#"{"phases":["end"],"end":"badcode"}"#, "the reply code 450 does not fit the verdict"),
        (r#"{"phases":["end"],"end":"badtext"}"#, "holds a control character"),
        (r#"{"phases":["end"],"end":"badclass"}"#, "is not one of class 5"),
        (r#"{"phases":["end"],"add":[["X-A","b"]]}"#, "plan does not have edits()"),
        (r#"{"phases":["end"],"edits":true,"add":[["X A","b"]]}"#, "is not a header field name"),
        (r#"{"phases":["end"],"edits":true,"add":[["X-A","b\nc"]]}"#, "a bare LF"),
        (r#"{"phases":["end"],"edits":true,"add":[["X-A","b\r\nc"]]}"#, "without a space after it"),
    ] {
        let error = scripted(json).try_run(PLAIN).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn configuration_errors_are_for_the_operator() {
    assert_eq!(Harness::new::<Scripted>(r#"{"phases":["late"]}"#).unwrap_err(), "no phase \"late\"");
    let error = Harness::new::<Scripted>(r#"{"phases":[1]}"#).unwrap_err();
    assert_eq!(error, "phases[0]: invalid type: integer `1`, expected a string");
    assert!(Harness::new::<Scripted>("").is_ok(), "no configuration is an empty one");
}

/// Runs this at the end of the message.
struct AtEnd;

type Look = fn(&Mail) -> (Decision, Edits);

std::thread_local! {
    static LOOK: std::cell::Cell<Option<Look>> = const { std::cell::Cell::new(None) };
}

/// A run whose filter does this at the end.
fn run(harness: &Harness, message: &str, look: Look) -> Result<Outcome, String> {
    LOOK.set(Some(look));
    harness.try_run(message)
}

impl Filter for AtEnd {
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<(Self, Plan), String> {
        Ok((Self, Plan::new().on_end().edits()))
    }

    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        LOOK.get().expect("set by the test")(mail)
    }
}

fn harness() -> Harness {
    Harness::new::<AtEnd>("{}").unwrap()
}

const MULTIPART: &str = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nSubject: =?utf-8?b?Z3LDvMOfZQ==?=\n folded\n\
MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\n\
Content-Transfer-Encoding: quoted-printable\n\nSch=F6n: https://shop.example/a?b=3D1.\n--b\nContent-Type: text/html\n\n\
<p>Card <b>4111</b> at evil.example</p>\n--b\nContent-Type: application/pdf; name=a.pdf\n\
Content-Disposition: attachment; filename=a.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n--b--\n";

#[test]
fn a_message_is_shown_in_parts() {
    let look: Look = |mail| {
        assert_eq!(mail.header_text("Subject"), ["grüße folded"]);
        assert_eq!(mail.header("subject"), [b"=?utf-8?b?Z3LDvMOfZQ==?=\r\n folded"]);
        let parts = mail.parts();
        let types: Vec<_> = parts.iter().map(|part| part.content_type.as_str()).collect();
        assert_eq!(types, ["multipart/mixed", "text/plain", "text/html", "application/pdf"]);
        assert_eq!(parts.iter().map(|part| part.parent).collect::<Vec<_>>(), [None, Some(0), Some(0), Some(0)]);
        assert_eq!(parts[1].charset.as_deref(), Some("iso-8859-1"));
        assert!(mail.whole_text(&parts[1], 1000).starts_with("Schön: "));
        assert_eq!(mail.whole_text(&parts[1], 4), "Sch", "cut at a character");
        assert!(mail.part_body(1, 0, 1000).starts_with(b"Sch\xf6n: "));
        assert_eq!((parts[3].disposition, parts[3].name.as_deref()), (Disposition::Attachment, Some("a.pdf")));
        assert_eq!(mail.part_body(3, 1, 3), b"PDF");
        assert_eq!(mail.part_body(3, 100, 3), b"");
        assert_eq!(authentication::authors(mail).unwrap(), ["j@example.org"]);
        let urls = mail.urls();
        let found: Vec<_> = urls.iter().map(|url| (url.host.as_str(), url.source, url.part)).collect();
        assert!(found.contains(&("shop.example", UrlSource::Text, Some(1))), "{found:?}");
        assert!(found.contains(&("evil.example", UrlSource::Html, Some(2))), "{found:?}");
        assert!(found.contains(&("scripted.example", UrlSource::Html, None)), "{found:?}");
        Decision::pass().into()
    };
    run(&harness().url("http://scripted.example/", "scripted.example", UrlSource::Html), MULTIPART, look).unwrap();
}

#[test]
fn patterns_are_found() {
    let look: Look = |mail| {
        let words = ["card 4111".to_owned(), "SCHÖN".to_owned(), "grüß".to_owned()];
        let set = PatternSet::compile(&words, PatternOptions::CASE_INSENSITIVE).unwrap();
        let hits = set.find(mail, Scope::Text, 10);
        assert_eq!(hits.iter().map(|hit| hit.pattern).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!((hits[0].part, hits[1].part, hits[2].part), (None, Some(1), Some(2)));
        assert_eq!(hits[1].matched, "Schön".as_bytes());
        let whole = PatternSet::compile(&["grüß".to_owned()], PatternOptions::WHOLE_WORD).unwrap();
        assert_eq!(whole.find(mail, Scope::Headers, 10), []);
        let digits = PatternSet::compile(&[r"\b4\d{3}".to_owned()], PatternOptions::REGEX).unwrap();
        assert_eq!(digits.find(mail, Scope::Raw, 10).len(), 1);
        assert!(PatternSet::compile(&["(".to_owned()], PatternOptions::REGEX).unwrap_err().contains("\"(\""));
        assert_eq!(scan::digest(mail, DigestAlgorithm::Sha256).len(), 32);
        assert_eq!(scan::digest(mail, DigestAlgorithm::Sha1).len(), 20);
        Decision::pass().into()
    };
    run(&harness(), MULTIPART, look).unwrap();
}

#[test]
fn services_answer_from_the_script() {
    let look: Look = |mail| {
        assert_eq!(dns::txt("example.org").unwrap().values, [b"v=spf1 -all"]);
        assert_eq!(dns::mx("example.org").unwrap().values[0].host, "mx.example.org");
        assert_eq!(dns::addresses("nowhere.example").unwrap_err(), dns::Error::NotFound);
        assert!(matches!(dns::ptr("not an address").unwrap_err(), dns::Error::Invalid(_)));
        let listed =
            dns::dnsbl(&["a.list.example".to_owned(), "b.list.example".to_owned(), "C.list.example".to_owned()]);
        assert_eq!(listed[0], Err(dns::Error::NotFound));
        assert_eq!(listed[1], Err(dns::Error::Timeout));
        assert_eq!(listed[2].as_ref().unwrap().values, ["127.0.0.2"]);
        assert_eq!(authentication::spf(Identity::Helo).outcome, authentication::Outcome::Fail);
        assert_eq!(authentication::spf(Identity::MailFrom).domain, "example.org");
        assert_eq!(authentication::iprev().0, authentication::Outcome::None);
        assert!(authentication::dkim(mail).is_empty());
        assert_eq!(authentication::arc(mail).outcome.as_str(), "none");
        assert_eq!(authentication::dmarc(mail).from_domain, "example.org");
        assert_eq!(antivirus::scan(mail), antivirus::ScanResult::Infected("Eicar".to_owned()));
        assert_eq!(mail.tag("auth").as_deref(), Some("pass"));
        observe::count("seen", 2);
        observe::warn("careful");
        Decision::pass().score(1.5).tag("a", "1").into()
    };
    let harness = harness()
        .dns_txt("Example.org.", &["v=spf1 -all"])
        .dns_mx("example.org", &[(10, "mx.example.org")])
        .dnsbl("c.list.example", &["127.0.0.2"])
        .dnsbl_error("b.list.example", dns::Error::Timeout)
        .spf_for(Identity::Helo, SpfResult::new(authentication::Outcome::Fail, "client.example"))
        .antivirus(antivirus::ScanResult::Infected("Eicar".to_owned()))
        .tag("auth", "pass");
    let outcome = run(&harness, PLAIN, look).unwrap();
    assert_eq!(outcome.counts["seen"], 2);
    assert_eq!(outcome.logs, [(Level::Warn, "careful".to_owned())]);
    assert_eq!(outcome.dns_queries.len(), 6);
    assert_eq!((outcome.score(), outcome.tag("a")), (1.5, Some("1")));
}

#[test]
fn a_scan_without_a_scripted_result_is_not_clean() {
    let look: Look = |mail| {
        assert!(matches!(antivirus::scan(mail), antivirus::ScanResult::Failed(_)));
        Decision::pass().into()
    };
    run(&harness(), PLAIN, look).unwrap();
}

#[test]
fn state_outlives_a_message_and_its_time_passes() {
    let look: Look = |_| {
        let kept = state::get("key").map(|value| String::from_utf8(value).unwrap());
        state::set("key", b"value", 60);
        let sum = state::increment("counter", 2, 30);
        Decision::pass().because(format!("{kept:?} {sum}")).into()
    };
    LOOK.set(Some(look));
    let harness = harness();
    assert_eq!(harness.run(PLAIN).reasons(), ["None 2"]);
    assert_eq!(harness.run(PLAIN).reasons(), [r#"Some("value") 4"#]);
    harness.advance(Duration::from_secs(31));
    assert_eq!(harness.run(PLAIN).reasons(), [r#"Some("value") 2"#]);
    harness.advance(Duration::from_secs(60));
    assert_eq!(harness.run(PLAIN).reasons(), ["None 2"]);
}

#[test]
fn edits_are_applied_in_order() {
    let look: Look = |_| {
        let edits = Edits::new()
            .insert_header(0, "X-First", "1")
            .replace_header("subject", 0, "changed")
            .remove_header("From", 0)
            .add_header("X-Last", "a\r\n b")
            .add_recipient("c@example.com")
            .remove_recipient("recipient@example.com")
            .change_sender("")
            .replace_body("new\r\n");
        Decision::pass().with(edits)
    };
    let outcome = run(&harness(), PLAIN, look).unwrap();
    let expected = "X-First: 1\r\nSubject: changed\r\nX-Last: a\r\n b\r\n\r\nnew\r\n";
    assert_eq!(String::from_utf8(outcome.message.clone()).unwrap(), expected);
    assert_eq!(outcome.headers("x-last"), ["a\r\n b"]);
    assert_eq!((outcome.sender, outcome.recipients), (vec![], vec![b"c@example.com".to_vec()]));

    let absent = run(&harness(), PLAIN, |_| Decision::pass().with(Edits::new().remove_header("X-Absent", 0)));
    assert!(absent.unwrap_err().contains("there is no such field"));
}

/// Collects what is pushed to it.
struct Pushed {
    raw: bool,
    chunks: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
struct PushedConfig {
    raw: bool,
    max: u64,
}

impl Filter for Pushed {
    type Config = PushedConfig;

    fn configure(config: PushedConfig) -> Result<(Self, Plan), String> {
        let plan = Plan::new().on_end();
        let plan = if config.raw { plan.push_raw(config.max) } else { plan.push_text(config.max) };
        Ok((Self { raw: config.raw, chunks: Vec::new() }, plan))
    }

    fn on_body(&mut self, chunk: &[u8]) -> Option<Decision> {
        self.chunks.push(chunk.to_vec());
        (self.raw && chunk.ends_with(b"Stop")).then(|| Decision::pass().because("seen enough"))
    }

    fn on_end(&mut self, _: &Mail) -> (Decision, Edits) {
        Decision::pass().because(String::from_utf8(self.chunks.join(&b'|')).unwrap()).into()
    }
}

#[test]
fn bodies_are_pushed_in_pieces() {
    for (json, message, expected) in [
        (r#"{"raw":true,"max":0}"#, "A: b\n\nbody\n", "A: b|\r\n\r\n|body|\r\n"),
        (r#"{"raw":true,"max":6}"#, "A: b\n\nbody\n", "A: b|\r\n"),
        (r#"{"raw":true,"max":0}"#, "A: b\r\n\r\nStop it\n", "A: b|\r\n\r\n|Stop"),
        (r#"{"raw":false,"max":0}"#, "Content-Transfer-Encoding: base64\n\nQm9keQ==\n", "Body"),
    ] {
        let outcome = Harness::new::<Pushed>(json).unwrap().chunk_size(4).run(message);
        assert_eq!(*outcome.reasons().last().unwrap(), expected, "{json}");
    }
}

#[test]
fn the_plan_says_what_was_asked_for() {
    let harness = scripted(r#"{"phases":["mail","end"],"edits":true}"#);
    assert!(harness.plan().asks_for(Phases::MAIL) && harness.plan().asks_for(Phases::END_OF_MESSAGE));
    assert!(!harness.plan().asks_for(Phases::BODY) && harness.plan().edits);
}
