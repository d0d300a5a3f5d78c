//! `authentication`: SPF, DKIM, ARC, DMARC and iprev.

use wasmtime::component::Resource;

use crate::host::bindings::mailweir::filter::authentication::{
    ArcResult, AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Host, Identity, Outcome, SpfResult,
};
use crate::host::context::Context;
use crate::host::failure::HostFault;
use crate::host::resources::Mail;
use crate::services::authentication as native;

impl Host for Context {
    async fn spf(&mut self, identity: Identity) -> wasmtime::Result<SpfResult> {
        self.limits.host_call()?;
        let identity = match identity {
            Identity::Helo => native::Identity::Helo,
            Identity::MailFrom => native::Identity::MailFrom,
        };
        let result = self.evaluation()?.spf(identity).await;
        Ok(SpfResult {
            outcome: outcome(result.outcome),
            domain: result.domain.clone(),
            explanation: result.explanation.clone(),
        })
    }

    async fn iprev(&mut self) -> wasmtime::Result<(Outcome, Option<String>)> {
        self.limits.host_call()?;
        let result = self.evaluation()?.iprev().await;
        Ok((outcome(result.outcome), result.name.clone()))
    }

    async fn dkim(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Vec<DkimResult>> {
        let view = self.call_on(&mail)?;
        let results = view.evaluation.dkim(&view.message).await.map_err(HostFault::Message)?;
        let results = results.iter().map(|result| DkimResult {
            outcome: outcome(result.outcome),
            domain: result.domain.clone(),
            selector: result.selector.clone(),
            algorithm: result.algorithm.clone(),
            signature: result.signature.clone(),
            reason: result.reason.clone(),
        });
        Ok(results.collect())
    }

    async fn arc(&mut self, mail: Resource<Mail>) -> wasmtime::Result<ArcResult> {
        let view = self.call_on(&mail)?;
        let result = view.evaluation.arc(&view.message).await.map_err(HostFault::Message)?;
        // A filter takes the last of them for who vouches.
        let sealers = if result.signs_author { result.sealers.clone() } else { Vec::new() };
        Ok(ArcResult { outcome: outcome(result.outcome), sealers, reason: result.reason.clone() })
    }

    async fn dmarc(&mut self, mail: Resource<Mail>) -> wasmtime::Result<DmarcResult> {
        let view = self.call_on(&mail)?;
        let result = view.evaluation.dmarc(&view.message).await.map_err(HostFault::Message)?;
        Ok(DmarcResult {
            outcome: outcome(result.outcome),
            from_domain: result.from_domain.clone(),
            policy_domain: result.policy_domain.clone(),
            policy: match result.policy {
                native::DmarcPolicy::None => DmarcPolicy::None,
                native::DmarcPolicy::Quarantine => DmarcPolicy::Quarantine,
                native::DmarcPolicy::Reject => DmarcPolicy::Reject,
            },
            spf_aligned: result.spf_aligned,
            dkim_aligned: result.dkim_aligned,
            reason: result.reason.clone(),
        })
    }

    async fn authors(&mut self, mail: Resource<Mail>) -> wasmtime::Result<Result<Vec<String>, AuthorFault>> {
        let view = self.call_on(&mail)?;
        Ok(view.evaluation.authors(&view.message).map_err(|fault| match fault {
            native::AuthorFault::Missing => AuthorFault::Missing,
            native::AuthorFault::Several(count) => AuthorFault::Several(count),
            native::AuthorFault::Unparsable(reason) => AuthorFault::Unparsable(reason),
        }))
    }
}

fn outcome(outcome: native::Outcome) -> Outcome {
    match outcome {
        native::Outcome::Pass => Outcome::Pass,
        native::Outcome::Fail => Outcome::Fail,
        native::Outcome::SoftFail => Outcome::SoftFail,
        native::Outcome::Neutral => Outcome::Neutral,
        native::Outcome::None => Outcome::None,
        native::Outcome::Policy => Outcome::Policy,
        native::Outcome::TempError => Outcome::TempError,
        native::Outcome::PermError => Outcome::PermError,
    }
}
