//! The phases: what filters are shown, what they cost, and what they are pushed.

use std::time::Duration;

use mailweir::host::{BodyMode, Failure, Options, Phases};
use mailweir::verdict::{Decision, Verdict};

use crate::support::Bench;

const MESSAGE: &[u8] = b"Subject: first\r\nFrom: a@example.com\r\nSubject: second\r\n\r\nHello\r\n";

#[tokio::test]
async fn every_phase_is_called() {
    let bench = Bench::new();
    let plugin = bench.load("pass").await;
    assert!(plugin.wants(Phases::CONNECT) && plugin.wants(Phases::ABORT) && !plugin.wants(Phases::BODY));
    assert_eq!((plugin.name(), plugin.plan().body), ("pass", BodyMode::None));
    let mut sandbox = bench.sandbox(&plugin).await.unwrap();
    let view = bench.view(MESSAGE);
    assert_eq!(sandbox.connect().await.unwrap(), Decision::pass());
    assert_eq!(sandbox.helo(b"client.example.org").await.unwrap(), Decision::pass());
    assert_eq!(sandbox.mail(b"alice@example.com").await.unwrap(), Decision::pass());
    assert_eq!(sandbox.rcpt(b"bob@example.net").await.unwrap(), Decision::pass());
    assert_eq!(sandbox.headers(&view).await.unwrap(), Decision::pass());
    assert_eq!(sandbox.end(&view).await.unwrap(), (Decision::pass(), vec![]));
    let cost = sandbox.cost();
    assert_eq!((cost.host_calls, cost.bytes, cost.fuel), (0, 50, None));
    assert!(cost.wall >= cost.cpu && cost.cpu > Duration::ZERO, "{cost:?}");
    // Sessions are tasks that move from thread to thread, with all that they wait for.
    let all = tokio::spawn(async move {
        sandbox.connect().await?;
        sandbox.helo(b"").await?;
        sandbox.rcpt(b"").await?;
        sandbox.headers(&view).await?;
        sandbox.end(&view).await?;
        sandbox.abort().await;
        Ok::<_, Failure>(())
    });
    assert!(all.await.unwrap().is_ok());
    assert_eq!(bench.host.counters().live, 0);
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let bench = Bench::new();
    let verdict = bench.ready("reply").await.mail(b"").await.unwrap().verdict;
    let Verdict::Reject(reply) = verdict else { panic!("{verdict:?}") };
    assert_eq!((reply.code(), reply.lines()), (550, &["5.7.1 not here".to_owned()][..]));
}

#[tokio::test]
async fn the_message_is_shown_as_often_as_asked() {
    let bench = Bench::new();
    let view = bench.view(MESSAGE);
    let mut sandbox = bench.ready("size").await;
    assert_eq!(sandbox.headers(&view).await.unwrap().score, Some(MESSAGE.len() as f32));
    assert_eq!(sandbox.end(&view).await.unwrap().0.score, Some(MESSAGE.len() as f32));
    let mut sandbox = bench.ready("subject").await;
    assert_eq!(sandbox.end(&view).await.unwrap().0.reason, "first");
    assert_eq!((sandbox.cost().host_calls, sandbox.cost().bytes), (1, 11));
}

#[tokio::test]
async fn the_body_is_pushed_in_pieces_up_to_what_was_asked_for() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("body-length").await;
    for size in [100_000, 0, 100_000] {
        assert_eq!(sandbox.body(&vec![b'x'; size]).await.unwrap(), None);
    }
    assert_eq!(sandbox.body(b"more").await.unwrap(), None);
    // 150,000 bytes in three calls: 65,536, 34,464 and 50,000.
    assert_eq!(sandbox.end(&bench.view(MESSAGE)).await.unwrap().0.score, Some(3_150_000.0));
}

#[tokio::test]
async fn an_early_end_is_told() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("counts-aborts").await;
    sandbox.mail(b"").await.unwrap();
    sandbox.abort().await;
    assert_eq!(bench.host.events(), [("counts-aborts".to_owned(), "abort".to_owned(), 1)]);
    assert_eq!(bench.host.counters().live, 0);
}

#[tokio::test]
async fn fuel_makes_the_cost_the_same_every_time() {
    let bench = Bench::with(Options { fuel: true, slots: Some(4), ..Options::default() });
    let plugin = bench.load("subject").await;
    let mut costs = Vec::new();
    for _ in 0..3 {
        let mut sandbox = bench.sandbox(&plugin).await.unwrap();
        sandbox.end(&bench.view(MESSAGE)).await.unwrap();
        costs.push(sandbox.cost().fuel.unwrap());
    }
    assert!(costs[0] > 50 && costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
}

#[tokio::test]
async fn a_plugin_outlives_its_host() {
    let bench = Bench::new();
    let plugin = bench.load("pass").await;
    let evaluation = bench.evaluation();
    drop(bench);
    let mut sandbox = plugin.sandbox(&crate::support::facts(), &evaluation).await.unwrap();
    drop(plugin);
    assert!(sandbox.mail(b"").await.is_ok());
}
