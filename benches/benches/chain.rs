//! Filters: making a sandbox, one call, and a chain from MAIL to the end of the message.

use std::sync::Arc;

use mailweir::chain::{Chain, Run};
use mailweir::message::Message;
use mailweir_benches::harness::{self, Harness};
use mailweir_benches::sample;
use mailweir_benches::stage::{self, Stage};

/// The filters of the longest chain.
const FILTERS: usize = 10;

fn main() {
    Harness::main(&[sandbox, chain]);
}

/// A fresh sandbox made and dropped, and one call in one.
fn sandbox(harness: &mut Harness) {
    let runtime = harness::runtime();
    let Some(stage) = runtime.block_on(Stage::set_up(1)) else { return };
    let view = stage.view(&sample::plain(4096));
    let evaluation = stage.evaluation();
    let make = || harness::finish(&runtime, stage.plugin().sandbox(stage.facts(), &evaluation)).expect("a sandbox");
    harness.group("sandbox");
    harness.case("make-and-drop", || drop(make()));
    harness.case_on("first-call", make, |sandbox| harness::finish(&runtime, sandbox.end(&view)));
}

/// A transaction from MAIL to the end of the message: sandboxes made, calls, edits applied, sandboxes dropped.
async fn transaction(stage: &Stage, chain: &Arc<Chain>, message: &Message) {
    let mut run = Run::new(Arc::clone(chain), Arc::clone(stage.facts()), stage.evaluation());
    let envelope = stage::envelope();
    run.mail(&envelope.sender).await;
    run.rcpt(&envelope.recipients[0]).await;
    run.headers(message, &envelope).await;
    run.end(message.clone(), envelope, None).await;
}

fn chain(harness: &mut Harness) {
    let runtime = harness::runtime();
    let Some(stage) = runtime.block_on(Stage::set_up(FILTERS)) else { return };
    let message = sample::message(&sample::plain(4096));
    harness.group("chain");
    for length in [0, 1, 3, FILTERS] {
        let chain = stage.chain(length);
        harness.case(&format!("hello/{length}"), || harness::finish(&runtime, transaction(&stage, &chain, &message)));
    }
}
