//! The message: its rope, the passes over its content, edits, its form on the wire.

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailweir::message::{Budget, Framing, Incoming, Message};
use mailweir::verdict::Edit;
use mailweir_benches::sample;
use tokio::runtime::{Builder, Runtime};

/// What the session reads at once.
const READ: usize = 64 * 1024;

/// The samples of each bench.
fn samples() -> [(&'static str, Bytes); 4] {
    [
        ("plain-4KiB", sample::plain(4096)),
        ("plain-1MiB", sample::plain(1 << 20)),
        ("multipart-4KiB", sample::multipart(4096)),
        ("multipart-64KiB", sample::multipart(65_536)),
    ]
}

/// The content as DATA brings it, without the final dot.
fn received(message: &Bytes) -> Bytes {
    let wire = sample::on_the_wire(message);
    wire.slice(..wire.len() - b".\r\n".len())
}

async fn receive(budget: &Budget, wire: &Bytes) -> Message {
    let mut incoming = Incoming::new(budget, Framing::DotStuffed, sample::limits());
    let mut rest = wire.clone();
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(READ));
        incoming.push(chunk).await.expect("the budget is large");
    }
    incoming.finish().expect("samples are within the caps")
}

fn budget() -> Budget {
    Budget::new(1 << 30, 1 << 30, Path::new("/nonexistent"))
}

/// Chunks pushed into the rope, the end of the header section found, and the message made.
fn rope(criterion: &mut Criterion) {
    let runtime = runtime();
    let budget = budget();
    let mut group = criterion.benchmark_group("receive");
    for (name, message) in samples() {
        let wire = received(&message);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(name, |bencher| bencher.to_async(&runtime).iter(|| receive(&budget, &wire)));
    }
    group.finish();
}

/// The pieces that are written to an upstream, by DATA as it came, and by BDAT.
fn wire(criterion: &mut Criterion) {
    let runtime = runtime();
    let budget = budget();
    let mut group = criterion.benchmark_group("wire");
    for (name, bytes) in samples() {
        let message = runtime.block_on(receive(&budget, &received(&bytes)));
        for framing in [Framing::DotStuffed, Framing::Plain] {
            group.bench_function(BenchmarkId::new(format!("{framing:?}"), name), |bencher| {
                bencher.iter(|| message.wire(framing).map(|piece| piece.map_or(0, |piece| piece.len())).sum::<usize>());
            });
        }
    }
    group.finish();
}

/// What filters may ask for: each pass over a message that has not been looked at yet.
fn passes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pass");
    for (name, bytes) in samples() {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let fresh = || sample::message(&bytes);
        group.bench_function(BenchmarkId::new("mime", name), |bencher| {
            bencher.iter_batched_ref(fresh, |message| message.mime(), BatchSize::SmallInput);
        });
        let parsed = || {
            let message = fresh();
            message.mime().expect("samples are within the caps");
            message
        };
        group.bench_function(BenchmarkId::new("urls-after-mime", name), |bencher| {
            bencher.iter_batched_ref(parsed, |message| message.urls(), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("text-after-mime", name), |bencher| {
            bencher.iter_batched_ref(parsed, |message| message.text_units(), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn edits(criterion: &mut Criterion) {
    let edits = [
        Edit::AddHeader { name: "X-Hello".to_owned(), value: b"Good day".to_vec() },
        Edit::ReplaceHeader { name: "Subject".to_owned(), occurrence: 0, value: b"[checked] figures".to_vec() },
        Edit::RemoveHeader { name: "Received".to_owned(), occurrence: 1 },
    ];
    let mut group = criterion.benchmark_group("edit");
    for (name, bytes) in samples() {
        let message = sample::message(&bytes);
        for count in [1, edits.len()] {
            group.bench_function(BenchmarkId::new(format!("{count}-header"), name), |bencher| {
                bencher.iter(|| black_box(&message).edited(&edits[..count]));
            });
        }
    }
    group.finish();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

criterion_group!(benches, rope, wire, passes, edits);
criterion_main!(benches);
