//! As much of DER (X.690) as it takes to find the numbers of an RSA private key in PKCS #1 or PKCS #8 (RFC 8017 appendix
//! A.1.2, RFC 5958): how many bits it has, whatever the library makes of it.

/// The numbers that matter, big-endian without leading zeros.
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) exponent: &'a [u8],
    pub(super) private: &'a [u8],
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// rsaEncryption, 1.2.840.113549.1.1.1, with its tag and length.
const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

impl<'a> RsaNumbers<'a> {
    /// From RSAPrivateKey.
    pub(super) fn from_pkcs1(der: &'a [u8]) -> Option<Self> {
        let (key, _) = element(der, SEQUENCE)?;
        let (_version, rest) = element(key, INTEGER)?;
        let (modulus, rest) = element(rest, INTEGER)?;
        let (exponent, rest) = element(rest, INTEGER)?;
        let (private, _) = element(rest, INTEGER)?;
        let numbers = Self { modulus: trimmed(modulus), exponent: trimmed(exponent), private: trimmed(private) };
        (!numbers.modulus.is_empty()).then_some(numbers)
    }

    /// From PrivateKeyInfo, when it holds an RSA key.
    pub(super) fn from_pkcs8(der: &'a [u8]) -> Option<Self> {
        let (info, _) = element(der, SEQUENCE)?;
        let (_version, rest) = element(info, INTEGER)?;
        let (algorithm, rest) = element(rest, SEQUENCE)?;
        if !algorithm.starts_with(&RSA_ENCRYPTION) {
            return None;
        }
        let (key, _) = element(rest, OCTET_STRING)?;
        Self::from_pkcs1(key)
    }

    /// Bits of the modulus.
    pub(super) fn bits(&self) -> u32 {
        let first = self.modulus.first().map_or(0, |byte| byte.leading_zeros());
        u32::try_from(self.modulus.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(first)
    }
}

/// The content of the element that stands first, if it has this tag; and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        // No key is longer than four bytes can say.
        let count = usize::from(first & 0x7f);
        let (bytes, after) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        rest = after;
        bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
    };
    rest.split_at_checked(length)
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_makes_it_panic() {
        let key = [SEQUENCE, 12, INTEGER, 1, 0, INTEGER, 2, 0, 0xc1, INTEGER, 1, 3, INTEGER, 0];
        let numbers = RsaNumbers::from_pkcs1(&key).unwrap();
        assert_eq!((numbers.modulus, numbers.exponent, numbers.bits()), (&[0xc1][..], &[3][..], 8));
        for end in 0..key.len() {
            assert!(RsaNumbers::from_pkcs1(&key[..end]).is_none(), "{end}");
            assert!(RsaNumbers::from_pkcs8(&key[..end]).is_none(), "{end}");
        }
        for length in 0x80..=0xff {
            let bytes = [SEQUENCE, length, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            assert!(RsaNumbers::from_pkcs1(&bytes).is_none(), "{length:#x}");
        }
    }
}
