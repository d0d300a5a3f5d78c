//! The server's machine and the client's, driven against each other in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Buf, BytesMut};
use mailweir_smtp::address::{ClientName, ForwardPath, ReversePath};
use mailweir_smtp::client::{BdatChunk, Client, ClientEvent};
use mailweir_smtp::data::{DotStuffer, DotUnstuffer, Framing};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::parameter::{BodyType, MailParameters, Notify, OriginalRecipient, RcptParameters, Return, Xtext};
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Event, Server, ServerPolicy, TlsPolicy};
use proptest::prelude::*;

/// Two machines and the bytes between them.
struct Pair {
    client: Client,
    server: Server,
    to_server: BytesMut,
    to_client: BytesMut,
    /// The most octets that travel at a time.
    segment: usize,
    said: Vec<Event>,
    heard: Vec<ClientEvent>,
    framing: Framing,
    content: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

impl Pair {
    fn new(tls: TlsPolicy, segment: usize) -> Self {
        let mut policy = ServerPolicy::new("mx.example.com");
        policy.tls = tls;
        let mut server = Server::new(policy);
        server.set_offer(Extensions {
            size: Some(1_000_000),
            pipelining: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            dsn: true,
            ..Extensions::default()
        });
        server.greet(Reply::multi(220, "", &["mx.example.com", "ready"]));
        Self {
            client: Client::new(),
            server,
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            segment,
            said: Vec::new(),
            heard: Vec::new(),
            framing: Framing::Plain,
            content: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Lets bytes travel until nothing moves any more.
    fn drive(&mut self) {
        loop {
            self.run_server();
            self.run_client();
            let up = self.client.output().len().min(self.segment);
            self.to_server.extend_from_slice(&self.client.output().split_to(up));
            let down = self.server.output().len().min(self.segment);
            self.to_client.extend_from_slice(&self.server.output().split_to(down));
            if up + down == 0 {
                return;
            }
        }
    }

    fn run_server(&mut self) {
        while let Some(event) = self.server.next(&mut self.to_server) {
            match &event {
                Event::MessageBegin { framing } => {
                    self.framing = *framing;
                    self.server.accept_message();
                }
                Event::MessageChunk(chunk) => {
                    self.content.extend_from_slice(chunk);
                    continue;
                }
                Event::MessageEnd(end) => {
                    assert!(end.is_ok());
                    self.messages.push(std::mem::take(&mut self.content));
                    self.server.accept(Reply::new(250, "2.0.0", "Taken"));
                }
                Event::StartTls => self.server.accept(Reply::new(220, "2.0.0", "Go ahead")),
                Event::XClient(_) => self.server.accept(Reply::new(220, "", "mx.example.com ready")),
                Event::Hello { .. } | Event::Mail { .. } | Event::Rcpt { .. } => {
                    self.server.accept(Reply::new(250, "", "OK"));
                }
                Event::Reset | Event::Close => {}
            }
            self.said.push(event);
        }
    }

    fn run_client(&mut self) {
        while let Some(event) = self.client.next(&mut self.to_client).unwrap() {
            self.heard.push(event);
        }
    }

    fn hello(&mut self) {
        self.client.hello(&ClientName::parse(b"client.example").unwrap());
        self.drive();
    }
}

fn sender() -> ReversePath {
    ReversePath::parse("jörg@bücher.example".as_bytes()).unwrap()
}

fn recipient() -> ForwardPath {
    ForwardPath::parse(br#""a b"@[IPv6:2001:db8::1]"#).unwrap()
}

#[test]
fn parameters_arrive_as_they_were_given() {
    let mail = MailParameters {
        size: Some(12),
        body: Some(BodyType::EightBitMime),
        smtp_utf8: true,
        ret: Some(Return::Full),
        envid: Some(Xtext::parse(b"id+2B1").unwrap()),
    };
    let rcpt = RcptParameters {
        notify: Some(Notify::On { success: true, failure: false, delay: true }),
        orcpt: Some(OriginalRecipient::parse(b"rfc822;b@example.com").unwrap()),
    };
    let mut pair = Pair::new(TlsPolicy::Off, usize::MAX);
    pair.hello();
    pair.client.mail(&sender(), &mail);
    pair.client.rcpt(&recipient(), &rcpt);
    pair.client.rcpt(&ForwardPath::Postmaster, &RcptParameters::default());
    pair.client.noop();
    pair.client.reset();
    pair.client.mail(&ReversePath::Null, &MailParameters::default());
    pair.client.quit();
    pair.drive();
    assert_eq!(
        pair.said[1..],
        [
            Event::Mail { path: sender(), parameters: mail },
            Event::Rcpt { path: recipient(), parameters: rcpt },
            Event::Rcpt { path: ForwardPath::Postmaster, parameters: RcptParameters::default() },
            Event::Reset,
            Event::Mail { path: ReversePath::Null, parameters: MailParameters::default() },
            Event::Close,
        ]
    );
    assert_eq!(pair.client.awaited(), 0);
    assert!(matches!(pair.heard.last(), Some(ClientEvent::Quit(reply)) if reply.code() == 221));
}

#[test]
fn tls_starts_and_everything_before_is_forgotten() {
    let mut pair = Pair::new(TlsPolicy::Required, usize::MAX);
    pair.hello();
    assert!(pair.client.extensions().start_tls);
    pair.client.start_tls();
    pair.drive();
    assert!(matches!(pair.heard.last(), Some(ClientEvent::StartTls(reply)) if reply.code() == 220));
    pair.server.tls_established(&mut pair.to_server);
    pair.client.tls_established(&mut pair.to_client);
    assert_eq!(*pair.client.extensions(), Extensions::default());
    pair.hello();
    assert!(pair.client.extensions().pipelining && !pair.client.extensions().start_tls);
    pair.client.mail(&ReversePath::Null, &MailParameters::default());
    pair.drive();
    assert!(matches!(pair.said.last(), Some(Event::Mail { .. })));
}

proptest! {
    /// Messages of any content that SMTP can carry arrive whole, by DATA and by BDAT, whatever the network's segments.
    #[test]
    fn messages_arrive(
        messages in proptest::collection::vec((content(), any::<bool>(), 1_usize..40), 1..5),
        segment in prop_oneof![Just(1_usize), 2..50_usize, Just(usize::MAX)],
    ) {
        let mut pair = Pair::new(TlsPolicy::Off, segment);
        pair.hello();
        for (content, by_data, cut) in &messages {
            pair.client.mail(&ReversePath::Null, &MailParameters::default());
            pair.client.rcpt(&recipient(), &RcptParameters::default());
            if *by_data {
                pair.client.data();
                pair.drive();
                prop_assert!(matches!(pair.heard.last(), Some(ClientEvent::Data(reply)) if reply.code() == 354));
                let mut stuffer = DotStuffer::default();
                for chunk in content.chunks(*cut) {
                    stuffer.pieces(chunk).for_each(|piece| pair.client.output().extend_from_slice(piece));
                }
                if stuffer.terminator() == b"\r\n.\r\n" {
                    pair.client.output().extend_from_slice(b"\r\n");
                }
                pair.client.end_of_data();
            } else {
                // Everything is pipelined (RFC 3030 section 4.2).
                for chunk in content.chunks(*cut) {
                    pair.client.bdat(chunk.len() as u64, BdatChunk::More);
                    pair.client.output().extend_from_slice(chunk);
                }
                pair.client.bdat(0, BdatChunk::Last);
            }
            pair.drive();
            prop_assert!(matches!(pair.heard.last(), Some(ClientEvent::Message(reply)) if reply.code() == 250));
            let mut expected = content.clone();
            let mut arrived = pair.messages.pop().unwrap();
            if pair.framing == Framing::DotStuffed {
                arrived = DotUnstuffer::default().pieces(&arrived).collect::<Vec<_>>().concat();
                if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                    expected.extend_from_slice(b"\r\n");
                }
            }
            prop_assert_eq!(arrived, expected);
        }
        pair.client.quit();
        pair.drive();
        prop_assert!(!pair.to_server.has_remaining());
        prop_assert_eq!(pair.client.awaited(), 0);
    }
}

/// Lines without bare newlines, many of which begin with dots.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b".".to_vec()),
        Just(b"\r\n.\r\n".to_vec()),
        Just(b"QUIT\r\n".to_vec()),
        "[ -~\u{80}-\u{ff}]{0,30}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(fragment, 0..20).prop_map(|fragments| fragments.concat())
}
