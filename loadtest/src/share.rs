//! One thread's share of a load: its sessions, and what they measured.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::arrivals::dispatch;
use crate::connection::Failure;
use crate::measure::{Measurements, Outcome, Phase, Standing};
use crate::plan::{Loop, Plan};
use crate::pool::{Job, Pool, Slot};
use crate::session::Session;
use crate::sys::TimerFd;
use crate::tls::{Connector, Tls};

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    /// What was begun is finished.
    Ending,
    /// What was begun is given up.
    Abandoning,
}

/// One thread's share of a load.
pub(crate) struct Share {
    plan: Arc<Plan>,
    thread: u64,
    threads: u64,
    pool: Pool,
    measurements: Mutex<Measurements>,
    stage: watch::Receiver<Stage>,
    /// One permit for each session that has tried its first connection.
    ready: Arc<Semaphore>,
    /// Connections that were open until the end of an idle load.
    pub(crate) stayed: Mutex<u64>,
}

/// Idle connections that a thread opens at once: fewer than a backlog.
const OPENING: usize = 64;

/// After a connection that did not come about, in a closed loop without an end: trying on at full speed measures nothing.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

impl Share {
    pub(crate) fn new(
        plan: Arc<Plan>,
        thread: u64,
        threads: u64,
        stage: watch::Receiver<Stage>,
        ready: Arc<Semaphore>,
    ) -> Self {
        let sessions = share(plan.sessions.into(), thread, threads);
        // In an open loop each thread needs one: messages are dealt out to all.
        let pool = Pool::new(sessions.max(1) as usize);
        let (measurements, stayed) = (Mutex::default(), Mutex::default());
        Self { plan, thread, threads, pool, measurements, stage, ready, stayed }
    }

    pub(crate) fn measured(&self) -> MutexGuard<'_, Measurements> {
        // Counts stay counts even if somebody panicked while adding to them.
        self.measurements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs to the end of the load.
    ///
    /// # Errors
    ///
    /// When the system has no timer to spare.
    pub(crate) async fn run(self: Arc<Self>, start: Instant) -> io::Result<()> {
        let mut sessions = JoinSet::new();
        match self.plan.loop_ {
            Loop::Closed { .. } => {
                for number in 0..share(self.plan.sessions.into(), self.thread, self.threads) {
                    sessions.spawn(session(Arc::clone(&self), Slot::closed_loop(number)));
                }
            }
            Loop::Open { drain, .. } => {
                self.open_loop(start, &mut sessions).await?;
                self.pool.close();
                let mut drained = std::pin::pin!(tokio::time::sleep(drain));
                let mut stage = self.stage.clone();
                while !sessions.is_empty() {
                    tokio::select! {
                        _ = sessions.join_next() => {}
                        () = &mut drained => break,
                        () = reached(&mut stage, Stage::Ending) => break,
                    }
                }
                self.pool.abandon();
            }
            Loop::Idle => {
                let opening = Arc::new(Semaphore::new(OPENING));
                let connector = self.plan.tls.as_ref().map(Tls::connector);
                for _ in 0..share(self.plan.sessions.into(), self.thread, self.threads) {
                    sessions.spawn(hold(Arc::clone(&self), connector.clone(), Arc::clone(&opening)));
                }
            }
        }
        self.join(&mut sessions).await;
        let mut measured = self.measured();
        measured.abandoned = measured.begun - measured.sent - measured.refused - measured.lost;
        Ok(())
    }

    async fn open_loop(self: &Arc<Self>, start: Instant, sessions: &mut JoinSet<()>) -> io::Result<()> {
        let Some(arrivals) = self.plan.arrivals(self.thread, self.threads) else { return Ok(()) };
        let mut alarm = TimerFd::new()?;
        let mut stage = self.stage.clone();
        let send = |number, intended: tokio::time::Instant, now: tokio::time::Instant| {
            let mut measured = self.measured();
            measured.begun += 1;
            measured.took(Phase::Late, now.saturating_duration_since(intended));
            drop(measured);
            if let Some(slot) = self.pool.push(Job { number, intended: Some(intended.into_std()) }) {
                sessions.spawn(session(Arc::clone(self), slot));
            }
            !self.plan.has_ended()
        };
        tokio::select! {
            () = dispatch(arrivals, start.into(), &mut alarm, send) => {}
            () = reached(&mut stage, Stage::Ending) => {}
        }
        Ok(())
    }

    /// Waits for all sessions, or gives them up.
    async fn join(&self, sessions: &mut JoinSet<()>) {
        let mut stage = self.stage.clone();
        loop {
            tokio::select! {
                ended = sessions.join_next() => match ended {
                    // A session that panicked shows as messages abandoned; its panic is on standard error.
                    Some(_) => {}
                    None => return,
                },
                () = reached(&mut stage, Stage::Abandoning) => break,
            }
        }
        sessions.shutdown().await;
    }

    /// The next message for a session.
    async fn next(&self, slot: Slot, pause: bool) -> Option<Job> {
        let Loop::Closed { think } = self.plan.loop_ else { return self.pool.take(slot).await };
        if let Some(think) = think.filter(|_| pause) {
            let mut stage = self.stage.clone();
            tokio::select! {
                () = tokio::time::sleep(think) => {}
                () = reached(&mut stage, Stage::Ending) => return None,
            }
        }
        let number = self.plan.next()?;
        self.measured().begun += 1;
        Some(Job { number, intended: None })
    }

    /// A message got no answer, or no connection.
    fn failed(&self, failure: &Failure, begun: Instant) {
        let mut measured = self.measured();
        if let Failure::TurnedAway(_) = failure {
            // The reply is counted as such.
            measured.refused += 1;
            measured.took(Phase::Refused, begun.elapsed());
        } else {
            measured.lost += 1;
            measured.failure(failure);
        }
    }
}

/// Sends messages until none is left.
async fn session(share: Arc<Share>, slot: Slot) {
    let connector = share.plan.tls.as_ref().map(Tls::connector);
    let mut next = share.next(slot, false).await;
    // The first connection is what others wait for.
    let mut first = Some(&share.ready);
    while let Some(job) = next {
        next = connection(&share, slot, job, connector.as_ref(), &mut first).await;
    }
    first.inspect(|ready| ready.add_permits(1));
}

/// Sends one message and then others over one connection, and gives back the first that is left for another.
async fn connection(
    share: &Share,
    slot: Slot,
    mut job: Job,
    connector: Option<&Connector>,
    first: &mut Option<&Arc<Semaphore>>,
) -> Option<Job> {
    let begun = Instant::now();
    let opened = Session::open(&share.plan, &share.measurements, connector).await;
    first.take().inspect(|ready| ready.add_permits(1));
    let mut session = match opened {
        Ok(session) => session,
        Err(failure) => {
            share.failed(&failure, job.intended.unwrap_or(begun));
            if share.plan.proof.is_some() {
                share.measured().account(job.number, Standing::NotTaken);
            }
            if failure.is_no_connection()
                && matches!(share.plan.loop_, Loop::Closed { .. })
                && share.plan.messages().is_none()
            {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            return share.next(slot, true).await;
        }
    };
    loop {
        let begun = Instant::now();
        if let Some(intended) = job.intended {
            share.measured().took(Phase::Wait, begun.saturating_duration_since(intended));
        }
        match session.send(job, &share.plan.contents.content(job.number)).await {
            Ok(Outcome::Sent) => {}
            Ok(Outcome::Refused) => share.measured().refused += 1,
            Err(failure) => {
                share.failed(&failure, job.intended.unwrap_or(begun));
                return share.next(slot, true).await;
            }
        }
        if session.is_closing() {
            return share.next(slot, true).await;
        }
        if session.messages == share.plan.messages_per_connection {
            quit(share, session).await;
            return share.next(slot, true).await;
        }
        let next = tokio::select! {
            biased;
            next = share.next(slot, true) => next,
            failure = session.disturbed() => {
                share.measured().failure_between_messages(&failure);
                return share.next(slot, true).await;
            }
        };
        let Some(next) = next else {
            quit(share, session).await;
            return None;
        };
        job = next;
    }
}

async fn quit(share: &Share, session: Session<'_>) {
    if let Err(failure) = session.quit().await {
        share.measured().failure(&failure);
    }
}

/// Holds a connection open to the end of the load, or until the server closes it.
async fn hold(share: Arc<Share>, connector: Option<Connector>, opening: Arc<Semaphore>) {
    // The semaphore is never closed.
    let permit = opening.acquire().await;
    // In a box, so that a connection that is held does not hold the room that opening it takes.
    let opened = Box::pin(Session::open(&share.plan, &share.measurements, connector.as_ref())).await;
    share.ready.add_permits(1);
    drop(permit);
    let mut session = match opened {
        Ok(session) => session,
        // The reply is counted as such.
        Err(Failure::TurnedAway(_)) => return,
        Err(failure) => return share.measured().failure(&failure),
    };
    session.rest();
    let mut stage = share.stage.clone();
    tokio::select! {
        failure = session.disturbed() => share.measured().failure(&failure),
        () = reached(&mut stage, Stage::Ending) => {
            *share.stayed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            Box::pin(quit(&share, session)).await;
        }
    }
}

/// Returns when the load has come so far.
async fn reached(stage: &mut watch::Receiver<Stage>, at: Stage) {
    // When the load was dropped, nobody waits for its end any more.
    let _ = stage.wait_for(|stage| *stage >= at).await;
}

/// What one of several gets of a number.
fn share(whole: u64, index: u64, count: u64) -> u64 {
    whole / count + u64::from(index < whole % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for whole in [0, 1, 5, 18_000] {
            for count in 1..5 {
                assert_eq!((0..count).map(|index| share(whole, index, count)).sum::<u64>(), whole);
            }
        }
    }
}
