//! What holds for any input, however it is cut into pieces.

mod support;

use mailweir_smtp::data::{BareNewline, DotStuffer, DotUnstuffer, Framing};
use mailweir_smtp::server::{ServerPolicy, TlsPolicy};
use proptest::prelude::*;
use support::framing::{expected_content, scan, scan_chunks};
use support::{Answers, Driver, Happening, lax};

/// Lines and bits of lines that make for trouble, more likely in this order than by chance.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fragments: &[&[u8]] = &[
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"\r\n.\r\n",
        b"\r\n.\r",
        b"\n.\n",
        b"..",
        b"\0",
        b"x",
        b"EHLO c\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<a@b>\r\n",
        b"MAIL FROM:<> SIZE=9 BODY=8BITMIME\r\n",
        b"RCPT TO:<b@c>\r\n",
        b"DATA\r\n",
        b"BDAT 4\r\n",
        b"BDAT 4 LAST\r\n",
        b"BDAT 0 LAST\r\n",
        b"BDAT 70\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN\r\n",
        b"\xff\xfe",
        b"BDAT 99999999999\r\n",
        b"0123456789012345678901234567890123456789",
    ];
    prop_oneof![
        20 => proptest::sample::select(fragments).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        // Ordinary lines, so that hot loops get going.
        6 => (0_usize..300).prop_map(|length| [&vec![b'z'; length], &b"\r\n"[..]].concat()),
        1 => Just(vec![b'y'; 9000]),
    ]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    // Half the time the stream begins so that content is reached.
    let start = prop_oneof![
        Just(&b""[..]),
        Just(&b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n"[..]),
        Just(&b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 7\r\n"[..]),
    ];
    (start, proptest::collection::vec(fragment(), 0..60)).prop_map(|(start, rest)| [start, &rest.concat()].concat())
}

fn newlines() -> impl Strategy<Value = BareNewline> {
    prop_oneof![Just(BareNewline::Reject), Just(BareNewline::Normalize)]
}

fn play<'a>(policy: &ServerPolicy, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Happening> {
    let mut driver = Driver::new(policy.clone(), Answers::new());
    pieces.for_each(|piece| driver.feed(piece));
    driver.happenings
}

/// `bytes` cut at `cuts`, in any order and as far as they make sense.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// What a server does depends on what the client says, not on how it arrives. Each message taken is also checked
    /// to be one message, by `Driver`.
    #[test]
    fn any_chunking_gives_the_same(
        input in input(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        newlines in newlines(),
        size in prop_oneof![Just(20_u64), Just(8_000), Just(1_000_000)],
        tls in prop_oneof![4 => Just(TlsPolicy::Off), 1 => Just(TlsPolicy::Offered), 1 => Just(TlsPolicy::Required)],
    ) {
        let mut policy = ServerPolicy::new("mx.example.com");
        policy.bare_newline = newlines;
        policy.message_size = size;
        policy.tls = tls;
        policy.max_errors = 40;
        let whole = play(&policy, std::iter::once(input.as_slice()));
        prop_assert_eq!(&play(&policy, pieces(&input, &cuts).into_iter()), &whole);
        prop_assert_eq!(&play(&policy, input.chunks(1)), &whole);
    }

    /// The scanner agrees with a plain reading of the rules.
    #[test]
    fn data_is_read_as_the_rules_say(fragments in proptest::collection::vec(fragment(), 0..30), newlines in newlines()) {
        let wire = [fragments.concat(), b"\r\n.\r\nrest".to_vec()].concat();
        let end = lax::strict_end(&wire).expect("the end is there");
        let (scanned, left) = scan(newlines, u64::MAX, [wire.as_slice()]);
        prop_assert_eq!(left, &wire[end..]);
        let unstuffed = scanned.map(|pieces| DotUnstuffer::default().pieces(&pieces).collect::<Vec<_>>().concat());
        prop_assert_eq!(unstuffed, expected_content(Framing::DotStuffed, newlines, &wire[..end - 3]));
    }

    /// The same content by BDAT, in whatever chunks: the same rules, and one message when it goes on by DATA.
    #[test]
    fn chunks_are_read_as_the_rules_say(
        fragments in proptest::collection::vec(fragment(), 0..30),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        newlines in newlines(),
    ) {
        let content = fragments.concat();
        let scanned = scan_chunks(newlines, u64::MAX, pieces(&content, &cuts));
        prop_assert_eq!(&scanned, &expected_content(Framing::Plain, newlines, &content));
        if let Ok(content) = scanned {
            let mut stuffer = DotStuffer::default();
            let mut wire = stuffer.pieces(&content).collect::<Vec<_>>().concat();
            wire.extend_from_slice(stuffer.terminator());
            prop_assert_eq!(lax::strict_end(&wire), Some(wire.len()));
            wire.retain(|octet| *octet != 0);
            prop_assert_eq!(lax::lax_end(&wire), Some(wire.len()));
        }
    }

    /// Stuffing, in whatever chunks, is undone by unstuffing in whatever chunks, and ends where it should.
    #[test]
    fn stuffing_round_trip(
        fragments in proptest::collection::vec(fragment(), 0..30),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        other_cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let content = fragments.concat();
        let mut stuffer = DotStuffer::default();
        let stuffed: Vec<u8> =
            pieces(&content, &cuts).iter().flat_map(|chunk| stuffer.pieces(chunk).collect::<Vec<_>>().concat()).collect();
        let mut unstuffer = DotUnstuffer::default();
        let unstuffed: Vec<u8> = pieces(&stuffed, &other_cuts)
            .iter()
            .flat_map(|chunk| unstuffer.pieces(chunk).collect::<Vec<_>>().concat())
            .collect();
        prop_assert_eq!(unstuffed, content);
        let wire = [stuffed.as_slice(), stuffer.terminator()].concat();
        prop_assert_eq!(lax::strict_end(&wire), Some(wire.len()));
    }
}
