//! `mailweir quarantine release`: a message goes on through its route after all.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use mailweir_smtp::address::{ClientName, Domain, ForwardPath, ReversePath};
use mailweir_smtp::parameter::{BodyType, MailParameters, RcptParameters};
use mailweir_smtp::xclient::{Attribute, XClient};

use crate::config::Config;
use crate::message::{DecodingLimits, Message, MessageLimits};
use crate::quarantine::{Held, Id, Quarantine, Record};
use crate::services::dns::Dns;
use crate::upstream::{Recipient, RouteHandle, Routes, Settings, Unobserved, UpstreamError};

/// A recipient for whom the message stays in the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// As in the record.
    pub(super) recipient: String,
    /// What the upstream said, or what else went wrong.
    pub(super) reason: String,
}

/// Delivers a message, and keeps it for those recipients alone that did not get it. Whatever goes wrong after the first
/// recipient has it is the others' reason to be kept; an end of `interrupted` too.
///
/// # Errors
/// When nothing was delivered to anybody because there is no such message, its route is gone, or the like; or when it
/// was, and the quarantine cannot be brought up to date.
pub(super) async fn release(
    config: &Config,
    quarantine: &Quarantine,
    id: &Id,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    let deliver = async |held: Held| {
        kept = Release::new(config, held)?.run(interrupted).await;
        Ok::<_, anyhow::Error>(kept.iter().map(|kept| kept.recipient.clone()).collect())
    };
    quarantine.release(id, deliver).await?;
    Ok(kept)
}

/// The operator has had enough.
pub(super) async fn interruption() {
    if tokio::signal::ctrl_c().await.is_err() {
        pending::<()>().await;
    }
}

/// A message on its way out.
struct Release {
    route: Arc<RouteHandle>,
    /// Who sent it to us.
    client: Arc<XClient>,
    sender: ReversePath,
    parameters: MailParameters,
    message: Message,
    groups: Vec<Group>,
    kept: Vec<Kept>,
}

/// Recipients of one transaction.
struct Group {
    domain: Domain,
    /// As in the record.
    names: Vec<String>,
    recipients: Vec<Recipient>,
}

impl Release {
    fn new(config: &Config, held: Held) -> anyhow::Result<Self> {
        let Held { record, content } = held;
        let settings = Settings {
            hostname: config.server.hostname.clone(),
            dns: Dns::new(&config.dns)?,
            observer: Arc::new(Unobserved),
        };
        let routes = Routes::new(&config.routes, &settings, None)?;
        let route = routes
            .route(&record.route)
            .with_context(|| format!("there is no route {:?} any more; add [route.{}]", record.route, record.route))?;
        let sender = ReversePath::parse(record.sender.as_bytes()).context("the sender")?;
        let parameters = MailParameters {
            size: Some(record.size),
            // What the client declared is not kept; what the content is says as much.
            body: (!content.is_ascii()).then_some(BodyType::EightBitMime),
            smtp_utf8: record.smtp_utf8,
            ..MailParameters::default()
        };
        // The caps were applied when the message came in.
        let limits = MessageLimits {
            header_size: u64::MAX,
            header_fields: usize::MAX,
            mime_parts: usize::MAX,
            mime_depth: usize::MAX,
            // Nothing is unpacked of it.
            decoding: DecodingLimits::DEFAULT,
        };
        let message = Message::from_bytes(content, limits)?;
        let own = Domain::parse(config.server.hostname.as_bytes()).context("the hostname")?;
        let client = Arc::new(client(&record));
        let mut release = Self { route, client, sender, parameters, message, groups: Vec::new(), kept: Vec::new() };
        release.plan(record, &own);
        Ok(release)
    }

    /// One transaction for all recipients that lead to the same place.
    fn plan(&mut self, record: Record, own: &Domain) {
        for name in record.recipients {
            let path = match ForwardPath::parse(name.as_bytes()) {
                Ok(path) => path,
                Err(error) => {
                    self.kept.push(Kept { recipient: name, reason: error.to_string() });
                    continue;
                }
            };
            // RFC 5321 section 4.5.1: Postmaster without a domain is ours.
            let domain = path.mailbox().map_or(own, |mailbox| mailbox.domain()).clone();
            let recipient = (path, RcptParameters::default());
            let together = |group: &&mut Group| !self.route.depends_on_domain() || group.domain == domain;
            match self.groups.iter_mut().find(together) {
                Some(group) => {
                    group.names.push(name);
                    group.recipients.push(recipient);
                }
                None => self.groups.push(Group { domain, names: vec![name], recipients: vec![recipient] }),
            }
        }
    }

    /// Delivers to one group after another.
    async fn run(mut self, interrupted: impl Future<Output = ()>) -> Vec<Kept> {
        let mut interrupted = pin!(interrupted);
        let mut groups = VecDeque::from(std::mem::take(&mut self.groups));
        while let Some(group) = groups.pop_front() {
            let outcome = tokio::select! {
                biased;
                () = &mut interrupted => {
                    // Including a group that may have got the message at this moment: twice is better than never.
                    groups.push_front(group);
                    break;
                }
                outcome = self.hand_on(&group) => outcome,
            };
            match outcome {
                Ok(kept) => self.kept.extend(kept),
                // It may be for one of the recipients that the upstream hung up.
                Err(_) if group.names.len() > 1 => group.split().rev().for_each(|alone| groups.push_front(alone)),
                Err(error) => self.kept.extend(group.kept(&error.to_string())),
            }
        }
        self.kept.extend(groups.into_iter().flat_map(|group| group.kept("interrupted")));
        self.kept
    }

    /// Delivers to one group; gives those who did not get the message.
    ///
    /// # Errors
    /// When the upstream was lost over the recipients, so that nobody got it.
    async fn hand_on(&self, group: &Group) -> Result<Vec<Kept>, UpstreamError> {
        let mut delivery = match self.route.begin(&group.domain, Some(&self.client)).await {
            Ok(delivery) => delivery,
            Err(error) => return Ok(group.kept(&error.to_string())),
        };
        let replies = delivery.mail_and_rcpt(&self.sender, &self.parameters, &group.recipients).await?;
        let answered = || group.names.iter().zip(&replies);
        let refused = answered().filter(|(_, reply)| !reply.is_positive());
        let mut kept: Vec<Kept> = refused.map(|(name, reply)| Kept::new(name, &reply.to_string())).collect();
        if kept.len() == group.names.len() {
            return Ok(kept);
        }
        let reason = match delivery.message(&self.message).await {
            Ok(reply) if reply.is_positive() => return Ok(kept),
            Ok(reply) => reply.to_string(),
            Err(error) => error.to_string(),
        };
        let accepted = answered().filter(|(_, reply)| reply.is_positive());
        kept.extend(accepted.map(|(name, _)| Kept::new(name, &reason)));
        Ok(kept)
    }
}

/// The client as the record has it.
fn client(record: &Record) -> XClient {
    let address: Option<SocketAddr> = record.client.parse().ok();
    let known = XClient::unavailable();
    XClient {
        address: address.map_or(known.address, |client| Attribute::Known(client.ip())),
        port: address.map_or(known.port, |client| Attribute::Known(client.port())),
        helo: ClientName::parse(record.helo.as_bytes()).map_or(known.helo, Attribute::Known),
        ..known
    }
}

impl Group {
    /// A group for each recipient.
    fn split(self) -> impl DoubleEndedIterator<Item = Self> {
        let Self { domain, names, recipients } = self;
        names.into_iter().zip(recipients).map(move |(name, recipient)| Self {
            domain: domain.clone(),
            names: vec![name],
            recipients: vec![recipient],
        })
    }

    /// All of them, for the same reason.
    fn kept(&self, reason: &str) -> Vec<Kept> {
        self.names.iter().map(|name| Kept::new(name, reason)).collect()
    }
}

impl Kept {
    fn new(recipient: &str, reason: &str) -> Self {
        Self { recipient: recipient.to_owned(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailweir_testkit::script::ScriptedServer;

    use super::*;
    use crate::config;
    use crate::quarantine::{NewRecord, QuarantineError};

    const CONTENT: &str = "Subject: x\r\n\r\ncaf\u{e9}\r\n";
    const READY: &str = "S: 220 mx\nC: EHLO mx.example.com\nS: 250-mx\nS: 250-8BITMIME\nS: 250 PIPELINING\n";

    struct Fixture {
        _state_dir: tempfile::TempDir,
        quarantine: Quarantine,
        id: Id,
        config: Config,
    }

    /// A message to `recipients` in quarantine, and where it leads.
    async fn fixture(upstream: &str, recipients: &[&str]) -> Fixture {
        let state_dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(state_dir.path());
        let record = NewRecord {
            sender: "a@example.org".to_owned(),
            recipients: recipients.iter().map(|recipient| (*recipient).to_owned()).collect(),
            route: "inside".to_owned(),
            ..NewRecord::default()
        };
        let id = quarantine.store(record, [Ok::<_, std::io::Error>(CONTENT.into())].into_iter()).await.unwrap();
        let config = format!(
            "[server]\nhostname = \"mx.example.com\"\n[listener.a]\nlisten = [\"127.0.0.1:0\"]\nchain = \"c\"\n\
             route = \"inside\"\nrelay_domains = [\"example.com\"]\n[chain.c]\n\
             [route.inside]\nupstreams = [\"{upstream}\"]\ntls = \"off\"\nconnect_timeout = \"2s\""
        );
        let config = config::parse(&config, Path::new("test"), state_dir.path()).unwrap();
        Fixture { _state_dir: state_dir, quarantine, id, config }
    }

    impl Fixture {
        /// Releases the message; `recipient: reason` for each that is kept, as the record has it too.
        async fn release(&self) -> Vec<String> {
            self.release_until(pending()).await
        }

        async fn release_until(&self, interrupted: impl Future<Output = ()>) -> Vec<String> {
            let kept = release(&self.config, &self.quarantine, &self.id, interrupted).await.unwrap();
            let recorded = match self.quarantine.show(&self.id).await {
                Ok(record) => record.recipients,
                Err(QuarantineError::NotFound(_)) => Vec::new(),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(recorded, kept.iter().map(|kept| kept.recipient.clone()).collect::<Vec<_>>());
            kept.into_iter().map(|kept| format!("{}: {}", kept.recipient, kept.reason)).collect()
        }
    }

    async fn server(steps: &[&str]) -> ScriptedServer {
        let scripts: Vec<String> = steps.iter().map(|steps| [READY, steps].concat()).collect();
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        ScriptedServer::start(&scripts).await.unwrap()
    }

    #[tokio::test]
    async fn each_recipient_gets_the_message_once() {
        let first = "C: MAIL FROM:<a@example.org> BODY=8BITMIME\nC: RCPT TO:<b@example.com>\nC: RCPT TO:<c@example.net>\n\
                     C: RCPT TO:<Postmaster>\nS: 250 ok\nS: 250 ok\nS: 452 4.2.2 full\nS: 250 ok\n\
                     C: DATA\nS: 354 go\n-- message\nS: 250 taken\n-- end";
        let second = "C: MAIL\nC: RCPT TO:<c@example.net>\nS: 250 ok\nS: 250 ok\n\
                      C: DATA\nS: 354 go\n-- message\nS: 250 taken\n-- end";
        let server = server(&[first, second]).await;
        let upstream = server.address().to_string();
        let recipients = ["b@example.com", "not an address", "c@example.net", "postmaster"];
        let fixture = fixture(&upstream, &recipients).await;
        let kept = fixture.release().await;
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept[0].starts_with("not an address: "), "{kept:?}");
        assert_eq!(kept[1], "c@example.net: 452 4.2.2 full");
        assert_eq!(server.heard(0).last().unwrap(), CONTENT);
        assert_eq!(fixture.release().await.len(), 1);
        server.finished(2).await.unwrap();
    }

    #[tokio::test]
    async fn a_message_that_is_not_taken_stays_for_all() {
        let envelope = "C: MAIL\nC: RCPT\nC: RCPT\nS: 250 ok\nS: 250 ok\nS: 550 no\n";
        for (answer, reason) in [
            ("S: 554 5.7.1 spam\n-- end", "554 5.7.1 spam"),
            ("-- close", "127.0.0.1 was lost: connection closed; whether it took the message is in doubt"),
        ] {
            let steps = [envelope, "C: DATA\nS: 354 go\n-- message\n", answer].concat();
            let server = server(&[&steps]).await;
            let fixture = fixture(&server.address().to_string(), &["b@example.com", "c@example.com"]).await;
            let expected = ["c@example.com: 550 no".to_owned(), format!("b@example.com: {reason}")];
            assert_eq!(fixture.release().await, expected);
        }
    }

    #[tokio::test]
    async fn one_recipient_that_the_upstream_hangs_up_on_does_not_keep_the_others() {
        let together = "C: MAIL\nC: RCPT TO:<b@\nC: RCPT TO:<c@\n-- close";
        let fine =
            "C: MAIL\nC: RCPT TO:<b@\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\n-- message\nS: 250 taken\n-- end";
        let alone = "C: MAIL\nC: RCPT TO:<c@\n-- close";
        let server = server(&[together, fine, alone]).await;
        let fixture = fixture(&server.address().to_string(), &["b@example.com", "c@example.com"]).await;
        let kept = fixture.release().await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(kept[0].starts_with("c@example.com: "), "{kept:?}");
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_reached_does_not_stop_the_next() {
        // Address literals lead to port 25, where nobody listens, or at least nobody who takes this sender.
        let fixture = fixture("mx", &["a@[127.0.0.9]", "b@[127.0.0.8]", "c@[127.0.0.9]"]).await;
        let kept = fixture.release().await;
        let names: Vec<&str> = kept.iter().map(|kept| kept.split(':').next().unwrap()).collect();
        assert_eq!(names, ["a@[127.0.0.9]", "c@[127.0.0.9]", "b@[127.0.0.8]"]);
    }

    #[tokio::test]
    async fn an_interruption_keeps_the_rest() {
        let server = server(&["C: MAIL\nC: RCPT\n-- stall"]).await;
        let fixture = fixture(&server.address().to_string(), &["b@example.com"]).await;
        let soon = tokio::time::sleep(std::time::Duration::from_millis(200));
        assert_eq!(fixture.release_until(soon).await, ["b@example.com: interrupted"]);
    }
}
