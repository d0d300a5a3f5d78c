//! Detectors of personal and payment data.
//!
//! Each detector has a regular expression that the host runs over the decoded text, and a check in the guest that
//! tells a real number from digits that look like one. This module does no counting and knows no rules.

mod card;
mod digits;
mod email;
mod european;
mod iban;
mod national;
mod secret;
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
    /// United States taxpayer numbers of people without a social security number.
    UsItin,
    /// British health service numbers, with their check digit.
    UkNhs,
    /// British national insurance numbers.
    UkNino,
    /// Spanish DNI and NIE, with their check letter.
    EsNif,
    /// Italian tax codes, with their check letter.
    ItCodiceFiscale,
    /// Polish PESEL numbers, with date and check digit.
    PlPesel,
    /// Dutch citizen service numbers, with the test of eleven.
    NlBsn,
    /// Belgian national register numbers, with date and check digits.
    BeRijksregister,
    /// Private keys in PEM.
    PrivateKey,
    /// Access keys of Amazon Web Services.
    AwsAccessKey,
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
    /// Every detector.
    pub const ALL: [Self; 17] = [
        Self::CreditCard,
        Self::Iban,
        Self::UsSsn,
        Self::FrNir,
        Self::DeSteuerId,
        Self::ChAhv,
        Self::UsItin,
        Self::UkNhs,
        Self::UkNino,
        Self::EsNif,
        Self::ItCodiceFiscale,
        Self::PlPesel,
        Self::NlBsn,
        Self::BeRijksregister,
        Self::PrivateKey,
        Self::AwsAccessKey,
        Self::EmailAddress,
    ];

    /// The name in the configuration and in reasons.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreditCard => "credit-card",
            Self::Iban => "iban",
            Self::UsSsn => "us-ssn",
            Self::FrNir => "fr-nir",
            Self::DeSteuerId => "de-steuer-id",
            Self::ChAhv => "ch-ahv",
            Self::UsItin => "us-itin",
            Self::UkNhs => "uk-nhs",
            Self::UkNino => "uk-nino",
            Self::EsNif => "es-nif",
            Self::ItCodiceFiscale => "it-codice-fiscale",
            Self::PlPesel => "pl-pesel",
            Self::NlBsn => "nl-bsn",
            Self::BeRijksregister => "be-rijksregister",
            Self::PrivateKey => "private-key",
            Self::AwsAccessKey => "aws-access-key",
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
            Self::UsItin => social_security::itin_patterns(),
            Self::UkNhs => european::nhs_patterns(),
            Self::UkNino => european::nino_patterns(),
            Self::EsNif => european::nif_patterns(),
            Self::ItCodiceFiscale => european::codice_fiscale_patterns(),
            Self::PlPesel => european::pesel_patterns(),
            Self::NlBsn => european::bsn_patterns(),
            Self::BeRijksregister => european::rijksregister_patterns(),
            Self::PrivateKey => secret::private_key_patterns(),
            Self::AwsAccessKey => secret::aws_patterns(),
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
            Self::UsItin => social_security::check_itin(&text),
            Self::UkNhs => european::check_nhs(&text).into_iter().collect(),
            Self::UkNino => european::check_nino(&text).into_iter().collect(),
            Self::EsNif => european::check_nif(&text).into_iter().collect(),
            Self::ItCodiceFiscale => european::check_codice_fiscale(&text).into_iter().collect(),
            Self::PlPesel => european::check_pesel(&text).into_iter().collect(),
            Self::NlBsn => european::check_bsn(&text).into_iter().collect(),
            Self::BeRijksregister => european::check_rijksregister(&text).into_iter().collect(),
            Self::PrivateKey => secret::check_private_key(&text).into_iter().collect(),
            Self::AwsAccessKey => secret::check_aws(&text).into_iter().collect(),
            Self::EmailAddress => email::check(&text).into_iter().collect(),
        }
    }
}
