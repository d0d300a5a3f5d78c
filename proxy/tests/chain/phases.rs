//! Who is called when, and what nobody asked for.

use mailweir::chain::Ruling;
use mailweir::host::{Cost, Phases};

use crate::stage::{MESSAGE, Stage, disposed, end, envelope, message, record};
use crate::support::facts;

#[tokio::test]
async fn a_phase_nobody_asked_for_makes_no_sandbox() {
    let stage = Stage::new();
    let chain = stage.chain(&["end: pass", "rcpt: pass"]).await;
    assert_eq!(chain.phases(), Phases::END_OF_MESSAGE | Phases::RCPT);
    let made = || stage.bench.host.counters().created;
    let before = made();
    let mut run = stage.start(&chain);
    run.connect().await;
    run.helo(facts()).await;
    run.mail("a@example.com").await;
    run.headers(&message(MESSAGE), &envelope()).await;
    assert!(!run.pushes_early());
    run.body(MESSAGE).await;
    assert_eq!(made(), before);
    run.rcpt("b@example.net").await;
    assert_eq!((made(), stage.all_calls("a")), (before + 1, 0));
    end(&mut run).await;
    assert_eq!(made(), before + 2);
    assert_eq!((stage.all_calls("a"), stage.all_calls("b")), (1, 1));
}

/// It traps at whatever is called in it, its transaction's beginning included.
#[tokio::test]
async fn a_filter_that_asked_for_nothing_gets_no_instance_and_no_call() {
    let stage = Stage::new();
    let chain = stage.chain(&["wants-nothing", "end: pass"]).await;
    let made = || stage.bench.host.counters().created;
    let before = made();
    for messages in 1..4 {
        let mut run = stage.start(&chain);
        run.connect().await;
        run.helo(facts()).await;
        run.mail("a@example.com").await;
        run.rcpt("b@example.net").await;
        run.headers(&message(MESSAGE), &envelope()).await;
        run.body(MESSAGE).await;
        assert_eq!(disposed(&end(&mut run).await), "deliver");
        // The other filter's.
        assert_eq!(made(), before + messages);
        let idle = record(&run, "a");
        assert!(!idle.called && idle.failed.is_none());
        assert_eq!(idle.cost, Cost::default());
    }
    let mut aborted = stage.start(&chain);
    aborted.mail("a@example.com").await;
    aborted.abort().await;
    assert_eq!(made(), before + 3);
}

#[tokio::test]
async fn a_chain_without_filters_costs_nothing() {
    let stage = Stage::new();
    let mut run = stage.run(&[]).await;
    assert_eq!(run.connect().await, Ruling::Continue);
    assert_eq!(disposed(&end(&mut run).await), "deliver");
    assert_eq!(stage.bench.host.counters().created, 0);
}

#[tokio::test]
async fn each_filter_is_called_in_its_phases_in_one_sandbox() {
    let all = "connect: pass; helo: pass; mail: pass; rcpt: pass; headers: pass; body: nothing; end: pass; abort: pass";
    let stage = Stage::new();
    let chain = stage.chain(&[all, "end: pass; abort: pass"]).await;
    let before = stage.bench.host.counters().created;
    let mut run = stage.start(&chain);
    run.connect().await;
    run.helo(facts()).await;
    run.mail("").await;
    run.rcpt("b@example.net").await;
    run.rcpt("c@example.net").await;
    run.body(MESSAGE).await;
    run.headers(&message(MESSAGE), &envelope()).await;
    end(&mut run).await;
    run.abort().await;
    for (phase, calls) in
        [("connect", 1), ("helo", 1), ("mail", 1), ("rcpt", 2), ("headers", 1), ("body", 1), ("end_of_message", 1)]
    {
        assert_eq!(stage.calls("a", phase), calls, "{phase}");
    }
    assert_eq!(stage.calls("a", "abort"), 0, "it had its on-end");
    assert_eq!(stage.bench.host.counters().created, before + 2);
    assert!(record(&run, "a").cost.host_calls >= 8, "the cost of a sandbox that is gone is kept");
}

#[tokio::test]
async fn who_had_no_end_is_told() {
    let stage = Stage::new();
    // c has no sandbox when b refuses, and none is made to tell it.
    let scripts =
        ["mail: pass; end: pass; abort: pass", "mail: pass; end: reject; abort: pass", "end: pass; abort: pass"];
    let chain = stage.chain(&[scripts[1], scripts[0], scripts[2]]).await;
    let mut run = stage.start(&chain);
    run.mail("").await;
    end(&mut run).await;
    let aborts = |name: &str| stage.calls(name, "abort");
    assert_eq!((aborts("a"), aborts("b"), aborts("c")), (0, 1, 0), "refused by a");
    let mut run = stage.start(&chain);
    run.mail("").await;
    run.abort().await;
    assert_eq!((aborts("a"), aborts("b"), aborts("c")), (1, 2, 0), "the client left");
    assert_eq!(stage.bench.host.counters().live, 0);
}
