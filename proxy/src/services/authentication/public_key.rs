//! Public keys as DKIM publishes them (RFC 6376 section 3.6.1, RFC 8463 section 4), and whether a key made a signature.
//!
//! The cryptography is aws-lc's. What is done here comes before it: a key that is too weak, or so large that checking
//! a signature costs more than the message is worth, is never used.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, VerificationAlgorithm,
};

/// RFC 8301 section 3.2: shorter ones are never valid, and those up to 4096 bits have to be checked; larger ones may be.
const SHORTEST_RSA: usize = 1024;
const LONGEST_RSA: usize = 8192;
/// A larger exponent makes each check cost what a signature costs.
const LONGEST_EXPONENT: usize = 33;
/// 1.2.840.113549.1.1.1, rsaEncryption (RFC 8017).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// A key that may be used.
#[derive(Debug)]
pub(super) enum PublicKey {
    Rsa(Ready),
    Ed25519(Ready),
}

/// Read by the library, which keeps what it works out from it; none of a key that it does not take, which has made no
/// signature.
#[derive(Debug)]
pub(super) struct Ready(Option<ParsedPublicKey>);

impl Ready {
    fn new(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Self {
        Self(ParsedPublicKey::new(algorithm, key).ok())
    }
}

/// Why a key may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("the key cannot be read")]
    Malformed,
    #[error("the key has fewer than {SHORTEST_RSA} bits")]
    Weak,
    #[error("the key has more than {LONGEST_RSA} bits")]
    Large,
}

impl PublicKey {
    /// An RSA key: the SubjectPublicKeyInfo that everybody publishes, or the RSAPublicKey that RFC 6376 speaks of.
    pub(super) fn rsa(der: &[u8]) -> Result<Self, KeyFault> {
        let (modulus, exponent, key) = rsa_parts(der).ok_or(KeyFault::Malformed)?;
        match bits(modulus) {
            ..SHORTEST_RSA => return Err(KeyFault::Weak),
            SHORTEST_RSA..=LONGEST_RSA => {}
            _ => return Err(KeyFault::Large),
        }
        let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
        match bits(exponent) {
            2..=LONGEST_EXPONENT if is_odd => {
                Ok(Self::Rsa(Ready::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)))
            }
            _ => Err(KeyFault::Malformed),
        }
    }

    /// The 32 bytes themselves.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, KeyFault> {
        let key: &[u8; 32] = bytes.try_into().map_err(|_| KeyFault::Malformed)?;
        Ok(Self::Ed25519(Ready::new(&ED25519, key)))
    }

    /// Whether `signature` is of what has this SHA-256.
    pub(super) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        match self {
            Self::Rsa(Ready(key)) => key.as_ref().is_some_and(|key| key.verify_digest_sig(digest, signature).is_ok()),
            // RFC 8463 section 3: what is signed is the hash.
            Self::Ed25519(Ready(key)) => {
                key.as_ref().is_some_and(|key| key.verify_sig(digest.as_ref(), signature).is_ok())
            }
        }
    }
}

/// The modulus, the exponent, and the RSAPublicKey they stand in.
fn rsa_parts(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (outer, []) = element(der, SEQUENCE)? else { return None };
    let key = match outer.first()? {
        &SEQUENCE => {
            let (algorithm, rest) = element(outer, SEQUENCE)?;
            let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
            let (bits, []) = element(rest, BIT_STRING)? else { return None };
            bits.strip_prefix(&[0]).filter(|_| identifier == RSA_ENCRYPTION)?
        }
        _ => der,
    };
    let (numbers, []) = element(key, SEQUENCE)? else { return None };
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, []) = element(rest, INTEGER)? else { return None };
    Some((modulus, exponent, key))
}

/// The content of a DER element that begins `bytes` with this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Of a number, how many bits it has. Negative ones have none.
fn bits(number: &[u8]) -> usize {
    if number.first().is_none_or(|byte| byte & 0x80 != 0) {
        return 0;
    }
    let Some(zeros) = number.iter().position(|byte| *byte != 0) else { return 0 };
    (number.len() - zeros) * 8 - number[zeros].leading_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// An RSAPublicKey whose modulus has so many bits.
    fn key(modulus_bits: usize, exponent: &[u8]) -> Vec<u8> {
        let mut modulus = vec![0xff; modulus_bits.div_ceil(8)];
        if !modulus_bits.is_multiple_of(8) {
            modulus[0] >>= 8 - modulus_bits % 8;
        }
        if modulus[0] & 0x80 != 0 {
            modulus.insert(0, 0);
        }
        der(SEQUENCE, &[der(INTEGER, &modulus), der(INTEGER, exponent)].concat())
    }

    fn info(key: &[u8], identifier: &[u8]) -> Vec<u8> {
        let algorithm = der(SEQUENCE, &der(OBJECT_IDENTIFIER, identifier));
        der(SEQUENCE, &[algorithm, der(BIT_STRING, &[&[0], key].concat())].concat())
    }

    #[test]
    fn weak_and_huge_keys_are_told_by_their_bits() {
        const F4: &[u8] = &[1, 0, 1];
        for (bits, expected) in [
            (512, Some(KeyFault::Weak)),
            (1020, Some(KeyFault::Weak)),
            (1023, Some(KeyFault::Weak)),
            (1024, None),
            (4096, None),
            (8192, None),
            (8193, Some(KeyFault::Large)),
            (65_536, Some(KeyFault::Large)),
        ] {
            let key = key(bits, F4);
            assert_eq!(PublicKey::rsa(&key).err(), expected, "{bits}");
            assert_eq!(PublicKey::rsa(&info(&key, RSA_ENCRYPTION)).err(), expected, "{bits}");
        }
        for exponent in [&[1][..], &[2], &[0x7f; 100], &[], &[0], &[0x81]] {
            assert_eq!(PublicKey::rsa(&key(2048, exponent)).err(), Some(KeyFault::Malformed), "{exponent:?}");
        }
        assert_eq!(PublicKey::rsa(&info(&key(2048, F4), b"other")).err(), Some(KeyFault::Malformed));
    }

    #[test]
    fn nothing_malformed_is_a_key() {
        let good = info(&key(1024, &[1, 0, 1]), RSA_ENCRYPTION);
        for end in 0..good.len() {
            assert_eq!(PublicKey::rsa(&good[..end]).err(), Some(KeyFault::Malformed), "{end}");
        }
        for bytes in [&[0x30, 0x80][..], &[0x30, 0xff, 0xff], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0]] {
            assert_eq!(PublicKey::rsa(bytes).err(), Some(KeyFault::Malformed));
        }
        assert!(PublicKey::rsa(&[&good[..], b"x"].concat()).is_err());
        for length in [0, 31, 33, 44] {
            assert_eq!(PublicKey::ed25519(&vec![1; length]).err(), Some(KeyFault::Malformed), "{length}");
        }
    }
}
