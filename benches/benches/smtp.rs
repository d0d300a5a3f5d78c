//! The SMTP machines: lines, commands, replies, and the framing of content.

use std::hint::black_box;

use bytes::BytesMut;
use mailweir_benches::harness::Harness;
use mailweir_benches::sample;
use mailweir_smtp::command::Command;
use mailweir_smtp::data::{DotStuffer, DotUnstuffer};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::line::LineReader;
use mailweir_smtp::reply::{Reply, ReplyParser};
use mailweir_smtp::server::{Event, Server, ServerPolicy};

/// What a server says to EHLO.
const HELLO: &str = "250-mx.receiver.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-STARTTLS\r\n\
    250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";

/// What a client sends before the content.
const ENVELOPE: &[u8] = b"MAIL FROM:<alice@sender.example> SIZE=4096\r\nRCPT TO:<bob@receiver.example>\r\nDATA\r\n";

fn main() {
    Harness::main(&[lines, commands, replies, transactions, stuffing]);
}

fn lines(harness: &mut Harness) {
    harness.group("line");
    let fresh = || (LineReader::new(4096), BytesMut::from(ENVELOPE));
    harness.case_on("three-in-one-read", fresh, |(reader, input)| {
        while let Some(Ok(length)) = reader.find(input) {
            reader.consume(input, length);
        }
    });
    let octets = || (LineReader::new(4096), BytesMut::with_capacity(ENVELOPE.len()));
    harness.case_on("three-octet-by-octet", octets, |(reader, input)| {
        for octet in ENVELOPE {
            input.extend_from_slice(&[*octet]);
            if let Some(Ok(length)) = reader.find(input) {
                reader.consume(input, length);
            }
        }
    });
}

fn commands(harness: &mut Harness) {
    harness.group("command");
    for (name, line) in [
        ("ehlo", &b"EHLO mx1.sender.example"[..]),
        ("mail", b"MAIL FROM:<alice@sender.example> SIZE=4096 BODY=8BITMIME"),
        ("rcpt", b"RCPT TO:<bob@receiver.example>"),
        ("data", b"DATA"),
    ] {
        harness.case(name, || Command::parse(black_box(line)));
    }
}

fn replies(harness: &mut Harness) {
    harness.group("reply");
    for (name, wire) in [("parse/ok", "250 2.1.5 Recipient OK\r\n"), ("parse/ehlo", HELLO)] {
        let mut parser = ReplyParser::default();
        let mut input = BytesMut::new();
        harness.case(name, || {
            input.extend_from_slice(black_box(wire.as_bytes()));
            parser.next(&mut input)
        });
    }
    let reply = ReplyParser::default().next(&mut BytesMut::from(HELLO)).ok().flatten().expect("a whole reply");
    harness.case("extensions", || Extensions::from_reply(black_box(&reply)));
    let mut output = BytesMut::new();
    harness.case("write/new", || {
        output.clear();
        black_box(Reply::new(250, "2.1.5", "Recipient OK")).write_to(&mut output);
    });
    let reply = Reply::new(250, "2.1.5", "Recipient OK");
    harness.case("write", || {
        output.clear();
        black_box(&reply).write_to(&mut output);
    });
}

/// A server that has greeted a client.
fn greeted() -> Server {
    let mut server = Server::new(ServerPolicy::new("mx.receiver.example"));
    server.greet(Reply::new(220, "", "mx.receiver.example"));
    feed(&mut server, &mut BytesMut::new(), b"EHLO mx1.sender.example\r\n");
    server
}

/// Gives the server what a read brought, takes all events, and accepts whatever is asked.
fn feed(server: &mut Server, input: &mut BytesMut, read: &[u8]) {
    input.extend_from_slice(read);
    while let Some(event) = server.next(input) {
        match event {
            Event::MessageBegin { .. } => server.accept_message(),
            Event::MessageChunk(chunk) => drop(black_box(chunk)),
            Event::MessageEnd(result) => {
                result.expect("samples are without faults");
                server.accept(Reply::new(250, "2.0.0", "OK"));
            }
            Event::Hello { .. } | Event::Mail { .. } | Event::Rcpt { .. } => {
                server.accept(Reply::new(250, "2.1.0", "OK"));
            }
            Event::Reset | Event::StartTls | Event::XClient(_) | Event::Close => {}
        }
    }
    server.output().clear();
}

/// Whole transactions through the server machine, the content in reads of several sizes. Copying the bytes into the input
/// stands for the read.
fn transactions(harness: &mut Harness) {
    harness.group("transaction");
    let cases = [
        ("4KiB", sample::plain(4096), &[4096][..]),
        ("1MiB", sample::plain(1 << 20), &[512, 4096, 16_384, 65_536]),
        ("64KiB-dots", sample::dots(65_536), &[65_536]),
    ];
    for (name, message, reads) in cases {
        let wire = sample::on_the_wire(&message);
        harness.bytes(wire.len());
        for &read in reads {
            let mut server = greeted();
            let mut input = BytesMut::with_capacity(read.max(65_536));
            harness.case(&format!("{name}/{read}"), || {
                feed(&mut server, &mut input, ENVELOPE);
                for piece in wire.chunks(read) {
                    feed(&mut server, &mut input, piece);
                }
            });
        }
    }
}

fn stuffing(harness: &mut Harness) {
    harness.group("stuffing");
    for (name, message) in [("plain", sample::plain(65_536)), ("dots", sample::dots(65_536))] {
        harness.bytes(message.len());
        harness.case(&format!("stuff/{name}"), || {
            DotStuffer::default().pieces(black_box(&message)).map(<[u8]>::len).sum::<usize>()
        });
        harness.case(&format!("unstuff/{name}"), || {
            DotUnstuffer::default().pieces(black_box(&message)).map(<[u8]>::len).sum::<usize>()
        });
    }
}
