//! Filters: making a sandbox, one call, and a chain from MAIL to the end of the message.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mailweir::chain::{Chain, Run};
use mailweir::message::Message;
use mailweir_benches::sample;
use mailweir_benches::stage::{self, Stage};
use tokio::runtime::{Builder, Runtime};

/// The filters of the longest chain.
const FILTERS: usize = 3;

/// A fresh sandbox made and dropped, and one call in one.
fn sandbox(criterion: &mut Criterion) {
    let runtime = runtime();
    let Some(stage) = runtime.block_on(Stage::set_up(1)) else { return };
    let view = stage.view(&sample::plain(4096));
    let evaluation = stage.evaluation();
    let mut group = criterion.benchmark_group("sandbox");
    group.bench_function("make-and-drop", |bencher| {
        bencher.to_async(&runtime).iter(|| stage.plugin().sandbox(stage.facts(), &evaluation));
    });
    group.bench_function("first-call", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let mut sandbox = stage.plugin().sandbox(stage.facts(), &evaluation).await.expect("a sandbox");
                let start = Instant::now();
                black_box(sandbox.end(&view).await.expect("hello never fails"));
                total += start.elapsed();
            }
            total
        });
    });
    group.finish();
}

/// A transaction from MAIL to the end of the message: sandboxes made, calls, edits applied, sandboxes dropped.
async fn transaction(stage: &Stage, chain: &Arc<Chain>, message: &Message) {
    let mut run = Run::new(Arc::clone(chain), Arc::clone(stage.facts()), stage.evaluation());
    let envelope = stage::envelope();
    run.mail(&envelope.sender).await;
    run.rcpt(&envelope.recipients[0]).await;
    run.headers(message, &envelope).await;
    black_box(run.end(message.clone(), envelope, None).await);
}

fn chain(criterion: &mut Criterion) {
    let runtime = runtime();
    let Some(stage) = runtime.block_on(Stage::set_up(FILTERS)) else { return };
    let message = sample::message(&sample::plain(4096));
    let mut group = criterion.benchmark_group("chain");
    for length in [0, 1, FILTERS] {
        let chain = stage.chain(length);
        group.bench_function(BenchmarkId::new("hello", length), |bencher| {
            bencher.to_async(&runtime).iter(|| transaction(&stage, &chain, &message));
        });
    }
    group.finish();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

criterion_group!(benches, sandbox, chain);
criterion_main!(benches);
