//! Against a real clamd, and against ones that misbehave.

use std::net::Ipv4Addr;

use bytes::Bytes;
use mailweir_testkit::clamd::{self, SIGNATURE, STREAM_LIMIT, eicar};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::message::{DecodingLimits, MessageLimits};

fn client(address: ClamdAddress) -> Clamd {
    Clamd::new(&config::Antivirus { clamd: address, max_scan: 20 << 20, timeout: Duration::from_secs(20) })
}

fn message(body: &str) -> Message {
    let limits = MessageLimits {
        header_size: 1 << 20,
        header_fields: 100,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    Message::from_bytes(Bytes::from(format!("Subject: test\r\n\r\n{body}\r\n")), limits).unwrap()
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
        timeout: Duration::from_millis(700),
    };
    Clamd::new(&config)
}

/// Read a stream to its end, as clamd does; the bytes of the message.
async fn drain(stream: &mut TcpStream) -> Option<Vec<u8>> {
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
    assert_eq!(replying(b"stream: OK\0").await.scan(&message("x")).await, ScanResult::Clean);
    for reply in [
        &b""[..],
        b"stream: OK",
        b"stream: OK\n",
        b"stream: OK\0\0",
        b"stream: ok\0",
        b" stream: OK\0",
        b"stream: OK \0",
        b"stream: OK FOUND OK\0",
        b"\0",
        b"INSTREAM size limit exceeded. ERROR\0",
        b"UNKNOWN COMMAND\0",
        b"COMMAND READ TIMED OUT\n",
        b"stream:  FOUND\0",
        b"\xff\xfe\0",
    ] {
        let clamd = replying(reply).await;
        for result in [clamd.scan(&message("x")).await, streamed(&clamd, &message("x")).await] {
            assert!(matches!(result, ScanResult::Failed(_)), "{:?}: {result:?}", String::from_utf8_lossy(reply));
        }
    }
    let result = replying(b"stream: Bad\r\nName FOUND\0").await.scan(&message("x")).await;
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
    assert!(matches!(early(b"stream: OK\0").await.scan(&large).await, ScanResult::Failed(_)));
    assert!(matches!(early(b"").await.scan(&large).await, ScanResult::Failed(_)));
    assert!(matches!(streamed(&early(b"stream: OK\0").await, &large).await, ScanResult::Failed(_)));
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
            let reply: &[u8] = if bytes.ends_with(b"tail\r\n") { b"stream: OK\0" } else { b"stream: Half FOUND\0" };
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
            let reply: &[u8] = if bytes.len() > 100 { b"stream: Whole FOUND\0" } else { b"stream: OK\0" };
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
