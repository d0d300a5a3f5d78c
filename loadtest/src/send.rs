//! `mailweir-load send`: one load.

use std::time::Instant;

use anyhow::Context as _;

use crate::arguments::SendArguments;
use crate::descriptors;
use crate::load::{Control, Load, Observer};
use crate::plan::Plan;
use crate::report::model::Results;
use crate::workers::Workers;

/// Sends as the arguments say, until every message was tried once, the time is over or SIGINT comes.
///
/// # Errors
///
/// When it cannot begin: no content, no such host.
pub(crate) async fn send(arguments: &SendArguments, observer: &mut impl Observer) -> anyhow::Result<Results> {
    descriptors::raise(arguments.load.connections())?;
    let plan = Plan::new(&arguments.server, &arguments.load).await?;
    let workers = Workers::start(arguments.threads)?;
    let start = Instant::now();
    let mut load = Load::start("send", plan, &workers);
    let controls = [load.control()];
    tokio::select! {
        finished = load.finish(observer) => finished?,
        () = interrupts(&controls) => {}
    }
    if let (Some(path), Some(sent)) = (&arguments.proof_out, load.sent()) {
        std::fs::write(path, serde_json::to_vec(&sent)?).with_context(|| path.display().to_string())?;
    }
    let run = load.result(start, None);
    Ok(Results { seconds: start.elapsed().as_secs_f64(), runs: vec![run], ..Results::new("send") })
}

/// At the first SIGINT what was begun is finished, at the second it is given up. Never returns.
pub(crate) async fn interrupts(loads: &[Control]) {
    for end in [Control::end, Control::abandon] {
        if tokio::signal::ctrl_c().await.is_err() {
            break;
        }
        loads.iter().for_each(end);
    }
    std::future::pending().await
}
