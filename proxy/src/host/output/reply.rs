//! Replies: their code fits the verdict, and their text is one short printable line.

use mailweir_smtp::reply::Reply;

use super::OutputError;
use crate::host::bindings::mailweir::filter::types;
use crate::host::failure::one_line;

/// Bytes of a reply's text.
const TEXT_LIMIT: usize = 400;

/// 5xx.
pub(super) fn reject(reply: &types::Reply) -> Result<Reply, OutputError> {
    checked(reply, "reject", |class| class == 5)
}

/// 4xx.
pub(super) fn tempfail(reply: &types::Reply) -> Result<Reply, OutputError> {
    checked(reply, "tempfail", |class| class == 4)
}

/// 4xx or 5xx.
pub(super) fn disconnect(reply: &types::Reply) -> Result<Reply, OutputError> {
    checked(reply, "disconnect", |class| class == 4 || class == 5)
}

fn checked(reply: &types::Reply, verdict: &'static str, fits: impl Fn(u16) -> bool) -> Result<Reply, OutputError> {
    let types::Reply { code, enhanced, text } = reply;
    let class = code / 100;
    // RFC 5321 section 4.2: the second digit of a reply code is at most 5.
    if !fits(class) || code % 100 >= 60 {
        return Err(OutputError::Code { code: *code, verdict });
    }
    if text.len() > TEXT_LIMIT {
        return Err(OutputError::ReplyLength(text.len()));
    }
    if let Some(character) = text.chars().find(|&character| is_unprintable(character)) {
        return Err(OutputError::ReplyCharacter(character));
    }
    let default = if class == 4 { "4.7.1" } else { "5.7.1" };
    let enhanced = match enhanced.as_str() {
        "" => default,
        enhanced if is_enhanced(enhanced, class) => enhanced,
        other => return Err(OutputError::Enhanced { code: *code, enhanced: one_line(other, 32) }),
    };
    Ok(Reply::new(*code, enhanced, text))
}

fn is_unprintable(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// class "." subject "." detail (RFC 3463 section 2), of this class.
fn is_enhanced(text: &str, class: u16) -> bool {
    let mut fields = text.split('.');
    let is_number = |field: &str| {
        (1..=3).contains(&field.len())
            && field.bytes().all(|byte| byte.is_ascii_digit())
            && (field.len() == 1 || !field.starts_with('0'))
    };
    let of_class = fields.next().is_some_and(|field| field == class.to_string());
    of_class && fields.next().is_some_and(is_number) && fields.next().is_some_and(is_number) && fields.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, enhanced: &str, text: &str) -> types::Reply {
        types::Reply { code, enhanced: enhanced.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn codes_fit_the_verdict() {
        for (code, rejects, tempfails, disconnects) in [
            (550, true, false, true),
            (451, false, true, true),
            (250, false, false, false),
            (354, false, false, false),
            (999, false, false, false),
            (599, false, false, false),
            (0, false, false, false),
            (55, false, false, false),
            (5500, false, false, false),
        ] {
            let reply = reply(code, "", "no");
            assert_eq!(reject(&reply).is_ok(), rejects, "{code}");
            assert_eq!(tempfail(&reply).is_ok(), tempfails, "{code}");
            assert_eq!(disconnect(&reply).is_ok(), disconnects, "{code}");
        }
    }

    #[test]
    fn enhanced_codes_are_of_the_same_class() {
        for (enhanced, good) in [
            ("5.7.1", true),
            ("5.0.999", true),
            ("4.7.1", false),
            ("5.7", false),
            ("5.7.1.2", false),
            ("5.07.1", false),
            ("5.7.1000", false),
            ("5.7.1 x", false),
            ("5.7.\r\n", false),
            ("5..1", false),
            ("+5.7.1", false),
        ] {
            assert_eq!(reject(&reply(550, enhanced, "no")).is_ok(), good, "{enhanced:?}");
        }
        assert_eq!(reject(&reply(550, "", "no")).unwrap().lines(), ["5.7.1 no"]);
    }

    #[test]
    fn texts_are_one_short_line() {
        for text in ["a\r\n250 ok", "a\nb", "a\rb", "nul\0", "tab\t", "\u{7f}", "\u{85}", "\u{2028}"] {
            assert!(matches!(reject(&reply(550, "", text)), Err(OutputError::ReplyCharacter(_))), "{text:?}");
        }
        assert!(reject(&reply(550, "", &"é".repeat(200))).is_ok());
        assert_eq!(reject(&reply(550, "", &"x".repeat(10 << 20))), Err(OutputError::ReplyLength(10 << 20)));
    }
}
