//! The sink, and the upstream client against it.

use std::net::Ipv4Addr;

use mailweir_testkit::certificates::Authority;
use mailweir_testkit::programs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

async fn talk(sink: &Sink, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(sink.address()).await.unwrap();
    stream.write_all(said).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

const ONE: &[u8] = b"EHLO a.example\r\nMAIL FROM:<a@example.org> BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\n\
                     RCPT TO:<c@example.com>\r\nDATA\r\nx: y\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

#[tokio::test]
async fn counts_keeps_and_stores() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("new");
    let options = Options { keep: Keep::Messages, store: Some(store.clone()), ..Options::default() };
    let sink = Sink::start(options).await.unwrap();
    let answer = talk(&sink, ONE).await;
    assert!(answer.contains("250 2.0.0 Ok: message 1\r\n221 "), "{answer}");
    talk(&sink, b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 2 LAST\r\nhiRSET\r\n").await;
    sink.taken(2).await;
    let counts = Counts { connections: 2, messages: 2, bytes: 16, recipients: 3, refused: 0, dropped: 0 };
    assert_eq!(sink.counts(), counts);
    let messages = sink.messages();
    assert_eq!(messages[0].recipients, ["b@example.com", "c@example.com"]);
    assert_eq!((messages[0].helo.as_str(), messages[0].parameters.as_str()), ("a.example", "BODY=8BITMIME"));
    assert_eq!(messages[0].content, "x: y\r\n\r\n.dot\r\n".as_bytes());
    assert_eq!((messages[1].sender.as_str(), &messages[1].content[..]), ("", &b"hi"[..]));
    assert_eq!(std::fs::read(store.join("1.eml")).unwrap(), b"x: y\r\n\r\n.dot\r\n");
    let envelope: serde_json::Value = serde_json::from_slice(&std::fs::read(store.join("2.json")).unwrap()).unwrap();
    assert_eq!((envelope["number"].as_u64(), envelope["size"].as_u64()), (Some(2), Some(2)));
    assert_eq!(envelope["recipients"][0], "b@c");
}

#[tokio::test]
async fn refuses_as_it_is_told() {
    for (options, expected) in [
        (Options { reject: 1.0, ..Options::default() }, "550 5.7.1 "),
        (Options { tempfail: 1.0, ..Options::default() }, "451 4.3.0 "),
        (Options { message_size: 3, ..Options::default() }, "552 5.3.4 "),
    ] {
        let sink = Sink::start(options).await.unwrap();
        let answer = talk(&sink, ONE).await;
        assert!(answer.contains(expected), "{answer}");
        assert_eq!((sink.counts().refused, sink.count()), (1, 0));
    }
    let sink = Sink::start(Options { drop: 1.0, ..Options::default() }).await.unwrap();
    assert!(talk(&sink, ONE).await.ends_with("354 Go ahead\r\n") || sink.counts().dropped == 1);
}

#[tokio::test]
async fn offers_what_is_left() {
    let without = ["chunking", "SIZE", "binarymime"].map(str::to_owned).to_vec();
    let sink = Sink::start(Options { without, ..Options::default() }).await.unwrap();
    let answer = talk(&sink, b"EHLO a\r\nQUIT\r\n").await;
    assert!(answer.contains("PIPELINING") && answer.contains("SMTPUTF8"), "{answer}");
    assert!(!answer.contains("CHUNKING") && !answer.contains("SIZE") && !answer.contains("STARTTLS"), "{answer}");
}

#[tokio::test]
async fn serves_python_over_tls() {
    let mut authority = Authority::new().unwrap();
    let tls = authority.issue(&["localhost"]).unwrap().server_config().unwrap();
    let sink = Sink::start(Options { tls: Some(tls), keep: Keep::Messages, ..Options::default() }).await.unwrap();
    let script = "import smtplib, ssl, sys\n\
                  context = ssl.create_default_context(cafile=sys.argv[2])\n\
                  with smtplib.SMTP('localhost', int(sys.argv[1])) as client:\n\
                  \x20   client.starttls(context=context)\n\
                  \x20   client.sendmail('a@example.org', ['b@example.com'], 'Subject: x\\r\\n\\r\\n.dot\\r\\n')\n";
    let ca = authority.ca_file();
    let Some(python) = programs::python(script, &[&sink.address().port().to_string(), ca.to_str().unwrap()]) else {
        return eprintln!("skipped: no python3");
    };
    let report = python.finish(Duration::from_secs(60)).await.unwrap();
    assert!(report.success, "{}", report.text);
    let messages = sink.messages();
    assert!(messages[0].encrypted);
    assert_eq!(messages[0].content, "Subject: x\r\n\r\n.dot\r\n".as_bytes());
}

#[tokio::test]
async fn listens_on_several_addresses() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sink = Sink::start(Options { listen: vec![any, any], ..Options::default() }).await.unwrap();
    for address in sink.addresses() {
        let Some(source) = programs::smtp_source(&["-m", "20", "-s", "4", "-l", "2000"], *address) else {
            return eprintln!("skipped: no smtp-source");
        };
        assert!(source.finish(Duration::from_secs(60)).await.unwrap().success);
    }
    assert_eq!(sink.count(), 40);
}

#[tokio::test]
async fn a_store_is_gone_on_with() {
    let store = tempfile::tempdir().unwrap();
    for name in ["7.eml", "7.json", "8.eml.tmp", "8.json.tmp", "notes"] {
        std::fs::write(store.path().join(name), "").unwrap();
    }
    let sink = Sink::start(Options { store: Some(store.path().to_owned()), ..Options::default() }).await.unwrap();
    let answer = talk(&sink, ONE).await;
    assert!(answer.contains("250 2.0.0 Ok: message 8\r\n"), "{answer}");
    let mut names: Vec<_> = std::fs::read_dir(store.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["7.eml", "7.json", "8.eml", "8.json", "notes"]);
}
