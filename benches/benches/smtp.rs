//! The SMTP machines: replies, commands, and the framing of content.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailweir_benches::sample;
use mailweir_smtp::command::Command;
use mailweir_smtp::data::{DotStuffer, DotUnstuffer};
use mailweir_smtp::extension::Extensions;
use mailweir_smtp::reply::{Reply, ReplyParser};
use mailweir_smtp::server::{Event, Server, ServerPolicy};

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    for (name, line) in [
        ("ehlo", &b"EHLO mx1.sender.example"[..]),
        ("mail", b"MAIL FROM:<alice@sender.example> SIZE=4096 BODY=8BITMIME"),
        ("rcpt", b"RCPT TO:<bob@receiver.example>"),
        ("data", b"DATA"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| Command::parse(black_box(line))));
    }
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let ehlo = "250-mx.receiver.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-STARTTLS\r\n\
        250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";
    for (name, wire) in [("ok", "250 2.1.5 Recipient OK\r\n"), ("ehlo", ehlo)] {
        group.bench_function(BenchmarkId::new("parse", name), |bencher| {
            let mut parser = ReplyParser::default();
            let mut input = BytesMut::new();
            bencher.iter(|| {
                input.extend_from_slice(black_box(wire.as_bytes()));
                parser.next(&mut input)
            });
        });
    }
    let reply = ReplyParser::default().next(&mut BytesMut::from(ehlo)).ok().flatten().expect("a whole reply");
    group.bench_function("extensions", |bencher| bencher.iter(|| Extensions::from_reply(black_box(&reply))));
    let reply = Reply::new(250, "2.1.5", "Recipient OK");
    group.bench_function("write", |bencher| {
        let mut output = BytesMut::new();
        bencher.iter(|| {
            output.clear();
            black_box(&reply).write_to(&mut output);
        });
    });
    group.finish();
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
fn transactions(criterion: &mut Criterion) {
    let envelope = b"MAIL FROM:<alice@sender.example> SIZE=4096\r\nRCPT TO:<bob@receiver.example>\r\nDATA\r\n";
    let cases = [
        ("4KiB", sample::plain(4096), &[4096][..]),
        ("1MiB", sample::plain(1 << 20), &[512, 4096, 16_384, 65_536]),
        ("1MiB-dots", sample::dots(1 << 20), &[65_536]),
    ];
    let mut group = criterion.benchmark_group("transaction");
    for (name, message, reads) in cases {
        let wire = sample::on_the_wire(&message);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        for &read in reads {
            group.bench_function(BenchmarkId::new(name, read), |bencher| {
                let mut server = greeted();
                let mut input = BytesMut::with_capacity(read.max(65_536));
                bencher.iter(|| {
                    feed(&mut server, &mut input, envelope);
                    for piece in wire.chunks(read) {
                        feed(&mut server, &mut input, piece);
                    }
                });
            });
        }
    }
    group.finish();
}

fn stuffing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stuffing");
    let cases = [("plain", sample::plain(65_536)), ("dots", sample::dots(65_536))];
    for (name, message) in cases {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_with_input(BenchmarkId::new("stuff", name), &message, |bencher, message: &Bytes| {
            bencher.iter(|| DotStuffer::default().pieces(message).map(<[u8]>::len).sum::<usize>());
        });
        group.bench_with_input(BenchmarkId::new("unstuff", name), &message, |bencher, message: &Bytes| {
            bencher.iter(|| DotUnstuffer::default().pieces(message).map(<[u8]>::len).sum::<usize>());
        });
    }
    group.finish();
}

criterion_group!(benches, commands, replies, transactions, stuffing);
criterion_main!(benches);
