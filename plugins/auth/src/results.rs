//! Writing the Authentication-Results field (RFC 8601).
//!
//! What stands in it comes from the client: names from EHLO and MAIL, tags of signatures. Everything is reduced to
//! characters that end neither a value, a comment nor the field, also for a reader that does not know about quoting.

use std::borrow::Cow;
use std::net::IpAddr;

use mailweir_filter::authentication::{ArcResult, DkimResult, DmarcPolicy, DmarcResult, Identity, Outcome, SpfResult};

/// Signatures reported; the rest is only counted.
const MAX_SIGNATURES: usize = 20;

/// Bytes of one value.
const MAX_VALUE: usize = 255;

/// Where a line is folded (RFC 5322 section 2.1.1 recommends 78).
const LINE: usize = 78;

/// Room for the value that most messages get.
const FIELD: usize = 512;

/// Stands between the words of a [`Statement`]; no word can hold it.
const SEPARATOR: char = '\n';

/// One result: method, outcome, comment, properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    words: String,
}

impl Statement {
    /// "method=outcome"
    pub fn new(method: &str, outcome: Outcome) -> Self {
        let mut words = String::with_capacity(LINE);
        words.extend([method, "=", outcome.as_str()]);
        Self { words }
    }

    /// A comment, in pieces; the caller's own words and clean values.
    #[must_use]
    fn comment(mut self, pieces: &[&str]) -> Self {
        self.words.push(SEPARATOR);
        self.words.push('(');
        self.words.extend(pieces.iter().copied());
        self.words.push(')');
        self
    }

    /// A property; left out when nothing of the value can be written.
    #[must_use]
    fn property(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.words.push(SEPARATOR);
            self.words.extend([name, "=", value]);
        }
        self
    }
}

/// The field's value: the authserv-id, then the statements, each on a line of its own.
pub fn field(authserv_id: &str, statements: &[Statement]) -> String {
    let mut field = String::with_capacity(FIELD);
    field.push_str(authserv_id);
    if statements.is_empty() {
        field.push_str("; none");
    }
    for statement in statements {
        field.push_str(";\r\n\t");
        let mut column = 8;
        for (position, word) in statement.words.split(SEPARATOR).enumerate() {
            if position > 0 && column + 1 + word.len() > LINE {
                field.push_str("\r\n\t ");
                column = 9;
            } else if position > 0 {
                field.push(' ');
                column += 1;
            }
            field.push_str(word);
            column += word.len();
        }
    }
    field
}

/// RFC 8601 section 2.7.2. The sender as given when it is simple, its domain otherwise.
pub fn spf(result: &SpfResult, identity: Identity, sender: &[u8], helo: &[u8]) -> Statement {
    let statement = Statement::new("spf", result.outcome);
    let checked = || domain(&result.domain);
    match identity {
        Identity::MailFrom => {
            let sender = String::from_utf8_lossy(sender);
            statement.property("smtp.mailfrom", address(&sender).or_else(checked))
        }
        Identity::Helo => {
            let helo = String::from_utf8_lossy(helo);
            statement.property("smtp.helo", domain(&helo).or_else(checked))
        }
    }
}

/// RFC 8601 section 2.7.3
pub fn iprev(outcome: Outcome, client: &str, name: Option<&str>) -> Statement {
    let address = client.parse::<IpAddr>().ok().map(|address| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"{address}\""),
    });
    let statement = Statement::new("iprev", outcome);
    let statement = match name.and_then(domain) {
        Some(name) => statement.comment(&[name]),
        None => statement,
    };
    statement.property("policy.iprev", address.as_deref())
}

/// RFC 8601 section 2.7.1, with header.a and header.s of RFC 8601 and header.b of RFC 6008: one statement a signature.
pub fn dkim(signatures: &[DkimResult]) -> Vec<Statement> {
    if signatures.is_empty() {
        return vec![Statement::new("dkim", Outcome::None)];
    }
    let mut statements: Vec<Statement> = signatures.iter().take(MAX_SIGNATURES).map(signature).collect();
    if signatures.len() > MAX_SIGNATURES {
        let more = (signatures.len() - MAX_SIGNATURES).to_string();
        let last = statements.pop().map(|last| last.comment(&[&more, " more signatures"]));
        statements.extend(last);
    }
    statements
}

fn signature(result: &DkimResult) -> Statement {
    let statement = Statement::new("dkim", result.outcome);
    let statement = match prose(&result.reason) {
        reason if result.outcome != Outcome::Pass && !reason.is_empty() => statement.comment(&[&reason]),
        _ => statement,
    };
    statement
        .property("header.d", domain(&result.domain))
        .property("header.s", domain(&result.selector))
        .property("header.a", domain(&result.algorithm))
        .property("header.b", base64(&result.signature).as_deref())
}

/// RFC 7489 section 11.1, with the policy in a comment as is the custom.
pub fn dmarc(result: &DmarcResult, override_reason: Option<&str>) -> Statement {
    let statement = Statement::new("dmarc", result.outcome);
    let policy = policy(result.policy);
    let statement = match (result.policy_domain.is_empty(), override_reason) {
        (true, _) => statement,
        (false, None) => statement.comment(&["p=", policy]),
        (false, Some(reason)) => statement.comment(&["p=", policy, " dis=none override=", reason]),
    };
    statement.property("header.from", domain(&result.from_domain))
}

/// DMARC of a message without an author to speak of.
pub fn dmarc_without_author(fault: &str) -> Statement {
    Statement::new("dmarc", Outcome::PermError).comment(&[&prose(fault)])
}

/// RFC 8617 section 7: how many sets, and the last sealer.
pub fn arc(result: &ArcResult) -> Statement {
    let statement = Statement::new("arc", result.outcome);
    match result.sealers.last().and_then(|sealer| domain(sealer)) {
        Some(sealer) => statement.comment(&["i=", &result.sealers.len().to_string(), " sealer=", sealer]),
        None => statement,
    }
}

/// The tag values of RFC 7489.
pub fn policy(policy: DmarcPolicy) -> &'static str {
    match policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    }
}

/// A domain name, selector or algorithm as a token. `None` when it has other characters: a name that is cut or
/// changed would be another name.
fn domain(text: &str) -> Option<&str> {
    let is_inner = |character: char| character.is_alphanumeric() || matches!(character, '.' | '-' | '_');
    (!text.is_empty() && text.len() <= MAX_VALUE && text.chars().all(is_inner)).then_some(text)
}

/// A mailbox whose local part is plain atoms (RFC 5322 section 3.2.3), as RFC 8601's pvalue allows it.
fn address(text: &str) -> Option<&str> {
    let (local, name) = text.rsplit_once('@')?;
    let is_atom = |character: char| character.is_alphanumeric() || "!#$&*+-/^_`{|}~.%".contains(character);
    let is_plain = !local.is_empty() && local.len() <= 64 && local.chars().all(is_atom);
    (is_plain && domain(name).is_some()).then_some(text)
}

/// A piece of a signature, quoted because base64 has characters that a token has not.
fn base64(text: &str) -> Option<Cow<'_, str>> {
    let is_clean = !text.is_empty()
        && text.len() <= 16
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    let is_token = || text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_clean.then(|| if is_token() { text.into() } else { format!("\"{text}\"").into() })
}

/// Words for a comment: whatever could end it, or be taken for a statement, becomes a space.
fn prose(text: &str) -> String {
    let is_clean =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '\'' | ',');
    let words: String =
        text.chars().take(80).map(|character| if is_clean(character) { character } else { ' ' }).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_the_rfcs() {
        let spf =
            spf(&SpfResult::new(Outcome::Pass, "example.org"), Identity::MailFrom, b"a@example.org", b"mx.example.org");
        let mut signature = DkimResult::new(Outcome::Pass, "example.org", "s1");
        signature.signature = "Ab/d+1==".to_owned();
        let dmarc = dmarc(&DmarcResult::new(Outcome::Pass, "example.org", DmarcPolicy::Reject), None);
        let arc = arc(&ArcResult::new(Outcome::None, &[]));
        let mut statements = vec![spf];
        statements.extend(dkim(&[signature]));
        statements.extend([dmarc, arc]);
        assert_eq!(
            field("mx.example.com", &statements),
            "mx.example.com;\r\n\tspf=pass smtp.mailfrom=a@example.org;\r\n\tdkim=pass header.d=example.org header.s=s1 \
             header.a=rsa-sha256\r\n\t header.b=\"Ab/d+1==\";\r\n\tdmarc=pass (p=reject) header.from=example.org;\r\n\tarc=none"
        );
        assert_eq!(field("mx.example.com", &[]), "mx.example.com; none");
    }

    #[test]
    fn nothing_hostile_gets_in() {
        let mut signature = DkimResult::new(Outcome::Fail, "evil.example; dmarc=pass", "s\r\nX-Injected: yes");
        signature.algorithm = "rsa-sha256 (".to_owned();
        signature.signature = "\"; spf=p".to_owned();
        signature.reason = "bad) ; dkim=pass (header.d=bank.example\r\n\0\u{202e}".to_owned();
        let result = SpfResult::new(Outcome::Fail, "evil.example");
        let text = field(
            "mx.example.com",
            &[
                dkim(&[signature])[0].clone(),
                spf(&result, Identity::MailFrom, b"\"a; dkim=pass\"@evil.example", b""),
                spf(&result, Identity::Helo, b"", b"x; dkim=pass\r\n"),
            ],
        );
        assert_eq!(
            text,
            "mx.example.com;\r\n\tdkim=fail (bad dkim pass header.d bank.example);\r\n\tspf=fail \
             smtp.mailfrom=evil.example;\r\n\tspf=fail smtp.helo=evil.example"
        );
    }

    #[test]
    fn many_signatures_are_counted() {
        let signatures = vec![DkimResult::new(Outcome::Pass, "example.org", "s"); 30];
        let statements = dkim(&signatures);
        assert_eq!(statements.len(), MAX_SIGNATURES);
        assert!(field("mx", &statements).ends_with("(10 more signatures)"));
    }

    #[test]
    fn lines_stay_short() {
        let long = "a.".repeat(120);
        let statements = dkim(&[DkimResult::new(Outcome::Pass, format!("{long}example"), long)]);
        assert!(field("mx", &statements).split("\r\n").all(|line| line.len() < 300));
    }

    #[test]
    fn addresses_of_both_families() {
        let text = field(
            "mx",
            &[iprev(Outcome::Pass, "2001:db8::1", Some("mail.example.org")), iprev(Outcome::Fail, "x", None)],
        );
        assert_eq!(text, "mx;\r\n\tiprev=pass (mail.example.org) policy.iprev=\"2001:db8::1\";\r\n\tiprev=fail");
    }
}
