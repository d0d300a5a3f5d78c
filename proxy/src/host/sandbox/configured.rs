//! A filter at the moment when it is loaded: configured, and not yet with a transaction.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::ground::{Ground, limited};
use crate::host::bindings::mailweir::filter::types::Plan;
use crate::host::context::Context;
use crate::host::failure::{Failure, HostFault};
use crate::host::functions::{Checked, Functions};
use crate::host::plugin::Terms;
use crate::host::snapshot::Handles;
use crate::message::scan::PatternSet;

/// A configured filter.
pub(in crate::host) struct Configured {
    pub(in crate::host) ground: Ground,
    pub(in crate::host) instance: Instance,
    pub(in crate::host) functions: Checked,
    pub(in crate::host) plan: Plan,
}

impl Configured {
    /// Instantiates the filter and calls `configure`.
    ///
    /// # Errors
    ///
    /// The outer one when the filter fails; the inner one is its own word on its configuration.
    pub(in crate::host) async fn make(
        terms: &Terms,
        instances: &InstancePre<Context>,
        functions: Functions,
    ) -> Result<Result<Self, String>, Failure> {
        // Loading is a matter of the configuration, not of the traffic: it takes no share of the memory, so that a reload
        // can help when that is full.
        let mut ground = Ground::make(terms, None).await?;
        ground.arm();
        let configuring = configured(&mut ground.store, instances, functions, &terms.configuration);
        let outcome = limited(&ground.meter, ground.timeout, configuring).await;
        let (instance, functions, plan) = outcome.map_err(|stop| ground.failure(stop))?;
        Ok(plan.map(|plan| Self { ground, instance, functions, plan }))
    }

    /// Instantiates a filter that begins configured, and gives it its handles.
    ///
    /// # Errors
    ///
    /// When it cannot be had like that.
    pub(in crate::host) async fn try_out(
        terms: &Terms,
        instances: &InstancePre<Context>,
        functions: Functions,
        handles: &Handles,
    ) -> Result<Checked, Failure> {
        let mut ground = Ground::make(terms, None).await?;
        ground.arm();
        let trying = tried(&mut ground.store, instances, functions, handles);
        let outcome = limited(&ground.meter, ground.timeout, trying).await;
        outcome.map_err(|stop| ground.failure(stop))
    }

    /// The pattern sets that it holds, in the order of their handles, if having them compiled is all that it had the
    /// host do: then its configuring comes out the same at every time, and is known in whole from its memory and
    /// these.
    pub(in crate::host) fn repeatable(&self) -> Option<Vec<Arc<PatternSet>>> {
        let context = self.ground.store.data();
        let compiled = context.compiled.as_ref()?;
        (context.limits.host_calls() == compiled.len() as u64).then(|| compiled.clone())
    }
}

async fn configured(
    store: &mut Store<Context>,
    instances: &InstancePre<Context>,
    functions: Functions,
    configuration: &str,
) -> wasmtime::Result<(Instance, Checked, Result<Plan, String>)> {
    let instance = instances.instantiate_async(&mut *store).await?;
    let functions = functions.check(&mut *store, &instance)?;
    let configure = functions.configure(&mut *store, &instance);
    let configure = configure.ok_or(HostFault::Misuse("the instance is not of the filter's component"))?;
    let (plan,) = configure.call_async(store, (configuration,)).await?;
    Ok((instance, functions, plan))
}

async fn tried(
    store: &mut Store<Context>,
    instances: &InstancePre<Context>,
    functions: Functions,
    handles: &Handles,
) -> wasmtime::Result<Checked> {
    let instance = instances.instantiate_async(&mut *store).await?;
    let functions = functions.check(&mut *store, &instance)?;
    handles.restore(store, &instance).await?;
    Ok(functions)
}
