//! The trait that a filter implements.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Decision, Edits, Mail, Plan, Session};

/// A mail filter.
///
/// Implement [`configure`](Self::configure) and the phases that its [`Plan`] asks for; the others are never called. A
/// value serves one SMTP transaction and is dropped with its sandbox: what it learns in one phase it may keep in
/// fields for the next, and nothing of it reaches another message.
///
/// A panic costs the message what the configuration's `on_error` says for `trap`, and leaves a line in the log.
pub trait Filter: Sized + 'static {
    /// What stands in `[plugin.NAME.config]`. Put `#[serde(deny_unknown_fields)]` on it, so that the operator hears of
    /// a misspelt key. [`NoConfig`] when there is nothing to set.
    type Config: DeserializeOwned;

    /// Check the configuration and say which phases to call. It runs in `mailweir check` and when the filter is loaded;
    /// sandboxes begin with what it left in memory. One that calls the host for more than pattern sets runs in every
    /// sandbox, so keep that short.
    ///
    /// # Errors
    ///
    /// A text for the operator, who sees it together with the plugin's name.
    fn configure(config: Self::Config) -> Result<(Self, Plan), String>;

    /// A client connected.
    fn on_connect(&mut self, session: &Session) -> Decision {
        let _ = session;
        Decision::pass()
    }

    /// The client sent EHLO or HELO with this name, which also stands in `session.helo`.
    fn on_helo(&mut self, session: &Session, name: &[u8]) -> Decision {
        let _ = (session, name);
        Decision::pass()
    }

    /// MAIL FROM: the envelope sender without angle brackets, empty for the null reverse-path.
    fn on_mail(&mut self, session: &Session, sender: &[u8]) -> Decision {
        let _ = (session, sender);
        Decision::pass()
    }

    /// RCPT TO, once for each recipient. A refusal concerns this recipient alone.
    fn on_rcpt(&mut self, session: &Session, recipient: &[u8]) -> Decision {
        let _ = (session, recipient);
        Decision::pass()
    }

    /// The header section has arrived, the body not yet.
    fn on_headers(&mut self, mail: &Mail) -> Decision {
        let _ = mail;
        Decision::pass()
    }

    /// A piece of what the plan asked to have pushed. A decision ends the pushing to this filter.
    fn on_body(&mut self, chunk: &[u8]) -> Option<Decision> {
        let _ = chunk;
        None
    }

    /// The whole message is here. The edits are applied in order, all or none, and only when the plan has
    /// [`edits`](Plan::edits). `Decision::pass().into()` is a decision without edits.
    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        let _ = mail;
        Decision::pass().into()
    }

    /// The transaction ended without [`on_end`](Self::on_end): the client went away, or something refused the message.
    fn on_abort(&mut self) {}
}

/// The configuration of a filter that has no settings: an empty table.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
