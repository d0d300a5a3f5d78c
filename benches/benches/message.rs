//! The message: its rope, the passes over its content, edits, its form on the wire.

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use mailweir::message::{Budget, Framing, Incoming, Message};
use mailweir::verdict::Edit;
use mailweir_benches::harness::{self, Harness, finish};
use mailweir_benches::sample;

/// What the session reads at once.
const READ: usize = 64 * 1024;

fn main() {
    Harness::main(&[rope, wire, passes, decoding, edits]);
}

/// The samples of each bench.
fn samples() -> [(&'static str, Bytes); 4] {
    [
        ("plain-4KiB", sample::plain(4096)),
        ("plain-1MiB", sample::plain(1 << 20)),
        ("multipart-4KiB", sample::multipart(4096)),
        ("multipart-64KiB", sample::multipart(65_536)),
    ]
}

/// The content as DATA brings it, without the final dot.
fn received(message: &Bytes) -> Bytes {
    let wire = sample::on_the_wire(message);
    wire.slice(..wire.len() - b".\r\n".len())
}

async fn receive(budget: &Budget, wire: &Bytes, read: usize) -> Message {
    let mut incoming = Incoming::new(budget, Framing::DotStuffed, sample::limits());
    let mut rest = wire.clone();
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(read));
        incoming.push(chunk).await.expect("the budget is large");
    }
    incoming.finish().expect("samples are within the caps")
}

fn budget() -> Budget {
    Budget::new(1 << 30, 1 << 30, Path::new("/nonexistent"))
}

/// Chunks pushed into the rope, the end of the header section found, and the message made.
fn rope(harness: &mut Harness) {
    let runtime = harness::runtime();
    let budget = budget();
    harness.group("receive");
    for (name, message) in samples() {
        let wire = received(&message);
        harness.bytes(wire.len());
        harness.case(name, || finish(&runtime, receive(&budget, &wire, READ)));
    }
    let wire = received(&sample::plain(1 << 20));
    harness.case("plain-1MiB/4096", || finish(&runtime, receive(&budget, &wire, 4096)));
}

/// The pieces that are written to an upstream, by DATA as it came, and by BDAT.
fn wire(harness: &mut Harness) {
    let runtime = harness::runtime();
    let budget = budget();
    harness.group("wire");
    for (name, bytes) in samples() {
        let message = finish(&runtime, receive(&budget, &received(&bytes), READ));
        for framing in [Framing::DotStuffed, Framing::Plain] {
            harness.case(&format!("{framing:?}/{name}"), || {
                black_box(&message).wire(framing).map(|piece| piece.map_or(0, |piece| piece.len())).sum::<usize>()
            });
        }
    }
}

/// What filters may ask for: each pass over a message that has not been looked at yet.
fn passes(harness: &mut Harness) {
    harness.group("pass");
    for (name, bytes) in samples() {
        harness.bytes(bytes.len());
        let fresh = || sample::message(&bytes);
        harness.case_on(&format!("mime/{name}"), fresh, |message| message.mime().map(drop));
        let parsed = || {
            let message = fresh();
            message.mime().expect("samples are within the caps");
            message
        };
        harness.case_on(&format!("urls-after-mime/{name}"), parsed, |message| message.urls().map(drop));
        harness.case_on(&format!("text-after-mime/{name}"), parsed, |message| message.text_units().map(drop));
    }
}

/// A message's text, decoded, its MIME structure included.
fn decoding(harness: &mut Harness) {
    harness.group("text");
    for (name, bytes) in [
        ("utf-8", sample::plain(65_536)),
        ("quoted-printable-latin1", sample::quoted_printable(65_536)),
        ("base64-koi8", sample::base64(65_536)),
    ] {
        harness.bytes(bytes.len());
        let fresh = || sample::message(&bytes);
        harness.case_on(&format!("{name}-64KiB"), fresh, |message| message.text_units().map(drop));
    }
}

fn edits(harness: &mut Harness) {
    let edits = [
        Edit::AddHeader { name: "X-Hello".to_owned(), value: b"Good day".to_vec() },
        Edit::ReplaceHeader { name: "Subject".to_owned(), occurrence: 0, value: b"[checked] figures".to_vec() },
        Edit::RemoveHeader { name: "Received".to_owned(), occurrence: 1 },
    ];
    harness.group("edit");
    for (name, bytes) in samples() {
        let message = sample::message(&bytes);
        for count in [1, edits.len()] {
            harness.case(&format!("{count}-header/{name}"), || black_box(&message).edited(&edits[..count]));
        }
    }
}
