//! A load: a plan at work on all threads, watched second by second.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::measure::{Measurements, Recent};
use crate::plan::{Loop, Plan};
use crate::proof::{Received, SentRun, Verdict};
use crate::report::model::{Held, Run, Second};
use crate::share::{Share, Stage};
use crate::workers::Workers;

/// A load that runs.
pub(crate) struct Load {
    pub(crate) name: String,
    plan: Arc<Plan>,
    shares: Vec<Arc<Share>>,
    tasks: Vec<JoinHandle<std::io::Result<()>>>,
    control: Control,
    ready: Arc<Semaphore>,
    start: Instant,
    end: Option<Instant>,
    timeline: Vec<Second>,
    looked: Instant,
}

/// Ends a load before its time.
#[derive(Clone)]
pub(crate) struct Control {
    plan: Arc<Plan>,
    stage: watch::Sender<Stage>,
}

/// Who is told how a load goes on, such as a line on the terminal.
pub(crate) trait Observer {
    /// About once a second, for each load.
    fn second(&mut self, load: &str, second: &Second);
}

/// How long a moment of the timeline is.
const MOMENT: Duration = Duration::from_secs(1);

/// In memory: two hours.
const LONGEST_TIMELINE: usize = 7200;

impl Load {
    /// Begins at once.
    pub(crate) fn start(name: &str, plan: Plan, workers: &Workers) -> Self {
        let plan = Arc::new(plan);
        let (stage, stages) = watch::channel(Stage::Running);
        let ready = Arc::new(Semaphore::new(0));
        let start = Instant::now();
        let threads = workers.count();
        let shares = (0..threads)
            .map(|thread| Arc::new(Share::new(Arc::clone(&plan), thread, threads, stages.clone(), Arc::clone(&ready))));
        let shares: Vec<Arc<Share>> = shares.collect();
        let tasks = shares.iter().zip(workers.handles());
        let tasks = tasks.map(|(share, worker)| worker.spawn(Arc::clone(share).run(start))).collect();
        let name = name.to_owned();
        let control = Control { plan: Arc::clone(&plan), stage };
        Self { name, plan, shares, tasks, control, ready, start, end: None, timeline: Vec::new(), looked: start }
    }

    /// Returns when each session has had its first connection, or could not have it; in an open loop at once, because sessions
    /// come as they are needed.
    pub(crate) async fn ready(&self) {
        if matches!(self.plan.loop_, Loop::Open { .. }) {
            return;
        }
        // The semaphore is never closed.
        let _ = self.ready.acquire_many(self.plan.sessions).await;
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// When the system refuses what the load needs.
    pub(crate) async fn finish(&mut self, observer: &mut impl Observer) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(MOMENT);
        tick.tick().await;
        let mut end = self.plan.duration.filter(|_| matches!(self.plan.loop_, Loop::Closed { .. } | Loop::Idle));
        for mut task in std::mem::take(&mut self.tasks) {
            loop {
                let left = end.map_or(Duration::MAX, |end| end.saturating_sub(self.start.elapsed()));
                tokio::select! {
                    ended = &mut task => {
                        ended.context("a worker panicked")?.context("a worker cannot work")?;
                        break;
                    }
                    _ = tick.tick() => self.look(observer),
                    () = tokio::time::sleep(left) => {
                        end = None;
                        self.control.end();
                    }
                }
            }
        }
        self.end = Some(Instant::now());
        self.look(observer);
        Ok(())
    }

    /// What ends it before its time.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }

    /// Adds a moment to the timeline.
    pub(crate) fn look(&mut self, observer: &mut impl Observer) {
        let now = Instant::now();
        let mut all = Recent::default();
        for share in &self.shares {
            all.add(&share.measured().since_last());
        }
        let second = all.second((self.looked - self.start).as_secs_f64());
        self.looked = now;
        observer.second(&self.name, &second);
        if self.timeline.len() < LONGEST_TIMELINE {
            self.timeline.push(second);
        }
    }

    /// What it came to, compared with what a sink received if that is known. `epoch`: when everything began.
    pub(crate) fn result(&self, epoch: Instant, received: Option<&Received>) -> Run {
        let mut all = Measurements::default();
        let mut held = Held { wanted: self.plan.sessions.into(), ..Held::default() };
        for share in &self.shares {
            all.add(&share.measured());
            held.stayed += *share.stayed.lock().unwrap_or_else(PoisonError::into_inner);
        }
        held.opened = all.connections;
        let elapsed = self.end.unwrap_or_else(Instant::now) - self.start;
        let requested = match self.plan.messages().filter(|_| self.plan.duration.is_none()) {
            Some(messages) => messages,
            // What trickles is never finished.
            None if self.plan.trickle.is_some() => all.begun - all.abandoned,
            None => all.begun,
        };
        let mut run = all.run(&self.name, requested, self.plan.sessions.into(), elapsed);
        run.load = self.plan.description();
        run.start = (self.start - epoch).as_secs_f64();
        run.offered_per_second = self.plan.offered();
        run.timeline.clone_from(&self.timeline);
        run.held = matches!(self.plan.loop_, Loop::Idle).then_some(held);
        run.proof = self.plan.proof.zip(received).map(|(id, received)| Verdict::new(id, &all.numbers, received));
        run
    }

    /// What was sent, for a comparison elsewhere; none without a proof.
    pub(crate) fn sent(&self) -> Option<SentRun> {
        let mut all = Measurements::default();
        self.shares.iter().for_each(|share| all.add(&share.measured()));
        Some(SentRun { run: self.plan.proof?, sent: all.numbers })
    }
}

impl Control {
    /// No message is begun any more; what was begun is finished.
    pub(crate) fn end(&self) {
        self.plan.end();
        self.stage.send_if_modified(|stage| {
            let running = *stage == Stage::Running;
            if running {
                *stage = self.last_stage();
            }
            running
        });
    }

    /// What was begun is given up.
    pub(crate) fn abandon(&self) {
        self.plan.end();
        self.stage.send_replace(Stage::Abandoning);
    }

    /// What trickles takes too long to be waited for.
    fn last_stage(&self) -> Stage {
        if self.plan.trickle.is_some() { Stage::Abandoning } else { Stage::Ending }
    }
}
