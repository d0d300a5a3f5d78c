//! Against a real clamd, and against ones that misbehave.

use std::net::Ipv4Addr;

use base64::Engine as _;
use bytes::Bytes;
use mailweir_testkit::clamd::{self, SIGNATURE, STREAM_LIMIT, eicar};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::message::{DecodingLimits, MessageLimits};

const LIMITS: MessageLimits = MessageLimits {
    header_size: 1 << 20,
    header_fields: 100,
    mime_parts: 100,
    mime_depth: 10,
    decoding: DecodingLimits::DEFAULT,
};

fn client(address: ClamdAddress) -> Clamd {
    Clamd::new(&config::Antivirus {
        clamd: address,
        max_scan: 20 << 20,
        connections: 4,
        timeout: Duration::from_secs(20),
    })
}

fn message(body: &str) -> Message {
    Message::from_bytes(Bytes::from(format!("Subject: test\r\n\r\n{body}\r\n")), LIMITS).unwrap()
}

async fn streamed(clamd: &Clamd, message: &Message) -> ScanResult {
    let mut stream = clamd.begin();
    for chunk in message.chunks() {
        stream.feed(chunk.unwrap()).await;
    }
    stream.finish(message).result().await
}

#[tokio::test]
async fn the_real_one_tells_clean_from_infected_and_too_large() {
    let Some(daemon) = clamd::Clamd::start().await else {
        eprintln!("clamd is not installed: skipped");
        return;
    };
    let unix = client(ClamdAddress::Unix(daemon.socket().to_owned()));
    let tcp = client(ClamdAddress::Tcp(daemon.tcp().to_string()));
    let infected = ScanResult::Infected(SIGNATURE.to_owned());
    let huge = message(&"x".repeat(usize::try_from(STREAM_LIMIT).unwrap() * 3));
    for clamd in [unix, tcp] {
        assert_eq!(clamd.scan(&message("hello")).await, ScanResult::Clean);
        assert_eq!(clamd.scan(&message(&eicar())).await, infected);
        assert_eq!(streamed(&clamd, &message("hello")).await, ScanResult::Clean);
        assert_eq!(streamed(&clamd, &message(&eicar())).await, infected);
        for result in [clamd.scan(&huge).await, streamed(&clamd, &huge).await] {
            let ScanResult::Failed(reason) = result else { panic!("{result:?}") };
            assert!(reason.contains("size limit exceeded"), "{reason}");
        }
    }
}

/// A clamd that does `serve` with its first connection, and again with every further one.
async fn scripted<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Clamd
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let config = config::Antivirus {
        clamd: ClamdAddress::Tcp(address),
        max_scan: 20 << 20,
        connections: 4,
        timeout: Duration::from_millis(700),
    };
    Clamd::new(&config)
}

/// Begin a session, and read its first stream to its end, as clamd does; the bytes of the message.
async fn drain(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut session = [0; 11];
    stream.read_exact(&mut session).await.ok()?;
    assert_eq!(&session, b"zIDSESSION\0");
    drain_next(stream).await
}

/// Read a further stream of the session.
async fn drain_next(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).await.ok()?;
    assert_eq!(&command, b"zINSTREAM\0");
    let mut bytes = Vec::new();
    loop {
        let length = stream.read_u32().await.ok()?;
        if length == 0 {
            return Some(bytes);
        }
        let begin = bytes.len();
        bytes.resize(begin + usize::try_from(length).ok()?, 0);
        stream.read_exact(&mut bytes[begin..]).await.ok()?;
    }
}

async fn replying(reply: &'static [u8]) -> Clamd {
    scripted(move |mut stream| async move {
        if drain(&mut stream).await.is_some() {
            let _ = stream.write_all(reply).await;
        }
    })
    .await
}

#[tokio::test]
async fn only_the_exact_words_are_clean() {
    assert_eq!(replying(b"1: stream: OK\0").await.scan(&message("x")).await, ScanResult::Clean);
    for reply in [
        &b""[..],
        b"1: stream: OK",
        b"1: stream: OK\n",
        b"1: stream: OK\0\0",
        b"1: stream: ok\0",
        b"stream: OK\0",
        b"2: stream: OK\0",
        b"1: stream: OK\x002: stream: OK\0",
        b" 1: stream: OK\0",
        b"1: stream: OK \0",
        b"1: stream: OK FOUND OK\0",
        b"\0",
        b"INSTREAM size limit exceeded. ERROR\0",
        b"UNKNOWN COMMAND\0",
        b"COMMAND READ TIMED OUT\n",
        b"1: stream:  FOUND\0",
        b"\xff\xfe\0",
    ] {
        let clamd = replying(reply).await;
        for result in [clamd.scan(&message("x")).await, streamed(&clamd, &message("x")).await] {
            assert!(matches!(result, ScanResult::Failed(_)), "{:?}: {result:?}", String::from_utf8_lossy(reply));
        }
    }
    let result = replying(b"1: stream: Bad\r\nName FOUND\0").await.scan(&message("x")).await;
    assert_eq!(result, ScanResult::Infected("Bad??Name".to_owned()));
}

#[tokio::test]
async fn a_reply_is_read_while_we_still_write() {
    let large = message(&"x".repeat(8 << 20));
    let early = |reply: &'static [u8]| {
        scripted(move |mut stream| async move {
            let mut some = [0; 1000];
            let _ = stream.read_exact(&mut some).await;
            let _ = stream.write_all(reply).await;
            // Closed with unread bytes: the client gets ECONNRESET or EPIPE.
        })
    };
    let ScanResult::Failed(reason) = early(b"INSTREAM size limit exceeded. ERROR\0").await.scan(&large).await else {
        panic!("not failed")
    };
    assert!(reason.contains("size limit") || reason.contains("without a reply"), "{reason}");
    // clamd has not seen all of it: that is no verdict.
    assert!(matches!(early(b"1: stream: OK\0").await.scan(&large).await, ScanResult::Failed(_)));
    assert!(matches!(early(b"").await.scan(&large).await, ScanResult::Failed(_)));
    assert!(matches!(streamed(&early(b"1: stream: OK\0").await, &large).await, ScanResult::Failed(_)));
}

#[tokio::test]
async fn silence_and_floods_end_in_time() {
    let silent = scripted(|mut stream| async move {
        let _ = drain(&mut stream).await;
        std::future::pending::<()>().await;
    });
    assert!(matches!(silent.await.scan(&message("x")).await, ScanResult::Failed(_)));
    let deaf = scripted(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    });
    assert!(matches!(deaf.await.scan(&message(&"x".repeat(16 << 20))).await, ScanResult::Failed(_)));
    let endless = scripted(|mut stream| async move { while stream.write_all(&[b'x'; 1000]).await.is_ok() {} });
    assert!(matches!(endless.await.scan(&message("x")).await, ScanResult::Failed(_)));
    let refused = client(ClamdAddress::Unix("/nonexistent/clamd".into()));
    assert!(matches!(refused.scan(&message("x")).await, ScanResult::Failed(_)));
}

#[tokio::test]
async fn over_max_scan_is_a_failure() {
    let config = config::Antivirus {
        clamd: ClamdAddress::Unix("/nonexistent/clamd".into()),
        max_scan: 100,
        connections: 4,
        timeout: Duration::from_secs(1),
    };
    let clamd = Clamd::new(&config);
    for result in [clamd.scan(&message(&"x".repeat(200))).await, streamed(&clamd, &message(&"x".repeat(200))).await] {
        let ScanResult::Failed(reason) = result else { panic!("{result:?}") };
        assert!(reason.contains("max_scan"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stands_still_is_scanned_at_the_end() {
    let clamd = scripted(|mut stream| async move {
        // Given up in the middle, then whole.
        if let Some(bytes) = drain(&mut stream).await {
            let reply: &[u8] =
                if bytes.ends_with(b"tail\r\n") { b"1: stream: OK\0" } else { b"1: stream: Half FOUND\0" };
            let _ = stream.write_all(reply).await;
        }
    })
    .await;
    let whole = message("head tail");
    let mut stream = clamd.begin();
    stream.feed(whole.read(0, 10).unwrap()).await;
    tokio::time::sleep(STANDSTILL_AND_MORE).await;
    stream.feed(whole.read(10, 1000).unwrap()).await;
    tokio::time::resume();
    assert_eq!(stream.finish(&whole).result().await, ScanResult::Clean);
}

const STANDSTILL_AND_MORE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_stream_that_missed_something_is_not_trusted() {
    let clamd = scripted(|mut stream| async move {
        if let Some(bytes) = drain(&mut stream).await {
            let reply: &[u8] = if bytes.len() > 100 { b"1: stream: Whole FOUND\0" } else { b"1: stream: OK\0" };
            let _ = stream.write_all(reply).await;
        }
    })
    .await;
    let whole = message(&"x".repeat(200));
    let mut stream = clamd.begin();
    stream.feed(whole.read(0, 50).unwrap()).await;
    let scan = stream.finish(&whole);
    let (first, second) = tokio::join!(scan.result(), scan.result());
    assert_eq!(first, ScanResult::Infected("Whole".to_owned()));
    assert_eq!(first, second);
}

/// A virus that a mail client finds, and clamd, reading the message by itself, does not.
#[tokio::test]
async fn what_is_hidden_from_clamd_is_found_in_the_parts() {
    let Some(daemon) = clamd::Clamd::start().await else {
        eprintln!("clamd is not installed: skipped");
        return;
    };
    let clamd = client(ClamdAddress::Unix(daemon.socket().to_owned()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(eicar());
    let (half, rest) = encoded.split_at(30);
    let part = |fields: &str, body: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
             Content-Type: application/octet-stream; name=\"invoice.exe\"\r\n{fields}\r\n\r\n{body}\r\n--b--\r\n"
        )
    };
    let encoding = "Content-Transfer-Encoding: base64";
    let mut missed_by_clamd = Vec::new();
    for (name, message) in [
        ("as it should be", part(encoding, &encoded)),
        ("junk within the base64", part(encoding, &format!("{half}!*-\r\n.{rest}"))),
        ("padding within the base64", part(encoding, &format!("{}={}", &encoded[..31], &encoded[31..]))),
        ("two encodings", part(&format!("Content-Transfer-Encoding: 7bit\r\n{encoding}"), &encoded)),
        ("an encoding misspelt", part("Content-Transfer-Encoding: bas64", &encoded)),
        ("a line that is no field", part(&format!("{encoding}\r\njunk"), &encoded)),
        (
            "two boundaries",
            part(encoding, &encoded).replace("boundary=b", "boundary=x; boundary=b").replace("--b--", "--b--\r\n--x--"),
        ),
        (
            "a boundary in quotes that are taken as they stand",
            part(encoding, &encoded).replace("boundary=b", "boundary=\"b\"").replace("--b", "--\"b\""),
        ),
        (
            "no type",
            part(encoding, &encoded)
                .replace("Content-Type: multipart/mixed; boundary=b", "Content-Type: multipart/mixed"),
        ),
    ] {
        let message = Message::from_bytes(Bytes::from(message), LIMITS).unwrap();
        let expected =
            |result: &ScanResult| matches!(result, ScanResult::Infected(found) if found.starts_with(SIGNATURE));
        let result = clamd.scan(&message).await;
        assert!(expected(&result), "{name}: {result:?}");
        if let ScanResult::Infected(found) = &result
            && found.contains(" in ")
        {
            missed_by_clamd.push(name);
            assert_eq!(*found, format!("{SIGNATURE} in invoice.exe"), "{name}");
            assert_eq!(streamed(&clamd, &message).await, result, "{name}");
        }
    }
    eprintln!("clamd by itself misses {missed_by_clamd:?}");
    assert!(!missed_by_clamd.is_empty(), "clamd found all of them by itself: others are needed");
}

/// A message whose parts have to be scanned.
fn with_parts() -> Message {
    let part = "--b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: application/x-a; name=a\r\n\r\nZXZpbA==\r\n";
    let text = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", part.repeat(3));
    Message::from_bytes(Bytes::from(text), LIMITS).unwrap()
}

#[tokio::test]
async fn parts_follow_in_the_same_session() {
    let clamd = scripted(|mut stream| async move {
        let _ = drain(&mut stream).await;
        for number in 1.. {
            let reply =
                if number == 3 { format!("{number}: stream: Bad FOUND\0") } else { format!("{number}: stream: OK\0") };
            let _ = stream.write_all(reply.as_bytes()).await;
            let Some(bytes) = drain_next(&mut stream).await else { return };
            assert_eq!(bytes, b"evil");
        }
    })
    .await;
    for result in [clamd.scan(&with_parts()).await, streamed(&clamd, &with_parts()).await] {
        assert_eq!(result, ScanResult::Infected("Bad in a".to_owned()));
    }
    // A session that ends after the message leaves the parts unscanned.
    let short = replying(b"1: stream: OK\0").await;
    assert!(matches!(short.scan(&with_parts()).await, ScanResult::Failed(_)));
    // All of it counts.
    let size = with_parts().size();
    let config = |max_scan| config::Antivirus {
        clamd: ClamdAddress::Unix("/nonexistent/clamd".into()),
        max_scan,
        connections: 1,
        timeout: Duration::from_secs(1),
    };
    let tight = Clamd(Arc::new(Settings { address: clamd.0.address.clone(), ..settings(&config(size + 4)) }));
    let ScanResult::Failed(reason) = tight.scan(&with_parts()).await else { panic!("it was scanned") };
    assert!(reason.contains("max_scan"), "{reason}");
}

/// What is sent after the message itself.
async fn parts_sent(text: &str) -> Vec<Vec<u8>> {
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let clamd = scripted(move |mut stream| {
        let sender = sender.clone();
        async move {
            let _ = drain(&mut stream).await;
            for number in 1.. {
                let _ = stream.write_all(format!("{number}: stream: OK\0").as_bytes()).await;
                let Some(bytes) = drain_next(&mut stream).await else { return };
                let _ = sender.send(bytes);
            }
        }
    })
    .await;
    let message = Message::from_bytes(Bytes::from(text.replace('\n', "\r\n")), LIMITS).unwrap();
    assert_eq!(clamd.scan(&message).await, ScanResult::Clean);
    drop(clamd);
    let mut parts = Vec::new();
    while let Ok(part) = sent.try_recv() {
        parts.push(part);
    }
    parts
}

/// A script is text to a MIME reader, and a file to who opens it.
#[tokio::test]
async fn plain_parts_are_sent_that_a_client_saves_or_finds_elsewhere() {
    let mixed = |fields: &str| {
        format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\n{fields}\n\nMsgBox 1\n--b--\n")
    };
    let script: &[u8] = b"MsgBox 1";
    for fields in [
        "Content-Type: text/plain; name=x.vbs",
        "Content-Type: text/plain\nContent-Disposition: attachment; filename=x.vbs",
        "Content-Type: text/plain; name=x.vbs\nContent-Transfer-Encoding: 8bit",
    ] {
        assert_eq!(parts_sent(&mixed(fields)).await, [script], "{fields}");
    }
    // Text that stands in the message as it is was scanned there.
    assert!(parts_sent(&mixed("Content-Type: text/plain")).await.is_empty());
    // Where readers differ about the message, nobody knows what it is to another.
    let strange = mixed("Content-Type: application/x-strange").replace("MsgBox 1", "c2VlIGV2aWwuZXhhbXBsZSBub3c=");
    let sent = parts_sent(&strange).await;
    assert!(sent.contains(&b"hello".to_vec()), "{sent:?}");
}

fn settings(config: &config::Antivirus) -> Settings {
    Arc::into_inner(Clamd::new(config).0).unwrap()
}

#[tokio::test]
async fn connections_are_bounded_and_waited_for() {
    let open = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counted, peak) = (Arc::clone(&open), Arc::clone(&most));
    let clamd = scripted(move |mut stream| {
        let (counted, peak) = (Arc::clone(&counted), Arc::clone(&peak));
        async move {
            let now = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            peak.fetch_max(now, std::sync::atomic::Ordering::SeqCst);
            let _ = drain(&mut stream).await;
            tokio::task::yield_now().await;
            counted.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            let _ = stream.write_all(b"1: stream: OK\0").await;
        }
    })
    .await;
    let scans: Vec<_> = (0..40)
        .map(|_| {
            let clamd = clamd.clone();
            tokio::spawn(async move { clamd.scan(&message("x")).await })
        })
        .collect();
    for scan in scans {
        assert_eq!(scan.await.unwrap(), ScanResult::Clean);
    }
    assert!(most.load(std::sync::atomic::Ordering::SeqCst) <= 4);

    let silent = scripted(|mut stream| async move {
        let _ = drain(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    // Messages that trickle in leave half of the connections to those that are whole.
    let mut arriving: Vec<_> = (0..8).map(|_| silent.begin()).collect();
    for stream in &mut arriving {
        stream.feed(Bytes::from_static(b"x")).await;
    }
    tokio::task::yield_now().await;
    assert!(silent.0.connections.available_permits() >= 2);
}
