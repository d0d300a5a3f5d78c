//! Detectors of personal and payment data.
//!
//! Each detector has a regular expression that the host runs over the decoded text, and a check in the guest that
//! tells a real number from digits that look like one. This module does no counting and knows no rules.

mod card;
mod digits;
mod email;
mod iban;
mod national;
mod social_security;

use serde::Deserialize;

/// What a rule can look for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// Payment card numbers: issuer prefix, length and Luhn check digit.
    CreditCard,
    /// International bank account numbers (ISO 13616): length by country and mod 97.
    Iban,
    /// United States social security numbers.
    UsSsn,
    /// French social security numbers (NIR), with their key.
    FrNir,
    /// German tax identification numbers (Steuer-ID), with their check digit.
    DeSteuerId,
    /// Swiss social security numbers (AHV/AVS), with their EAN-13 check digit.
    ChAhv,
    /// E-mail addresses: many of them in one message are a customer list.
    EmailAddress,
}

/// Something that a detector holds for real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Without separators and in one case, so that two spellings of one number count once. Secret: never logged.
    pub value: String,
    /// What a log may show of it; `None` when nothing but the detector's name.
    pub masked: Option<String>,
}

impl Finding {
    fn secret(value: String) -> Self {
        Self { value, masked: None }
    }
}

impl Detector {
    /// The name in the configuration and in reasons.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreditCard => "credit-card",
            Self::Iban => "iban",
            Self::UsSsn => "us-ssn",
            Self::FrNir => "fr-nir",
            Self::DeSteuerId => "de-steuer-id",
            Self::ChAhv => "ch-ahv",
            Self::EmailAddress => "email-address",
        }
    }

    /// Regular expressions that find every candidate, and more; in the host's syntax. A match is at most 256 bytes,
    /// which is what the host hands over of it.
    pub fn candidate_patterns(self) -> Vec<String> {
        match self {
            Self::CreditCard => card::candidate_patterns(),
            Self::Iban => iban::candidate_patterns(),
            Self::UsSsn => social_security::candidate_patterns(),
            Self::FrNir => national::nir_patterns(),
            Self::DeSteuerId => national::steuer_id_patterns(),
            Self::ChAhv => national::ahv_patterns(),
            Self::EmailAddress => email::candidate_patterns(),
        }
    }

    /// What is real in the text of a candidate; nothing when it only looked like it.
    pub fn check(self, candidate: &[u8]) -> Vec<Finding> {
        let text = String::from_utf8_lossy(candidate);
        match self {
            Self::CreditCard => card::check(&text),
            Self::Iban => iban::check(&text).into_iter().collect(),
            Self::UsSsn => social_security::check(&text),
            Self::FrNir => national::check_nir(&text).into_iter().collect(),
            Self::DeSteuerId => national::check_steuer_id(&text).into_iter().collect(),
            Self::ChAhv => national::check_ahv(&text).into_iter().collect(),
            Self::EmailAddress => email::check(&text).into_iter().collect(),
        }
    }
}
