//! Keys that open something: private keys in PEM, and access keys of Amazon Web Services.

use super::Finding;

/// The line that begins a private key (RFC 7468 section 10, and the older forms of OpenSSL, OpenSSH and OpenPGP), and what
/// follows it.
pub(super) fn private_key_patterns() -> Vec<String> {
    vec![
        r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----\s{1,8}(?:[A-Za-z-]{1,20}: [^\r\n]{0,80}\s{1,4}){0,4}[A-Za-z0-9+/=\s]{24,64}"
            .to_owned(),
    ]
}

/// The key's own first characters tell two keys apart.
pub(super) fn check_private_key(text: &str) -> Option<Finding> {
    let key: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    let tail = key.rsplit("-----").next()?;
    (tail.len() >= 16).then(|| Finding::secret(tail.to_owned()))
}

/// AKIA (of a user) or ASIA (of a session), and sixteen characters of base32.
pub(super) fn aws_patterns() -> Vec<String> {
    vec![r"(?-u:\b)A(?:KIA|SIA)[A-Z2-7]{16}(?-u:\b)".to_owned()]
}

/// A word in capitals is none: real keys are drawn at random, and hold a digit.
pub(super) fn check_aws(text: &str) -> Option<Finding> {
    text.bytes().any(|byte| byte.is_ascii_digit()).then(|| Finding::secret(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\r\nMIIEpAIBAAKCAQEA7bq0\r\n";
        assert!(check_private_key(pem).is_some());
        assert!(check_private_key("-----BEGIN PRIVATE KEY-----\n\n").is_none());
        assert!(check_aws("AKIAIOSFODNN7EXAMPLE").is_some());
        assert!(check_aws("AKIAABCDEFGHIJKLMNOP").is_none());
    }
}
