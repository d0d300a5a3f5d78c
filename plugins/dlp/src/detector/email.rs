//! E-mail addresses, as they stand in running text.

use super::Finding;

/// A local part of unquoted characters, and a domain with a dot. At most 64 + 1 + 188 bytes.
pub(super) fn candidate_patterns() -> Vec<String> {
    vec![r"[A-Za-z0-9][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}@(?:[A-Za-z0-9-]{1,31}\.){1,4}[A-Za-z][A-Za-z0-9-]{0,59}[A-Za-z0-9]".to_owned()]
}

/// No two dots in a row, no hyphen at the edge of a label.
pub(super) fn check(text: &str) -> Option<Finding> {
    let (local, domain) = text.rsplit_once('@')?;
    let is_local = !local.is_empty() && !local.ends_with('.') && !local.contains("..");
    let is_domain = domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    (is_local && is_domain).then(|| Finding::secret(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(check("Info@Example.org").is_some_and(|finding| finding.value == "info@example.org"));
        assert!(check("user@xn--80ak6aa92e.com").is_some());
        for text in ["a..b@example.org", "a.@example.org", "a@-example.org", "a@example", "@example.org", "a"] {
            assert!(check(text).is_none(), "{text}");
        }
    }
}
