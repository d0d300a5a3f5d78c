//! What becomes of an envelope when the upstream can do less than was offered to the client.
//!
//! The listener's EHLO offers only what the route's upstreams can do, so this is for the rest: a route changed by a
//! filter, a mail exchanger met for the first time, an upstream that lost an extension overnight. Nothing is dropped
//! that would change what is delivered:
//!
//! | asked for | the upstream lacks it | then |
//! |---|---|---|
//! | BODY=8BITMIME | 8BITMIME | without, if the content turns out to be ASCII; otherwise 554 5.6.3 (RFC 6152 section 3) |
//! | BODY=BINARYMIME | BINARYMIME, CHUNKING | 554 5.6.3 (RFC 3030 section 3) |
//! | SMTPUTF8 | SMTPUTF8 | without, if addresses and header are ASCII; otherwise 553 5.6.7, 550 5.6.9 (RFC 6531 section 3.5) |
//! | SIZE | a higher limit | 552 5.3.4 (RFC 1870 section 6.1) |
//! | RET, ENVID, NOTIFY, ORCPT | DSN | without: who asked gets no notices beyond the usual (RFC 3461 section 5.2.2 would have us send a "relayed" notice; a proxy that does not keep the message sends none) |

use mailweir_smtp::address::{ForwardPath, ReversePath};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::parameter::{BodyType, MailParameters, RcptParameters};
use mailweir_smtp::reply::Reply;

use crate::message::{Message, StoreError};

/// What the content has to be, since the upstream was not told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ContentLimits {
    /// ASCII as a whole.
    is_seven_bit: bool,
    /// ASCII in the header section.
    has_ascii_header: bool,
    /// Not more bytes than this, if not 0.
    size: u64,
}

/// MAIL as this upstream can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailPlan {
    /// What to send.
    pub(super) parameters: MailParameters,
    /// Whether addresses may be beyond ASCII.
    pub(super) smtp_utf8: bool,
    /// What to check of the message.
    pub(super) content: ContentLimits,
}

/// # Errors
/// The refusal, when the upstream cannot take such a message.
pub(super) fn plan_mail<'a>(
    sender: &ReversePath,
    parameters: &MailParameters,
    mut recipients: impl Iterator<Item = &'a ForwardPath>,
    upstream: &Extensions,
) -> Result<MailPlan, Reply> {
    let mut sent = parameters.clone();
    let mut content = ContentLimits { size: upstream.size.unwrap_or(0), ..ContentLimits::default() };
    if parameters.size.is_some_and(|size| content.size > 0 && size > content.size) {
        return Err(too_large());
    }
    if upstream.size.is_none() {
        sent.size = None;
    }
    match parameters.body {
        Some(BodyType::BinaryMime) if !(upstream.binary_mime && upstream.chunking) => return Err(needs_conversion()),
        Some(BodyType::EightBitMime | BodyType::SevenBit) if !upstream.eight_bit_mime => {
            sent.body = None;
            content.is_seven_bit = parameters.body == Some(BodyType::EightBitMime);
        }
        _ => {}
    }
    // A filter may have put in an address beyond ASCII.
    let needs_utf8 = parameters.smtp_utf8 || !sender.is_ascii() || recipients.any(|path| !path.is_ascii());
    sent.smtp_utf8 = needs_utf8 && upstream.smtp_utf8;
    if needs_utf8 && !upstream.smtp_utf8 {
        if !sender.is_ascii() {
            return Err(Reply::new(553, "5.6.7", "The next mail server cannot take such a sender address"));
        }
        content.has_ascii_header = true;
    }
    if !upstream.dsn && (sent.ret.is_some() || sent.envid.is_some()) {
        tracing::debug!("the upstream has no DSN: RET and ENVID are dropped");
        (sent.ret, sent.envid) = (None, None);
    }
    Ok(MailPlan { smtp_utf8: sent.smtp_utf8, parameters: sent, content })
}

/// # Errors
/// The refusal, when the upstream cannot take such a recipient.
pub(super) fn plan_rcpt(
    path: &ForwardPath,
    parameters: &RcptParameters,
    smtp_utf8: bool,
    upstream: &Extensions,
) -> Result<RcptParameters, Reply> {
    if !smtp_utf8 && !path.is_ascii() {
        return Err(Reply::new(553, "5.6.7", "The next mail server cannot take such an address"));
    }
    if !upstream.dsn && *parameters != RcptParameters::default() {
        tracing::debug!("the upstream has no DSN: NOTIFY and ORCPT are dropped");
        return Ok(RcptParameters::default());
    }
    let mut sent = parameters.clone();
    if !smtp_utf8 {
        // RFC 6533 section 3 has a form in ASCII; but an address that needs it has met its refusal above, so this one
        // only tells where the mail once went.
        sent.orcpt = sent.orcpt.filter(|original| original.is_ascii());
    }
    Ok(sent)
}

impl ContentLimits {
    /// Whether the rest of a message that begins so may be sent unseen. Its size is the upstream's to mind then.
    pub(super) fn allow_unseen(self, beginning: &Message) -> bool {
        !self.is_seven_bit && matches!(self.check(beginning), Ok(None))
    }

    /// The refusal, when the message is not what the upstream was told. Reads the content only when it must.
    pub(super) fn check(self, message: &Message) -> Result<Option<Reply>, StoreError> {
        if self.size > 0 && message.size() > self.size {
            return Ok(Some(too_large()));
        }
        if self.has_ascii_header && !message.headers().raw().is_ascii() {
            return Ok(Some(Reply::new(550, "5.6.9", "The next mail server cannot take a header in UTF-8")));
        }
        if self.is_seven_bit {
            for chunk in message.chunks() {
                if !chunk?.is_ascii() {
                    return Ok(Some(needs_conversion()));
                }
            }
        }
        Ok(None)
    }
}

fn too_large() -> Reply {
    Reply::new(552, "5.3.4", "The message is too large for the next mail server")
}

fn needs_conversion() -> Reply {
    Reply::new(554, "5.6.3", "The next mail server cannot take such content, and it is not converted")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Extensions {
        let lines = ["mx", "SIZE 1000", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN"];
        Extensions::from_reply(&Reply::multi(250, "", &lines))
    }

    fn planned(sender: &str, parameters: &str, recipient: &str, upstream: &Extensions) -> String {
        let sender = ReversePath::parse(sender.as_bytes()).unwrap();
        let recipient = ForwardPath::parse(recipient.as_bytes()).unwrap();
        let parameters = MailParameters::parse(parameters.as_bytes()).unwrap();
        match plan_mail(&sender, &parameters, [&recipient].into_iter(), upstream) {
            Err(reply) => reply.lines()[0].split(' ').next().unwrap().to_owned(),
            Ok(plan) => {
                let content = plan.content;
                let seven = if content.is_seven_bit { " 7bit" } else { "" };
                let header = if content.has_ascii_header { " header" } else { "" };
                format!("{}{seven}{header}", plan.parameters).trim().to_owned()
            }
        }
    }

    #[test]
    fn mail_parameters_by_what_the_upstream_has() {
        let all = everything();
        let without = |change: fn(&mut Extensions)| {
            let mut extensions = everything();
            change(&mut extensions);
            extensions
        };
        let no_size = without(|upstream| upstream.size = None);
        let no_8bit = without(|upstream| upstream.eight_bit_mime = false);
        let no_utf8 = without(|upstream| upstream.smtp_utf8 = false);
        let no_chunking = without(|upstream| upstream.chunking = false);
        let no_dsn = without(|upstream| upstream.dsn = false);
        let cases = [
            ("a@b", "SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x", "c@d", &all),
            ("a@b", "SIZE=1001", "c@d", &all),
            ("a@b", "SIZE=1001", "c@d", &no_size),
            ("a@b", "BODY=8BITMIME", "c@d", &no_8bit),
            ("a@b", "BODY=7BIT", "c@d", &no_8bit),
            ("a@b", "BODY=BINARYMIME", "c@d", &all),
            ("a@b", "BODY=BINARYMIME", "c@d", &no_chunking),
            ("a@b", "SMTPUTF8", "c@d", &no_utf8),
            ("é@b", "SMTPUTF8", "c@d", &no_utf8),
            ("é@b", "", "c@d", &all),
            ("a@b", "", "é@d", &all),
            ("a@b", "RET=FULL ENVID=x", "c@d", &no_dsn),
        ];
        let plans: Vec<String> =
            cases.iter().map(|(sender, parameters, to, upstream)| planned(sender, parameters, to, upstream)).collect();
        let expected = [
            "SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x",
            "5.3.4",
            "",
            "7bit",
            "",
            "BODY=BINARYMIME",
            "5.6.3",
            "header",
            "5.6.7",
            "SMTPUTF8",
            "SMTPUTF8",
            "",
        ];
        assert_eq!(plans, expected);
    }

    #[test]
    fn recipients_by_what_the_upstream_has() {
        let ascii = ForwardPath::parse(b"a@b").unwrap();
        let beyond = ForwardPath::parse("é@b".as_bytes()).unwrap();
        let dsn = RcptParameters::parse(b"NOTIFY=NEVER").unwrap();
        assert_eq!(plan_rcpt(&ascii, &dsn, false, &everything()), Ok(dsn.clone()));
        assert_eq!(plan_rcpt(&ascii, &dsn, false, &Extensions::default()), Ok(RcptParameters::default()));
        assert_eq!(plan_rcpt(&beyond, &dsn, true, &everything()), Ok(dsn.clone()));
        assert_eq!(plan_rcpt(&beyond, &dsn, false, &everything()).unwrap_err().code(), 553);
        let old = RcptParameters::parse("ORCPT=utf-8;é@b".as_bytes()).unwrap();
        assert_eq!(plan_rcpt(&ascii, &old, false, &everything()), Ok(RcptParameters::default()));
    }
}
