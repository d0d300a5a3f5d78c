//! DKIM for tests, the demo and the benches: keys made at start, and a signer that is not ours.

use anyhow::Context as _;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{DkimSigner, Done};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

/// A private key as its file has it, and what stands in the DNS for it.
pub struct KeyFile {
    /// PKCS #8 in PEM.
    pub pem: String,
    /// The TXT record.
    pub record: String,
}

impl KeyFile {
    /// RSA with 2048 bits.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn rsa() -> anyhow::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok().context("make a key")?;
        let public = pair.public_key().as_der().ok().context("write the public key")?;
        Ok(Self::new("rsa", pair.as_der().ok().context("write the key")?.as_ref(), public.as_ref()))
    }

    /// Ed25519.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn ed25519() -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::generate().ok().context("make a key")?;
        Ok(Self::new("ed25519", pair.to_pkcs8v1().ok().context("write the key")?.as_ref(), pair.public_key().as_ref()))
    }

    fn new(kind: &str, private: &[u8], public: &[u8]) -> Self {
        let base64 = |bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
        let lines = base64(private)
            .as_bytes()
            .chunks(64)
            .fold(String::new(), |lines, line| lines + &String::from_utf8_lossy(line) + "\n");
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n");
        Self { pem, record: format!("v=DKIM1; k={kind}; p={}", base64(public)) }
    }
}

/// Signs for one domain with one selector.
pub struct Signer {
    signer: DkimSigner<DkimKey, Done>,
    record: (String, String),
}

impl Signer {
    /// Make a key for Ed25519 (RFC 8463).
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(domain: &str, selector: &str) -> anyhow::Result<Self> {
        let document = Ed25519Key::generate_pkcs8().ok().context("make a key")?;
        let key = Ed25519Key::from_pkcs8_der(&document).ok().context("read the key")?;
        let public = base64::engine::general_purpose::STANDARD.encode(key.public_key());
        Ok(Self::new(key.into(), domain, selector, format!("v=DKIM1; k=ed25519; p={public}")))
    }

    /// Make a key for RSA with 2048 bits.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_rsa(domain: &str, selector: &str) -> anyhow::Result<Self> {
        let KeyFile { pem, record } = KeyFile::rsa()?;
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
        let key = RsaKey::from_key_der(der).ok().context("read the key")?;
        Ok(Self::new(DkimKey::Rsa(key), domain, selector, record))
    }

    fn new(key: DkimKey, domain: &str, selector: &str, record: String) -> Self {
        let signer =
            DkimSigner::from_key(key).domain(domain).selector(selector).headers(["From", "To", "Subject", "Date"]);
        Self { signer, record: (format!("{selector}._domainkey.{domain}"), record) }
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
