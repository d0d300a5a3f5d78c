//! Edits: all or none, and seen by the filters behind.

use mailweir::chain::{Chain, Conclusion, Envelope, Run};
use mailweir::config::Effect;
use mailweir::host::Cause;

use crate::stage::{MESSAGE, Stage, disposed, end, envelope, message, record};

fn text(conclusion: &Conclusion) -> String {
    let pieces = conclusion.message.chunks().map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap());
    pieces.collect()
}

/// What one filter edits, and the message after it.
const MESSAGES: &[(&str, &str)] = &[
    ("pass", "From: a@example.com\r\nSubject: first\r\n\r\nHello\r\n"),
    ("add X-A one", "From: a@example.com\r\nSubject: first\r\nX-A: one\r\n\r\nHello\r\n"),
    ("insert X-A one", "X-A: one\r\nFrom: a@example.com\r\nSubject: first\r\n\r\nHello\r\n"),
    ("replace Subject two", "From: a@example.com\r\nSubject: two\r\n\r\nHello\r\n"),
    ("remove Subject", "From: a@example.com\r\n\r\nHello\r\n"),
    ("body Bye", "From: a@example.com\r\nSubject: first\r\n\r\nBye\r\n"),
    ("remove Subject + add Subject two + body Bye", "From: a@example.com\r\nSubject: two\r\n\r\nBye\r\n"),
    // A verdict beside the edits.
    ("route r + remove Subject", "From: a@example.com\r\n\r\nHello\r\n"),
];

#[tokio::test]
async fn what_edits_make_of_a_message() {
    let stage = Stage::new();
    for (edits, expected) in MESSAGES {
        let mut run = stage.run(&[&format!("end: {edits}")]).await;
        assert_eq!(&text(&end(&mut run).await), expected, "{edits}");
    }
}

/// Edits of the envelope, and the sender and recipients after them.
const ENVELOPES: &[(&str, &str, &[&str])] = &[
    ("sender c@example.org", "c@example.org", &["b@example.net"]),
    ("rcpt+ c@example.org", "a@example.com", &["b@example.net", "c@example.org"]),
    ("rcpt+ b@example.net", "a@example.com", &["b@example.net"]),
    ("rcpt- b@example.net + rcpt+ c@example.org", "a@example.com", &["c@example.org"]),
];

#[tokio::test]
async fn what_edits_make_of_an_envelope() {
    let stage = Stage::new();
    for (edits, sender, recipients) in ENVELOPES {
        let mut run = stage.run(&[&format!("end: {edits}")]).await;
        let recipients = recipients.iter().map(|address| (*address).to_owned()).collect();
        let expected = Envelope { sender: (*sender).to_owned(), recipients };
        assert_eq!(end(&mut run).await.envelope, expected, "{edits}");
    }
}

/// Edits of which one cannot be made, so none is.
const IMPOSSIBLE: [&str; 5] = [
    "rcpt- b@example.net",
    "rcpt- c@example.org",
    "sender c@example.org + remove X-None",
    "remove Subject + rcpt- c@example.org",
    "remove Subject + remove Subject",
];

#[tokio::test]
async fn all_edits_are_made_or_none() {
    let stage = Stage::new();
    for edits in IMPOSSIBLE {
        let plugins = [stage.failing("a", &format!("end: {edits}"), Effect::Skip).await];
        let mut run = stage.start(&Chain::new("chain", plugins, None));
        let conclusion = end(&mut run).await;
        assert_eq!(record(&run, "a").failed, Some(Cause::Trap), "{edits}");
        assert_eq!(conclusion.envelope, envelope(), "{edits}");
        assert_eq!(text(&conclusion).as_bytes(), MESSAGE, "{edits}");
        assert!(run.edits().is_empty(), "{edits}");
    }
}

#[tokio::test]
async fn the_next_filter_sees_them() {
    let stage = Stage::new();
    let told = |run: &Run, name: &str| record(run, name).reason;
    for (edits, teller, expected) in [
        ("replace Subject two", "subject", "two"),
        ("insert Subject two", "subject", "two"),
        ("sender c@example.org", "sender", "c@example.org"),
        ("rcpt+ c@example.org", "last-recipient", "c@example.org"),
        ("rcpt- b@example.net + rcpt+ c@example.org", "last-recipient", "c@example.org"),
    ] {
        // One before it sees nothing of them.
        let mut run = stage.run(&[teller, &format!("end: {edits}"), teller]).await;
        end(&mut run).await;
        assert_eq!(told(&run, "c"), expected, "{edits}");
        assert_ne!(told(&run, "a"), expected, "{edits}");
    }
    let mut run = stage.run(&["end: body A longer body than before", "size"]).await;
    let conclusion = end(&mut run).await;
    assert_eq!(record(&run, "b").score, Some(conclusion.message.size() as f32));
}

#[tokio::test]
async fn one_that_fails_in_the_middle_of_the_chain_leaves_the_others_edits() {
    for (effect, expected) in [(Effect::Skip, "deliver"), (Effect::TempFail, "451")] {
        let stage = Stage::new();
        let plugins = [
            stage.filter("a", "end: add X-A one").await,
            stage.failing("b", "end: add X-B two + remove X-None", effect).await,
            stage.filter("c", "end: add X-C three").await,
        ];
        let mut run = stage.start(&Chain::new("chain", plugins, None));
        let conclusion = end(&mut run).await;
        assert_eq!(disposed(&conclusion), expected);
        let text = text(&conclusion);
        assert!(text.contains("X-A: one") && !text.contains("X-B"), "{text}");
        assert_eq!(text.contains("X-C: three"), effect == Effect::Skip, "{text}");
        let editors: Vec<&str> = run.edits().iter().map(|(plugin, _)| plugin.as_str()).collect();
        assert_eq!(editors, if effect == Effect::Skip { vec!["a", "c"] } else { vec!["a"] });
    }
}

#[tokio::test]
async fn edits_that_were_not_announced_are_a_failure() {
    let stage = Stage::new();
    let mut run = stage.run(&["edits-unplanned"]).await;
    let conclusion = end(&mut run).await;
    assert_eq!((disposed(&conclusion).as_str(), text(&conclusion).as_bytes()), ("451", MESSAGE));
}

#[tokio::test]
async fn the_message_as_it_came_is_not_touched() {
    let stage = Stage::new();
    let original = message(MESSAGE);
    let mut run = stage.run(&["end: remove Subject + body Bye"]).await;
    run.end(original.clone(), envelope(), None).await;
    assert_eq!(&*original.contiguous().unwrap(), MESSAGE);
}
