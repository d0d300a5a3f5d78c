//! Sandboxes that begin with the memory that `configure` left behave like those in which it is called.

use mailweir::config::{self, Grant};
use mailweir::host::{Options, Phases, Plugin};

use crate::support::{Bench, with_grants};

/// The guest in a host that calls `configure` in each sandbox, and in one that does not where it need not.
async fn both_ways(name: &str, grants: &[Grant]) -> [(Bench, Plugin); 2] {
    let load = async |configure_each| {
        let bench = Bench::with(Options { slots: Some(4), configure_each, ..Options::default() });
        let plugin = bench.host.load(name, &with_grants(bench.guest(name), grants)).await.unwrap();
        (bench, plugin)
    };
    [load(true).await, load(false).await]
}

#[tokio::test]
async fn what_configure_left_is_there_and_each_sandbox_has_its_own() {
    let [each, once] = both_ways("configured", &[]).await;
    assert!(!each.1.begins_configured() && once.1.begins_configured());
    for (bench, plugin) in [each, once] {
        // More than there are slots, so that slots are used again.
        for _ in 0..20 {
            let mut sandbox = bench.sandbox(&plugin).await.unwrap();
            assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(222.0));
            assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(333.0));
        }
        let (mut one, mut other) = (bench.sandbox(&plugin).await.unwrap(), bench.sandbox(&plugin).await.unwrap());
        for calls in 2..5_u8 {
            let expected = Some(111.0 * f32::from(calls));
            assert_eq!(one.mail(b"").await.unwrap().score, expected);
            assert_eq!(other.mail(b"").await.unwrap().score, expected);
        }
    }
}

/// A host that configures in each sandbox is there to tell what one that does not would do, limits and cost included.
#[tokio::test]
async fn what_a_copy_would_have_spared_is_neither_cost_nor_against_limits() {
    let mut costs = Vec::new();
    for configure_each in [true, false] {
        let bench = Bench::with(Options { slots: Some(4), fuel: true, configure_each, ..Options::default() });
        // `configure` makes one call, and a message one more.
        let guest = with_grants(bench.guest("finds"), &[Grant::Scan]);
        let plugin = bench.host.load("finds", &config::Plugin { host_calls: 1, ..guest }).await.unwrap();
        assert_eq!(plugin.begins_configured(), !configure_each);
        let mut sandbox = bench.sandbox(&plugin).await.unwrap();
        let ready = sandbox.cost();
        let view = bench.view(b"Subject: x\r\n\r\nhello world\r\n");
        sandbox.end(&view).await.unwrap();
        let cost = sandbox.cost();
        costs.push((ready.host_calls, cost.host_calls, cost.bytes, cost.fuel.unwrap() - ready.fuel.unwrap()));
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn pattern_sets_keep_their_handles() {
    for (guest, begins_configured) in [("finds", true), ("finds-one-of-two", true), ("drops-patterns", false)] {
        let [each, once] = both_ways(guest, &[Grant::Scan]).await;
        assert_eq!(once.1.begins_configured(), begins_configured, "{guest}");
        let mut scores = Vec::new();
        for (bench, plugin) in [each, once] {
            for _ in 0..3 {
                let mut sandbox = bench.sandbox(&plugin).await.unwrap();
                let view = bench.view(b"Subject: x\r\n\r\nhello world world world hello\r\n");
                scores.push(sandbox.end(&view).await.unwrap().0.score);
            }
        }
        let expected = if guest == "finds" { 2.0 } else { 3.0 };
        assert_eq!(scores, [Some(expected); 6], "{guest}");
    }
}

/// A handle that the filter made is not in its memory.
#[tokio::test]
async fn a_filter_with_a_handle_of_its_own_is_configured_in_each_sandbox() {
    for (bench, plugin) in both_ways("configures-a-handle", &[]).await {
        assert!(!plugin.begins_configured());
        let mut sandbox = bench.sandbox(&plugin).await.unwrap();
        assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(7.0));
    }
}

/// What the host answered once may not hold for the next sandbox.
#[tokio::test]
async fn a_filter_that_asks_the_host_is_configured_in_each_sandbox() {
    let [_, (_, fickle)] = both_ways("fickle", &[Grant::State]).await;
    assert!(!fickle.begins_configured());
    let [_, (_, chatty)] = both_ways("log-flood", &[]).await;
    assert!(chatty.begins_configured(), "it logs later");
}

/// Sandboxes have the limits of the configuration, however they begin.
#[tokio::test]
async fn memory_that_configure_took_counts() {
    let bench = Bench::new();
    let tight = |memory| config::Plugin { memory, ..bench.guest("configured") };
    // Its own memory, and the page that it takes.
    let pages = 3;
    let plugin = bench.host.load("enough", &tight(pages << 16)).await.unwrap();
    let mut sandbox = bench.sandbox(&plugin).await.unwrap();
    assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(222.0));
    assert!(bench.host.load("too little", &tight((pages << 16) - 1)).await.is_err());
}

#[tokio::test]
async fn the_configured_form_is_cached_for_its_configuration_alone() {
    let mut bench = Bench::new();
    let artifacts = |bench: &Bench| std::fs::read_dir(bench.folder.path().join("state/cache")).unwrap().count();
    for (setting, expected) in [(1, 2), (1, 2), (2, 3), (1, 3)] {
        let options = Options { slots: Some(4), ..Options::default() };
        bench = Bench::in_folder(bench.folder, options, "127.0.0.1:1".parse().unwrap());
        let plugin = config::Plugin { config: serde_json::json!({ "n": setting }), ..bench.guest("configured") };
        let plugin = bench.host.load("configured", &plugin).await.unwrap();
        assert!(plugin.begins_configured() && plugin.wants(Phases::MAIL));
        assert_eq!(artifacts(&bench), expected);
        let mut sandbox = bench.sandbox(&plugin).await.unwrap();
        assert_eq!(sandbox.mail(b"").await.unwrap().score, Some(222.0));
    }
}
