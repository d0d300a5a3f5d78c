//! The running filter: its store, and each call into it with the limits of a phase around it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::component::{Resource, ResourceAny};
use wasmtime::{Store, UpdateDeadline};

use super::Cost;
use crate::host::Shared;
use crate::host::bindings::Filter;
use crate::host::bindings::mailweir::filter::types;
use crate::host::context::{Context, Transaction};
use crate::host::counters::Alive;
use crate::host::facts::MailView;
use crate::host::failure::{Cause, Failure, HostFault};
use crate::host::limits::Limits;
use crate::host::meter::Meter;
use crate::host::plugin::Blueprint;
use crate::host::resources::Mail;

/// Bytes that a sandbox is known to need: linear memory of the usual size, and the pages of its stack. It takes them
/// before it begins, so that it does not end in the middle where memory is short.
const SANDBOX: u64 = 2 << 20;

/// Fuel is counted down from here; nobody lives to see it run out.
const FUEL: u64 = u64::MAX;

/// An instantiated and configured filter with its transaction.
pub(in crate::host) struct Live {
    ground: Ground,
    filter: Filter,
    transaction: ResourceAny,
}

/// What a filter runs on. The fields are dropped in their order: the room in the pool is free before the permit for
/// it is given back.
struct Ground {
    store: Store<Context>,
    meter: Arc<Meter>,
    timeout: Duration,
    fuel: bool,
    making: Duration,
    _alive: Alive,
    _permit: OwnedSemaphorePermit,
}

/// Why a call ended without a result.
enum Stop {
    WallClock,
    Error(wasmtime::Error),
}

impl Live {
    /// Instantiates the filter and calls `configure`, as it is done when a plugin is loaded.
    ///
    /// # Errors
    ///
    /// The outer one when the filter fails; the inner one is its own word on its configuration.
    pub(in crate::host) async fn configure(blueprint: &Blueprint) -> Result<Result<types::Plan, String>, Failure> {
        // Loading is a matter of the configuration, not of the traffic: it takes no share of the memory, so that a reload
        // can help when that is full.
        let mut ground = Ground::make(blueprint, None).await?;
        ground.arm();
        let configuring = configured(&mut ground.store, blueprint);
        let outcome = limited(&ground.meter, ground.timeout, configuring).await;
        outcome.map(|(_, plan)| plan).map_err(|stop| ground.failure(stop))
    }

    /// A filter that is ready for its transaction.
    ///
    /// # Errors
    ///
    /// When it fails, there is no room for it, or it wants another plan than when the plugin was loaded.
    pub(in crate::host) async fn for_transaction(
        blueprint: &Blueprint,
        plan: &types::Plan,
        transaction: Transaction,
    ) -> Result<Self, Failure> {
        let start = Instant::now();
        let session = transaction.facts.session();
        let mut ground = Ground::make(blueprint, blueprint.shared.memory.get()).await?;
        ground.store.data_mut().transaction = Some(transaction);
        ground.arm();
        let making = ready(&mut ground.store, blueprint, plan, &session);
        let left = ground.timeout.saturating_sub(start.elapsed());
        let outcome = limited(&ground.meter, left, making).await;
        let (filter, transaction) = outcome.map_err(|stop| ground.failure(stop))?;
        ground.making = start.elapsed();
        Ok(Self { ground, filter, transaction })
    }

    pub(super) async fn connect(&mut self) -> Result<types::Decision, Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_connect(&mut ground.store, *transaction);
        limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop))
    }

    pub(super) async fn helo(&mut self, name: &[u8]) -> Result<types::Decision, Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        ground.hand_over(name.len());
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_helo(&mut ground.store, *transaction, name);
        limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop))
    }

    pub(super) async fn mail(&mut self, sender: &[u8]) -> Result<types::Decision, Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        ground.hand_over(sender.len());
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_mail(&mut ground.store, *transaction, sender);
        limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop))
    }

    pub(super) async fn rcpt(&mut self, recipient: &[u8]) -> Result<types::Decision, Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        ground.hand_over(recipient.len());
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_rcpt(&mut ground.store, *transaction, recipient);
        limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop))
    }

    pub(super) async fn headers(&mut self, mail: &Arc<MailView>) -> Result<types::Decision, Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        let (lent, handle) = ground.lend(mail)?;
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_headers(&mut ground.store, *transaction, handle);
        let outcome = limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop));
        ground.take_back(lent);
        outcome
    }

    pub(super) async fn body(&mut self, chunk: &[u8]) -> Result<Option<types::Decision>, Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        ground.hand_over(chunk.len());
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_body(&mut ground.store, *transaction, chunk);
        limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop))
    }

    pub(super) async fn end(&mut self, mail: &Arc<MailView>) -> Result<(types::Decision, Vec<types::Edit>), Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        let (lent, handle) = ground.lend(mail)?;
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_end(&mut ground.store, *transaction, handle);
        let outcome = limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop));
        ground.take_back(lent);
        outcome
    }

    pub(super) async fn abort(&mut self) -> Result<(), Failure> {
        let Self { ground, filter, transaction } = self;
        ground.arm();
        let call = filter.mailweir_filter_handler().transaction();
        let call = call.call_on_abort(&mut ground.store, *transaction);
        limited(&ground.meter, ground.timeout, call).await.map_err(|stop| ground.failure(stop))
    }

    /// What it cost so far; its wall clock is that of its making alone.
    pub(super) fn cost(&self) -> Cost {
        let limits = &self.ground.store.data().limits;
        Cost {
            wall: self.ground.making,
            cpu: self.ground.meter.total(),
            host_calls: limits.host_calls(),
            bytes: limits.bytes(),
            fuel: if self.ground.fuel { self.ground.store.get_fuel().ok().map(|left| FUEL - left) } else { None },
        }
    }
}

impl Ground {
    /// Waits for room, in the budget as well if there is one, and makes an empty store.
    async fn make(blueprint: &Blueprint, budget: Option<&crate::message::Budget>) -> Result<Self, Failure> {
        let shared = &blueprint.shared;
        let permit = room(shared, blueprint.timeout).await?;
        let alive = shared.counters.sandbox();
        shared.ticker.wake();
        let meter = Arc::new(Meter::default());
        let mut limits = Limits::new(blueprint.memory, blueprint.host_calls);
        if let Some(budget) = budget {
            let reserved = budget.reserve(SANDBOX.min(blueprint.memory), blueprint.timeout).await;
            limits.count_memory(
                reserved.map_err(|_| {
                    Failure::plugin(Cause::Unavailable, "memory_budget had no room for a sandbox in time")
                })?,
            );
        }
        let context = Context::new(limits, Arc::clone(&meter), Arc::clone(&blueprint.facilities));
        let mut store = Store::new(&shared.engine, context);
        store.limiter(|context| &mut context.limits);
        // What a filter can return in one piece is bounded by its memory, but the same bytes may be returned many
        // times over.
        store.set_hostcall_fuel(usize::try_from(blueprint.memory).unwrap_or(usize::MAX));
        let cpu = blueprint.cpu;
        store.epoch_deadline_callback(move |store| {
            if store.data().meter.look() > cpu { Err(HostFault::Cpu(cpu).into()) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        let fuel = shared.options.fuel;
        if fuel {
            let set = store.set_fuel(FUEL);
            set.map_err(|error| Failure::plugin(Cause::Unavailable, &error.to_string()))?;
        }
        let (timeout, making) = (blueprint.timeout, Duration::ZERO);
        Ok(Self { store, meter, timeout, fuel, making, _alive: alive, _permit: permit })
    }

    /// Begins a phase: its limits count from now.
    fn arm(&mut self) {
        self.meter.begin_phase();
        self.store.set_epoch_deadline(1);
    }

    fn hand_over(&mut self, bytes: usize) {
        self.store.data_mut().hand_over(bytes);
    }

    /// Puts a view into the table for one call: the handle for us to take it back, and the one for the filter.
    fn lend(&mut self, mail: &Arc<MailView>) -> Result<(Resource<Mail>, Resource<Mail>), Failure> {
        let lent = self.store.data_mut().table.push(Mail(Arc::clone(mail)));
        let lent = lent.map_err(|error| Failure::plugin(Cause::Trap, &format!("too many handles: {error}")))?;
        let handle = Resource::new_borrow(lent.rep());
        Ok((lent, handle))
    }

    fn take_back(&mut self, lent: Resource<Mail>) {
        // After a failure the whole table goes away with the store.
        drop(self.store.data_mut().table.delete(lent));
    }

    fn failure(&self, stop: Stop) -> Failure {
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
async fn limited<T>(
    meter: &Meter,
    timeout: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stop> {
    match tokio::time::timeout(timeout, meter.measure(call)).await {
        Ok(outcome) => outcome.map_err(Stop::Error),
        Err(_) => Err(Stop::WallClock),
    }
}

/// Instantiates a filter and calls `configure`.
async fn configured(
    store: &mut Store<Context>,
    blueprint: &Blueprint,
) -> wasmtime::Result<(Filter, Result<types::Plan, String>)> {
    let filter = blueprint.filter.instantiate_async(&mut *store).await?;
    let plan = filter.mailweir_filter_handler().call_configure(store, &blueprint.configuration).await?;
    Ok((filter, plan))
}

/// Instantiates a filter, calls `configure` and constructs its transaction.
async fn ready(
    store: &mut Store<Context>,
    blueprint: &Blueprint,
    plan: &types::Plan,
    session: &types::Session,
) -> wasmtime::Result<(Filter, ResourceAny)> {
    let (filter, configured) = configured(store, blueprint).await?;
    match configured {
        Ok(configured) if configured == *plan => {}
        Ok(_) => return Err(HostFault::Misuse("configure returned another plan than when it was loaded").into()),
        Err(error) => return Err(HostFault::Refused(format!("configure failed: {error}")).into()),
    }
    let transaction = filter.mailweir_filter_handler().transaction().call_constructor(store, session).await?;
    Ok((filter, transaction))
}
