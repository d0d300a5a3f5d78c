//! The running filter: its instance, its transaction, and a call into it for each phase.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Instance, ResourceAny};

use super::Cost;
use super::ground::{Ground, limited};
use crate::host::bindings::mailweir::filter::types;
use crate::host::context::{Context, Transaction};
use crate::host::facts::{MailView, TransactionFacts};
use crate::host::failure::{Failure, HostFault};
use crate::host::plugin::{Beginning, Program, Terms};

/// An instantiated and configured filter with its transaction.
pub(in crate::host) struct Live {
    ground: Ground,
    program: Arc<Program>,
    instance: Instance,
    transaction: ResourceAny,
}

impl Live {
    /// A filter that is ready for its transaction.
    ///
    /// # Errors
    ///
    /// When it fails, there is no room for it, or it wants another plan than when the plugin was loaded.
    pub(in crate::host) async fn for_transaction(
        terms: &Terms,
        program: &Arc<Program>,
        plan: &types::Plan,
        transaction: Transaction,
    ) -> Result<Self, Failure> {
        let mut start = Instant::now();
        let facts = Arc::clone(&transaction.facts);
        let mut ground = Ground::make(terms, terms.shared.memory.get()).await?;
        ground.store.data_mut().transaction = Some(transaction);
        ground.arm();
        let left = ground.timeout.saturating_sub(start.elapsed());
        let making = configured(&mut ground.store, terms, program, plan);
        let outcome = limited(&ground.meter, left, making).await;
        let instance = outcome.map_err(|stop| ground.failure(stop))?;
        if matches!(program.beginning, Beginning::Uncounted) {
            ground.begin_anew()?;
            ground.arm();
            start = Instant::now();
        }
        let left = ground.timeout.saturating_sub(start.elapsed());
        let constructing = constructed(&mut ground.store, program, &instance, &facts);
        let outcome = limited(&ground.meter, left, constructing).await;
        let transaction = outcome.map_err(|stop| ground.failure(stop))?;
        ground.making = start.elapsed();
        Ok(Self { ground, program: Arc::clone(program), instance, transaction })
    }

    pub(super) async fn connect(&mut self) -> Result<types::Decision, Failure> {
        let function = self.program.functions.on_connect(&mut self.ground.store, &self.instance);
        let (decision,) = self.ground.call(function, (self.transaction,)).await?;
        Ok(decision)
    }

    pub(super) async fn helo(&mut self, name: &[u8]) -> Result<types::Decision, Failure> {
        self.ground.hand_over(name.len());
        let function = self.program.functions.on_helo(&mut self.ground.store, &self.instance);
        let (decision,) = self.ground.call(function, (self.transaction, name)).await?;
        Ok(decision)
    }

    pub(super) async fn mail(&mut self, sender: &[u8]) -> Result<types::Decision, Failure> {
        self.ground.hand_over(sender.len());
        let function = self.program.functions.on_mail(&mut self.ground.store, &self.instance);
        let (decision,) = self.ground.call(function, (self.transaction, sender)).await?;
        Ok(decision)
    }

    pub(super) async fn rcpt(&mut self, recipient: &[u8]) -> Result<types::Decision, Failure> {
        self.ground.hand_over(recipient.len());
        let function = self.program.functions.on_rcpt(&mut self.ground.store, &self.instance);
        let (decision,) = self.ground.call(function, (self.transaction, recipient)).await?;
        Ok(decision)
    }

    pub(super) async fn headers(&mut self, mail: &Arc<MailView>) -> Result<types::Decision, Failure> {
        let (lent, handle) = self.ground.lend(mail)?;
        let function = self.program.functions.on_headers(&mut self.ground.store, &self.instance);
        let outcome = self.ground.call(function, (self.transaction, handle)).await;
        self.ground.take_back(lent);
        outcome.map(|(decision,)| decision)
    }

    pub(super) async fn body(&mut self, chunk: &[u8]) -> Result<Option<types::Decision>, Failure> {
        self.ground.hand_over(chunk.len());
        let function = self.program.functions.on_body(&mut self.ground.store, &self.instance);
        let (decision,) = self.ground.call(function, (self.transaction, chunk)).await?;
        Ok(decision)
    }

    pub(super) async fn end(&mut self, mail: &Arc<MailView>) -> Result<(types::Decision, Vec<types::Edit>), Failure> {
        let (lent, handle) = self.ground.lend(mail)?;
        let function = self.program.functions.on_end(&mut self.ground.store, &self.instance);
        let outcome = self.ground.call(function, (self.transaction, handle)).await;
        self.ground.take_back(lent);
        outcome.map(|(returned,)| returned)
    }

    pub(super) async fn abort(&mut self) -> Result<(), Failure> {
        let function = self.program.functions.on_abort(&mut self.ground.store, &self.instance);
        self.ground.call(function, (self.transaction,)).await
    }

    /// What it cost so far; its wall clock is that of its making alone.
    pub(super) fn cost(&self) -> Cost {
        self.ground.cost()
    }
}

/// The instance is of another component than its functions.
const ABSENT: HostFault = HostFault::Misuse("the instance is not of the filter's component");

/// Instantiates a filter, and sees to it that it is configured.
async fn configured(
    store: &mut Store<Context>,
    terms: &Terms,
    program: &Program,
    plan: &types::Plan,
) -> wasmtime::Result<Instance> {
    let instance = program.instances.instantiate_async(&mut *store).await?;
    match &program.beginning {
        Beginning::Configured(handles) => handles.restore(&mut *store, &instance).await?,
        Beginning::Blank | Beginning::Uncounted => {
            let configure = program.functions.configure(&mut *store, &instance).ok_or(ABSENT)?;
            match configure.call_async(&mut *store, (terms.configuration.as_str(),)).await? {
                (Ok(configured),) if configured == *plan => {}
                (Ok(_),) => {
                    return Err(HostFault::Misuse("configure returned another plan than when it was loaded").into());
                }
                (Err(error),) => return Err(HostFault::Refused(format!("configure failed: {error}")).into()),
            }
        }
    }
    Ok(instance)
}

/// Constructs a filter's transaction.
async fn constructed(
    store: &mut Store<Context>,
    program: &Program,
    instance: &Instance,
    facts: &TransactionFacts,
) -> wasmtime::Result<ResourceAny> {
    let address = facts.client_address();
    let constructor = program.functions.constructor(&mut *store, instance).ok_or(ABSENT)?;
    Ok(constructor.call_async(store, (facts.lent(&address),)).await?.0)
}
