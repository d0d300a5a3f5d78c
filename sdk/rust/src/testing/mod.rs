//! Running a filter in `cargo test`, without a proxy and without Wasm.
//!
//! ```
//! # use mailweir_filter::prelude::*;
//! # struct Greylist;
//! # impl Filter for Greylist {
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig) -> Result<(Self, Plan), String> { Ok((Self, Plan::new().on_rcpt())) }
//! #     fn on_rcpt(&mut self, session: &Session, _: &[u8]) -> Decision {
//! #         match mailweir_filter::state::get(&session.client_address) {
//! #             Some(_) => Decision::pass(),
//! #             None => {
//! #                 mailweir_filter::state::set(&session.client_address, b"seen", 3600);
//! #                 Decision::tempfail("4.7.1", "Come back later")
//! #             }
//! #         }
//! #     }
//! # }
//! use mailweir_filter::testing::Harness;
//!
//! let harness = Harness::new::<Greylist>("{}").unwrap().client("192.0.2.7").rcpt("you@example.com");
//! assert_eq!(harness.run("Subject: hi\n\nbody\n").reply(), Some("451 4.7.1 Come back later".into()));
//! assert_eq!(harness.run("Subject: hi\n\nbody\n").verdict, Verdict::Pass);
//! ```
//!
//! The harness calls the phases as mailweir does, and panics when a filter returns what mailweir would not take. Its
//! services answer from a script; its URL finder is simpler than mailweir's, so a test that depends on a disguised URL
//! states it with [`Harness::url`].

mod harness;
mod run;
mod outcome;
mod checks;
mod script;
pub(crate) mod host;
mod message;
mod urls;
mod edited;

pub use harness::Harness;
pub use outcome::{Outcome, Phase};
