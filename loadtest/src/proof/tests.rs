//! The line and back, and what a comparison finds.

use super::*;

const RUN: Run = Run(0x00c0_ffee);

fn line(number: u64, content: &[u8]) -> BytesMut {
    let mut message = BytesMut::new();
    ProofLine { run: RUN, number, digest: Digest::of([content].iter()) }.write(&mut message);
    message
}

/// What is said of a message, however it is cut.
fn arrival(message: &[u8]) -> Arrival {
    let read = |size: usize| {
        let mut reader = ProofReader::default();
        message.chunks(size).for_each(|piece| reader.push(piece));
        reader.finish()
    };
    let whole = read(message.len().max(1));
    for size in 1..message.len() {
        assert_eq!(read(size), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn the_line_reads() {
    assert_eq!(
        &line(42, b"")[..],
        b"Load-Proof: v1 0000000000c0ffee 42 99aa06d3014798d86001c324468d497f\r\n",
        "the hash of nothing, as xxHash's own tests have it"
    );
    assert_eq!(RUN.to_string().parse(), Ok(RUN));
}

#[test]
fn what_is_not_changed_is_intact() {
    for number in [0, 9, 10, u64::MAX] {
        for content in [&b""[..], b"\r\n", b"Subject: a\r\n\r\nbody\r\n.\r\n..dots\r\n"] {
            let message = [&line(number, content), content].concat();
            assert_eq!(arrival(&message), Arrival::Intact { run: RUN, number });
            let relayed = [b"Received: from a\r\n\tby b\r\nX-Long: ", &[b'x'; 500][..], b"\r\n", &message].concat();
            assert_eq!(arrival(&relayed), Arrival::Intact { run: RUN, number });
        }
    }
}

#[test]
fn every_change_below_the_line_is_seen() {
    let content = b"Subject: a\r\n\r\nbody\r\n";
    let line = line(7, content);
    let altered = Arrival::Altered { run: RUN, number: 7 };
    for (index, byte) in content.iter().enumerate() {
        let mut changed = content.to_vec();
        changed[index] = byte ^ 1;
        assert_eq!(arrival(&[&line, &changed[..]].concat()), altered, "octet {index}");
        assert_eq!(arrival(&[&line, &content[..index]].concat()), altered, "cut after {index}");
    }
    assert_eq!(arrival(&[&line, &content[..], b"\r\n"].concat()), altered, "one line more");
    assert_eq!(arrival(&[&line, &b"X: y\r\n"[..], content].concat()), altered, "one header more");
}

#[test]
fn only_a_whole_line_in_the_header_section_counts() {
    let line = line(1, b"");
    let text = str::from_utf8(&line).unwrap();
    for message in [
        String::new(),
        "\r\n".to_owned() + text,
        "a: b\r\n\r\n".to_owned() + text,
        " ".to_owned() + text,
        text.trim_end().to_owned(),
        text.replace("\r\n", "\n"),
        text.replace(" 1 ", " -1 "),
        text.replace(" 1 ", " +1 "),
        text.replace(" 1 ", " 99999999999999999999 "),
        text.replace(" 1 ", "  "),
        text.replace("\r\n", " 1\r\n"),
        text.replace("v1", "v2"),
        text.to_uppercase(),
    ] {
        assert_eq!(arrival(message.as_bytes()), Arrival::Unmarked, "{message:?}");
    }
}

/// Numbers 0 to 9 acknowledged, 10 in doubt, 11 refused; and what arrived.
fn verdict(arrivals: impl IntoIterator<Item = Arrival>) -> Verdict {
    let sent = Sent {
        acknowledged: (0..10).collect(),
        in_doubt: [10].into_iter().collect(),
        refused: [11].into_iter().collect(),
    };
    let mut received = Received::default();
    arrivals.into_iter().for_each(|arrival| received.count(arrival));
    // By way of JSON, as from a sink elsewhere.
    let received = serde_json::from_str(&serde_json::to_string(&received).unwrap()).unwrap();
    Verdict::new(RUN, &sent, &received)
}

fn intact(number: u64) -> Arrival {
    Arrival::Intact { run: RUN, number }
}

#[test]
fn losses_doubles_and_changes_are_found() {
    let clean = Verdict { acknowledged: 10, in_doubt: 1, arrived: 10, ..Verdict::default() };
    let other = Arrival::Intact { run: Run(1), number: 3 };
    assert_eq!(verdict((0..10).map(intact).chain([Arrival::Unmarked, other])), clean);
    assert!(clean.holds());
    let cases: [(&str, Vec<Arrival>, Verdict); 6] = [
        ("lost", (1..10).map(intact).collect(), Verdict { arrived: 9, lost: 1, ..clean }),
        ("doubled", (0..10).map(intact).chain([intact(4); 2]).collect(), Verdict { doubled: 1, ..clean }),
        (
            "altered",
            (0..9).map(intact).chain([Arrival::Altered { run: RUN, number: 9 }]).collect(),
            Verdict { altered: 1, ..clean },
        ),
        (
            "refused",
            (0..10).map(intact).chain([intact(11)]).collect(),
            Verdict { arrived: 11, refused_arrived: 1, ..clean },
        ),
        ("unknown", (0..10).map(intact).chain([intact(12)]).collect(), Verdict { arrived: 11, unknown: 1, ..clean }),
        ("nothing", vec![], Verdict { arrived: 0, lost: 10, ..clean }),
    ];
    for (name, arrivals, expected) in cases {
        let found = verdict(arrivals);
        assert_eq!(found, expected, "{name}");
        assert!(!found.holds(), "{name}");
    }
    let doubt = verdict((0..11).map(intact));
    assert_eq!(doubt, Verdict { arrived: 11, in_doubt_arrived: 1, ..clean });
    assert!(doubt.holds(), "who was left in doubt may have been heard");
}

#[test]
fn sinks_are_added_up() {
    let mut one = Received::default();
    let mut two = Received::default();
    (0..6).for_each(|number| one.count(intact(number)));
    (5..10).for_each(|number| two.count(intact(number)));
    two.count(Arrival::Unmarked);
    one.merge(&two);
    let seen = &one.runs[&RUN];
    assert_eq!((seen.numbers.len(), seen.doubled.iter().collect::<Vec<_>>(), one.unmarked), (10, vec![5], 1));
}
