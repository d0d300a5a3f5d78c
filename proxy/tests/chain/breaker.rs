//! The circuit breaker: a new version of a filter that keeps failing gives way to the last good one.

use std::sync::Arc;

use mailweir::chain::Chain;
use mailweir::config::{self, Effect};
use mailweir::host::{Cause, Plugin};

use crate::stage::{Stage, disposed, end, record};

/// A version that works, seen to work, and the chain it is in.
async fn good(stage: &Stage) -> Arc<Chain> {
    let chain = Chain::new("chain", [stage.filter("a", "end: tag good").await], None);
    message_through(stage, &chain, "deliver").await;
    chain
}

async fn message_through(stage: &Stage, chain: &Arc<Chain>, expected: &str) {
    let mut run = stage.start(chain);
    assert_eq!(disposed(&end(&mut run).await), expected);
}

/// The next generation of a chain.
fn reloaded(before: &Arc<Chain>, plugin: Plugin) -> Arc<Chain> {
    Chain::new("chain", [plugin], Some(before))
}

/// A version that fails at the end, for all that it passes MAIL.
async fn bad(stage: &Stage) -> Plugin {
    stage.filter("a", "mail: pass; end: trap").await
}

#[tokio::test]
async fn ten_failures_in_a_row_bring_the_last_good_version_back() {
    let stage = Stage::new();
    let chain = reloaded(&good(&stage).await, bad(&stage).await);
    for _ in 0..10 {
        message_through(&stage, &chain, "451").await;
        // A client that leaves after MAIL proves nothing.
        let mut run = stage.start(&chain);
        run.mail("").await;
        run.abort().await;
    }
    for _ in 0..3 {
        message_through(&stage, &chain, "deliver").await;
    }
    let mut run = stage.start(&chain);
    end(&mut run).await;
    assert_eq!(run.tags()[0].value, "good");
    // The next generation tries the new version again, and still has the one behind it.
    let next = reloaded(&chain, bad(&stage).await);
    for _ in 0..10 {
        message_through(&stage, &next, "451").await;
    }
    message_through(&stage, &next, "deliver").await;
}

#[tokio::test]
async fn a_transaction_stays_with_the_version_it_began_with() {
    let stage = Stage::new();
    let chain = reloaded(&good(&stage).await, bad(&stage).await);
    let mut early = stage.start(&chain);
    early.mail("").await;
    for _ in 0..10 {
        message_through(&stage, &chain, "451").await;
    }
    assert_eq!(disposed(&end(&mut early).await), "451");
    message_through(&stage, &chain, "deliver").await;
}

#[tokio::test]
async fn a_success_starts_the_count_again() {
    let stage = Stage::new();
    // Its failures are those of its recipients.
    let flapping = stage.filter("a", "rcpt: trap; end: pass").await;
    let chain = reloaded(&good(&stage).await, flapping);
    for _ in 0..3 {
        for _ in 0..9 {
            let mut run = stage.start(&chain);
            run.rcpt("b@example.net").await;
            assert_eq!(disposed(&end(&mut run).await), "451");
        }
        let mut run = stage.start(&chain);
        assert_eq!(disposed(&end(&mut run).await), "deliver");
        assert!(run.tags().is_empty(), "the version before was called");
    }
}

#[tokio::test]
async fn without_another_version_nothing_changes() {
    let stage = Stage::new();
    // The same component with the same configuration is no other version.
    let first = Chain::new("chain", [bad(&stage).await], None);
    let second = reloaded(&first, bad(&stage).await);
    for chain in [&first, &second] {
        for _ in 0..12 {
            message_through(&stage, chain, "451").await;
        }
    }
    // A version that was seen to fail is no fallback for the next one.
    let third = reloaded(&second, stage.filter("a", "end: trap").await);
    for _ in 0..12 {
        let mut run = stage.start(&third);
        end(&mut run).await;
        assert!(record(&run, "a").failed.is_some());
        assert_eq!(stage.calls("a", "mail"), 0);
    }
}

#[tokio::test]
async fn reloads_that_change_nothing_keep_the_fallback() {
    let stage = Stage::new();
    let mut chain = reloaded(&good(&stage).await, bad(&stage).await);
    for _ in 0..3 {
        message_through(&stage, &chain, "451").await;
        chain = reloaded(&chain, bad(&stage).await);
    }
    for _ in 0..10 {
        message_through(&stage, &chain, "451").await;
    }
    message_through(&stage, &chain, "deliver").await;
}

#[tokio::test]
async fn a_version_that_never_worked_does_not_take_the_place_of_one_that_did() {
    let stage = Stage::new();
    let second = reloaded(&good(&stage).await, bad(&stage).await);
    message_through(&stage, &second, "451").await;
    let third = reloaded(&second, stage.filter("a", "end: trap").await);
    for _ in 0..10 {
        message_through(&stage, &third, "451").await;
    }
    message_through(&stage, &third, "deliver").await;
}

#[tokio::test]
async fn what_is_missing_is_no_fault_of_the_version() {
    let stage = Stage::new();
    let good = good(&stage).await;
    let on_error = config::OnError {
        trap: Effect::Reject,
        timeout: Effect::Reject,
        memory: Effect::Reject,
        unavailable: Effect::Skip,
    };
    let patience = std::time::Duration::from_millis(1);
    let starving =
        stage.filter_with("a", "end: pass", |plugin| (plugin.on_error, plugin.timeout) = (on_error, patience)).await;
    // All the room there is, taken by others.
    let taker = stage.filter("b", "mail: pass").await;
    let mut taken = Vec::new();
    for _ in 0..64 {
        taken.push(stage.bench.sandbox(&taker).await.unwrap());
    }
    let chain = reloaded(&good, starving);
    for _ in 0..12 {
        let mut run = stage.start(&chain);
        end(&mut run).await;
        assert_eq!(record(&run, "a").failed, Some(Cause::Unavailable));
    }
    drop(taken);
    let mut run = stage.start(&chain);
    end(&mut run).await;
    assert!(run.tags().is_empty(), "the version before was called");
}
