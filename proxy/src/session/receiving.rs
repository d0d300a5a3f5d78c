//! A message while it arrives: stored, and shown to those who look on: the virus scanner, the hash of its body that
//! signatures want, and filters that raw bytes are pushed to.

use std::sync::Arc;

use bytes::Bytes;
use mailweir_smtp::data::DotUnstuffer;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::Framing;

use super::outgoing::undamaged;
use crate::admin::metrics::{Limit, ListenerMetrics};
use crate::chain::{Envelope, Refusal, Ruling, Run};
use crate::message::{Incoming, Message, MessageFault, StoreError};
use crate::services::antivirus;
use crate::services::authentication::BodyHasher;

/// Bytes that are read back at once of what arrived before the header section was whole.
const PUSHED: usize = 64 * 1024;
/// Pieces that a chunk is shown in.
const MOST_PIECES: usize = 16;

/// A message that is arriving.
pub(super) struct Receiving {
    incoming: Incoming,
    hops: Hops,
    /// Those who look on see the message without dot-stuffing; BDAT has none.
    unstuffer: Option<DotUnstuffer>,
    scan: Option<antivirus::Stream>,
    hashing: Hashing,
    headers_seen: bool,
}

/// How many Received fields are not yet a loop, and where it is counted that there were more.
pub(super) struct Hops {
    pub(super) limit: usize,
    pub(super) metrics: Arc<ListenerMetrics>,
}

/// Who looks on, beside filters that raw bytes are pushed to.
pub(super) struct Onlookers {
    pub(super) scan: Option<antivirus::Stream>,
    /// Whether a filter may check signatures.
    pub(super) signatures: bool,
}

/// The hash of the body, taken while it arrives.
enum Hashing {
    /// Nobody checks signatures, there is none, or the body is hashed at the end.
    Off,
    /// The header section will say which hashes are wanted.
    HeaderSection {
        /// Bytes that have arrived.
        arrived: u64,
    },
    Body {
        hasher: Box<BodyHasher>,
        /// Bytes that are still to come before the body.
        before: u64,
    },
}

impl Receiving {
    pub(super) fn new(incoming: Incoming, framing: Framing, onlookers: Onlookers, hops: Hops) -> Self {
        Self {
            incoming,
            hops,
            unstuffer: (framing == Framing::DotStuffed).then(DotUnstuffer::default),
            scan: onlookers.scan,
            hashing: if onlookers.signatures { Hashing::HeaderSection { arrived: 0 } } else { Hashing::Off },
            headers_seen: false,
        }
    }

    /// The next bytes, as they stood on the wire.
    pub(super) async fn take(
        &mut self,
        chunk: Bytes,
        run: &mut Run,
        envelope: impl Fn() -> Envelope,
    ) -> Result<(), Refusal> {
        let is_watched = run.pushes_early() || self.scan.is_some() || !matches!(self.hashing, Hashing::Off);
        let shown = if is_watched { unstuffed(&mut self.unstuffer, &chunk) } else { Vec::new() };
        if let Some(scan) = &mut self.scan {
            for piece in &shown {
                scan.feed(piece.clone()).await;
            }
        }
        self.incoming.push(chunk).await.map_err(|error| refusal(error.reply()))?;
        let mut just_seen = false;
        if !self.headers_seen
            && let Some(headers) = self.incoming.headers()
        {
            (self.headers_seen, just_seen) = (true, true);
            let headers = headers.map_err(|fault| refusal(fault.reply()))?;
            rule_on_headers(&headers, run, &envelope(), &self.hops).await?;
            self.hashing.begin(|| run.evaluation().hasher(headers.headers()), self.incoming.body_start());
        }
        for piece in &shown {
            self.hashing.take(piece);
        }
        if run.pushes_early() && self.headers_seen {
            if just_seen {
                return push_all(run, |offset| self.incoming.read(offset, PUSHED)).await;
            }
            for piece in shown {
                going_on(run.body(&piece).await)?;
            }
        }
        Ok(())
    }

    /// Whether it comes in this framing, its header section has been ruled on, and nobody looks on: it is in memory, and
    /// that is all.
    pub(super) fn is_only_kept(&self, framing: Framing) -> bool {
        self.headers_seen
            && self.scan.is_none()
            && matches!(self.hashing, Hashing::Off)
            && self.incoming.framing() == framing
            && !self.incoming.is_spilled()
    }

    /// See [`Incoming::headers`].
    pub(super) fn headers(&self) -> Option<Result<Message, MessageFault>> {
        self.incoming.headers()
    }

    /// What has arrived, as a message of its own. Its last line need not be a whole one.
    pub(super) fn into_beginning(self) -> Result<Message, MessageFault> {
        self.incoming.finish()
    }

    /// The message is whole.
    pub(super) async fn finish(
        self,
        run: &mut Run,
        envelope: &Envelope,
    ) -> Result<(Message, Option<antivirus::Stream>), Refusal> {
        let Self { incoming, hops, .. } = self;
        let message = incoming.finish().map_err(|fault| refusal(fault.reply()))?;
        if !self.headers_seen {
            // A message that ends within its header section.
            rule_on_headers(&message, run, envelope, &hops).await?;
            if run.pushes_early() {
                push_all(run, |offset| message.read(offset, PUSHED)).await?;
            }
        }
        if let Hashing::Body { hasher, .. } = self.hashing {
            run.evaluation().hashed(hasher.finish());
        }
        Ok((message, self.scan))
    }
}

/// Pushes what arrived before the header section had been ruled on, phases coming in their order, out of where it is
/// kept.
async fn push_all(run: &mut Run, read: impl Fn(u64) -> Result<Bytes, StoreError>) -> Result<(), Refusal> {
    let mut offset = 0;
    loop {
        let piece = read(offset).map_err(|error| refusal(error.reply()))?;
        if piece.is_empty() {
            return Ok(());
        }
        offset += piece.len() as u64;
        going_on(run.body(&piece).await)?;
    }
}

/// The hop cap, and the filters of the headers phase.
async fn rule_on_headers(headers: &Message, run: &mut Run, envelope: &Envelope, hops: &Hops) -> Result<(), Refusal> {
    if headers.headers().values("Received").count() > hops.limit {
        hops.metrics.over_limit(Limit::Hops, 1);
        return Err(refusal(Reply::new(554, "5.4.6", "Too many hops: this message is in a loop")));
    }
    let ruling = run.headers(headers, envelope).await;
    // It may have been read back from a file, and what was made of it is worth nothing then.
    undamaged(headers).map_err(|outcome| refusal(outcome.reply))?;
    going_on(ruling)
}

impl Hashing {
    /// The header section is whole; `start` is where the body begins.
    fn begin(&mut self, hasher: impl FnOnce() -> Option<BodyHasher>, start: Option<u64>) {
        let Self::HeaderSection { arrived } = *self else { return };
        // Without an empty line, the body begins with a line that only its end shows to be no field. When that line
        // began in an earlier chunk, part of the body is gone by, and the hash is left to the end.
        let before = start.and_then(|start| start.checked_sub(arrived));
        *self = match (hasher(), before) {
            (Some(hasher), Some(before)) => Self::Body { hasher: Box::new(hasher), before },
            _ => Self::Off,
        };
    }

    /// The next bytes of the message.
    fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Off => {}
            Self::HeaderSection { arrived } => *arrived += bytes.len() as u64,
            Self::Body { hasher, before } => {
                let skipped = usize::try_from(*before).unwrap_or(usize::MAX).min(bytes.len());
                *before -= skipped as u64;
                hasher.update(&bytes[skipped..]);
            }
        }
    }
}

/// A chunk without stuffing: in pieces that share its memory, or, when it is cut into many, in one that is a copy. Each piece
/// is a call of a filter.
fn unstuffed(unstuffer: &mut Option<DotUnstuffer>, chunk: &Bytes) -> Vec<Bytes> {
    let Some(unstuffer) = unstuffer else { return vec![chunk.clone()] };
    let pieces: Vec<&[u8]> = unstuffer.pieces(chunk).collect();
    if pieces.len() > MOST_PIECES {
        return vec![pieces.concat().into()];
    }
    pieces.into_iter().map(|piece| chunk.slice_ref(piece)).collect()
}

fn going_on(ruling: Ruling) -> Result<(), Refusal> {
    match ruling {
        Ruling::Continue => Ok(()),
        Ruling::Refuse(refusal) => Err(refusal),
    }
}

fn refusal(reply: Reply) -> Refusal {
    Refusal { reply, disconnect: false }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use mailweir_testkit::dkim::Signer;
    use mailweir_testkit::dns::{Zone, ZoneServer};

    use super::*;
    use crate::chain::Chain;
    use crate::config;
    use crate::host::TransactionFacts;
    use crate::message::{Budget, DecodingLimits, MessageLimits};
    use crate::services::authentication::{Authentication, Outcome};
    use crate::services::dns::Dns;

    const LIMITS: MessageLimits = MessageLimits {
        header_size: 1 << 20,
        header_fields: 100,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    const FIELDS: &str = "From: joe@example.com\r\nSubject: hi\r\n";
    /// Lines that are stuffed, and white space and empty lines that canonical forms treat in their own way.
    const BODY: &str = "first  line \r\n.\r\n..two\r\n\r\n \t\r\nthe end\r\n\r\n\r\n";

    struct Bench {
        _server: ZoneServer,
        authentication: Authentication,
        signer: Signer,
        budget: Budget,
    }

    impl Bench {
        async fn new() -> Self {
            let signer = Signer::generate("example.com", "s").unwrap();
            let (name, key) = signer.record();
            let zone = Zone::new().txt(name, key);
            let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
            let dns = Dns::new(&config::Dns {
                resolvers: vec![server.addr()],
                dnssec: config::Dnssec::Off,
                timeout: Duration::from_secs(5),
                cache_size: 100,
            });
            let authentication = Authentication::new(dns.unwrap(), "mx.example.com");
            let budget = Budget::new(1 << 30, 0, &std::env::temp_dir());
            Self { _server: server, authentication, signer, budget }
        }

        fn signed(&self, body: &str) -> Vec<u8> {
            self.signer.sign(format!("{FIELDS}\r\n{body}").as_bytes()).unwrap()
        }

        fn run(&self) -> Run {
            let facts = TransactionFacts {
                id: "1".to_owned(),
                listener: "inbound".to_owned(),
                hostname: "mx.example.com".to_owned(),
                client: "192.0.2.1:25".parse().unwrap(),
                helo: Vec::new(),
                tls: None,
                trusted: false,
            };
            let evaluation = self.authentication.evaluation(facts.client.ip());
            Run::new(Chain::new("empty", [], None), Arc::new(facts), evaluation)
        }

        /// Receives a message in chunks of this size. The outcome of its signature, and whether the body was hashed as
        /// it arrived.
        async fn receive(&self, wire: &[u8], framing: Framing, size: usize) -> (Outcome, bool) {
            let mut run = self.run();
            let incoming = Incoming::new(&self.budget, framing, LIMITS);
            let onlookers = Onlookers { scan: None, signatures: true };
            let mut receiving =
                Receiving::new(incoming, framing, onlookers, Hops { limit: 10, metrics: Arc::default() });
            let envelope = Envelope::default();
            for chunk in wire.chunks(size) {
                receiving.take(Bytes::copy_from_slice(chunk), &mut run, Envelope::default).await.unwrap();
            }
            let streamed = matches!(receiving.hashing, Hashing::Body { .. });
            let (message, _) = receiving.finish(&mut run, &envelope).await.unwrap();
            run.evaluation().received(&message);
            (run.evaluation().dkim(&message).await.unwrap()[0].outcome, streamed)
        }
    }

    /// As DATA carries it.
    fn stuffed(message: &[u8]) -> Vec<u8> {
        String::from_utf8(message.to_vec()).unwrap().replace("\r\n.", "\r\n..").into_bytes()
    }

    #[tokio::test]
    async fn chunks_do_not_change_what_is_hashed() {
        let bench = Bench::new().await;
        let message = bench.signed(BODY);
        for (framing, wire) in [(Framing::Plain, message.clone()), (Framing::DotStuffed, stuffed(&message))] {
            for size in 1..=wire.len() {
                let received = bench.receive(&wire, framing, size).await;
                assert_eq!(received, (Outcome::Pass, true), "{framing:?}, {size}");
            }
        }
        // The hash that was taken is the one that counts.
        let changed = String::from_utf8(message).unwrap().replace("the end", "The end");
        assert_eq!(bench.receive(changed.as_bytes(), Framing::Plain, 50).await, (Outcome::Fail, true));
    }

    #[test]
    fn a_chunk_of_stuffed_lines_is_not_shown_line_by_line() {
        for (lines, pieces) in [(3, 3), (MOST_PIECES, MOST_PIECES), (MOST_PIECES + 1, 1), (10_000, 1)] {
            let chunk = Bytes::from("..\r\n".repeat(lines));
            let shown = unstuffed(&mut Some(DotUnstuffer::default()), &chunk);
            assert_eq!((shown.len(), shown.concat()), (pieces, ".\r\n".repeat(lines).into_bytes()));
        }
    }

    #[tokio::test]
    async fn a_body_without_an_empty_line_before_it() {
        let bench = Bench::new().await;
        // The empty line that is missing is put there, so the signature of the message with it is right.
        let wire = String::from_utf8(bench.signed("no field\r\nmore\r\n")).unwrap().replace("\r\n\r\n", "\r\n");
        let mut streamed = Vec::new();
        for size in 1..=wire.len() {
            let (outcome, hashed) = bench.receive(wire.as_bytes(), Framing::Plain, size).await;
            assert_eq!(outcome, Outcome::Pass, "{size}");
            streamed.push(hashed);
        }
        assert!(!streamed[0], "when its end is seen the first line of the body is gone by");
        assert!(streamed[wire.len() - 1]);
    }

    #[tokio::test]
    async fn an_mbox_separator_is_no_part_of_the_message() {
        let bench = Bench::new().await;
        let wire = [&b"From joe@example.com Mon Jan 1 00:00:00 2024\r\n"[..], &bench.signed(BODY)].concat();
        for size in 1..=wire.len() {
            assert_eq!(bench.receive(&wire, Framing::Plain, size).await, (Outcome::Pass, true), "{size}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_missing_or_empty() {
        let bench = Bench::new().await;
        let wire = bench.signed("");
        for size in 1..=wire.len() {
            assert_eq!(bench.receive(&wire, Framing::Plain, size).await, (Outcome::Pass, true), "{size}");
            let headers = &wire[..wire.len() - 2];
            assert_eq!(bench.receive(headers, Framing::Plain, size).await, (Outcome::Pass, false), "{size}");
        }
    }
}
