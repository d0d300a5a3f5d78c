//! What attachments hold: found, named, and bounded.

use base64::Engine as _;

use super::*;
use crate::config::Excess;
use crate::message::decode::tests::{Entry, attribute, gzip, tar, tnef, uuencoded, zip};

const URL: &[u8] = b"see http://evil.example/ there";

fn attached(name: &str, content: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(content);
    let lines: Vec<&str> = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: \
         application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        lines.join("\r\n")
    )
}

fn hosts(message: &Message) -> Vec<String> {
    message.urls().unwrap().iter().map(|url| url.host.clone()).collect()
}

#[tokio::test]
async fn what_may_hold_much_is_looked_into_in_a_thread_of_its_own() {
    let here = std::thread::current().id();
    let message = |lines| message(format!("Subject: a\r\n\r\n{}", "text\r\n".repeat(lines)));
    let thread = |message: Message| async move { message.work(|_| std::thread::current().id()).await.unwrap() };
    assert_eq!(thread(message(400)).await, here);
    let perhaps_packed = message(4000);
    assert_ne!(thread(perhaps_packed.clone()).await, here);
    perhaps_packed.mime().unwrap();
    assert_eq!(thread(perhaps_packed).await, here, "it is known to hold nothing more");
    assert_ne!(thread(message(40_000)).await, here);
}

fn document(text: &str, relations: &str) -> Vec<u8> {
    zip(&[
        Entry::deflated("[Content_Types].xml", b"<Types xmlns='http://schemas.openxmlformats.org/x'/>"),
        Entry::deflated("word/document.xml", text.as_bytes()),
        Entry::deflated("word/_rels/document.xml.rels", relations.as_bytes()),
    ])
}

#[test]
fn urls_in_what_is_unpacked() {
    let in_zip = zip(&[Entry::deflated("a.txt", URL)]);
    let no_name = zip(&[Entry::deflated("no suffix", URL)]);
    let mail = [b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", URL].concat();
    for (name, content) in [
        ("a.zip", in_zip.clone()),
        ("a.ZIP", [b"MZ something before it", &in_zip[..]].concat()),
        ("a.zip", no_name),
        ("a.txt.gz", gzip(None, URL)),
        ("a.tar", tar(&[("a.txt", URL)])),
        ("a.tgz", gzip(None, &tar(&[("a.txt", URL)]))),
        ("a.zip", zip(&[Entry::stored("b.zip", &in_zip)])),
        ("a.zip", zip(&[Entry::deflated("b.tar.gz", &gzip(None, &tar(&[("c.zip", &in_zip)])))])),
        ("a.zip", zip(&[Entry::deflated("mail.eml", &mail)])),
        ("a.zip", zip(&[Entry::deflated("mail.eml", attached("b.zip", &in_zip).as_bytes())])),
        ("winmail.dat", tnef(&[attribute(1, 0x800c, URL)])),
        ("winmail.dat", tnef(&[attribute(2, 0x8010, b"a.zip\0"), attribute(2, 0x800f, &in_zip)])),
        ("a.bin", in_zip.clone()),
        ("a.txt", uuencoded("b.zip", &in_zip).into_bytes()),
    ] {
        assert!(hosts(&message(attached(name, &content))).contains(&"evil.example".to_owned()), "{name}");
    }
    let text = format!("hello\r\n\r\n{}", uuencoded("archive", &in_zip));
    assert_eq!(hosts(&message(format!("Subject: a\r\n\r\n{text}"))), ["evil.example"]);
}

#[test]
fn uuencoded_outside_of_the_parts() {
    let text = uuencoded("archive", &zip(&[Entry::deflated("a.txt", URL)]));
    let preamble = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{text}--b\r\n\r\nx\r\n--b--\r\n");
    let epilogue = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n{text}");
    for message in [preamble, epilogue] {
        assert_eq!(hosts(&super::message(message)), ["evil.example"]);
    }
}

proptest::proptest! {
    /// However the bytes arrive, and wherever they are kept.
    #[test]
    fn any_chunking_gives_the_same_parts(size in 1usize..4000, memory in proptest::sample::select(vec![1u64 << 30, 20_000])) {
        let long: Vec<u8> = (0..15_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let inner = zip(&[Entry::deflated("a.txt", URL), Entry { is_described: true, ..Entry::stored("b", &long) }]);
        let bytes = attached("outer.tgz", &gzip(None, &tar(&[("inner.zip", &inner)])));
        let expected = parts_of(&message(bytes.clone()));
        let budget = Budget::new(memory, 1 << 30, &std::env::temp_dir());
        let mut incoming = Incoming::new(&budget, Framing::DotStuffed, LIMITS);
        for chunk in stuffed(bytes.as_bytes()).chunks(size) {
            runtime().block_on(incoming.push(Bytes::copy_from_slice(chunk))).unwrap();
        }
        let received = incoming.finish().unwrap();
        proptest::prop_assert_eq!(parts_of(&received), expected);
        drop(received);
        proptest::prop_assert_eq!((budget.in_memory(), budget.spilled()), (0, 0));
    }
}

fn parts_of(message: &Message) -> Vec<(Option<u32>, String, Bytes)> {
    let mime = message.mime().unwrap();
    let shown = |part: &Part| (part.parent(), part.content_type().to_owned(), part.body().unwrap());
    // Copies, so that nothing of the message is held.
    mime.parts().iter().map(shown).map(|(parent, kind, body)| (parent, kind, Bytes::copy_from_slice(&body))).collect()
}

#[test]
fn nothing_is_unpacked_for_those_who_do_not_look() {
    let message = message(attached("zeros.gz", &gzip(None, &vec![0; 1 << 20]).repeat(200)));
    assert!(
        message.header_text("Content-Type").len() == 1 && message.contiguous().is_ok() && message.marks().is_empty()
    );
    assert!(message.mime().is_err());
}

#[test]
fn text_of_office_documents() {
    let text = "<?xml version='1.0'?><w:document xmlns:w='http://schemas.openxmlformats.org/w'><w:p><w:r><w:t>confi</w:t>\
                </w:r><w:r><w:t>dential &amp; more</w:t></w:r></w:p><w:p><w:t>next</w:t></w:p></w:document>";
    let link = "<Relationships><Relationship Id='1' Target='https://evil.example/x' TargetMode='External'/>\
                <Relationship Target='media/image1.png'/></Relationships>";
    let message = message(attached("a.docx", &document(text, link)));
    let texts: Vec<String> = message.text_units().unwrap().iter().map(|unit| unit.text.as_str().to_owned()).collect();
    assert!(texts.contains(&"confidential & more\nnext".to_owned()), "{texts:?}");
    assert_eq!(hosts(&message), ["evil.example"]);
}

#[test]
fn where_parts_come_from() {
    let inner = zip(&[Entry::stored("dir/a.txt", b"one"), Entry { flags: 1, ..Entry::stored("b.exe", b"two") }]);
    let message = message(attached("outer.tar.gz", &gzip(None, &tar(&[("inner.zip", &inner)]))));
    let mime = message.mime().unwrap();
    let shown =
        |part: &Part| (part.parent(), part.name().map(str::to_owned), part.content_type().to_owned(), part.size());
    let parts: Vec<_> = mime.parts().iter().skip(3).map(shown).collect();
    let expected = [
        (2, "outer.tar", "application/x-tar", 2048),
        (3, "inner.zip", "application/zip", inner.len() as u64),
        (4, "dir/a.txt", "text/plain", 3),
        (4, "b.exe", "application/x-encrypted", 3),
    ];
    let expected =
        expected.map(|(parent, name, kind, size)| (Some(parent), Some(name.to_owned()), kind.to_owned(), size));
    assert_eq!(parts, expected);
    assert!(mime.parts()[3..].iter().all(|part| part.origin() == Origin::Unpacked));
    assert_eq!(mime.marks(), [Mark::Encrypted]);
}

fn limited(decoding: DecodingLimits, message: String) -> Result<Arc<Mime>, MessageFault> {
    Message::from_bytes(message.into(), MessageLimits { decoding, ..LIMITS })?.mime()
}

#[test]
fn bombs_are_refused_or_tagged() {
    let mut nested = zip(&[Entry::stored("a.txt", URL)]);
    for _ in 0..20 {
        nested = zip(&[Entry::deflated("again.zip", &nested)]);
    }
    let zeros = gzip(None, &vec![0; 1 << 20]).repeat(200);
    // As 42.zip is made: sixteen of them in each, and in the end a large file.
    let mut sixteen = zip(&[Entry::deflated("0.dll", &vec![0; 4 << 20])]);
    for _ in 0..3 {
        let copies: Vec<_> = (0..16).map(|_| Entry::deflated("lib.zip", &sixteen)).collect();
        sixteen = zip(&copies);
    }
    for (name, content) in [("deep.zip", nested), ("zeros.gz", zeros), ("42.zip", sixteen)] {
        let bomb = attached(name, &content);
        let fault = limited(DecodingLimits::DEFAULT, bomb.clone()).unwrap_err();
        assert!(matches!(fault, MessageFault::Decoding(_)), "{name}: {fault}");
        let reply = fault.reply().to_string();
        assert!(
            reply.starts_with("554 5.7.1 Message refused: an attachment cannot be unpacked within limits"),
            "{reply}"
        );
        let tagged = limited(DecodingLimits { excess: Excess::Tag, ..DecodingLimits::DEFAULT }, bomb).unwrap();
        assert!(tagged.marks().contains(&Mark::Excess), "{name}");
        assert!(tagged.unpacked() <= DecodingLimits::DEFAULT.size);
    }
}

#[test]
fn what_is_unpacked_is_counted_and_given_back() {
    let budget = Budget::new(1 << 20, 1 << 30, &std::env::temp_dir());
    let content: Vec<u8> = (0..2_000_000u32).flat_map(|n| n.to_string().into_bytes()).take(8 << 20).collect();
    let bytes = attached("a.gz", &gzip(None, &content));
    let mut incoming = Incoming::new(&budget, Framing::Plain, LIMITS);
    runtime().block_on(incoming.push(bytes.into())).unwrap();
    let message = incoming.finish().unwrap();
    let mime = message.mime().unwrap();
    assert_eq!(mime.parts()[3].body().unwrap(), content);
    assert!(budget.in_memory() <= 1 << 20 && budget.spilled() > 8 << 20);
    drop((message, mime));
    assert_eq!((budget.in_memory(), budget.spilled()), (0, 0));
    let none = Budget::new(1 << 20, 1 << 20, &std::env::temp_dir());
    let mut incoming = Incoming::new(&none, Framing::Plain, LIMITS);
    runtime().block_on(incoming.push(attached("a.gz", &gzip(None, &vec![0; 8 << 20])).into())).unwrap();
    let fault = incoming.finish().unwrap().mime().unwrap_err();
    assert!(matches!(fault, MessageFault::Store(StoreError::Full)));
}

/// A message with one file under these fields.
fn with_file(fields: &str, content: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(content);
    format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n{fields}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--b--\r\n"
    )
}

#[test]
fn nothing_is_hidden() {
    let packed = zip(&[Entry::deflated("a.txt", URL)]);
    let after = |first: Vec<u8>| [first, packed.clone()].concat();
    let octets = |name: &str| format!("Content-Type: application/octet-stream; name={name}");
    let named_as_zip = tar(&[("PK\u{3}\u{4}", URL)]);
    let utf16: Vec<u8> = URL.iter().fold(vec![0xff, 0xfe], |mut wide, &byte| {
        wide.extend([byte, 0]);
        wide
    });
    let mail = [b"Content-Transfer-Encoding: base64\r\n\r\n".as_slice(), b"ZXZpbC5leGFtcGxl\r\n"].concat();
    let html = b"<html><a href=//evil.example>x</a>";
    let blank = |content: &[u8]| {
        with_file(&octets("a"), content).replace("base64\r\n", &format!("base64\r\n{}", "\r\n".repeat(5000)))
    };
    let lone = |content: &[u8]| {
        with_file(&octets("a"), content)
            .replace("base64\r\n\r\n", &format!("base64\r\n\r\n{}", " \r\n!".repeat(50_000)))
    };
    let mut missed = Vec::new();
    for (name, message) in [
        ("a line that is no field", with_file(&format!("begin x\r\n{}", octets("a.zip")), &packed)),
        (
            "a line that is no field, in text",
            with_file("begin x\r\nContent-Type: text/plain; name=a.zip", &after(b"MZ".to_vec())),
        ),
        ("blank lines, gzip", blank(&gzip(None, URL))),
        ("blank lines, tar", blank(&tar(&[("a.txt", URL)]))),
        ("blank lines, TNEF", blank(&tnef(&[attribute(1, 0x800c, URL)]))),
        ("junk, gzip", lone(&gzip(None, URL))),
        ("gzip and zip", with_file(&octets("a.zip"), &after(gzip(None, b"x")))),
        ("tar and zip", with_file(&octets("a.zip"), &after(tar(&[("x", b"x")])))),
        ("TNEF and zip", with_file(&octets("a.zip"), &after(tnef(&[attribute(1, 0x8010, b"x")])))),
        ("a tar that begins as a zip", with_file(&octets("a.tar"), &named_as_zip)),
        ("text with a zip in it", with_file("Content-Type: text/plain; name=a.zip", &after(b"MZ".to_vec()))),
        ("a message in no type", with_file(&octets("fwd.eml"), &mail)),
        ("a message in another type", with_file("Content-Type: image/png; name=fwd.EML", &mail)),
        ("HTML in another type", with_file("Content-Type: image/png; name=a.html", html)),
        ("text in no type", with_file(&octets("cards.dat"), URL)),
        ("text in another type", with_file("Content-Type: image/png", URL)),
        ("UTF-16 in no type", with_file(&octets("cards.dat"), &utf16)),
        ("UTF-16 in a zip", with_file(&octets("a.zip"), &zip(&[Entry::deflated("cards.dat", &utf16)]))),
        ("HTML in a zip", with_file(&octets("a.zip"), &zip(&[Entry::deflated("a.xhtml", html)]))),
    ] {
        if !hosts(&super::message(message)).contains(&"evil.example".to_owned()) {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
