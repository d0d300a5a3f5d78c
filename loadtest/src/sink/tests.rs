//! Conversations without IO, cut in every way; then a few over sockets.

use bytes::BytesMut;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::conversation::{Conversation, Step};
use super::*;
use crate::proof::{Digest, ProofLine, Run};

const PHASES: [&str; 6] = ["greeting", "hello", "mail", "rcpt", "data", "end"];

fn worker(behaviour: &Behaviour) -> Arc<Worker> {
    Arc::new(Worker::new(Arc::new(shared(behaviour).unwrap())))
}

fn counts(worker: &Worker) -> SinkCounts {
    let mut counts = SinkCounts::default();
    worker.tally.add_to(&mut counts);
    counts
}

fn behaviour(toml: &str) -> Behaviour {
    toml::from_str(toml).unwrap()
}

/// The last reply's code, and what was to be done in the end. Goes on while everything is accepted.
fn dialog(worker: &Arc<Worker>, commands: &[&str]) -> (String, Step) {
    let mut conversation = Conversation::new(Arc::clone(worker), 0);
    let mut output = Vec::new();
    let mut step = conversation.begin(&mut output);
    let mut code = String::new();
    let mut commands = commands.iter();
    loop {
        while let Step::Wait(_) = step {
            step = conversation.go_on(&mut output);
        }
        let text = String::from_utf8(std::mem::take(&mut output)).unwrap();
        if let Some(line) = text.lines().last() {
            code = line[..3].to_owned();
        }
        if step != Step::Read || code.starts_with(['4', '5']) {
            return (code, step);
        }
        let Some(command) = commands.next() else { return (code, step) };
        let mut input = command.as_bytes();
        step = conversation.read(&mut input, &mut output);
    }
}

const WITH_DATA: [&str; 6] = [
    "EHLO client.example\r\n",
    "MAIL FROM:<a@client.example>\r\n",
    "RCPT TO:<b@server.example>\r\n",
    "DATA\r\n",
    "Subject: a\r\n\r\nb\r\n.\r\n",
    "QUIT\r\n",
];

const WITH_BDAT: [&str; 5] = [
    "EHLO client.example\r\n",
    "MAIL FROM:<a@client.example>\r\n",
    "RCPT TO:<b@server.example>\r\n",
    "BDAT 5 LAST\r\na: b\n",
    "QUIT\r\n",
];

#[test]
fn faults_happen_at_rate_1_and_not_at_rate_0() {
    let cases: [(&str, [&str; 6]); 3] = [
        ("tempfail", ["421", "451", "451", "451", "451", "451"]),
        ("reject", ["554", "550", "550", "550", "554", "554"]),
        // The last reply before silence.
        ("drop", ["", "220", "250", "250", "354", "354"]),
    ];
    for (fault, codes) in cases {
        for (phase, code) in PHASES.into_iter().zip(codes) {
            for commands in [&WITH_DATA[..], &WITH_BDAT] {
                let code = if code == "354" && commands.len() == 5 { "250" } else { code };
                let worker = worker(&behaviour(&format!("{fault} = ['{phase}=1']")));
                let step = match (fault, phase) {
                    ("drop", _) => Step::Drop,
                    ("tempfail", "greeting") => Step::Close,
                    _ => Step::Read,
                };
                assert_eq!(dialog(&worker, commands), (code.to_owned(), step), "{fault} {phase}");
                let counts = counts(&worker);
                let happened = [counts.tempfailed, counts.rejected, counts.dropped];
                let expected = ["tempfail", "reject", "drop"].map(|name| u64::from(name == fault));
                assert_eq!((counts.messages, happened), (0, expected), "{fault} {phase}");
            }
        }
        let zeros = PHASES.map(|phase| format!("'{phase}=0'")).join(",");
        let worker = worker(&behaviour(&format!("{fault} = [{zeros}]")));
        assert_eq!(dialog(&worker, &WITH_DATA), ("221".to_owned(), Step::Close));
        assert_eq!(counts(&worker), SinkCounts { messages: 1, bytes: 17, ..SinkCounts::default() });
    }
}

#[test]
fn delays_hold_back_each_reply_of_their_phase() {
    for phase in PHASES {
        let delayed = worker(&behaviour(&format!("delay = ['{phase}=5ms']")));
        assert_eq!(dialog(&delayed, &WITH_DATA), ("221".to_owned(), Step::Close));
        assert_eq!((counts(&delayed).delayed, counts(&delayed).messages), (1, 1), "{phase}");
        let never = worker(&behaviour(&format!("delay = ['{phase}=5ms@0']")));
        dialog(&never, &WITH_DATA);
        assert_eq!(counts(&never).delayed, 0);
    }
    let worker = worker(&behaviour("delay = ['mail=5ms']"));
    let mut conversation = Conversation::new(worker, 0);
    let mut output = Vec::new();
    conversation.begin(&mut output);
    let mut input = &b"EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@c.example>\r\n"[..];
    output.clear();
    assert_eq!(conversation.read(&mut input, &mut output), Step::Wait(std::time::Duration::from_millis(5)));
    assert_eq!(input, b"RCPT TO:<b@c.example>\r\n", "what comes later waits");
    assert!(output.starts_with(b"250-") && !output.ends_with(b"250 2.0.0 OK\r\n"), "the reply is held back");
    output.clear();
    assert_eq!(conversation.go_on(&mut output), Step::Read);
    assert_eq!(output, b"250 2.0.0 OK\r\n");
}

#[test]
fn rates_are_decided_by_the_seed_and_the_connection() {
    let outcomes = |seed: u64| -> Vec<String> {
        let worker = worker(&behaviour(&format!("seed = {seed}\ntempfail = ['end=0.3']")));
        let outcome = |number| {
            let mut conversation = Conversation::new(Arc::clone(&worker), number);
            let mut output = Vec::new();
            conversation.begin(&mut output);
            for command in WITH_DATA {
                conversation.read(&mut command.as_bytes(), &mut output);
            }
            String::from_utf8(output).unwrap()
        };
        let outcomes: Vec<String> = (0..1000).map(outcome).collect();
        let failed = outcomes.iter().filter(|outcome| outcome.contains("\r\n451 ")).count();
        assert!((250..350).contains(&failed), "{failed} of 1000");
        assert_eq!(counts(&worker).tempfailed, failed as u64);
        outcomes
    };
    assert_eq!(outcomes(1), outcomes(1));
    assert_ne!(outcomes(1), outcomes(2));
}

/// A message of this number, as content.
fn proven(number: u64) -> Vec<u8> {
    let content = b"Subject: a\r\n\r\n.dots\r\n..\r\nbody\r\n";
    let mut message = BytesMut::from(&b"Received: from a\r\n\tby b\r\n"[..]);
    ProofLine { run: Run::new(7), number, digest: Digest::of([&content[..]].into_iter()) }.write(&mut message);
    message.extend_from_slice(content);
    message.to_vec()
}

/// A transaction: with DATA, or with BDAT in chunks of so many octets.
fn transaction(content: &[u8], chunks: Option<usize>) -> Vec<u8> {
    let mut script = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n".to_vec();
    match chunks {
        Some(size) => {
            for chunk in content.chunks(size) {
                script.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
                script.extend_from_slice(chunk);
            }
            script.extend_from_slice(b"BDAT 0 LAST\r\n");
        }
        None => {
            script.extend_from_slice(b"DATA\r\n");
            for piece in mailweir_smtp::data::DotStuffer::default().pieces(content) {
                script.extend_from_slice(piece);
            }
            script.extend_from_slice(b".\r\n");
        }
    }
    script
}

/// All that is answered to a client who sends this in pieces, and the sink's account.
fn said(behaviour: &Behaviour, script: &[u8], size: usize) -> (String, Step, Account) {
    let worker = worker(behaviour);
    let mut conversation = Conversation::new(Arc::clone(&worker), 0);
    let mut output = Vec::new();
    let mut step = conversation.begin(&mut output);
    'script: for piece in script.chunks(size) {
        let mut input = piece;
        loop {
            step = match step {
                Step::Wait(_) => conversation.go_on(&mut output),
                Step::Read if input.is_empty() => break,
                Step::Read => conversation.read(&mut input, &mut output),
                _ => break 'script,
            };
        }
    }
    let account = Account { counts: counts(&worker), received: worker.received().clone() };
    (String::from_utf8(output).unwrap(), step, account)
}

#[test]
fn any_cutting_of_the_input_gives_the_same() {
    let mut script = b"NOOP\r\nEHLO client.example\r\nNONSENSE\r\nDATA\r\nBDAT 3\r\nabcNOOP\n".to_vec();
    script.extend(transaction(&proven(0), None));
    script.extend(transaction(&proven(1), Some(7)));
    script.extend(transaction(&proven(2), Some(1000)));
    script.extend(b"MAIL FROM:<a@b.example> SIZE=100000\r\nRSET\r\nSTARTTLS\r\nVRFY x\r\n");
    script.extend(transaction(b"", None));
    script.extend(b"QUIT\r\nNOOP\r\n");
    for toml in ["size = 50000", "delay = ['mail=1ms', 'rcpt=1ms~0.5@0.5', 'end=1ms']"] {
        let behaviour = behaviour(toml);
        let (whole, step, account) = said(&behaviour, &script, script.len());
        assert_eq!(step, Step::Close);
        assert_eq!(account.counts.messages, 4, "{whole}");
        let seen = &account.received.runs[&Run::new(7)];
        assert_eq!((seen.numbers.len(), seen.altered.len(), account.received.unmarked), (3, 0, 1), "{whole}");
        for size in 1..200 {
            let (cut, step_cut, account_cut) = said(&behaviour, &script, size);
            assert_eq!((&cut, step_cut), (&whole, step), "in pieces of {size}");
            assert_eq!(account_cut.counts, account.counts);
        }
    }
}

#[test]
fn proofs_show_what_was_lost_doubled_or_altered() {
    let mut altered = proven(3);
    let last = altered.len() - 3;
    altered[last] ^= 1;
    let mut script = b"EHLO client.example\r\n".to_vec();
    for content in [proven(0), proven(1), proven(1), altered, b"Subject: no proof\r\n\r\n".to_vec()] {
        script.extend(transaction(&content, None));
    }
    let (_, _, account) = said(&Behaviour::default(), &script, script.len());
    let seen = &account.received.runs[&Run::new(7)];
    assert_eq!(seen.numbers.iter().collect::<Vec<_>>(), [0, 1, 3], "2 was lost");
    assert_eq!(seen.doubled.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(seen.altered.iter().collect::<Vec<_>>(), [3]);
    assert_eq!(account.received.unmarked, 1);
    // What was not taken is not there.
    for toml in ["tempfail = ['end=1']", "reject = ['data=1']", "discard = true"] {
        let (_, _, account) = said(&behaviour(toml), &script, script.len());
        assert!(account.received.runs.is_empty(), "{toml}");
    }
}

#[test]
fn extensions_that_are_not_offered_do_not_work() {
    let hello = "EHLO a.example\r\n";
    let envelope = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";
    for (keyword, used) in [
        ("size", "MAIL FROM:<a@b.example> SIZE=1\r\n".to_owned()),
        ("8bitmime", "MAIL FROM:<a@b.example> BODY=8BITMIME\r\n".to_owned()),
        ("smtputf8", "MAIL FROM:<ä@b.example> SMTPUTF8\r\n".to_owned()),
        ("dsn", "MAIL FROM:<a@b.example> RET=FULL\r\n".to_owned()),
        ("chunking", format!("{envelope}BDAT 5 LAST\r\nabc\r\n")),
    ] {
        let script = format!("{hello}{used}");
        let (with, ..) = said(&behaviour(&format!("offer = ['{keyword}']")), script.as_bytes(), 1000);
        let (without, ..) = said(&behaviour("offer = ['none']"), script.as_bytes(), 1000);
        let (original, ..) = said(&Behaviour::default(), script.replace("EHLO", "HELO").as_bytes(), 1000);
        let offer = format!("\r\n250 {}\r\n", keyword.to_ascii_uppercase());
        assert!(with.contains(&offer) && with.ends_with("250 2.0.0 OK\r\n"), "{with}");
        assert!(!without.contains(&offer) && !without.ends_with("250 2.0.0 OK\r\n"), "{without}");
        assert!(!original.ends_with("250 2.0.0 OK\r\n"), "{original}");
    }
    let too_large =
        [hello.as_bytes(), &transaction(&[&[b'a'; 101][..], b"\r\n"].concat(), None), &transaction(b"ab\r\n", None)]
            .concat();
    let (text, _, account) = said(&behaviour("size = 100"), &too_large, 10);
    assert!(text.contains("\r\n250-SIZE 100\r\n"), "{text}");
    assert!(text.contains("\r\n552 ") && text.ends_with("\r\n250 2.0.0 OK\r\n"), "{text}");
    assert_eq!(account.counts.messages, 1);
}

#[test]
fn lines_without_end_are_not_kept() {
    let (text, step, _) = said(&Behaviour::default(), &vec![b'a'; 100_000], 100);
    assert!(text.ends_with("500 5.5.2 Line too long\r\n"), "{text}");
    assert_eq!(step, Step::Close);
}

/// A client of a sink over a socket.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn new(sink: &Sink) -> Self {
        Self(BufReader::new(TcpStream::connect(sink.addresses()[0]).await.unwrap()))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// All up to a line that begins so.
    async fn until(&mut self, begin: &str) -> String {
        let mut text = String::new();
        loop {
            let before = text.len();
            assert!(self.0.read_line(&mut text).await.unwrap() > 0, "no {begin} after {text}");
            if text[before..].starts_with(begin) {
                return text;
            }
        }
    }
}

fn start(behaviour: &Behaviour) -> Sink {
    Sink::start(&["127.0.0.1:0".parse().unwrap()], behaviour).unwrap()
}

#[tokio::test]
async fn messages_arrive_over_sockets_and_are_added_up() {
    let sink = start(&behaviour("threads = 2\ndelay = ['rcpt=1ms']"));
    let mut large = proven(1000);
    large.extend(b"x".repeat(3_000_000));
    for number in 0..20 {
        let mut client = Client::new(&sink).await;
        let script = [b"EHLO a.example\r\n".to_vec(), transaction(&proven(number), None), b"QUIT\r\n".to_vec()];
        client.send(&script.concat()).await;
        client.until("221 ").await;
    }
    let mut client = Client::new(&sink).await;
    client
        .send(&[b"EHLO a.example\r\n".to_vec(), transaction(&large, Some(1_000_000)), b"QUIT\r\n".to_vec()].concat())
        .await;
    client.until("221 ").await;
    assert_eq!(sink.messages(), 21);
    let account = sink.stop().unwrap();
    let expected = (21, 21, 21, 21, 0, 1);
    let SinkCounts { connections, messages, delayed, distinct, doubled, altered, .. } = account.counts;
    assert_eq!((connections, messages, delayed, distinct, doubled, altered), expected);
    // As a generator reads it.
    let json = serde_json::to_string(&account).unwrap();
    let received: Received = serde_json::from_str(&json).unwrap();
    assert_eq!(received.runs[&Run::new(7)].numbers.len(), 21);
    assert_eq!(serde_json::from_str::<Account>(&json).unwrap().counts, account.counts);
}

#[tokio::test]
async fn connections_are_dropped_without_a_word() {
    for (phase, before) in [("greeting", ""), ("data", "354"), ("end", "354")] {
        let sink = start(&behaviour(&format!("drop = ['{phase}=1']")));
        let mut client = Client::new(&sink).await;
        let mut heard = Vec::new();
        if phase != "greeting" {
            client.send(WITH_DATA[..4].concat().as_bytes()).await;
            client.until("354").await;
            client.send(WITH_DATA[4].as_bytes()).await;
        }
        let _ = client.0.read_to_end(&mut heard).await;
        assert_eq!(heard, b"", "{phase} after {before}");
        let account = sink.stop().unwrap();
        assert_eq!((account.counts.dropped, account.counts.messages), (1, 0), "{phase}");
    }
}

#[tokio::test]
async fn files_hold_what_was_sent_and_only_what_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("new");
    let sink = start(&Behaviour { store: Some(store.clone()), ..behaviour("reject = ['end=0.5']") });
    for number in 0..20 {
        let mut client = Client::new(&sink).await;
        client
            .send(&[b"EHLO a.example\r\n".to_vec(), transaction(&proven(number), None), b"QUIT\r\n".to_vec()].concat())
            .await;
        client.until("221 ").await;
    }
    let account = sink.stop().unwrap();
    let mut stored: Vec<Vec<u8>> =
        std::fs::read_dir(&store).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    let numbers = &account.received.runs[&Run::new(7)].numbers;
    let mut expected: Vec<Vec<u8>> = numbers.iter().map(proven).collect();
    stored.sort();
    expected.sort();
    assert!(!expected.is_empty() && expected.len() < 20, "{}", expected.len());
    assert!(stored == expected, "{} files", stored.len());
}

#[tokio::test]
async fn starttls_forgets_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["sink.example".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let sink = start(&Behaviour { certificate: Some(certificate), key: Some(key), ..Behaviour::default() });
    let mut client = Client::new(&sink).await;
    client.send(b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRSET\r\nSTARTTLS\r\nEHLO injected.example\r\n").await;
    client.until("220 2.0.0").await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("sink.example".try_into().unwrap(), client.0.into_inner()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let script = [b"MAIL FROM:<>\r\nEHLO a.example\r\n".to_vec(), transaction(&proven(0), None), b"QUIT\r\n".to_vec()];
    stream.write_all(&script.concat()).await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("503 ") && !heard.contains("STARTTLS"), "{heard}");
    let account = sink.stop().unwrap();
    assert_eq!((account.counts.tls, account.counts.distinct, account.counts.altered), (1, 1, 0));
}

#[test]
fn a_certificate_is_made_for_the_occasion() {
    tls::acceptor(&behaviour("starttls = true")).map(drop).unwrap();
    let nowhere = behaviour("certificate = '/nowhere'\nkey = '/nowhere'");
    assert!(tls::acceptor(&nowhere).is_err());
}
