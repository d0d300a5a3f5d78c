//! Nothing leaks from one transaction to another.

use std::sync::Arc;

use mailweir::host::{Options, Phases};

use crate::support::Bench;

#[tokio::test]
async fn two_transactions_never_share_memory() {
    let bench = Bench::with(Options { slots: Some(4), ..Options::default() });
    let plugin = bench.load("remembers").await;
    // Far more than there are slots, so that each slot is used again and again.
    for _ in 0..100 {
        let mut sandbox = bench.sandbox(&plugin).await.unwrap();
        assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(111.0));
        assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(222.0));
    }
    let (mut one, mut other) = (bench.sandbox(&plugin).await.unwrap(), bench.sandbox(&plugin).await.unwrap());
    for calls in 1..4_u8 {
        let expected = Some(111.0 * f32::from(calls));
        assert_eq!(one.mail(b"").await.unwrap().score, expected);
        assert_eq!(other.mail(b"").await.unwrap().score, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_transactions_at_once() {
    let bench = Arc::new(Bench::with(Options { slots: Some(8), ..Options::default() }));
    let plugin = bench.load("remembers").await;
    let created = bench.host.counters().created;
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let (bench, plugin) = (Arc::clone(&bench), plugin.clone());
            tokio::spawn(async move {
                let mut sandbox = bench.sandbox(&plugin).await.unwrap();
                sandbox.mail(b"").await.unwrap().score
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Some(111.0));
    }
    assert_eq!(bench.host.counters().created, created + 500);
    assert_eq!(bench.host.counters().live, 0);
}

#[tokio::test]
async fn a_filter_that_asked_for_nothing_has_no_instances() {
    let bench = Bench::new();
    let plugin = bench.load("wants-nothing").await;
    assert_eq!(bench.host.counters().created, 1, "loading takes one");
    assert_eq!(bench.host.counters().live, 0);
    assert!(plugin.plan().phases == Phases::empty());
    assert!(!plugin.wants(Phases::CONNECT) && !plugin.wants(Phases::END_OF_MESSAGE));
}
