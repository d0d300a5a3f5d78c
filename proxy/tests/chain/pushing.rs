//! The body pushed to filters: as it arrives, after edits, or as text.

use mailweir::chain::Run;

use crate::stage::{MESSAGE, Stage, disposed, end, envelope, message, record, ruled};

/// Bytes pushed to a guest of the body-length kind, and in how many calls.
fn pushed(run: &Run, name: &str) -> (u64, u64) {
    let score = record(run, name).score.unwrap() as u64;
    (score % 1_000_000, score / 1_000_000)
}

#[tokio::test]
async fn raw_bytes_are_pushed_while_they_arrive_unless_a_filter_before_may_edit() {
    let stage = Stage::new();
    let mut run = stage.run(&["body-length", "end: body A longer body than before", "body-length"]).await;
    assert!(run.pushes_early());
    let (first, second) = MESSAGE.split_at(10);
    assert_eq!(ruled(run.body(first).await), "on");
    assert_eq!(ruled(run.body(second).await), "on");
    let conclusion = end(&mut run).await;
    assert_eq!(pushed(&run, "a"), (MESSAGE.len() as u64, 2));
    assert_eq!(pushed(&run, "c").0, conclusion.message.size(), "it sees the edited message");
    // Nobody wants them early.
    let run = stage.run(&["end: add X-A one", "body-length"]).await;
    assert!(!run.pushes_early());
}

#[tokio::test]
async fn no_more_is_pushed_than_was_asked_for() {
    let stage = Stage::new();
    let mut run = stage.run(&["body-length"]).await;
    for _ in 0..4 {
        run.body(&[b'x'; 50_000]).await;
    }
    end(&mut run).await;
    assert_eq!(pushed(&run, "a"), (150_000, 3));
    // Late, too.
    let long = [MESSAGE, &b"x".repeat(200_000)].concat();
    let mut run = stage.run(&["end: add X-A one", "body-length"]).await;
    run.end(message(&long), envelope(), None).await;
    assert_eq!(pushed(&run, "b").0, 150_000);
}

#[tokio::test]
async fn text_is_decoded_and_cut_at_characters() {
    let stage = Stage::new();
    let text = |body: &str| format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{body}");
    let mut run = stage.run(&["text-length"]).await;
    assert!(!run.pushes_early());
    let quoted = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9=\r\n=E9";
    run.end(message(quoted.as_bytes()), envelope(), None).await;
    assert_eq!(pushed(&run, "a"), (4, 1));
    // Three bytes a character: neither 65,536 nor 100,000 is a multiple of three. The guest traps at half a character.
    let mut run = stage.run(&["text-length"]).await;
    let conclusion = run.end(message(text(&"\u{20ac}".repeat(50_000)).as_bytes()), envelope(), None).await;
    assert_eq!(disposed(&conclusion), "deliver", "{:?}", record(&run, "a"));
    assert_eq!(pushed(&run, "a"), (99_999, 2));
}

#[tokio::test]
async fn a_decision_ends_the_pushing_to_that_filter() {
    let stage = Stage::new();
    let mut run = stage.run(&["body: pass; end: pass", "body: nothing; end: pass"]).await;
    for _ in 0..3 {
        assert_eq!(ruled(run.body(b"xx").await), "on");
    }
    end(&mut run).await;
    assert_eq!((stage.calls("a", "body"), stage.calls("b", "body")), (1, 3));
    assert_eq!((stage.calls("a", "end_of_message"), stage.calls("b", "end_of_message")), (1, 1));
}

/// What a filter says of the body, early or late, and what becomes of the message.
#[tokio::test]
async fn what_is_said_of_the_body_counts() {
    for (said, early, late) in [
        ("reject", "550", "550"),
        ("disconnect", "550 and close", "550 and close"),
        ("trap", "451", "451"),
        ("discard", "on", "discard"),
        ("quarantine x", "on", "quarantine of a: x"),
        ("accept", "on", "deliver"),
    ] {
        let stage = Stage::new();
        let script = format!("body: {said}; end: pass");
        let mut run = stage.run(&[&script]).await;
        assert_eq!(ruled(run.body(b"xx").await), early, "{said}");
        let mut run = stage.run(&[&script]).await;
        run.body(MESSAGE).await;
        if early == "on" || said == "trap" {
            assert_eq!(disposed(&end(&mut run).await), late, "{said}");
        }
        // Behind a filter that may edit it is the last thing before on-end.
        let mut run = stage.run(&["end: add X-A one", &script]).await;
        assert_eq!(disposed(&end(&mut run).await), late.replace("of a", "of b"), "{said}, late");
    }
}
