//! Filters: making a sandbox, calls, and chains from MAIL to the end of the message.

use std::sync::Arc;

use mailweir::chain::{Chain, Disposition};
use mailweir::message::Message;
use mailweir_benches::harness::{Harness, finish};
use mailweir_benches::sample;
use mailweir_benches::stage::{self, Stage};

/// Filters of the `hello` chains.
const LENGTHS: [usize; 4] = [0, 1, 3, 10];

fn main() {
    Harness::main(&[chains]);
}

fn chains(harness: &mut Harness) {
    if !harness.wants("sandbox") && !harness.wants("chain") {
        return;
    }
    let Some(stage) = Stage::set_up(&LENGTHS) else { return };
    sandbox(harness, &stage);
    harness.group("chain");
    let plain = sample::plain(4096);
    for length in LENGTHS {
        let chain = stage.chain(&format!("hello-{length}"));
        let fresh = || sample::message(&plain);
        harness.case_on(&format!("hello/{length}"), fresh, |message| {
            finish(&stage.runtime, transaction(&stage, &chain, message))
        });
    }
    let chain = stage.chain("three");
    for (name, message) in [
        ("plain-4KiB", plain),
        ("plain-1MiB", sample::plain(1 << 20)),
        ("signed-4KiB", stage.signed(&sample::multipart(4096))),
        ("signed-64KiB", stage.signed(&sample::multipart(65_536))),
    ] {
        harness.bytes(message.len());
        let fresh = || sample::message(&message);
        harness.case_on(&format!("auth-surbl-dlp/{name}"), fresh, |message| {
            finish(&stage.runtime, transaction(&stage, &chain, message));
        });
    }
}

/// A fresh sandbox made and dropped, the first call in one, which touches its memory, and a later one.
fn sandbox(harness: &mut Harness, stage: &Stage) {
    let view = stage.view(&sample::plain(4096));
    let plugin = stage.plugin("hello-0");
    let make = || finish(&stage.runtime, plugin.sandbox(stage.facts(), &view.evaluation)).expect("a sandbox");
    harness.group("sandbox");
    harness.case("make-and-drop", || drop(make()));
    harness.case_on("first-call", make, |sandbox| finish(&stage.runtime, sandbox.end(&view)));
    let called = || {
        let mut sandbox = make();
        finish(&stage.runtime, sandbox.end(&view)).expect("hello never fails");
        sandbox
    };
    harness.case_on("later-call", called, |sandbox| finish(&stage.runtime, sandbox.end(&view)));
}

/// A transaction from MAIL to the end of the message: sandboxes made, calls, edits applied, sandboxes dropped.
async fn transaction(stage: &Stage, chain: &Arc<Chain>, message: &Message) {
    let mut run = stage.run(chain);
    let envelope = stage::envelope();
    run.mail(&envelope.sender).await;
    run.rcpt(&envelope.recipients[0]).await;
    run.headers(message, &envelope).await;
    let conclusion = run.end(message.clone(), envelope, None).await;
    assert_eq!(conclusion.disposition, Disposition::Deliver { route: None });
}
