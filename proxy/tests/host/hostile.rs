//! Filters that attack the host through the canonical ABI and through what it keeps for them.

use std::time::Duration;

use mailweir::config::{self, Grant};
use mailweir::host::{Cause, Failure};
use mailweir::verdict::Decision;

use crate::support::{Bench, with_grants};

/// How the guest's `on-mail` ends.
async fn failure(name: &str) -> (Cause, String) {
    let bench = Bench::new();
    let plugin = with_grants(bench.guest(name), &[Grant::Scan]);
    let plugin = bench.host.load("guest", &plugin).await.unwrap();
    let mut sandbox = bench.sandbox(&plugin).await.unwrap();
    let failure = sandbox.mail(b"alice@example.com").await.unwrap_err();
    let Failure::Plugin { cause, detail } = failure else { panic!("{failure}") };
    assert_eq!(bench.host.counters().live, 0, "{name} is still in memory");
    assert!(!detail.chars().any(char::is_control), "{name}: {detail:?}");
    // The host is none the worse for it.
    assert_eq!(bench.ready("pass").await.mail(b"").await.unwrap(), Decision::pass());
    (cause, detail)
}

/// What `configure` is handed is the first thing that room has to be made for.
#[tokio::test]
async fn who_makes_no_room_is_not_loaded() {
    let bench = Bench::new();
    for (name, words) in [
        ("realloc-out-of-range", "beyond end of memory"),
        ("realloc-recurses", "stack"),
        ("realloc-calls-the-host", "cannot leave component instance"),
    ] {
        let error = bench.load_error("guest", &bench.guest(name)).await.to_string();
        assert!(error.contains("fails in configure: trap: ") && error.contains(words), "{name}: {error}");
        assert_eq!(bench.host.counters().live, 0);
    }
}

#[tokio::test]
async fn a_string_that_is_not_in_memory_is_a_trap() {
    let (cause, detail) = failure("string-out-of-memory").await;
    assert_eq!(cause, Cause::Trap);
    assert!(detail.contains("out of bounds"), "{detail}");
}

/// While the host hands it something, or takes something back, a filter cannot call the host: nothing is entered twice.
#[tokio::test]
async fn the_host_is_not_entered_from_within_a_call() {
    for name in ["calls-the-host-while-called", "calls-the-host-after-its-end"] {
        let (cause, detail) = failure(name).await;
        assert_eq!(cause, Cause::Trap);
        assert!(detail.contains("cannot leave component instance"), "{name}: {detail}");
    }
}

#[tokio::test]
async fn the_host_is_not_entered_while_it_answers() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("calls-the-host-while-answered").await;
    let failure = sandbox.end(&bench.view(b"Subject: x\r\n\r\n")).await.unwrap_err();
    let Failure::Plugin { cause, detail } = failure else { panic!("{failure}") };
    assert_eq!(cause, Cause::Trap);
    assert!(detail.contains("cannot leave component instance"), "{detail}");
}

#[tokio::test]
async fn handles_are_bounded() {
    let (cause, detail) = failure("hoards-handles").await;
    assert_eq!(cause, Cause::Trap);
    assert!(detail.contains("resource table has no free keys"), "{detail}");
}

#[tokio::test]
async fn tables_are_bounded() {
    let bench = Bench::new();
    let decision = bench.ready("grows-tables").await.mail(b"").await.unwrap();
    let size = decision.score.unwrap();
    assert!((1001.0..=20_000.0).contains(&size), "{size}");
}

/// The code that runs before any function is called has the limits of a phase too.
#[tokio::test]
async fn a_start_function_has_an_end() {
    let bench = Bench::new();
    let plugin = config::Plugin { cpu: Duration::from_millis(20), ..bench.guest("start-loop") };
    let error = bench.load_error("guest", &plugin).await.to_string();
    assert!(error.contains("timeout: more than 20ms of CPU time"), "{error}");
    assert_eq!(bench.host.counters().live, 0);
}
