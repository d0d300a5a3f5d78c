//! Signatures of ours, by chain.

use std::sync::Arc;

use super::primitive::Counter;
use super::text::Page;

/// What a chain that signs or seals counts.
#[derive(Debug, Default)]
pub struct SigningMetrics([Counter; SigningOutcome::ALL.len()]);

/// What came of one key of a chain, for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningOutcome {
    /// A DKIM signature was made.
    Signed,
    /// None was: the author or the client is not one for whom the key signs, or there are too many fields.
    Unsigned,
    /// An ARC set was added.
    Sealed,
    /// None was: the chain has failed before, is full, or cannot be validated now.
    Unsealed,
    /// The message was refused: a signature that is required could not be made, or one failed.
    Refused,
}

impl SigningOutcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Signed, "signed"),
        (Self::Unsigned, "unsigned"),
        (Self::Sealed, "sealed"),
        (Self::Unsealed, "unsealed"),
        (Self::Refused, "refused"),
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl SigningMetrics {
    /// Counts one.
    pub fn count(&self, outcome: SigningOutcome) {
        self.0[outcome as usize].add(1);
    }
}

pub(super) fn encode(page: &mut Page, chains: &[(String, Arc<SigningMetrics>)]) {
    page.family("mailweir_signatures_total", "counter", "DKIM signatures and ARC seals, by what came of them.");
    for (name, metrics) in chains {
        for (outcome, result) in SigningOutcome::ALL {
            let count = metrics.0[outcome as usize].value();
            page.sample("mailweir_signatures_total", &[("chain", name), ("result", result)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_variant() {
        assert!(SigningOutcome::ALL.iter().enumerate().all(|(index, (variant, _))| *variant as usize == index));
    }
}
