//! What a filter runs on: its store, and the limits of a phase around each call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource, TypedFunc};
use wasmtime::{Store, UpdateDeadline};

use crate::host::Shared;
use crate::host::context::Context;
use crate::host::counters::Alive;
use crate::host::facts::MailView;
use crate::host::failure::{Cause, Failure, HostFault};
use crate::host::limits::Limits;
use crate::host::meter::Meter;
use crate::host::plugin::Terms;
use crate::host::resources::Mail;
use crate::message::Budget;

use super::Cost;

/// Bytes that a sandbox is known to need: linear memory of the usual size, and the pages of its stack. It takes them
/// before it begins, so that it does not end in the middle where memory is short.
const SANDBOX: u64 = 2 << 20;

/// Fuel is counted down from here; nobody lives to see it run out.
const FUEL: u64 = u64::MAX;

/// What a filter runs on. The fields are dropped in their order: the room in the pool is free before the permit for
/// it is given back.
pub(in crate::host) struct Ground {
    pub(in crate::host) store: Store<Context>,
    pub(super) meter: Arc<Meter>,
    pub(super) timeout: Duration,
    fuel: bool,
    pub(super) making: Duration,
    _alive: Alive,
    _permit: OwnedSemaphorePermit,
}

/// Why a call ended without a result.
pub(super) enum Stop {
    WallClock,
    Error(wasmtime::Error),
}

impl Ground {
    /// Waits for room, in the budget as well if there is one, and makes an empty store.
    pub(super) async fn make(terms: &Terms, budget: Option<&Budget>) -> Result<Self, Failure> {
        let shared = &terms.shared;
        let permit = room(shared, terms.timeout).await?;
        let alive = shared.counters.sandbox();
        shared.ticker.wake();
        let meter = Arc::new(Meter::default());
        let mut limits = Limits::new(terms.memory, terms.host_calls);
        if let Some(budget) = budget {
            let reserved = budget.reserve(SANDBOX.min(terms.memory), terms.timeout).await;
            limits.count_memory(
                reserved.map_err(|_| {
                    Failure::plugin(Cause::Unavailable, "memory_budget had no room for a sandbox in time")
                })?,
            );
        }
        let context = Context::new(limits, Arc::clone(&meter), Arc::clone(&terms.facilities));
        let mut store = Store::new(&shared.engine, context);
        store.limiter(|context| &mut context.limits);
        // What a filter can return in one piece is bounded by its memory, but the same bytes may be returned many
        // times over.
        store.set_hostcall_fuel(usize::try_from(terms.memory).unwrap_or(usize::MAX));
        let cpu = terms.cpu;
        store.epoch_deadline_callback(move |store| {
            if store.data().meter.look() > cpu { Err(HostFault::Cpu(cpu).into()) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        let (timeout, fuel, making) = (terms.timeout, shared.options.fuel, Duration::ZERO);
        let mut ground = Self { store, meter, timeout, fuel, making, _alive: alive, _permit: permit };
        ground.refuel()?;
        Ok(ground)
    }

    /// Begins a phase: its limits count from now.
    pub(in crate::host) fn arm(&mut self) {
        self.meter.begin_phase();
        self.store.set_epoch_deadline(1);
    }

    /// Calls a function within the limits of a phase.
    pub(super) async fn call<P, R>(&mut self, function: Option<TypedFunc<P, R>>, parameters: P) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function =
            function.ok_or_else(|| Failure::plugin(Cause::Trap, "the instance is not of the filter's component"))?;
        self.arm();
        let call = function.call_async(&mut self.store, parameters);
        limited(&self.meter, self.timeout, call).await.map_err(|stop| self.failure(stop))
    }

    /// What was done so far counts neither as cost nor against the limits.
    pub(super) fn begin_anew(&mut self) -> Result<(), Failure> {
        self.meter.begin_anew();
        self.store.data_mut().limits.begin_anew();
        self.refuel()
    }

    /// Fuel is counted from here.
    fn refuel(&mut self) -> Result<(), Failure> {
        if self.fuel {
            let set = self.store.set_fuel(FUEL);
            set.map_err(|error| Failure::plugin(Cause::Unavailable, &error.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn hand_over(&mut self, bytes: usize) {
        self.store.data_mut().hand_over(bytes);
    }

    /// Puts a view into the table for one call: the handle for us to take it back, and the one for the filter.
    pub(super) fn lend(&mut self, mail: &Arc<MailView>) -> Result<(Resource<Mail>, Resource<Mail>), Failure> {
        let lent = self.store.data_mut().table.push(Mail(Arc::clone(mail)));
        let lent = lent.map_err(|error| Failure::plugin(Cause::Trap, &format!("too many handles: {error}")))?;
        let handle = Resource::new_borrow(lent.rep());
        Ok((lent, handle))
    }

    pub(super) fn take_back(&mut self, lent: Resource<Mail>) {
        // After a failure the whole table goes away with the store.
        drop(self.store.data_mut().table.delete(lent));
    }

    /// What it cost so far; its wall clock is that of its making alone.
    pub(super) fn cost(&self) -> Cost {
        let limits = &self.store.data().limits;
        Cost {
            wall: self.making,
            cpu: self.meter.total(),
            host_calls: limits.host_calls(),
            bytes: limits.bytes(),
            fuel: if self.fuel { self.store.get_fuel().ok().map(|left| FUEL - left) } else { None },
        }
    }

    pub(super) fn failure(&self, stop: Stop) -> Failure {
        match stop {
            Stop::WallClock => Failure::wall_clock(self.timeout),
            Stop::Error(error) => Failure::of_call(&error, &self.store.data().limits),
        }
    }
}

/// A place in the pool, waited for within `timeout`.
async fn room(shared: &Shared, timeout: Duration) -> Result<OwnedSemaphorePermit, Failure> {
    let slots = &shared.slots;
    if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
        return Ok(permit);
    }
    shared.counters.waits.fetch_add(1, Ordering::Relaxed);
    match tokio::time::timeout(timeout, Arc::clone(slots).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Failure::plugin(Cause::Unavailable, &format!("no sandbox was free within {timeout:?}"))),
    }
}

/// Runs a call under a phase's wall clock, counting its CPU time.
pub(super) async fn limited<T>(
    meter: &Meter,
    timeout: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stop> {
    match tokio::time::timeout(timeout, meter.measure(call)).await {
        Ok(outcome) => outcome.map_err(Stop::Error),
        Err(_) => Err(Stop::WallClock),
    }
}
