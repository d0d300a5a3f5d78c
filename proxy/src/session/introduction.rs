//! Who the client is, when a proxy in front of us says so (XCLIENT), and what we say to the server behind.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::ClientName;
use mailweir_smtp::xclient::{Attribute, XClient};

use crate::chain::Refusal;
use crate::config::Listener;

use super::{Connection, Session, is_trusted};

/// What a proxy in front of us said of the client, beyond its address.
#[derive(Default)]
pub(super) struct Said {
    /// Its name in the DNS.
    name: Attribute<String>,
    /// What it called itself; it counts, whatever the proxy says in EHLO.
    pub(super) helo: Option<ClientName>,
}

/// The other end of the connection, whomever it speaks for.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    address: IpAddr,
    is_vouched_for: bool,
}

impl Peer {
    pub(super) fn of(connection: &Connection) -> Self {
        Self { address: connection.client.ip(), is_vouched_for: connection.is_vouched_for }
    }

    /// Whether it may speak for others.
    pub(super) fn may_introduce(self, settings: &Listener) -> bool {
        self.is_vouched_for && settings.xclient.iter().any(|network| network.contains(&self.address))
    }
}

impl Session {
    /// The session begins anew, with another client. What was learnt of the one before, its rights above all, is gone.
    pub(super) async fn introduced(&mut self, said: XClient) {
        let newest = self.connection.proxy.generation();
        if !newest.listening(&self.connection.listener).is_some_and(|now| self.peer.may_introduce(&now.settings)) {
            return self.server.close(Reply::new(421, "4.7.0", "XCLIENT is not for you any more"));
        }
        self.abandon_first_run().await;
        self.hello = None;
        let connection = &mut self.connection;
        match said.address {
            Attribute::Known(address) => {
                connection.client = SocketAddr::new(address, said.port.known().copied().unwrap_or(0));
                connection.is_vouched_for = true;
            }
            // The address that we know is the proxy's, or an earlier client's.
            Attribute::Unavailable | Attribute::Unsaid => connection.is_vouched_for = false,
        }
        self.said = Said { name: said.name, helo: said.helo.known().cloned() };
        self.trusted = is_trusted(&self.listening.settings, &self.connection);
        match self.greeting().await {
            Ok(reply) => self.server.accept(reply),
            Err(Refusal { reply, disconnect: true }) => self.server.close(reply),
            Err(Refusal { reply, disconnect: false }) => self.server.refuse(reply),
        }
    }

    /// What an upstream that offers XCLIENT is told.
    pub(super) fn introduction(&self, helo: ClientName, extended: bool) -> Arc<XClient> {
        let client = self.connection.client;
        let (address, port) = match self.connection.is_vouched_for {
            true => (Attribute::Known(client.ip()), Attribute::Known(client.port())),
            false => (Attribute::Unavailable, Attribute::Unavailable),
        };
        let name = match &self.said.name {
            Attribute::Known(name) => Attribute::Known(name.clone()),
            Attribute::Unsaid | Attribute::Unavailable => Attribute::Unavailable,
        };
        Arc::new(XClient { name, address, port, helo: Attribute::Known(helo), extended: Attribute::Known(extended) })
    }
}
