//! DKIM signing for tests and the demo: Ed25519 keys (RFC 8463), made at start.

use anyhow::Context as _;
use base64::Engine as _;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{DkimSigner, Done};

/// Signs for one domain with one selector.
pub struct Signer {
    signer: DkimSigner<Ed25519Key, Done>,
    record: (String, String),
}

impl Signer {
    /// Make a key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(domain: &str, selector: &str) -> anyhow::Result<Self> {
        let document = Ed25519Key::generate_pkcs8().ok().context("make a key")?;
        let key = Ed25519Key::from_pkcs8_der(&document).ok().context("read the key")?;
        let public = base64::engine::general_purpose::STANDARD.encode(key.public_key());
        let record = (format!("{selector}._domainkey.{domain}"), format!("v=DKIM1; k=ed25519; p={public}"));
        let signer =
            DkimSigner::from_key(key).domain(domain).selector(selector).headers(["From", "To", "Subject", "Date"]);
        Ok(Self { signer, record })
    }

    /// Write l= with the body's length.
    #[must_use]
    pub fn with_length(self) -> Self {
        Self { signer: self.signer.body_length(true), ..self }
    }

    /// The name and text of the TXT record with the key.
    #[must_use]
    pub fn record(&self) -> (&str, &str) {
        (&self.record.0, &self.record.1)
    }

    /// The message, whose lines end in CRLF, with the signature on top.
    ///
    /// # Errors
    /// When it has none of the fields that are signed.
    pub fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let signature = self.signer.sign(message).ok().context("sign the message")?;
        Ok([signature.to_header().as_bytes(), message].concat())
    }
}
