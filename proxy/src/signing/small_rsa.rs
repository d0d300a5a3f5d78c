//! RSA signatures (PKCS #1 v1.5, RFC 8017 section 8.2) with keys of 1024 to 2047 bits, which RFC 8301 still allows and
//! aws-lc-rs does not make signatures with. Arithmetic in constant time; what comes out is verified before it is used.
//!
//! It does not read keys: see `key`.

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};

use super::der::RsaNumbers;

/// DigestInfo of SHA-256 up to the digest itself (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// A private key.
pub(super) struct SmallRsa {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    private: BoxedUint,
    params: BoxedMontyParams,
}

impl SmallRsa {
    /// `None` when the numbers are no key.
    pub(super) fn new(numbers: &RsaNumbers<'_>) -> Option<Self> {
        let precision = numbers.bits().next_multiple_of(64);
        let modulus = BoxedUint::from_be_slice(numbers.modulus, precision).ok()?;
        let private = BoxedUint::from_be_slice(numbers.private, precision).ok()?;
        let modulus: Option<Odd<BoxedUint>> = Odd::new(modulus).into();
        Some(Self {
            modulus: numbers.modulus.to_vec(),
            exponent: numbers.exponent.to_vec(),
            private,
            params: BoxedMontyParams::new(modulus?),
        })
    }

    /// Signs this SHA-256 digest of `signed`. `None` when the result does not verify, as with a key that is damaged:
    /// a wrong result could give the key away.
    pub(super) fn sign(&self, signed: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
        let length = self.modulus.len();
        let padding = length.checked_sub(3 + DIGEST_INFO.len() + digest.len())?;
        let mut encoded = Vec::with_capacity(length);
        encoded.extend([0, 1]);
        encoded.resize(2 + padding, 0xff);
        encoded.push(0);
        encoded.extend(DIGEST_INFO);
        encoded.extend(digest);
        let message = BoxedUint::from_be_slice(&encoded, self.params.bits_precision()).ok()?;
        let power = BoxedMontyForm::new(message, &self.params).pow(&self.private).retrieve().to_be_bytes();
        let signature = power[power.len().checked_sub(length)?..].to_vec();
        let public = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        public.verify(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, signed, &signature).ok()?;
        Some(signature)
    }
}
