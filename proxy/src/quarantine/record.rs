//! What is written down of a message in quarantine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::QuarantineError;

/// The id of a message in quarantine: its time and a random number, so that ids sort by age. A safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    const LONGEST: usize = 64;

    /// A new one.
    pub(super) fn generate(time: jiff::Timestamp) -> Self {
        // Down to the microsecond, so that a list of names is a list by age.
        let time = time.strftime("%Y%m%dT%H%M%S%6f");
        Self(format!("{time}-{:016x}", fastrand::u64(..)))
    }

    /// Takes an id from outside.
    ///
    /// # Errors
    ///
    /// When it is not 1 to 64 ASCII letters, digits and hyphens, beginning with none of the last. So it holds no
    /// separator and no dot, and stays inside the directory.
    pub fn parse(text: &str) -> Result<Self, QuarantineError> {
        let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if text.is_empty() || text.len() > Self::LONGEST || text.starts_with('-') || !allowed {
            return Err(QuarantineError::BadId(text.chars().take(Self::LONGEST).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = QuarantineError;

    fn try_from(text: String) -> Result<Self, QuarantineError> {
        Self::parse(&text)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What the session knows of a message to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// The transaction's id, as in the log.
    pub transaction: String,
    /// The listener it came by.
    pub listener: String,
    /// The client's address and port.
    pub client: String,
    /// What the client called itself.
    pub helo: String,
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// The forward-paths.
    pub recipients: Vec<String>,
    /// MAIL carried SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// The route it would have taken.
    pub route: String,
    /// The plugin that wanted it kept.
    pub plugin: String,
    /// Why.
    pub reason: String,
}

/// What is known of a message that is kept; the JSON file has the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: Id,
    /// When it was stored (RFC 3339, UTC).
    pub time: String,
    /// See [`NewRecord`].
    pub transaction: String,
    /// See [`NewRecord`].
    pub listener: String,
    /// See [`NewRecord`].
    pub client: String,
    /// See [`NewRecord`].
    pub helo: String,
    /// See [`NewRecord`].
    pub sender: String,
    /// Those it is still to be delivered to.
    pub recipients: Vec<String>,
    /// See [`NewRecord`].
    pub smtp_utf8: bool,
    /// See [`NewRecord`].
    pub route: String,
    /// See [`NewRecord`].
    pub plugin: String,
    /// See [`NewRecord`].
    pub reason: String,
    /// Bytes of the message.
    pub size: u64,
    /// SHA-256 of the message, in hexadecimal.
    pub sha256: String,
}

impl NewRecord {
    pub(super) fn stored(self, id: Id, time: jiff::Timestamp, size: u64, sha256: String) -> Record {
        let Self { transaction, listener, client, helo, sender, recipients, smtp_utf8, route, plugin, reason } = self;
        Record {
            id,
            time: time.to_string(),
            transaction,
            listener,
            client,
            helo,
            sender,
            recipients,
            smtp_utf8,
            route,
            plugin,
            reason,
            size,
            sha256,
        }
    }
}
