//! What ARC-Authentication-Results says (RFC 8617 section 4.1.1): what was found out about the message, as statements of
//! RFC 8601 without the authserv-id.

use crate::message::{Message, MessageFault};
use crate::services::authentication::{Evaluation, Identity};

/// Bytes of all statements, and of one word of them: a line has to fit into 998 bytes.
const SIZE: usize = 16 * 1024;
const WORD: usize = 900;

/// Our own checks of the message as it came. Those that a filter has asked for are not made again.
pub(super) async fn evaluated(
    evaluation: &Evaluation,
    received: &Message,
    sender: &str,
) -> Result<String, MessageFault> {
    let mut statements = vec![format!("arc={}", evaluation.arc(received).await?.outcome.as_str())];
    let mail_from = evaluation.spf(Identity::MailFrom).await;
    // RFC 7208 section 2.4: for the null reverse-path it is EHLO's name that is checked.
    let property = if sender.is_empty() { "smtp.helo" } else { "smtp.mailfrom" };
    statements.push(format!("spf={}{}", mail_from.outcome.as_str(), property_of(property, &mail_from.domain)));
    let signatures = evaluation.dkim(received).await?;
    if signatures.is_empty() {
        statements.push("dkim=none".to_owned());
    }
    for signature in signatures.iter() {
        let mut statement = format!("dkim={}", signature.outcome.as_str());
        for (name, text) in
            [("header.d", &signature.domain), ("header.s", &signature.selector), ("header.b", &signature.signature)]
        {
            statement.push_str(&property_of(name, text));
        }
        statements.push(statement);
    }
    let dmarc = evaluation.dmarc(received).await?;
    statements.push(format!("dmarc={}{}", dmarc.outcome.as_str(), property_of("header.from", &dmarc.from_domain)));
    Ok(statements.join("; "))
}

/// ` name=value`, or nothing without a value. Only characters that end neither a value nor a field are let through.
fn property_of(name: &str, value: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._+@".contains(c);
    let is_shown = |c: char| is_token(c) || "/=:".contains(c);
    let shown: String = value.chars().take(253).map(|c| if is_shown(c) { c } else { '?' }).collect();
    match shown.chars().all(is_token) {
        _ if shown.is_empty() => String::new(),
        true => format!(" {name}={shown}"),
        false => format!(" {name}=\"{shown}\""),
    }
}

/// What the Authentication-Results fields in our name say, merged in their order; `none` when there is none.
pub(super) fn from_fields(message: &Message, authserv_id: &str) -> String {
    let mut merged = String::new();
    for value in message.headers().values("Authentication-Results") {
        let text = String::from_utf8_lossy(value);
        let text: String =
            text.split_ascii_whitespace().map(|word| word.replace(char::is_control, "?") + " ").collect();
        let Some((head, statements)) = split_head(&text) else { continue };
        let statements = statements.trim().trim_end_matches(';').trim_end();
        let fits = statements.split(' ').all(|word| word.len() <= WORD) && merged.len() + statements.len() <= SIZE;
        if names(head, authserv_id) && fits && !statements.is_empty() {
            if !merged.is_empty() {
                merged.push_str("; ");
            }
            merged.push_str(statements);
        }
    }
    if merged.is_empty() { "none".to_owned() } else { merged }
}

/// What stands before the first semicolon that is in no comment and no quoted string, and what follows it.
fn split_head(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut is_quoted = false;
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' if is_quoted || depth > 0 => {
                characters.next();
            }
            '"' if depth == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            ';' if !is_quoted && depth == 0 => return Some((&text[..position], &text[position + 1..])),
            _ => {}
        }
    }
    None
}

/// Whether the authserv-id is exactly this one, with no version or the one there is (RFC 8601 section 2.2).
fn names(head: &str, authserv_id: &str) -> bool {
    let mut words = head.split_ascii_whitespace();
    words.next().is_some_and(|word| word.trim_matches('"').eq_ignore_ascii_case(authserv_id))
        && words.next().is_none_or(|version| version == "1")
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageLimits;

    fn merged(fields: &str) -> String {
        let limits = MessageLimits::from(&crate::config::Limits::default());
        let message = Message::from_bytes(format!("{fields}\r\n").into_bytes().into(), limits).unwrap();
        from_fields(&message, "mx.example.com")
    }

    #[test]
    fn our_own_fields_are_merged() {
        let fields = "Authentication-Results: MX.example.com 1;\r\n\tspf=pass  (x; y)\r\n smtp.mailfrom=a.example;\r\n\
                      Authentication-Results: other.example; dkim=pass\r\n\
                      Authentication-Results: mx.example.com.evil.example; dkim=pass\r\n\
                      Authentication-Results: mx.example.com 2; dkim=pass\r\n\
                      Authentication-Results: (c;) other.example; dmarc=pass\r\n\
                      authentication-results: \"mx.example.com\"; dkim=none\r\n";
        assert_eq!(merged(fields), "spf=pass (x; y) smtp.mailfrom=a.example; dkim=none");
        assert_eq!(merged("Subject: x\r\n"), "none");
        assert_eq!(merged("Authentication-Results: mx.example.com\r\n"), "none");
        assert_eq!(merged("Authentication-Results: mx.example.com; a\u{1b}b\r\n"), "a?b");
        let long = format!("Authentication-Results: mx.example.com; {}\r\n", "x".repeat(WORD + 1));
        assert_eq!(merged(&long), "none");
    }

    #[test]
    fn values_cannot_get_out_of_their_place() {
        for (value, expected) in [
            ("a.example", " p=a.example"),
            ("", ""),
            ("a/b=", " p=\"a/b=\""),
            ("a\"; dmarc=pass", " p=\"a???dmarc=pass\""),
            ("x\r\n\u{e9}", " p=\"x???\""),
        ] {
            assert_eq!(property_of("p", value), expected, "{value:?}");
        }
    }
}
