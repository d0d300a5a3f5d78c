//! Private keys for signatures: read from a file, checked, and used.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::der::RsaNumbers;
use super::small_rsa::SmallRsa;

/// RFC 8301 section 3.2: signers MUST use at least this.
const SHORTEST_RSA: u32 = 1024;
/// And SHOULD use this.
const RECOMMENDED_RSA: u32 = 2048;
/// aws-lc-rs knows no longer ones, and few verifiers do.
const LONGEST_RSA: u32 = 8192;
/// A key file is smaller than this, in bytes.
const FILE_SIZE: u64 = 64 * 1024;

/// Why a file holds no key that can be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// Nothing in it looks like a private key.
    #[error("holds no private key in PEM, and is no raw Ed25519 key")]
    NoKey,
    /// A key, but of an algorithm that DKIM does not have, or damaged.
    #[error("holds a key that is neither RSA nor Ed25519, or is damaged")]
    Unusable,
    /// RFC 8301 section 3.2.
    #[error("holds an RSA key of {0} bits; at least {SHORTEST_RSA} are needed, and {RECOMMENDED_RSA} are wise")]
    TooShort(u32),
    /// Longer than is supported.
    #[error("holds an RSA key of {0} bits; at most {LONGEST_RSA} are supported")]
    TooLong(u32),
}

/// A signature could not be made; our fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key makes no signature")]
pub struct NoSignature;

/// A private key. Its debug form shows nothing secret.
pub struct SigningKey {
    pair: Pair,
    /// The public key, which tells keys apart.
    public: Vec<u8>,
    warnings: Vec<String>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    SmallRsa(Box<SmallRsa>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Reads a key: PEM with RSA (PKCS #1 or PKCS #8) or Ed25519 (PKCS #8), or the 32 bytes of an Ed25519 key (RFC 8032
    /// section 5.1.5) as they are or in base64.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let content = crate::config::read_regular(file, FILE_SIZE)?;
        let mode = std::fs::metadata(file)?.permissions().mode();
        let mut key = Self::parse(&content)?;
        if mode & 0o004 != 0 {
            key.warnings.push(format!("every user of this machine can read it (mode {:o}); chmod o-r", mode & 0o777));
        }
        Ok(key)
    }

    fn parse(content: &[u8]) -> Result<Self, KeyError> {
        match PrivateKeyDer::from_pem_slice(content) {
            Ok(PrivateKeyDer::Pkcs1(der)) => {
                let numbers = RsaNumbers::from_pkcs1(der.secret_pkcs1_der()).ok_or(KeyError::Unusable)?;
                Self::rsa(&numbers, || RsaKeyPair::from_der(der.secret_pkcs1_der()).ok())
            }
            Ok(PrivateKeyDer::Pkcs8(der)) => {
                let der = der.secret_pkcs8_der();
                match RsaNumbers::from_pkcs8(der) {
                    Some(numbers) => Self::rsa(&numbers, || RsaKeyPair::from_pkcs8(der).ok()),
                    // OpenSSL writes it without the public key.
                    None => Self::ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()),
                }
            }
            Ok(_) => Err(KeyError::Unusable),
            Err(_) => {
                let decoded = STANDARD.decode(content.trim_ascii()).unwrap_or_default();
                let seed = [content, &decoded].into_iter().find(|bytes| bytes.len() == 32).ok_or(KeyError::NoKey)?;
                Self::ed25519(Ed25519KeyPair::from_seed_unchecked(seed).ok())
            }
        }
    }

    fn rsa(numbers: &RsaNumbers<'_>, pair: impl FnOnce() -> Option<RsaKeyPair>) -> Result<Self, KeyError> {
        let bits = numbers.bits();
        let pair = match bits {
            ..SHORTEST_RSA => return Err(KeyError::TooShort(bits)),
            SHORTEST_RSA..RECOMMENDED_RSA => SmallRsa::new(numbers).map(|pair| Pair::SmallRsa(Box::new(pair))),
            RECOMMENDED_RSA..=LONGEST_RSA => pair().map(|pair| Pair::Rsa(Box::new(pair))),
            _ => return Err(KeyError::TooLong(bits)),
        };
        let mut key =
            Self { pair: pair.ok_or(KeyError::Unusable)?, public: numbers.modulus.to_vec(), warnings: vec![] };
        // A key that does not fit itself is found now, not with the first message.
        key.sign(b"").map_err(|_| KeyError::Unusable)?;
        if bits < RECOMMENDED_RSA {
            key.warnings.push(format!("its RSA key has {bits} bits; RFC 8301 asks for {RECOMMENDED_RSA}"));
        }
        Ok(key)
    }

    fn ed25519(pair: Option<Ed25519KeyPair>) -> Result<Self, KeyError> {
        let pair = pair.ok_or(KeyError::Unusable)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { pair: Pair::Ed25519(Box::new(pair)), public, warnings: vec![] })
    }

    /// `a=`
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) | Pair::SmallRsa(_) => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// What the operator should know about the key.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The signature of these bytes: about a millisecond of work with RSA.
    ///
    /// # Errors
    /// [`NoSignature`], when the key is damaged or the system has no randomness.
    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, NoSignature> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).map_err(|_| NoSignature)?;
                Ok(signature)
            }
            Pair::SmallRsa(pair) => pair.sign(signed, digest(&SHA256, signed).as_ref()).ok_or(NoSignature),
            // RFC 8463 section 3: what is signed is the hash.
            Pair::Ed25519(pair) => Ok(pair.sign(digest(&SHA256, signed).as_ref()).as_ref().to_vec()),
        }
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public && self.warnings == other.warnings
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/keys").join(name)
    }

    #[test]
    fn files_that_hold_no_key_say_so() {
        let directory = tempfile::tempdir().unwrap();
        let written = |content: &[u8]| {
            let file = directory.path().join("key");
            std::fs::write(&file, content).unwrap();
            SigningKey::read(&file).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let pem = std::fs::read_to_string(file("rsa-1024.pem")).unwrap();
        for (content, expected) in [
            (&b""[..], "holds no private key"),
            (&[7; 31], "holds no private key"),
            (&[7; 33], "holds no private key"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
            (b"-----BEGIN PRIVATE KEY-----\n", "holds no private key"),
            (&pem.as_bytes()[..pem.len() / 2], "holds no private key"),
            // A digit of the private exponent, so that the key does not fit itself.
            (pem.replace("AoGAXB80", "AoGAXB81").as_bytes(), "damaged"),
            (&[0xff; 100_000], "at most 65536 are read"),
        ] {
            let said = written(content);
            assert!(said.contains(expected), "{said:?} for {}", content.escape_ascii());
        }
        for (name, expected) in
            [("rsa-512.pem", "of 512 bits"), ("p256.pem", "neither RSA nor Ed25519"), ("none.pem", "cannot be read")]
        {
            let said = SigningKey::read(&file(name)).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(written(&[7; 32]), "");
    }

    #[test]
    fn a_short_key_signs_and_warns() {
        let key = SigningKey::read(&file("rsa-1024.pem")).unwrap();
        assert!(key.warnings().iter().any(|warning| warning.contains("1024 bits")), "{:?}", key.warnings());
        assert_eq!(key.algorithm(), "rsa-sha256");
        let PrivateKeyDer::Pkcs1(der) = PrivateKeyDer::from_pem_file(file("rsa-1024.pem")).unwrap() else { panic!() };
        let numbers = RsaNumbers::from_pkcs1(der.secret_pkcs1_der()).unwrap();
        // RSAPublicKey: the modulus of 128 bytes with a leading zero, and 65537.
        let head = [0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        let public = [&head[..], numbers.modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public);
        for signed in [&b""[..], b"x", &[0; 10_000]] {
            let signature = key.sign(signed).unwrap();
            assert_eq!(signature.len(), 128);
            public.verify(signed, &signature).unwrap();
        }
    }

    #[test]
    fn a_file_that_everybody_can_read_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, [7; 32]).unwrap();
        for (mode, warns) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let key = SigningKey::read(&file).unwrap();
            assert_eq!(key.warnings().iter().any(|warning| warning.contains("chmod")), warns, "{mode:o}");
        }
    }
}
