//! What a filter is shown: the session, the envelope, the message.

use std::net::SocketAddr;
use std::sync::Arc;

use super::bindings::mailweir::filter::types;
use super::functions;
use crate::message::Message;
use crate::services::antivirus;
use crate::services::authentication::Evaluation;
use crate::verdict::Tag;

/// What is known of a session and its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFacts {
    /// The transaction's id, as in the log and the Received field.
    pub id: String,
    /// The listener's name.
    pub listener: String,
    /// Our own host name.
    pub hostname: String,
    /// The client.
    pub client: SocketAddr,
    /// The argument of EHLO or HELO; empty before it.
    pub helo: Vec<u8>,
    /// The TLS session with the client.
    pub tls: Option<TlsFacts>,
    /// Whether the client is in the listener's trusted networks.
    pub trusted: bool,
}

/// The TLS session with the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: String,
    /// The cipher suite's name.
    pub cipher_suite: String,
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

/// The message and its envelope, as one filter sees them: with the edits and tags of the filters before it.
#[derive(Clone)]
pub struct MailView {
    /// The message; in the headers phase it has no body yet.
    pub message: Message,
    /// The envelope sender without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// The envelope recipients without angle brackets.
    pub recipients: Vec<String>,
    /// What filters before this one stated.
    pub tags: Vec<Tag>,
    /// The session.
    pub facts: Arc<TransactionFacts>,
    /// Sender authentication, each check done at most once in a transaction.
    pub evaluation: Arc<Evaluation>,
    /// The virus scan that began while the message arrived; without one, it begins when a filter asks.
    pub scan: Option<antivirus::Scan>,
}

impl TransactionFacts {
    /// The client's address as filters read it.
    pub(super) fn client_address(&self) -> String {
        self.client.ip().to_canonical().to_string()
    }

    /// The contract's record, without copies; `client_address` is that of [`Self::client_address`].
    pub(super) fn lent<'a>(&'a self, client_address: &'a str) -> functions::Session<'a> {
        functions::Session {
            id: &self.id,
            listener: &self.listener,
            hostname: &self.hostname,
            client_address,
            client_port: self.client.port(),
            helo: &self.helo,
            tls: self.tls.as_ref().map(|tls| functions::TlsSession {
                version: &tls.version,
                cipher_suite: &tls.cipher_suite,
                server_name: tls.server_name.as_deref(),
            }),
            trusted: self.trusted,
        }
    }

    /// The contract's record.
    pub(super) fn session(&self) -> types::Session {
        types::Session {
            id: self.id.clone(),
            listener: self.listener.clone(),
            hostname: self.hostname.clone(),
            client_address: self.client_address(),
            client_port: self.client.port(),
            helo: self.helo.clone(),
            tls: self.tls.as_ref().map(|tls| types::TlsSession {
                version: tls.version.clone(),
                cipher_suite: tls.cipher_suite.clone(),
                server_name: tls.server_name.clone(),
            }),
            trusted: self.trusted,
        }
    }
}
