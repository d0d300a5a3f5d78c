//! The server's machine, fed any bytes and given any answers: replies are well formed, no message is told without a
//! transaction or after a refusal, each message is one message, and how bytes arrive makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailweir_fuzz::{Cut, bit, split_settings};
use mailweir_smtp::data::BareNewline;
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Server, ServerPolicy, TlsPolicy};

#[path = "../../smtp/tests/support/mod.rs"]
mod support;

use support::{Answers, Driver, Happening};

/// Stands where the client waits, and shakes hands if it was told to.
const PAUSE: &[u8] = b"<pause>";

fuzz_target!(|data: &[u8]| {
    let Some(([policy, offer, limits, cut, answers @ ..], bytes)) = split_settings::<8>(data) else { return };
    let (policy, offer) = (server_policy(policy, limits), extensions(offer));
    let (answers, by_piece) = (usual_answers(answers), answers.iter().any(|octet| *octet != 0 && *octet % 9 == 8));
    let play = |cut: Option<Cut>| {
        let mut server = Server::new(policy.clone());
        server.set_offer(offer.clone());
        play(Driver::with_server(server, answers.clone()), bytes, cut)
    };
    let whole = play(None);
    let in_pieces = play(Some(Cut::new(cut)));
    // Which pieces of content there are, and so what is answered to them, does depend on how they arrive.
    if !by_piece {
        assert_eq!(whole, in_pieces);
    }
});

fn play(mut driver: Driver, bytes: &[u8], cut: Option<Cut>) -> Vec<Happening> {
    let mut rest = bytes;
    // It may have something to say before anything comes.
    driver.feed(b"");
    loop {
        let pause = rest.windows(PAUSE.len()).position(|window| window == PAUSE);
        let (flight, left) = rest.split_at(pause.unwrap_or(rest.len()));
        match cut {
            Some(cut) => cut.pieces(flight).for_each(|piece| driver.feed(piece)),
            None => driver.feed(flight),
        }
        if pause.is_none() {
            break;
        }
        driver.establish_tls_if_agreed();
        rest = &left[PAUSE.len()..];
    }
    driver.happenings
}

fn server_policy(policy: u8, limits: u8) -> ServerPolicy {
    let mut server = ServerPolicy::new("mx.example.com");
    server.bare_newline = if bit(policy, 0) { BareNewline::Normalize } else { BareNewline::Reject };
    server.tls = match policy >> 1 & 3 {
        0 => TlsPolicy::Off,
        1 => TlsPolicy::Offered,
        2 => TlsPolicy::Required,
        _ => TlsPolicy::Active,
    };
    server.xclient = bit(policy, 3);
    if bit(limits, 0) {
        server.message_size = u64::from(limits);
    }
    if bit(limits, 1) {
        server.max_recipients = usize::from(limits >> 4);
    }
    if bit(limits, 2) {
        server.max_errors = usize::from(limits >> 4);
        server.max_junk_commands = usize::from(limits >> 5);
    }
    if bit(limits, 3) {
        server.max_line = usize::from(limits);
    }
    server
}

fn extensions(offer: u8) -> Extensions {
    Extensions {
        size: (!bit(offer, 0)).then_some(if bit(offer, 1) { 40 } else { 0 }),
        pipelining: true,
        eight_bit_mime: !bit(offer, 2),
        smtp_utf8: !bit(offer, 3),
        chunking: !bit(offer, 4),
        binary_mime: !bit(offer, 5),
        enhanced_status_codes: true,
        dsn: !bit(offer, 6),
        ..Extensions::default()
    }
}

/// Each octet but zero is an answer to one kind of event.
fn usual_answers(octets: [u8; 4]) -> Answers {
    let kinds = ["greeting", "hello", "mail", "rcpt", "starttls", "begin", "end", "chunk", "xclient"];
    let answer = |octet: u8| {
        let kind = kinds[usize::from(octet - 1) % kinds.len()];
        let refusals = [(421, "4.3.2"), (450, "4.2.0"), (550, "5.7.1"), (250, "2.0.0"), (354, "")];
        let (code, enhanced) = match (kind, refusals[usize::from(octet >> 3) % refusals.len()]) {
            // To these there is no other yes than that of the machine.
            ("begin" | "chunk", (200..400, _)) => (554, "5.6.0"),
            (_, answer) => answer,
        };
        (kind.to_owned(), Reply::new(code, enhanced, "As you say\r\n250 not"))
    };
    octets.into_iter().filter(|octet| *octet != 0).map(answer).collect()
}
