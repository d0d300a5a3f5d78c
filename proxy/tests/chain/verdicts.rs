//! How several verdicts become one.

use std::time::Duration;

use mailweir::chain::Ruling;

use crate::stage::{Stage, disposed, end, record, ruled};

/// What filters say at the end of the message, what becomes of it, and who was asked.
const AT_THE_END: &[(&[&str], &str, &str)] = &[
    (&[], "deliver", ""),
    (&["pass", "pass"], "deliver", "ab"),
    (&["accept", "reject"], "550", "ab"),
    (&["reject", "pass"], "550", "a"),
    (&["tempfail", "reject"], "450", "a"),
    (&["disconnect", "pass"], "550 and close", "a"),
    (&["pass", "discard", "reject"], "discard", "ab"),
    (&["reject", "discard"], "550", "a"),
    (&["quarantine x", "pass"], "quarantine of a: x", "ab"),
    (&["quarantine x", "quarantine y"], "quarantine of a: x", "ab"),
    (&["quarantine x", "accept", "reject"], "550", "abc"),
    (&["quarantine x", "tempfail"], "450", "ab"),
    (&["quarantine x", "discard"], "discard", "ab"),
    (&["quarantine x", "route r"], "quarantine of a: x", "ab"),
    (&["route r", "pass"], "deliver through r", "ab"),
    (&["route r", "route s", "accept"], "deliver through s", "abc"),
    (&["route r", "reject"], "550", "ab"),
    (&["tarpit 5", "reject"], "550", "ab"),
    (&["tarpit 5", "pass"], "deliver", "ab"),
];

#[tokio::test]
async fn verdicts_at_the_end_are_merged() {
    for (says, expected, asked) in AT_THE_END {
        let stage = Stage::new();
        let scripts: Vec<String> = says.iter().map(|said| format!("end: {said}")).collect();
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        let mut run = stage.run(&scripts).await;
        assert_eq!(&disposed(&end(&mut run).await), expected, "{says:?}");
        let called: String = run.records().iter().filter(|record| record.called).map(|r| r.name.as_str()).collect();
        assert_eq!(&called, asked, "{says:?}");
        assert_eq!(stage.bench.host.counters().live, 0, "{says:?}: a sandbox outlives the end");
    }
}

/// What one filter says in MAIL, at two recipients and at the end: what each leads to, and the word for it in the log.
const OVER_PHASES: &[(&str, [&str; 4], &str)] = &[
    ("mail: pass; rcpt: pass; end: pass", ["on", "on", "on", "deliver"], "pass"),
    ("mail: accept; rcpt: reject; end: reject", ["on", "on", "on", "deliver"], "accept"),
    ("mail: reject; end: reject", ["550", "on", "on", "550"], "reject"),
    ("rcpt: reject; end: pass", ["on", "550", "550", "deliver"], "reject"),
    ("rcpt: tempfail; end: pass", ["on", "450", "450", "deliver"], "tempfail"),
    ("rcpt: disconnect", ["on", "550 and close", "550 and close", "deliver"], "disconnect"),
    ("mail: quarantine x; rcpt: pass; end: accept", ["on", "on", "on", "quarantine of a: x"], "quarantine"),
    ("mail: route r; rcpt: route s; end: pass", ["on", "on", "on", "deliver through s"], "route"),
    ("mail: discard; rcpt: reject; end: reject", ["on", "on", "on", "discard"], "discard"),
    ("rcpt: discard; end: reject", ["on", "on", "on", "discard"], "discard"),
];

#[tokio::test]
async fn verdicts_before_the_end_hold_for_what_follows() {
    for (script, expected, word) in OVER_PHASES {
        let stage = Stage::new();
        let mut run = stage.run(&[script]).await;
        let mut said = vec![ruled(run.mail("a@example.com").await)];
        for recipient in ["b@example.net", "c@example.net"] {
            said.push(ruled(run.rcpt(recipient).await));
        }
        said.push(disposed(&end(&mut run).await));
        assert_eq!(&said, expected, "{script}");
        assert_eq!(&record(&run, "a").verdict, word, "{script}");
    }
}

#[tokio::test]
async fn accept_retires_that_filter_alone() {
    let stage = Stage::new();
    let mut run = stage.run(&["mail: accept; rcpt: reject; end: reject", "mail: pass; rcpt: pass; end: reject"]).await;
    assert_eq!(run.mail("").await, Ruling::Continue);
    assert_eq!(stage.bench.host.counters().live, 1, "the sandbox of a filter that accepted is still there");
    assert_eq!(run.rcpt("b@example.net").await, Ruling::Continue);
    assert_eq!(disposed(&end(&mut run).await), "550");
    assert_eq!((stage.all_calls("a"), stage.all_calls("b")), (1, 3));
}

#[tokio::test]
async fn what_is_said_of_a_recipient_goes_when_that_is_refused() {
    for said in ["discard", "quarantine x", "route r"] {
        let stage = Stage::new();
        let mut run = stage.run(&[&format!("rcpt: {said}; end: pass")]).await;
        run.mail("").await;
        assert_eq!(run.rcpt("trap@example.net").await, Ruling::Continue);
        run.recipient_refused();
        assert_eq!(disposed(&end(&mut run).await), "deliver", "{said}");
    }
    let stage = Stage::new();
    let mut run = stage.run(&["rcpt: discard"]).await;
    for _ in 0..2 {
        run.rcpt("b@example.net").await;
    }
    run.recipient_refused();
    assert_eq!(disposed(&end(&mut run).await), "discard", "it was said of the first as well");
    let mut run = stage.run(&["rcpt: discard"]).await;
    run.rcpt("b@example.net").await;
    run.recipient_repeated();
    assert_eq!(disposed(&end(&mut run).await), "discard", "it is a recipient");
}

#[tokio::test]
async fn discard_ends_all_calls() {
    let stage = Stage::new();
    let mut run =
        stage.run(&["mail: discard", "connect: pass; mail: pass; rcpt: reject; body: reject; end: reject"]).await;
    run.connect().await;
    assert_eq!(run.mail("").await, Ruling::Continue);
    assert_eq!(run.rcpt("b@example.net").await, Ruling::Continue);
    assert_eq!(run.body(b"Subject: x\r\n").await, Ruling::Continue);
    assert_eq!(disposed(&end(&mut run).await), "discard");
    assert_eq!((stage.all_calls("a"), stage.all_calls("b")), (1, 1));
}

#[tokio::test]
async fn tarpits_add_up_to_a_limit() {
    let stage = Stage::new();
    let mut run = stage.run(&["mail: tarpit 2000; rcpt: tarpit 20000", "rcpt: tarpit 4000000000"]).await;
    run.mail("").await;
    assert_eq!(run.take_tarpit(), Duration::from_secs(2));
    assert_eq!(run.take_tarpit(), Duration::ZERO);
    assert_eq!(run.rcpt("b@example.net").await, Ruling::Continue);
    assert_eq!(run.take_tarpit(), Duration::from_secs(28), "30 seconds in all");
    run.rcpt("c@example.net").await;
    assert_eq!(run.take_tarpit(), Duration::ZERO);
}

#[tokio::test]
async fn tags_are_seen_by_later_filters_and_the_log() {
    let stage = Stage::new();
    let mut run = stage.run(&["mail: tag one; end: tag two", "last-tag"]).await;
    run.mail("").await;
    end(&mut run).await;
    assert_eq!(record(&run, "b").reason, "two");
    let tags: Vec<&str> = run.tags().iter().map(|tag| tag.value.as_str()).collect();
    assert_eq!(tags, ["one", "two"]);
}
