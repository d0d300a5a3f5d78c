//! What mailweir checks of a filter's answers; an answer that fails costs the message what `on_error` says for `trap`.

use crate::{Decision, Edit, Plan, Reply, Verdict};

/// Why mailweir would not take this decision.
pub(super) fn decision(decision: &Decision) -> Result<(), String> {
    if decision.score.is_some_and(|score| !score.is_finite()) {
        return Err("the score is not a number".to_owned());
    }
    if decision.tags.len() > 64 {
        return Err(format!("{} tags in a decision; 64 are allowed", decision.tags.len()));
    }
    let is_name = |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(tag) = decision.tags.iter().find(|tag| !is_name(&tag.name)) {
        return Err(format!("the tag name {:?} is not 1 to 64 visible ASCII characters", tag.name));
    }
    match &decision.verdict {
        Verdict::Reject(reply) => check_reply(reply, &[5]),
        Verdict::Tempfail(reply) => check_reply(reply, &[4]),
        Verdict::Disconnect(reply) => check_reply(reply, &[4, 5]),
        Verdict::Route(name) if name.is_empty() => Err("the route has no name".to_owned()),
        _ => Ok(()),
    }
}

fn check_reply(reply: &Reply, classes: &[u16]) -> Result<(), String> {
    let class = reply.code / 100;
    if !classes.contains(&class) {
        return Err(format!("the reply code {} does not fit the verdict", reply.code));
    }
    if !reply.enhanced.is_empty() && !is_enhanced(&reply.enhanced, class) {
        return Err(format!("the enhanced code {:?} is not one of class {class}", reply.enhanced));
    }
    if reply.text.len() > 400 {
        return Err(format!("the reply text is {} bytes long; 400 are allowed", reply.text.len()));
    }
    if reply.text.chars().any(char::is_control) {
        return Err(format!("the reply text {:?} holds a control character", reply.text));
    }
    Ok(())
}

/// RFC 3463 section 2: class "." subject "." detail.
fn is_enhanced(code: &str, class: u16) -> bool {
    let numbers: Vec<&str> = code.split('.').collect();
    let is_number = |text: &&str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() == 3 && numbers[0] == class.to_string() && numbers[1..].iter().all(is_number)
}

/// Why mailweir would not take these edits.
pub(super) fn edits(plan: &Plan, edits: &[Edit]) -> Result<(), String> {
    if !edits.is_empty() && !plan.edits {
        return Err("the filter returned edits, but its plan does not have edits()".to_owned());
    }
    edits.iter().try_for_each(|edit| match edit {
        Edit::AddHeader((name, value))
        | Edit::InsertHeader((_, name, value))
        | Edit::ReplaceHeader((name, _, value)) => check_field(name, value),
        Edit::ReplaceBody(body) if !body.is_empty() && !body.ends_with(b"\r\n") => {
            Err("the body's last line does not end in CRLF".to_owned())
        }
        Edit::ReplaceBody(body) => check_lines(body, "the body"),
        Edit::AddRecipient(address) | Edit::ChangeSender(address) if address.iter().any(u8::is_ascii_control) => {
            Err(format!("the address {:?} holds a control character", String::from_utf8_lossy(address)))
        }
        _ => Ok(()),
    })
}

/// RFC 5322 section 2.2.
fn check_field(name: &str, value: &[u8]) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(format!("{name:?} is not a header field name"));
    }
    if value.len() > 64 * 1024 {
        return Err(format!("the value of {name} is {} bytes long; 65536 are allowed", value.len()));
    }
    check_lines(value, "the header value")?;
    let folded = value.split(|&byte| byte == b'\n').skip(1).all(|line| matches!(line.first(), Some(b' ' | b'\t')));
    if folded { Ok(()) } else { Err(format!("the value of {name} has a line break without a space after it")) }
}

/// CR and LF only as CRLF, and no NUL.
fn check_lines(bytes: &[u8], what: &str) -> Result<(), String> {
    for (at, &byte) in bytes.iter().enumerate() {
        let fits = match byte {
            b'\r' => bytes.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && bytes[at - 1] == b'\r',
            byte => byte != 0,
        };
        if !fits {
            return Err(format!("{what} holds a bare CR, a bare LF or a NUL"));
        }
    }
    Ok(())
}
