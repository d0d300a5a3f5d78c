//! Filters that fail, and what the configuration makes of it.

use mailweir::chain::{Chain, Ruling};
use mailweir::config::Effect;
use mailweir::host::Cause;

use crate::stage::{MESSAGE, Stage, disposed, end, envelope, message, record, ruled};

#[tokio::test]
async fn each_effect() {
    for (effect, in_mail, in_the_end) in
        [(Effect::TempFail, "451", "451"), (Effect::Reject, "554", "554"), (Effect::Skip, "on", "deliver")]
    {
        let stage = Stage::new();
        let plugins = [
            stage.failing("a", "mail: trap; end: reject", effect).await,
            stage.filter("b", "mail: pass; end: pass").await,
        ];
        let mut run = stage.start(&Chain::new("chain", plugins, None));
        assert_eq!(ruled(run.mail("").await), in_mail);
        assert_eq!(disposed(&end(&mut run).await), in_the_end);
        let failed = record(&run, "a");
        assert_eq!((failed.failed, failed.verdict), (Some(Cause::Trap), "failed"));
        let skipped: Vec<(&str, &str)> = run.tags().iter().map(|tag| (tag.name.as_str(), tag.value.as_str())).collect();
        let expected: &[(&str, &str)] = if effect == Effect::Skip { &[("mailweir-skipped", "a")] } else { &[] };
        assert_eq!(skipped, expected);
        assert_eq!(stage.all_calls("a"), 1, "a filter that failed is called again");
        assert_eq!(stage.bench.host.counters().live, 0);
    }
}

#[tokio::test]
async fn after_a_failure_at_one_recipient_the_rest_is_refused() {
    let stage = Stage::new();
    let mut run = stage.run(&["mail: pass", "rcpt: trap"]).await;
    assert_eq!(ruled(run.mail("").await), "on");
    for _ in 0..2 {
        assert_eq!(ruled(run.rcpt("b@example.net").await), "451");
    }
    // A client that goes on regardless hears it at the next opportunity, though no filter asked for that phase.
    assert_eq!(ruled(run.headers(&message(MESSAGE), &envelope()).await), "451");
    assert_eq!(disposed(&end(&mut run).await), "451");
    assert_eq!(stage.calls("b", "rcpt"), 1);
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_made_is_a_failure_too() {
    let stage = Stage::new();
    let mut run = stage.run(&["trap-in-constructor"]).await;
    assert_eq!(ruled(run.mail("").await), "451");
    assert_eq!(disposed(&end(&mut run).await), "451");
    assert_eq!(record(&run, "a").failed, Some(Cause::Trap));
}

#[tokio::test]
async fn a_skipped_filter_leaves_the_others_in_force() {
    let stage = Stage::new();
    let plugins = [
        stage.failing("a", "rcpt: trap", Effect::Skip).await,
        stage.filter("b", "rcpt: reject").await,
        stage.filter("c", "end: reject").await,
    ];
    let mut run = stage.start(&Chain::new("chain", plugins, None));
    assert_eq!(ruled(run.rcpt("b@example.net").await), "550");
    assert_eq!(disposed(&end(&mut run).await), "550");
    assert_eq!(run.tags().len(), 1);
}

#[tokio::test]
async fn a_message_over_its_caps_is_refused_whatever_the_effect() {
    let stage = Stage::new();
    let skipping = stage.failing("a", "text-length", Effect::Skip).await;
    let mut run = stage.start(&Chain::new("chain", [skipping], None));
    let parts = "--b\r\n\r\nx\r\n".repeat(200);
    let text = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    let conclusion = run.end(message(text.as_bytes()), envelope(), None).await;
    assert_eq!(disposed(&conclusion), "554");
    assert_eq!((record(&run, "a").verdict, record(&run, "a").failed), ("reject", None));
}

#[tokio::test]
async fn a_failure_in_abort_harms_nobody() {
    let stage = Stage::new();
    let mut run = stage.run(&["mail: pass; abort: trap", "mail: pass; abort: pass"]).await;
    assert_eq!(run.mail("").await, Ruling::Continue);
    run.abort().await;
    assert_eq!(stage.calls("b", "abort"), 1);
    assert_eq!(record(&run, "a").failed, None);
}
