//! Any chunking gives the same message, in memory and on disk; what is taken of the budget is given back.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MANY: u64 = 1 << 40;

fn budget(memory: u64, disk: u64) -> Budget {
    Budget::with_patience(memory, disk, &std::env::temp_dir(), Duration::from_secs(30))
}

async fn receive(budget: &Budget, framing: Framing, wire: &[u8], cuts: &[usize]) -> Result<Message, MessageFault> {
    let mut incoming = Incoming::new(budget, framing, LIMITS);
    let mut rest = wire;
    for &cut in cuts.iter().cycle().take_while(|_| !cuts.is_empty()) {
        if rest.is_empty() {
            break;
        }
        let (chunk, tail) = rest.split_at(cut.clamp(1, rest.len()));
        incoming.push(Bytes::copy_from_slice(chunk)).await?;
        rest = tail;
    }
    incoming.push(Bytes::copy_from_slice(rest)).await?;
    if let Some(headers) = incoming.headers() {
        let (headers, received) = (headers?, incoming.received());
        assert_eq!(headers.size(), headers.headers().raw().len() as u64);
        assert_eq!(received, wire.len() as u64);
    }
    incoming.finish()
}

fn line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Subject: a\r\n",
        ".Dotted: b\r\n",
        " folded\r\n",
        "\r\n",
        ".\r\n",
        "..\r\n",
        ".",
        "text\r\n",
        "From x y\r\n",
        "no newline",
        "\r\n.\r\n",
    ])
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_message(
        lines in prop::collection::vec(line(), 0..20),
        cuts in prop::collection::vec(1usize..40, 0..8),
        is_stuffed: bool,
        memory in prop::sample::select(vec![MANY, 60, 0]),
        windows in prop::collection::vec((0u64..200, 0usize..200), 4),
    ) {
        let plain = lines.concat().into_bytes();
        let reference = message(plain.clone());
        let expected = joined(reference.chunks());
        let framing = if is_stuffed { Framing::DotStuffed } else { Framing::Plain };
        let wire = if is_stuffed { stuffed(&plain) } else { plain };
        let budget = budget(memory, MANY);
        let message = runtime().block_on(receive(&budget, framing, &wire, &cuts)).unwrap();

        prop_assert_eq!(message.size(), expected.len() as u64);
        prop_assert_eq!(message.headers().raw(), reference.headers().raw());
        prop_assert_eq!(message.body_offset(), reference.body_offset());
        prop_assert_eq!(message.ends_with_newline(), expected.is_empty() || expected.ends_with(b"\r\n"));
        prop_assert_eq!(&joined(message.chunks()), &expected);
        prop_assert_eq!(message.wire(Framing::Plain).len(), expected.len() as u64);
        prop_assert_eq!(joined(message.wire(Framing::DotStuffed)), stuffed(&expected));
        for round in 0..2 {
            for &(offset, max) in &windows {
                let from = expected.len().min(offset as usize);
                let to = expected.len().min(from + max);
                prop_assert_eq!(&message.read(offset, max).unwrap()[..], &expected[from..to]);
            }
            if round == 0 {
                prop_assert_eq!(&message.contiguous().unwrap()[..], &expected[..]);
            }
        }
        let parts = message.mime().unwrap();
        drop(message);
        drop(parts);
        prop_assert_eq!((budget.in_memory(), budget.spilled()), (0, 0));
    }
}

#[test]
fn one_chunk_is_never_copied() {
    let budget = budget(MANY, 0);
    let bytes = Bytes::from_static(b"Subject: a\r\n\r\nbody\r\n");
    let mut incoming = Incoming::new(&budget, Framing::DotStuffed, LIMITS);
    runtime().block_on(incoming.push(bytes.clone())).unwrap();
    let message = incoming.finish().unwrap();
    assert_eq!(message.contiguous().unwrap().as_ptr(), bytes.as_ptr());
    assert_eq!(message.headers().raw().as_ptr(), bytes.as_ptr());
    let wire: Vec<_> = message.wire(Framing::DotStuffed).map(|piece| piece.unwrap()).collect();
    assert_eq!((wire.len(), wire[0].as_ptr()), (1, bytes.as_ptr()));
    let mime = message.mime().unwrap();
    assert_eq!(mime.parts()[0].body().unwrap().as_ptr(), bytes[14..].as_ptr());
    assert_eq!(budget.in_memory(), bytes.len() as u64);
}

/// A message of `lines` lines of 100 bytes, some of them beginning with a dot.
fn large(lines: usize) -> Vec<u8> {
    let mut plain = b"Subject: large\r\n\r\n".to_vec();
    for n in 0..lines {
        let start = if n % 50 == 0 { '.' } else { 'x' };
        plain.extend_from_slice(format!("{start}{n:0>97}\r\n").as_bytes());
    }
    plain
}

#[test]
fn over_the_memory_share_it_goes_to_disk() {
    let plain = large(30_000);
    for (framing, wire) in [(Framing::DotStuffed, stuffed(&plain)), (Framing::Plain, plain.clone())] {
        let budget = budget(1_000_000, MANY);
        let message = runtime().block_on(receive(&budget, framing, &wire, &[16 * 1024])).unwrap();
        assert!(message.is_spilled());
        assert!(budget.in_memory() < 1_000_000);
        assert!(budget.spilled() > 2_000_000);
        assert_eq!(joined(message.chunks()), plain);
        assert_eq!(joined(message.wire(Framing::DotStuffed)), stuffed(&plain));
        assert_eq!(&message.contiguous().unwrap()[..], &plain[..]);
        assert!(budget.in_memory() <= 1_000_000, "the copy went to disk as well");
        assert_eq!(&message.read(1_500_000, 10).unwrap()[..], &plain[1_500_000..1_500_010]);
        drop(message);
        assert_eq!((budget.in_memory(), budget.spilled()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn over_both_shares_it_waits_and_then_is_full() {
    let plain = large(10_000);
    let budget = budget(200_000, 300_000);
    let begun = tokio::time::Instant::now();
    let full = receive(&budget, Framing::Plain, &plain, &[16 * 1024]).await;
    assert!(matches!(full, Err(MessageFault::Store(StoreError::Full))));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!((budget.in_memory(), budget.spilled()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn room_made_in_time_lets_it_go_on() {
    let first = large(1_800);
    let budget = budget(200_000, 0);
    let one = receive(&budget, Framing::Plain, &first, &[16 * 1024]).await.unwrap();
    let (two, ()) = tokio::join!(receive(&budget, Framing::Plain, &first, &[16 * 1024]), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(one);
    });
    assert_eq!(joined(two.unwrap().chunks()), first);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_an_error_of_ours() {
    let budget = Budget::new(0, MANY, std::path::Path::new("/proc/no/such/place"));
    let error = receive(&budget, Framing::Plain, b"A: b\r\n", &[]).await;
    assert!(matches!(error, Err(MessageFault::Store(StoreError::Io(_)))));
}

#[test]
fn the_header_section_comes_before_the_body() {
    let budget = budget(MANY, 0);
    let mut incoming = Incoming::new(&budget, Framing::DotStuffed, LIMITS);
    let runtime = runtime();
    runtime.block_on(incoming.push(Bytes::from_static(b"From: a\r\n..x: y\r\nSub"))).unwrap();
    assert!(incoming.headers().is_none());
    runtime.block_on(incoming.push(Bytes::from_static(b"ject: b\r\n\r\nbo"))).unwrap();
    let headers = incoming.headers().unwrap().unwrap();
    assert_eq!(&headers.headers().raw()[..], b"From: a\r\n.x: y\r\nSubject: b\r\n");
    assert_eq!(headers.header_text("subject"), ["b"]);
    assert_eq!(headers.mime().unwrap().parts().len(), 1);
}

#[test]
fn a_line_that_is_no_field_gets_an_empty_line_before_it() {
    for (received, sent, header) in [
        ("A: b\r\nnot a field\r\nFrom: c\r\n\r\nd\r\n", "A: b\r\n\r\nnot a field\r\nFrom: c\r\n\r\nd\r\n", "A: b\r\n"),
        ("no header\r\n", "\r\nno header\r\n", ""),
        ("From a@b today\r\nA: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n", "A: b\r\n"),
        ("A: b\r\n", "A: b\r\n", "A: b\r\n"),
        ("", "", ""),
    ] {
        let message = message(received);
        assert_eq!(joined(message.chunks()), sent.as_bytes(), "{received:?}");
        assert_eq!(&message.contiguous().unwrap()[..], sent.as_bytes());
        assert_eq!(message.headers().raw(), header);
        assert_eq!(
            message.body_offset(),
            (sent.len() - sent.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len())).min(if header.is_empty() {
                2.min(sent.len() as u64) as usize
            } else {
                usize::MAX
            }) as u64
        );
    }
}

#[tokio::test]
async fn single_bytes_take_little_more_memory_than_they_are() {
    const BYTES: u64 = 100_000;
    for memory in [MANY, 16 * 1024] {
        let budget = budget(memory, MANY);
        let mut incoming = Incoming::new(&budget, Framing::Plain, LIMITS);
        incoming.push(Bytes::from_static(b"Subject: a\r\n\r\n")).await.unwrap();
        for _ in 0..BYTES {
            incoming.push(Bytes::from_static(b"x")).await.unwrap();
        }
        let message = incoming.finish().unwrap();
        assert_eq!(message.size(), BYTES + 14);
        // Each piece costs something by itself.
        let pieces = message.chunks().count();
        assert!(pieces <= 20, "{pieces} pieces");
        drop(message);
        assert_eq!((budget.in_memory(), budget.spilled()), (0, 0));
    }
}
