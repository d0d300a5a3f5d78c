//! Write mail filters for mailweir.
//!
//! A filter is a WebAssembly component that mailweir calls at the moments of an SMTP transaction it asked for. Each
//! transaction has a fresh sandbox, so a value of a filter's type serves one transaction. A whole filter:
//!
//! ```
//! use mailweir_filter::prelude::*;
//!
//! struct Hello;
//!
//! impl Filter for Hello {
//!     type Config = NoConfig;
//!
//!     fn configure(_config: NoConfig) -> Result<(Self, Plan), String> {
//!         Ok((Self, Plan::new().on_end().edits()))
//!     }
//!
//!     fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
//!         let greeting = format!("{} bytes", mail.size());
//!         Decision::pass().because("said hello").with(Edits::new().add_header("X-Hello", greeting))
//!     }
//! }
//!
//! mailweir_filter::export!(Hello);
//!
//! // In a test, without a proxy:
//! let outcome = mailweir_filter::testing::Harness::new::<Hello>("{}").unwrap().run("Subject: hi\n\nbody\n");
//! assert_eq!(outcome.header("X-Hello").as_deref(), Some("21 bytes"));
//! ```
//!
//! Compiled for any other target than Wasm, the services of the host ([`dns`], [`scan`] and so on) are the scripted
//! ones of [`testing::Harness`], so that the same code runs in `cargo test`.

pub mod filter;
pub mod decision;
pub mod plan;
pub mod edits;
pub mod mail;
pub mod session;
pub mod scan;
pub mod dns;
pub mod authentication;
pub mod antivirus;
pub mod state;
pub mod observe;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

mod configuration;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
/// The services of the host as generated from the contract; natively the harness plays their part with the same
/// names and signatures.
#[cfg(target_family = "wasm")]
mod host {
    pub(crate) use crate::bindings::mailweir::filter::{antivirus, authentication, dns, message, observe, scan, state};
}
#[cfg(not(target_family = "wasm"))]
use testing::host;

#[doc(hidden)]
pub mod bindings;

pub use bindings::mailweir::filter::types::{Reply, Tag};
pub use decision::{Decision, Verdict};
pub use edits::{Edit, Edits};
pub use filter::{Filter, NoConfig};
pub use mail::Mail;
pub use plan::{BodyMode, Phases, Plan};
pub use session::{Session, TlsSession};

/// What nearly every filter uses.
pub mod prelude {
    pub use crate::{Decision, Edits, Filter, Mail, NoConfig, Plan, Session, Verdict};
}

/// Make the filter of this type the one that the component exports. Once in a crate, at its top.
///
/// Natively it expands to nothing but a check that the type is a [`Filter`].
#[macro_export]
macro_rules! export {
    ($filter:ty) => {
        const _: () = {
            const fn is_a_filter<F: $crate::Filter>() {}
            is_a_filter::<$filter>();
        };
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::guest::Component<$filter>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
