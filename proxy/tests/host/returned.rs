//! What filters return that they may not: an error of the filter, and nothing of it is used.

use mailweir::host::{Cause, Failure};
use mailweir::verdict::Edit;

use crate::support::Bench;

/// The detail of the trap that the guest's `on-mail` ends in.
async fn refused_in_mail(name: &str) -> String {
    let bench = Bench::new();
    let mut sandbox = bench.ready(name).await;
    detail(&bench, sandbox.mail(b"").await.unwrap_err())
}

/// The detail of the trap that the guest's `on-end` ends in.
async fn refused_at_the_end(name: &str) -> String {
    let bench = Bench::new();
    let mut sandbox = bench.ready(name).await;
    detail(&bench, sandbox.end(&bench.view(b"Subject: x\r\n\r\nHello\r\n")).await.unwrap_err())
}

fn detail(bench: &Bench, failure: Failure) -> String {
    let Failure::Plugin { cause: Cause::Trap, detail } = failure else { panic!("{failure}") };
    assert_eq!(bench.host.counters().live, 0);
    assert!(detail.len() <= 600 && !detail.chars().any(char::is_control), "{detail}");
    detail
}

#[tokio::test]
async fn replies() {
    for (name, words) in [
        ("reply-crlf", "it returned a reply with the control character '\\r'"),
        ("reply-nul", "it returned a reply with the control character '\\0'"),
        ("reply-huge", "it returned a reply of 10485760 bytes"),
        ("reply-code-999", "it returned a reply with code 999 to reject"),
        ("reply-code-250", "it returned a reply with code 250 to tempfail"),
        ("reply-not-utf8", "utf-8"),
        ("reply-out-of-memory", "out of bounds"),
        ("no-such-verdict", "discriminant"),
    ] {
        let detail = refused_in_mail(name).await;
        assert!(detail.contains(words), "{name}: {detail}");
    }
}

#[tokio::test]
async fn a_bomb_of_tags_is_never_copied() {
    let detail = refused_in_mail("tag-bomb").await;
    assert!(detail.contains("fuel"), "all of it was copied first: {detail}");
}

#[tokio::test]
async fn edits() {
    for (name, words) in [
        ("edits-unplanned", "it returned edits, though its plan says that it makes none"),
        ("edit-injects-field", "it returned edit 0: a field value with a NUL, a bare CR or LF"),
        (
            "edit-injects-command",
            "it returned edit 0: \"a@example.com>\\\\r\\\\nRCPT TO:<b@example.com\" is no address",
        ),
        ("edit-flood", "fuel"),
    ] {
        let detail = refused_at_the_end(name).await;
        assert!(detail.contains(words), "{name}: {detail}");
    }
}

#[tokio::test]
async fn a_proper_edit_is_handed_on() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("edit").await;
    let view = bench.view(b"Subject: x\r\n\r\nHello\r\n");
    let (_, edits) = sandbox.end(&view).await.unwrap();
    assert_eq!(edits, [Edit::AddHeader { name: "X-Tag".to_owned(), value: b"clean".to_vec() }]);
    assert_eq!(view.message.edited(&edits).unwrap().headers().values("x-tag").collect::<Vec<_>>(), [b"clean"]);
}

#[tokio::test]
async fn an_edit_of_what_is_not_there_changes_nothing() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("edit-out-of-range").await;
    let view = bench.view(b"Subject: x\r\n\r\nHello\r\n");
    let (_, edits) = sandbox.end(&view).await.unwrap();
    assert!(view.message.edited(&edits).is_err());
}
