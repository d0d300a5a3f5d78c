//! Virus scanning by the daemon that the configuration names. Needs the grant "antivirus".

pub use crate::bindings::mailweir::filter::antivirus::ScanResult;
use crate::{Mail, host};

/// Have the whole message scanned. [`ScanResult::Failed`] is never to be taken for clean.
pub fn scan(mail: &Mail) -> ScanResult {
    host::antivirus::scan(mail.handle())
}
