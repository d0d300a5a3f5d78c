//! `antivirus`: the verdict of the virus scanner.

use wasmtime::component::Resource;

use crate::host::bindings::mailweir::filter::antivirus::{Host, ScanResult};
use crate::host::context::{Context, work};
use crate::host::resources::Mail;
use crate::services::antivirus;

impl Host for Context {
    async fn scan(&mut self, mail: Resource<Mail>) -> wasmtime::Result<ScanResult> {
        let view = self.call_on(&mail)?;
        // A message that cannot be taken apart is refused, and not scanned in part.
        work(&view.message, |message| message.mime().map(|_| ())).await?;
        let result = match (&view.scan, &self.facilities.services.clamd) {
            (Some(scan), _) => scan.result().await,
            (None, Some(clamd)) => clamd.scan(&view.message).await,
            // Granting the interface without a scanner is refused when the plugin is loaded.
            (None, None) => return Ok(ScanResult::Failed("no scanner is configured".to_owned())),
        };
        Ok(match result {
            antivirus::ScanResult::Clean => ScanResult::Clean,
            antivirus::ScanResult::Infected(name) => ScanResult::Infected(name),
            antivirus::ScanResult::Failed(reason) => ScanResult::Failed(reason),
        })
    }
}
