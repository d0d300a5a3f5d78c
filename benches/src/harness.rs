//! One list of cases, measured in two ways: time, by criterion, and instructions, by callgrind.
//!
//! A bench binary run by cargo hands its cases to criterion. Run as `BENCH --instructions [BEGINNING…]` under callgrind it
//! prints the name of each case whose name begins so, and does it a few times within `measured`, which callgrind is told to
//! look at alone; `cargo xtask bench instructions` does that and reads what comes out. Without callgrind that costs next to
//! nothing and shows that every case runs. `BENCH --repeat NAME` does one case until it is killed, for a profiler.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, Criterion, Throughput};
use tokio::runtime::{Builder, Runtime};

/// Runs of a case before those that count: what is made once, or grows once, is there then.
const WARM_UP: usize = 3;
/// Runs that are counted together: hash tables have a new seed in each process, and some cases differ a little by that.
const RUNS: usize = 5;

/// Takes the cases of a bench binary one after another.
pub struct Harness {
    measure: Measure,
    group: String,
    bytes: Option<u64>,
}

enum Measure {
    Time(Box<Criterion>),
    /// Of cases whose names begin so; none: of all of them.
    Instructions(Vec<String>),
    /// Of the case of this name, by a profiler: it is done until the process is killed.
    Repeat(Option<String>),
    /// Of nothing: only what cases work on is made. What is kept on disk, the compiled filters, is there afterwards.
    SetUp(Vec<String>),
}

impl Harness {
    /// What a bench binary's `main` calls with its groups of cases.
    pub fn main(groups: &[fn(&mut Self)]) {
        let mut arguments = std::env::args().skip(1);
        let measure = match arguments.next().as_deref() {
            Some("--instructions") => Measure::Instructions(arguments.collect()),
            Some("--repeat") => Measure::Repeat(arguments.next()),
            Some("--set-up") => Measure::SetUp(arguments.collect()),
            _ => Measure::Time(Box::new(Criterion::default().configure_from_args())),
        };
        let mut harness = Self { measure, group: String::new(), bytes: None };
        for cases in groups {
            cases(&mut harness);
        }
        if let Measure::Time(criterion) = &harness.measure {
            criterion.final_summary();
        }
    }

    /// The first part of the name of the cases that follow.
    pub fn group(&mut self, name: &str) {
        name.clone_into(&mut self.group);
        self.bytes = None;
    }

    /// Whether cases of this group may be wanted: otherwise nothing need be made for them.
    pub fn wants(&self, group: &str) -> bool {
        match &self.measure {
            Measure::Time(_) => true,
            Measure::Repeat(name) => name.as_ref().is_some_and(|name| name.starts_with(&format!("{group}/"))),
            Measure::Instructions(wanted) | Measure::SetUp(wanted) => {
                let group = format!("{group}/");
                wanted.is_empty() || wanted.iter().any(|name| name.starts_with(&group) || group.starts_with(name))
            }
        }
    }

    /// What the cases of this group that follow work through, for criterion's throughput.
    pub fn bytes(&mut self, length: usize) {
        self.bytes = Some(length as u64);
    }

    /// A case that works on nothing but what it borrows.
    pub fn case<O>(&mut self, name: &str, mut routine: impl FnMut() -> O) {
        self.case_on(name, || (), |()| routine());
    }

    /// A case that works on something new each time. Neither making that nor dropping it and the result is measured.
    pub fn case_on<I, O>(&mut self, name: &str, mut setup: impl FnMut() -> I, mut routine: impl FnMut(&mut I) -> O) {
        match &mut self.measure {
            Measure::Time(criterion) => {
                let mut group = criterion.benchmark_group(&self.group);
                if let Some(bytes) = self.bytes {
                    group.throughput(Throughput::Bytes(bytes));
                }
                group.bench_function(name, |bencher| {
                    bencher.iter_batched_ref(&mut setup, &mut routine, BatchSize::SmallInput)
                });
                group.finish();
            }
            Measure::Instructions(wanted) => {
                let name = format!("{}/{name}", self.group);
                if !wanted.is_empty() && !wanted.iter().any(|beginning| name.starts_with(beginning)) {
                    return;
                }
                for _ in 0..WARM_UP {
                    black_box(routine(&mut setup()));
                }
                for _ in 0..RUNS {
                    let mut input = setup();
                    let mut output = None;
                    measured(&mut || output = Some(black_box(routine(black_box(&mut input)))));
                }
                written_down(&name);
            }
            Measure::Repeat(wanted) => {
                if wanted.as_ref() == Some(&format!("{}/{name}", self.group)) {
                    for _ in 0..WARM_UP {
                        black_box(routine(&mut setup()));
                    }
                    written_down(name);
                    loop {
                        black_box(routine(&mut setup()));
                    }
                }
            }
            Measure::SetUp(_) => {}
        }
    }
}

/// What callgrind counts. Its name, and that of the next, are in `xtask/src/bench/callgrind.rs`.
#[inline(never)]
fn measured(routine: &mut dyn FnMut()) {
    routine();
}

/// When this is called callgrind writes what it has counted, and begins anew. The line says for how many runs.
#[inline(never)]
#[expect(clippy::print_stdout, reason = "read by cargo xtask bench instructions")]
fn written_down(name: &str) {
    println!("{RUNS} {name}");
}

/// A runtime for cases that need one, on the thread of the bench alone.
///
/// # Panics
///
/// When the system refuses.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// What a future comes to. One that waits for nothing, as nearly all of the cases, is not charged for the scheduler.
pub fn finish<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    let _context = runtime.enter();
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => runtime.block_on(future),
    }
}
