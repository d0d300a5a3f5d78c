//! What a server may tell of a transaction, and when: no message without MAIL, RCPT and DATA that were accepted, and
//! nothing of a message once it is refused.

use mailweir_smtp::server::Event;

/// How far the transaction has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// There is none.
    #[default]
    None,
    /// MAIL was accepted, and this many recipients.
    Begun(usize),
    /// The content is on its way.
    Content,
    /// The connection is closed.
    Closed,
}

impl Transaction {
    /// Checks that `event` may come now, and goes on as it was answered. Panics if it may not.
    pub(crate) fn step(&mut self, event: &Event, accepted: bool) {
        *self = match (*self, event) {
            (Self::None, Event::Hello { .. } | Event::StartTls | Event::XClient(_)) => Self::None,
            (Self::None, Event::Mail { .. }) if accepted => Self::Begun(0),
            (Self::None, Event::Mail { .. }) => Self::None,
            (Self::Begun(recipients), Event::Rcpt { .. }) => Self::Begun(recipients + usize::from(accepted)),
            (Self::Begun(1..), Event::MessageBegin { .. }) | (Self::Content, Event::MessageChunk(_)) if accepted => {
                Self::Content
            }
            (Self::Begun(1..), Event::MessageBegin { .. })
            | (Self::Content, Event::MessageChunk(_) | Event::MessageEnd(_))
            | (Self::Begun(_) | Self::Content, Event::Reset) => Self::None,
            (Self::None | Self::Begun(_) | Self::Content, Event::Close) => Self::Closed,
            (transaction, event) => panic!("{event:?} when it was {transaction:?}"),
        }
    }
}
