//! The Rust types behind the contract's resources.
#![expect(unreachable_pub, reason = "the generated bindings re-export them")]

use std::sync::Arc;

use super::facts::MailView;
use crate::message::scan::PatternSet;

/// `message.mail`
pub struct Mail(pub(super) Arc<MailView>);

/// `scan.pattern-set`
pub struct Patterns(pub(super) Arc<PatternSet>);
