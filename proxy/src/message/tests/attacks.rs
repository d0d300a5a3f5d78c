//! Messages made to cost, or to hide.

use std::time::{Duration, Instant};

use super::*;

/// Far more than any of it takes, even unoptimised on a busy machine; far less than anything that is not linear.
const BOUND: Duration = Duration::from_secs(20);

fn within_bounds<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    assert!(begun.elapsed() < BOUND, "{name} took {:?}", begun.elapsed());
    result
}

fn mime(bytes: Vec<u8>) -> Result<Arc<Mime>, MessageFault> {
    Message::from_bytes(bytes.into(), LIMITS)?.mime()
}

fn everything(name: &str, bytes: Vec<u8>) -> Result<Vec<String>, MessageFault> {
    within_bounds(name, || {
        let message = Message::from_bytes(bytes.into(), LIMITS)?;
        message.urls()?;
        Ok(message.text_units()?.iter().map(|unit| unit.text.as_str().to_owned()).collect())
    })
}

#[test]
fn bombs_are_refused_soon() {
    let nested: String =
        (0..10_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
    assert!(matches!(everything("nested", nested.into_bytes()), Err(MessageFault::TooDeep(_))));

    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    assert!(matches!(everything("messages", nested.into_bytes()), Err(MessageFault::TooDeep(_))));

    let quoted = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".repeat(10_000);
    assert!(matches!(everything("encoded messages", quoted.into_bytes()), Err(MessageFault::TooDeep(_))));

    let parts = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\n".repeat(1_000_000));
    assert!(matches!(everything("parts", parts.into_bytes()), Err(MessageFault::TooManyParts(_))));

    let parameters = format!("Content-Type: text/plain{}\r\n\r\n", ";a=b".repeat(50_000));
    assert!(matches!(everything("parameters", parameters.into_bytes()), Err(MessageFault::TooManyParameters(_))));

    let line = format!("Subject: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(matches!(everything("long field", line.into_bytes()), Err(MessageFault::HeaderTooLarge(_))));

    let fields = "A: b\r\n".repeat(100_000);
    assert!(matches!(everything("fields", fields.into_bytes()), Err(MessageFault::TooManyFields(_))));

    let in_part = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{}", "A: b\r\n".repeat(100_000));
    assert!(matches!(everything("fields of a part", in_part.into_bytes()), Err(MessageFault::TooManyFields(_))));
}

#[test]
fn nothing_is_kept_of_a_message_whose_header_section_is_too_large() {
    let budget = Budget::new(1 << 30, 0, &std::env::temp_dir());
    let mut incoming = Incoming::new(&budget, Framing::DotStuffed, LIMITS);
    let runtime = runtime();
    for _ in 0..100 {
        runtime.block_on(incoming.push(Bytes::from("A: b\r\n".repeat(1000)))).unwrap();
    }
    assert_eq!(budget.in_memory(), 0);
    assert!(matches!(incoming.headers(), Some(Err(MessageFault::TooManyFields(_)))));
    assert!(matches!(incoming.finish(), Err(MessageFault::TooManyFields(_))));
}

#[test]
fn what_is_costly_elsewhere() {
    let comments =
        format!("Content-Type: text/plain {}\r\nSubject: {}\r\n\r\n", "(".repeat(50_000), "=?a?q?".repeat(20_000));
    everything("nested comments", comments.into_bytes()).unwrap();

    let many = |part: &str, count: usize| {
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", format!("--b\r\n{part}\r\n").repeat(count))
    };
    // Each of them a multipart whose boundary is nowhere.
    let missing = many("Content-Type: multipart/mixed; boundary=x\r\n\r\n--y", 900) + &"--z\r\n".repeat(1_000_000);
    everything("missing boundaries", missing.into_bytes()).unwrap();

    // The inner multiparts have the boundary of the outer one.
    let cyclic = many("Content-Type: multipart/mixed; boundary=b\r\n", 50);
    everything("cyclic boundaries", cyclic.into_bytes()).unwrap();

    let dashes = format!(
        "Content-Type: multipart/mixed; boundary={0}\r\n\r\n{1}",
        "-".repeat(60),
        format!("{}x\r\n", "-".repeat(70)).repeat(100_000)
    );
    everything("dashes", dashes.into_bytes()).unwrap();

    let base64 = many("Content-Transfer-Encoding: base64\r\n\r\n!", 900) + &"=".repeat(4_000_000);
    everything("base64", base64.into_bytes()).unwrap();

    let quoted = format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{}", "=".repeat(4_000_000));
    everything("quoted-printable", quoted.into_bytes()).unwrap();

    // Outside the parts, with delimiters in it.
    let outside = many("\r\nx", 1) + "--b--\r\n" + &"y\r\n--b--\r\n".repeat(200_000);
    everything("closing delimiters", outside.clone().into_bytes()).unwrap();
    let strays: usize = mime(outside.into_bytes()).unwrap().parts().iter().map(|part| part.strays().count()).sum();
    assert_eq!(strays, 1);

    let dots = stuffed(&b".\r\n".repeat(1_000_000));
    within_bounds("dots", || {
        let budget = Budget::new(1 << 30, 0, &std::env::temp_dir());
        let mut incoming = Incoming::new(&budget, Framing::DotStuffed, LIMITS);
        runtime().block_on(incoming.push(dots.into())).unwrap();
        let message = incoming.finish().unwrap();
        let size = message.size();
        let mut read = 0;
        while read < size {
            read += message.read(read, 64 * 1024).unwrap().len() as u64;
        }
        assert_eq!(joined(message.chunks()).len() as u64, size);
    });
}

/// Messages that show "evil.example" to some client; and where it has to be found.
#[test]
fn nothing_is_hidden() {
    let multipart = |body: &str| format!("Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n{body}");
    for (name, message) in [
        ("a boundary in the middle of a line", multipart("--b\r\n\r\nsee --b\r\nevil.example\r\n--b--\r\n")),
        ("a boundary that begins another", multipart("--b\r\n\r\n--bc\r\nX: evil.example\r\n\r\n--b--\r\n")),
        ("after the closing delimiter", multipart("--b\r\n\r\n--b--\r\n--b\r\n\r\nevil.example\r\n")),
        ("no closing delimiter", multipart("--b\r\n\r\nevil.example")),
        ("no empty line in a part", multipart("--b\r\nevil.example is here\r\n--b--\r\n")),
        (
            "a line that is no field, and then a type",
            multipart("--b\r\njunk\r\nContent-Type: image/png\r\n\r\nevil.example\r\n--b--\r\n"),
        ),
        (
            "a line that is no field, and then an encoding",
            multipart("--b\r\njunk\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n--b--\r\n"),
        ),
        ("white space after the boundary", multipart("--b \t\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n")),
        (
            "no boundary declared",
            "Content-Type: multipart/mixed\r\n\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n--x--\r\n".to_owned(),
        ),
        ("the boundary is nowhere", multipart("evil.example\r\n")),
        ("no MIME-Version, odd case", "CONTENT-type: TEXT/HTML\r\n\r\n<a href=http://evil.example>".to_owned()),
        (
            "base64 with stray bytes",
            "Content-Transfer-Encoding: base64\r\n\r\nZX!ZpbC\r\n 5le--GFtc*Gxl".to_owned(),
        ),
        ("UTF-7", "Content-Type: text/plain; charset=utf-7\r\n\r\nevil+AC4-example\r\n".to_owned()),
        (
            "an encoded attached message",
            format!(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
                "Q29udGVudC1UcmFuc2Zlci1FbmNvZGluZzogcXVvdGVkLXByaW50YWJsZQ0KDQpldmlsPTJFZXhhbXBsZQ=="
            ),
        ),
        (
            "a digest",
            "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n".to_owned(),
        ),
        (
            "an HTML file of no declared type",
            "Content-Type: application/octet-stream; name=a.HTM\r\n\r\n<a href=\"//evil.example\">x</a>".to_owned(),
        ),
        (
            "two types, the last one text",
            multipart("--b\r\nContent-Type: image/png\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n"),
        ),
        (
            "two types, the first one a multipart",
            multipart("--b\r\nContent-Type: multipart/mixed; boundary=c\r\nContent-Type: text/plain\r\n\r\nevil.example\r\n--c\r\n"),
        ),
        (
            "two encodings",
            multipart("--b\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n"),
        ),
        (
            "two encodings, neither meant",
            multipart("--b\r\nContent-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\nevil.example\r\n"),
        ),
        ("a charset that it is not in", "Content-Type: text/plain; charset=utf-16\r\n\r\nevil.example\r\n".to_owned()),
        ("before the first part", multipart("see evil.example\r\n--b\r\n\r\n--b--\r\n")),
        ("before the first part of an inner multipart", multipart("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nevil.example\r\n--c\r\n\r\n--c--\r\n--b--\r\n")),
        ("after the last part", multipart("--b\r\n\r\n--b--\r\nsee evil.example\r\n")),
        ("between inner and outer", multipart("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n--c--\r\nevil.example\r\n--b--\r\n")),
        ("the same boundary within", multipart("--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n--b--\r\n--b--\r\n")),
        (
            "an uuencoded file without a name for it",
            format!("Subject: a\r\n\r\n{}", decode::tests::uuencoded("x", b"evil.example")),
        ),
        (
            "an uuencoded part, and text beside it",
            "Content-Transfer-Encoding: x-uuencode\r\n\r\nevil.example\r\nbegin 644 a\r\n`\r\nend\r\n".to_owned(),
        ),
        ("no header section", "evil.example\r\n".to_owned()),
        ("a header section cut off", "A: b\r\nvisit evil.example\r\n".to_owned()),
    ] {
        let message = Message::from_bytes(message.into(), LIMITS).unwrap();
        let urls = message.urls().unwrap();
        assert!(urls.iter().any(|url| url.host == "evil.example"), "{name}: {urls:?}");
    }
}

/// Content in base64 that only somebody who reads the message in another way than most gets at.
#[test]
fn every_reading_is_given() {
    const ENCODED: &str = "Content-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n";
    let part = |content_type: &str, boundary: &str| {
        let type_field = format!("MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n");
        format!("{type_field}preamble\r\n--{boundary}\r\n{ENCODED}--{boundary}--\r\n")
    };
    let in_part = |fields: &str, body: &str| {
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{fields}\r\n\r\n{body}\r\n--b--\r\n")
    };
    let in_two = |first: &str, second: &str| {
        format!(
            "Content-Type: multipart/mixed; {first}; {second}\r\n\r\n--one\r\n{ENCODED}--two\r\n\r\nnothing\r\n--one--\r\n"
        )
    };
    let decoy = |boundary: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5l\r\n--_\r\neGFtcGxl\r\n--b--\r\n"
        )
    };
    let mut missed = Vec::new();
    for (name, message) in [
        ("boundary in quotes", part("multipart/mixed; boundary=\"b b\"", "b b")),
        ("boundary with blanks at its end", part("multipart/mixed; boundary=\"b  \"", "b")),
        ("boundary with an escape, resolved", part("multipart/mixed; boundary=\"b\\\\c\"", "b\\c")),
        ("boundary with an escape, not resolved", part("multipart/mixed; boundary=\"b\\c\"", "b\\c")),
        ("boundary with quotes, taken as they stand", part("multipart/mixed; boundary=\"b\"", "\"b\"")),
        ("boundary with a quote within", part("multipart/mixed; boundary=b\"c", "b\"c")),
        ("boundary and a comment", part("multipart/mixed; boundary=b(c)", "b")),
        ("boundary that has what looks like one", part("multipart/mixed; boundary=b(c)", "b(c)")),
        ("boundary after a comment", part("multipart/mixed (boundary=a); boundary=b", "b")),
        ("boundary in a comment", part("multipart/mixed (;boundary=b)", "b")),
        ("boundary with a blank, unquoted", part("multipart/mixed; boundary=b c", "b c")),
        ("boundary in pieces", part("multipart/mixed; boundary*0=\"b\"; boundary*1=\"c\"", "bc")),
        ("boundary in pieces, the first counts", part("multipart/mixed; boundary*0=\"b\"; boundary*1=\"c\"", "b")),
        ("boundary with a charset", part("multipart/mixed; boundary*=utf-8''b%20c", "b c")),
        ("blanks around the equals sign", part("multipart/mixed; boundary = b", "b")),
        ("an empty boundary", part("multipart/mixed; boundary=\"\"", "")),
        ("folded oddly", part("\r\n multipart/mixed\r\n\t;\r\n boundary\r\n =b", "b")),
        ("long boundary", part(&format!("multipart/mixed; boundary={}", "x".repeat(300)), &"x".repeat(300))),
        ("two boundaries, the first counts", decoy("b; boundary=_")),
        ("two boundaries, the last counts", decoy("_; boundary=b")),
        ("two boundaries in one part", in_two("boundary=one", "boundary=two")),
        ("a delimiter goes on", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--bcd\r\nContent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n--b--\r\n".to_owned()),
        ("an encoding before a line that is no field", in_part("Content-Transfer-Encoding: base64\r\njunk", "ZXZpbC5leGFtcGxl")),
        (
            "a multipart before a line that is no field",
            in_part("Content-Type: multipart/mixed; boundary=c\r\njunk\r\nContent-Type: text/plain", &format!("--c\r\n{ENCODED}--c--")),
        ),
        ("two encodings", in_part("Content-Transfer-Encoding: quoted-printable\r\nContent-Transfer-Encoding: base64", "ZXZpbC5leGFtcGxl")),
        ("an encoding misspelt", in_part("Content-Transfer-Encoding: bas64", "c2VlIGV2aWwuZXhhbXBsZSBub3c=")),
        ("an encoding misspelt, quoted", in_part("Content-Transfer-Encoding: quoted", "evil=2Eexam=\r\nple")),
        ("base64 that goes on after padding", in_part("Content-Transfer-Encoding: base64", "ZXZpbA==LmV4YW1wbGU=")),
        ("base64 whose padding is junk", in_part("Content-Transfer-Encoding: base64", "ZXZpbC5=leGFtcGxl")),
        ("base64 that is not", in_part("Content-Transfer-Encoding: base64", "see evil.example!")),
        ("base64 of the other alphabet", in_part("Content-Transfer-Encoding: base64", "Pz4_IGV2aWwuZXhhbXBsZSA_Pg-_")),
        ("base64 with NULs", in_part("Content-Transfer-Encoding: base64", "ZXZpb\0C5leGFtcG\0xl")),
        (
            "a multipart that is encoded",
            "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n--b=\r\n\r\n=43ontent-Transfer-Encoding: base64\r\n\r\nZXZpbC5leGFtcGxl\r\n--b--\r\n".to_owned(),
        ),
        (
            "a message said to be encoded",
            in_part("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", ENCODED),
        ),
        ("a global message", in_part("Content-Type: message/global", ENCODED)),
        ("a fragment of a message", in_part("Content-Type: message/partial; number=1; total=1; id=x", ENCODED)),
        ("a body elsewhere", in_part("Content-Type: message/external-body; access-type=URL; URL=\"http://evil.example/\"", "Content-Type: text/plain\r\n")),
    ] {
        let message = Message::from_bytes(message.into(), LIMITS).unwrap();
        let urls = message.urls().unwrap();
        if !urls.iter().any(|url| url.host == "evil.example") {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_file_that_does_not_say_that_it_is_encoded() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/x-strange\r\n\r\n\
                   c2VlIGV2aWwuZXhhbXBsZSBub3c=\r\n--b--\r\n";
    let mime = mime(message.as_bytes().to_vec()).unwrap();
    let last = mime.parts().last().unwrap();
    assert_eq!((last.origin(), &last.body().unwrap()[..]), (Origin::Reading, &b"see evil.example now"[..]));
    assert_eq!(mime.marks(), [Mark::Ambiguous]);
}

#[test]
fn ordinary_messages_are_read_in_one_way() {
    let message = concat!(
        "Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n\r\nThis is a message in several parts.\r\n",
        "--=_outer\r\nContent-Type: multipart/alternative; boundary=\"=_outer_inner\"\r\n\r\n",
        "--=_outer_inner\r\n\r\nplain\r\n--=_outer_inner--\r\n--=_outer\r\nContent-Type: image/png\r\n",
        "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--=_outer--\r\n",
    );
    let mime = mime(message.as_bytes().to_vec()).unwrap();
    assert_eq!((mime.parts().len(), mime.marks()), (4, &[][..]));
}

#[test]
fn a_digest_of_many_is_read_in_one_way() {
    let many: String = (0..300)
        .map(|n| {
            format!("--b\r\nContent-Type: multipart/mixed; boundary=\"a{n}\"\r\n\r\n--a{n}\r\n\r\nx\r\n--a{n}--\r\n")
        })
        .collect();
    let message = format!("Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n{many}--b--\r\n");
    let mime = mime(message.into_bytes()).unwrap();
    assert_eq!((mime.parts().len(), mime.marks()), (601, &[][..]));
}

#[test]
fn readings_are_bounded() {
    let many: String = (0..100)
        .map(|n| {
            format!(
                "--b\r\nContent-Type: multipart/mixed; boundary=a{n}; boundary=c{n}\r\n\r\n--a{n}\r\n\r\n--c{n}\r\n\r\n"
            )
        })
        .collect();
    let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{many}--b--\r\n");
    assert!(matches!(everything("readings", message.into_bytes()), Err(MessageFault::TooAmbiguous(_))));
}

#[test]
fn the_tree() {
    let message = concat!(
        "Content-Type: multipart/mixed; boundary=outer\r\n\r\npreamble\r\n",
        "--outer\r\nContent-Type: multipart/alternative; boundary=outer-inner\r\n\r\n",
        "--outer-inner\r\n\r\nplain\r\n--outer-inner\r\nContent-Type: text/html\r\n\r\n<p>html\r\n--outer-inner--\r\n",
        "--outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nattached\r\n",
        "--outer\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment\r\n",
        "Content-Transfer-Encoding: base64\r\n\r\n//8=\r\n--outer--\r\nepilogue\r\n",
    );
    let mime = mime(message.as_bytes().to_vec()).unwrap();
    let parts: Vec<_> =
        mime.parts().iter().map(|part| (part.parent(), part.content_type(), part.size(), part.is_text())).collect();
    assert_eq!(
        parts,
        [
            (None, "multipart/mixed", 0, false),
            (Some(0), "multipart/alternative", 0, false),
            (Some(1), "text/plain", 5, true),
            (Some(1), "text/html", 7, true),
            (Some(0), "message/rfc822", 26, false),
            (Some(4), "text/plain", 8, true),
            (Some(0), "application/pdf", 2, false),
        ]
    );
    let file = &mime.parts()[6];
    assert_eq!((file.name(), file.disposition()), (Some("a.pdf"), Disposition::Attachment));
    assert_eq!(&file.body().unwrap()[..], b"\xff\xff");
}

const SHREDS: [&[u8]; 44] = [
    b"http://",
    b"https:\\/\\/",
    b"http:\\\\",
    b".",
    b":",
    b"/",
    b"\\",
    b"@",
    b"?u=",
    b"%",
    b"%2e",
    b"a",
    b"xn--",
    b"com",
    b"1",
    "\u{e9}".as_bytes(),
    "\u{4f8b}".as_bytes(),
    "\u{200b}".as_bytes(),
    "\u{3002}".as_bytes(),
    b"\xff",
    b"\xe2\x82",
    b"\0",
    b"<a href=",
    b"<style>",
    b"url(",
    b"@import",
    b"<script>",
    b"srcset=",
    b"<!--",
    b"-->",
    b"<meta content=",
    b">",
    b"'",
    b"\"",
    b"&#",
    b"&amp",
    b"=",
    b"=?utf-8?q?",
    b"\r\n",
    b"--b\r\n",
    b"Content-Type: text/html; charset=",
    b"utf-16",
    b" ",
    b";",
];

proptest::proptest! {
    #[test]
    fn nothing_panics(
        kind in 0usize..6,
        shreds in proptest::collection::vec(proptest::sample::select(SHREDS.to_vec()), 0..60),
    ) {
        let header: &[u8] = [
            b"".as_slice(),
            b"Content-Type: text/html\r\n\r\n",
            b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
            b"Content-Transfer-Encoding: base64\r\n\r\n",
            b"Subject: ",
        ][kind];
        let message = message([header, &shreds.concat()].concat());
        message.urls().unwrap();
        message.text_units().unwrap();
        let set = scan::PatternSet::compile(&["a".to_owned(), "\u{e9}a".to_owned()], scan::PatternOptions {
            case_insensitive: true,
            whole_word: true,
            regex: false,
        }).unwrap();
        for scope in [scan::Scope::Raw, scan::Scope::Headers, scan::Scope::Text] {
            scan::find(&message, scope, &set, 10).unwrap();
        }
        for part in message.mime().unwrap().parts() {
            assert_eq!(part.size(), part.body().unwrap().len() as u64);
        }
    }
}
