//! Filters that fail: each with its cause, at nobody else's cost, and with all of its memory back.

use std::time::{Duration, Instant};

use mailweir::config::{self, Grant};
use mailweir::host::{Cause, Failure, Options};
use mailweir::verdict::Decision;
use tokio::net::UdpSocket;

use crate::support::{Bench, cause, with_grants};

/// Calls the guest's `on-mail`, and tells its failure. Checks what holds for all of them.
async fn fails(bench: &Bench, plugin: &config::Plugin) -> (Cause, String) {
    let plugin = bench.host.load("guest", plugin).await.unwrap();
    let mut sandbox = bench.sandbox(&plugin).await.unwrap();
    let failure = sandbox.mail(b"alice@example.com").await.unwrap_err();
    assert_eq!(bench.host.counters().live, 0, "a failed filter is still in memory");
    // No second life.
    let again = sandbox.rcpt(b"bob@example.net").await.unwrap_err();
    assert_eq!(again.to_string(), failure.to_string());
    let Failure::Plugin { cause, detail } = failure else { panic!("{failure}") };
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
    (cause, detail)
}

#[tokio::test]
async fn a_trap() {
    let bench = Bench::new();
    let (cause, detail) = fails(&bench, &bench.guest("trap")).await;
    assert_eq!(cause, Cause::Trap);
    assert!(detail.contains("unreachable"), "{detail}");
}

#[tokio::test]
async fn a_trap_before_it_is_ready() {
    let bench = Bench::new();
    let plugin = bench.load("trap-in-constructor").await;
    let failure = bench.sandbox(&plugin).await.err().unwrap();
    assert_eq!(cause(&failure), Cause::Trap);
    assert_eq!(bench.host.counters().live, 0);
}

#[tokio::test]
async fn a_stack_overflow() {
    let bench = Bench::new();
    let (cause, detail) = fails(&bench, &bench.guest("stack-overflow")).await;
    assert_eq!(cause, Cause::Trap);
    assert!(detail.contains("stack"), "{detail}");
}

#[tokio::test]
async fn an_endless_loop_is_ended_and_others_go_on_in_the_same_thread() {
    let bench = Bench::new();
    let looping = config::Plugin { cpu: Duration::from_millis(100), ..bench.guest("endless-loop") };
    let looping = bench.host.load("looping", &looping).await.unwrap();
    let passing = bench.load("pass").await;
    let mut spinning = bench.sandbox(&looping).await.unwrap();
    let start = Instant::now();
    let spin = async {
        let failure = spinning.mail(b"").await.unwrap_err();
        (failure, start.elapsed())
    };
    let others = async {
        let mut calls = 0;
        for _ in 0..20 {
            let mut sandbox = bench.sandbox(&passing).await.unwrap();
            assert_eq!(sandbox.mail(b"").await.unwrap(), Decision::pass());
            calls += 1;
            tokio::task::yield_now().await;
        }
        (calls, start.elapsed())
    };
    let ((failure, ended), (calls, done)) = tokio::join!(spin, others);
    assert_eq!(cause(&failure), Cause::Timeout);
    assert!(failure.to_string().contains("CPU"), "{failure}");
    assert!(ended >= Duration::from_millis(90), "{ended:?}");
    assert_eq!(calls, 20);
    assert!(done < ended, "the others waited for the loop: {done:?}, {ended:?}");
    assert!(spinning.cost().cpu >= Duration::from_millis(90), "{:?}", spinning.cost());
}

#[tokio::test]
async fn the_wall_clock_ends_what_the_cpu_limit_does_not() {
    let bench = Bench::new();
    let plugin = config::Plugin { timeout: Duration::from_millis(50), ..bench.guest("endless-loop") };
    let (cause, detail) = fails(&bench, &plugin).await;
    assert_eq!((cause, detail.as_str()), (Cause::Timeout, "no answer within 50ms"));
}

#[tokio::test]
async fn waiting_in_a_host_call_is_no_cpu_time_but_has_an_end() {
    // A resolver that never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let options = Options { slots: Some(16), ..Options::default() };
    let bench = Bench::in_folder(tempfile::tempdir().unwrap(), options, silent.local_addr().unwrap());
    let plugin = with_grants(bench.guest("looks-up"), &[Grant::Dns]);
    let (cpu, timeout) = (Duration::from_millis(50), Duration::from_millis(300));
    let plugin = bench.host.load("looks-up", &config::Plugin { cpu, timeout, ..plugin }).await.unwrap();
    let mut sandbox = bench.sandbox(&plugin).await.unwrap();
    let failure = sandbox.mail(b"").await.unwrap_err();
    assert_eq!(failure.to_string(), "timeout: no answer within 300ms");
    assert!(sandbox.cost().wall >= timeout && sandbox.cost().cpu < cpu, "{:?}", sandbox.cost());
    assert_eq!(sandbox.cost().host_calls, 1);
}

#[tokio::test]
async fn a_memory_hog() {
    let bench = Bench::new();
    let plugin = config::Plugin { memory: 8 << 20, ..bench.guest("memory-hog") };
    for _ in 0..20 {
        let (cause, detail) = fails(&bench, &plugin).await;
        assert_eq!(cause, Cause::Memory);
        assert!(detail.contains("8388608 bytes"), "{detail}");
    }
}

#[tokio::test]
async fn memory_comes_back_after_failures() {
    let Some(before) = resident() else { return };
    let bench = Bench::with(Options { slots: Some(100), ..Options::default() });
    let plugin = config::Plugin { memory: 16 << 20, ..bench.guest("memory-hog") };
    let plugin = bench.host.load("hog", &plugin).await.unwrap();
    // In all 1 GB of memory touched, 16 MiB at a time.
    for _ in 0..60 {
        let mut sandbox = bench.sandbox(&plugin).await.unwrap();
        assert_eq!(cause(&sandbox.mail(b"").await.unwrap_err()), Cause::Memory);
    }
    let after = resident().unwrap();
    assert!(after < before + (200 << 20), "{before} bytes before, {after} after");
}

#[tokio::test]
async fn too_much_memory_from_the_start() {
    let bench = Bench::new();
    let error = bench.load_error("guest", &bench.guest("memory-at-start")).await.to_string();
    assert!(error.contains("plugin.guest: ") && error.contains("memory: more than 33554432 bytes"), "{error}");
    assert_eq!(bench.host.counters().live, 0);
}

#[tokio::test]
async fn a_million_host_calls() {
    let bench = Bench::new();
    let (cause, detail) = fails(&bench, &bench.guest("host-call-flood")).await;
    assert_eq!((cause, detail.as_str()), (Cause::Timeout, "more than 10000 host calls in a transaction"));
    assert_eq!(bench.host.events(), [("guest".to_owned(), "flood".to_owned(), 10_000)]);
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_off_and_does_no_harm() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("log-flood").await;
    assert_eq!(sandbox.mail(b"").await.unwrap(), Decision::pass());
    assert_eq!(bench.host.counters().log_lines_dropped, 900);
}

#[tokio::test]
async fn a_message_not_given_back_and_one_never_given() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("keeps-the-message").await;
    let failure = sandbox.end(&bench.view(b"Subject: x\r\n\r\n")).await.unwrap_err();
    assert_eq!(cause(&failure), Cause::Trap);
    let (cause, _) = fails(&bench, &bench.guest("forged-handle")).await;
    assert_eq!(cause, Cause::Trap);
}

#[tokio::test]
async fn no_room_is_waited_for_and_then_unavailable() {
    let bench = Bench::with(Options { slots: Some(2), ..Options::default() });
    let plugin = config::Plugin { timeout: Duration::from_millis(100), ..bench.guest("pass") };
    let plugin = bench.host.load("pass", &plugin).await.unwrap();
    let first = bench.sandbox(&plugin).await.unwrap();
    let _second = bench.sandbox(&plugin).await.unwrap();
    let failure = bench.sandbox(&plugin).await.err().unwrap();
    assert_eq!(failure.to_string(), "unavailable: no sandbox was free within 100ms");
    // Whoever waits gets the place that comes free.
    let waiting = bench.sandbox(&plugin);
    let freeing = async {
        tokio::task::yield_now().await;
        drop(first);
    };
    let (third, ()) = tokio::join!(waiting, freeing);
    assert!(third.is_ok());
}

#[tokio::test]
async fn a_call_given_up_leaves_nothing_to_call() {
    let bench = Bench::new();
    let mut sandbox = bench.ready("endless-loop").await;
    let given_up = tokio::time::timeout(Duration::from_millis(20), sandbox.mail(b"")).await;
    assert!(given_up.is_err());
    assert_eq!(bench.host.counters().live, 0);
    assert_eq!(cause(&sandbox.mail(b"").await.unwrap_err()), Cause::Unavailable);
}

/// Bytes of memory that this process has, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
