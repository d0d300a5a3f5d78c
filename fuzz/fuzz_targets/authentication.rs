//! SPF, DKIM, ARC and DMARC over any message and any records: bounded, the same however the body arrives, results that
//! can stand in a header field, and no pass for what nobody signed.
//!
//! The message comes first, then the records that any question for TXT is answered with, each after `<record>`.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mailweir::config;
use mailweir::message::{DecodingLimits, Message, MessageLimits};
use mailweir::services::authentication::{Authentication, BodyHashes, Evaluation, Identity, Outcome};
use mailweir::services::dns::Dns;
use mailweir_fuzz::{Cut, bit, run, split_settings};
use tokio::net::UdpSocket;

const LIMITS: MessageLimits = MessageLimits {
    header_size: 1 << 16,
    header_fields: 200,
    mime_parts: 40,
    mime_depth: 8,
    decoding: DecodingLimits::DEFAULT,
};
const SEPARATOR: &[u8] = b"<record>";
/// Octets of an answer over UDP.
const ANSWER: usize = 1200;

/// What the name server says, and where it listens.
struct Zone {
    records: Mutex<Vec<Bytes>>,
    address: SocketAddr,
}

static ZONE: LazyLock<Arc<Zone>> = LazyLock::new(|| {
    run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let zone = Arc::new(Zone { records: Mutex::default(), address });
        tokio::spawn(serve(socket, Arc::clone(&zone)));
        zone
    })
});

fuzz_target!(|data: &[u8]| {
    let Some(([settings, cut], bytes)) = split_settings(data) else { return };
    let mut sections = split(bytes);
    let message = Bytes::copy_from_slice(sections.remove(0));
    let sender = if bit(settings, 0) { sections.pop().unwrap_or_default() } else { b"bob@example.com" };
    let helo = if bit(settings, 1) { sections.pop().unwrap_or_default() } else { b"mail.example.com" };
    *ZONE.records.lock().expect("no panic") = sections.into_iter().map(Bytes::copy_from_slice).collect();
    let Ok(message) = Message::from_bytes(message, LIMITS) else { return };
    let evaluation = evaluation();
    evaluation.helo(&String::from_utf8_lossy(helo));
    evaluation.mail(&String::from_utf8_lossy(sender));
    let whole = hashes(&evaluation, &message, None);
    assert_eq!(hashes(&evaluation, &message, Some(Cut::new(cut))), whole);
    if let Ok(authors) = evaluation.authors(&message) {
        assert!(!authors.is_empty() && authors.len() <= 100);
        authors.iter().for_each(|author| check_text(author));
    }
    // Queries take longer than all the rest, so not every input makes them.
    run(async {
        if !bit(settings, 2) {
            check_path(&evaluation).await;
        }
        if !bit(settings, 3) {
            check_signatures(&evaluation, &message).await;
        }
        if !bit(settings, 2) && !bit(settings, 3) {
            check_policy(&evaluation, &message).await;
        }
    });
});

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut sections = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        sections.push(&rest[..at]);
        rest = &rest[at + SEPARATOR.len()..];
    }
    sections.push(rest);
    sections
}

/// A resolver of its own for each message: the next one has other records.
fn evaluation() -> Arc<Evaluation> {
    run(async {
        let dns = Dns::new(&config::Dns {
            resolvers: vec![ZONE.address],
            dnssec: config::Dnssec::Off,
            timeout: Duration::from_secs(5),
            cache_size: 100,
        });
        let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        Authentication::new(dns.expect("a resolver"), "mx.example.com").evaluation(client)
    })
}

fn hashes(evaluation: &Evaluation, message: &Message, cut: Option<Cut>) -> Option<BodyHashes> {
    let mut hasher = evaluation.hasher(message.headers())?;
    let start = usize::try_from(message.body_offset()).expect("a small message");
    let body = &message.contiguous().expect("memory")[start..];
    match cut {
        Some(cut) => cut.pieces(body).for_each(|piece| hasher.update(piece)),
        None => hasher.update(body),
    }
    Some(hasher.finish())
}

async fn check_path(evaluation: &Evaluation) {
    for identity in [Identity::Helo, Identity::MailFrom] {
        let spf = evaluation.spf(identity).await;
        [&spf.reason, &spf.domain].into_iter().chain(&spf.explanation).for_each(|text| check_text(text));
    }
}

async fn check_signatures(evaluation: &Evaluation, message: &Message) {
    let dkim = evaluation.dkim(message).await.expect("memory");
    assert!(dkim.len() <= 50, "{} signatures", dkim.len());
    for result in dkim.iter() {
        for text in [&result.domain, &result.selector, &result.algorithm, &result.signature, &result.reason] {
            check_text(text);
        }
        assert!(result.outcome != Outcome::Pass || message.headers().named("DKIM-Signature").count() > 0);
    }
    let arc = evaluation.arc(message).await.expect("memory");
    arc.sealers.iter().chain([&arc.reason]).for_each(|text| check_text(text));
    assert!(arc.outcome != Outcome::Pass || !arc.sealers.is_empty());
}

async fn check_policy(evaluation: &Evaluation, message: &Message) {
    let dmarc = evaluation.dmarc(message).await.expect("memory");
    [&dmarc.from_domain, &dmarc.policy_domain, &dmarc.reason].into_iter().for_each(|text| check_text(text));
    assert!(dmarc.outcome != Outcome::Pass || dmarc.spf_aligned || dmarc.dkim_aligned);
}

/// It will stand in a header field or a log line.
fn check_text(text: &str) {
    assert!(text.len() <= 4096 && !text.contains(char::is_control), "{text:?}");
}

/// A name server that knows one answer for each type.
async fn serve(socket: UdpSocket, zone: Arc<Zone>) {
    let mut query = [0; 4096];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut query).await else { continue };
        let answer = zone.answer(&query[..length]);
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

impl Zone {
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut end = 12;
        while *query.get(end)? != 0 {
            end += usize::from(query[end]) + 1;
        }
        let question = query.get(12..end + 5)?;
        let [.., kind, _, _] = question else { return None };
        let records = self.records.lock().expect("no panic").clone();
        let data: Vec<Vec<u8>> = match kind {
            // TXT
            16 => [&b"none"[..]].into_iter().chain(records.iter().map(|record| &record[..])).map(strings).collect(),
            // A, in the client's network or not
            1 => vec![vec![192, 0, 2, question[1]]],
            // MX: "m" below the name
            15 => vec![[&[0, 10, 1, b'm'][..], &[0xc0, 12]].concat()],
            // PTR: mail.example.com
            12 => vec![b"\x04mail\x07example\x03com\0".to_vec()],
            _ => Vec::new(),
        };
        let mut answer = Vec::new();
        let mut count: u16 = 0;
        for data in data {
            if answer.len() + data.len() + question.len() + 24 > ANSWER {
                break;
            }
            count += 1;
            answer.extend_from_slice(&[0xc0, 12, 0, *kind, 0, 1, 0, 0, 1, 0]);
            answer.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
            answer.extend_from_slice(&data);
        }
        let [high, low] = count.to_be_bytes();
        let header = [query[0], query[1], 0x85, 0x80, 0, 1, high, low, 0, 0, 0, 0];
        Some([&header, question, &answer].concat())
    }
}

fn strings(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for string in text.chunks(255) {
        data.extend_from_slice(&[string.len() as u8]);
        data.extend_from_slice(string);
    }
    if data.is_empty() { vec![0] } else { data }
}
