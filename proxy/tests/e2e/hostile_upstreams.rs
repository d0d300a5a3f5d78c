//! Upstreams that break the protocol, by mistake or on purpose: what the client hears is never better than what the
//! upstream said, and what went wrong on one connection is not carried over to the next message.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::client::{Client, expect, small_message};
use crate::stage::{Setup, Stage};
use crate::upstream::{Answer, CONNECTED, Picky, Rule};

/// A case: its name (also the listener's and the route's), what the upstream does, and what the client hears first that
/// is not 250 or 354; or of the message.
struct Case {
    name: &'static str,
    rules: &'static [Rule],
    heard: &'static str,
    /// Whether the upstream has taken the message. It may have done so although the client hears otherwise.
    is_taken: bool,
    /// Whether another message may go over the connection.
    is_reusable: bool,
}

/// The client is told to try again, nothing was taken, and the connection is given up.
const fn fails(name: &'static str, rules: &'static [Rule]) -> Case {
    Case { name, rules, heard: "451 4.4.", is_taken: false, is_reusable: false }
}

/// The client hears the upstream's own words.
const fn says(name: &'static str, rules: &'static [Rule], heard: &'static str) -> Case {
    Case { name, rules, heard, is_taken: false, is_reusable: true }
}

const CASES: &[Case] = &[
    // Before there is a transaction.
    fails("never-speaks", &[(CONNECTED, Answer::Silence)]),
    fails("greets-with-nonsense", &[(CONNECTED, Answer::Raw(b"SSH-2.0-OpenSSH_9.9\r\n"))]),
    fails("greets-with-250", &[(CONNECTED, Answer::Reply("250 hello"))]),
    fails("greets-with-554", &[(CONNECTED, Answer::Reply("554 5.3.2 no mail here"))]),
    fails("greets-without-end", &[(CONNECTED, Answer::Flood(b"220-and more\r\n"))]),
    fails(
        "greets-with-an-endless-line",
        &[(CONNECTED, Answer::Flood(b"220 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))],
    ),
    fails("greets-twice", &[(CONNECTED, Answer::Raw(b"220 one\r\n220 two\r\n"))]),
    fails(
        "answers-before-it-is-asked",
        &[(CONNECTED, Answer::Raw(b"220 one\r\n250-liar\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n250 ok\r\n"))],
    ),
    fails("hangs-up-at-ehlo", &[("EHLO", Answer::HangUp)]),
    fails("ehlo-without-end", &[("EHLO", Answer::Flood(b"250-X-KEYWORD\r\n"))]),
    fails("ehlo-of-two-codes", &[("EHLO", Answer::Raw(b"250-picky\r\n550 no\r\n"))]),
    fails("ehlo-with-bare-newlines", &[("EHLO", Answer::Raw(b"250-picky\n250 CHUNKING\n"))]),
    fails("ehlo-354", &[("EHLO", Answer::Reply("354 go on"))]),
    // The envelope.
    fails("hangs-up-at-mail", &[("MAIL", Answer::HangUp)]),
    fails("354-to-mail", &[("MAIL", Answer::Reply("354 go on"))]),
    fails("354-to-rcpt", &[("RCPT", Answer::Reply("354 go on"))]),
    fails("silent-at-rcpt", &[("RCPT", Answer::Silence)]),
    fails("half-a-reply-to-rcpt", &[("RCPT", Answer::HalfClose(b"250 2.1.5 fi"))]),
    fails("endless-rcpt", &[("RCPT", Answer::Flood(b"250-2.1.5 fine\r\n"))]),
    fails("no-code", &[("RCPT", Answer::Raw(b"fine\r\n"))]),
    fails("code-of-four-digits", &[("RCPT", Answer::Raw(b"2500 fine\r\n"))]),
    fails("code-999", &[("RCPT", Answer::Raw(b"999 fine\r\n"))]),
    says("421-to-rcpt", &[("RCPT", Answer::Parting(b"421 4.3.2 going down\r\n"))], "451 4.3.2 going down"),
    says(
        "several-lines",
        &[("RCPT", Answer::Reply("550-5.1.1 no\r\n550 5.1.1 such user"))],
        "550-5.1.1 no\n550 5.1.1 such user",
    ),
    says("no-text", &[("RCPT", Answer::Raw(b"550\r\n"))], "550"),
    // Control characters end no line here, and start no other reply.
    says(
        "control-characters",
        &[("RCPT", Answer::Raw(b"550 5.1.1 a\0b\x1b[31mc\x08\x7f\r\n"))],
        "550 5.1.1 a?b?[31mc??",
    ),
    says("eight-bit", &[("RCPT", Answer::Raw(b"550 5.1.1 caf\xe9\r\n"))], "550 5.1.1 caf"),
    fails("cr-in-a-reply", &[("RCPT", Answer::Raw(b"550 5.1.1 a\r250 b\r\n"))]),
    // DATA.
    fails("250-to-data", &[("DATA", Answer::Reply("250 fine"))]),
    fails("hangs-up-at-data", &[("DATA", Answer::HangUp)]),
    fails("praise-before-the-message", &[("DATA", Answer::Raw(b"354 go on\r\n250 2.0.0 taken\r\n"))]),
    says("data-refused", &[("DATA", Answer::Reply("451-4.3.0 not\r\n451 4.3.0 now"))], "451-4.3.0 not\n451 4.3.0 now"),
    // The end of the message.
    fails("silent-at-the-end", &[(".", Answer::Silence)]),
    fails("half-an-answer", &[(".", Answer::HalfClose(b"250 2.0.0 ta"))]),
    fails("354-at-the-end", &[(".", Answer::Reply("354 more"))]),
    fails("250-then-550", &[(".", Answer::Raw(b"250-2.0.0 taken\r\n550 5.0.0 or not\r\n"))]),
    fails("endless-answer", &[(".", Answer::Flood(b"250-2.0.0 taken\r\n"))]),
    says("refused", &[(".", Answer::Reply("554-5.7.1 not\r\n554 5.7.1 this"))], "554-5.7.1 not\n554 5.7.1 this"),
    says("for-now", &[(".", Answer::Reply("452 4.3.1 disk full"))], "452 4.3.1 disk full"),
    says("421-at-the-end", &[(".", Answer::Parting(b"421 4.3.2 going down\r\n"))], "451 4.3.2 going down"),
    Case {
        is_taken: true,
        is_reusable: false,
        ..says("taken-twice", &[(".", Answer::Raw(b"250 2.0.0 taken\r\n250 2.0.0 again\r\n"))], "250 2.0.0 taken")
    },
    Case {
        is_taken: true,
        is_reusable: false,
        ..says("taken-and-gone", &[(".", Answer::Parting(b"250 2.0.0 taken\r\n"))], "250 2.0.0 taken")
    },
    Case {
        is_taken: true,
        is_reusable: false,
        ..says("taken-and-half-gone", &[(".", Answer::HalfClose(b"250 2.0.0 taken\r\n"))], "250 2.0.0 taken")
    },
    Case {
        is_taken: true,
        is_reusable: false,
        ..says("taken-and-221", &[(".", Answer::Raw(b"250 2.0.0 taken\r\n221 2.0.0 bye\r\n"))], "250 2.0.0 taken")
    },
    // What is offered, and what is meant.
    says("size-1", &[("EHLO", Answer::Reply("250-picky.example\r\n250 SIZE 1"))], "552 5.3.4"),
    says(
        "size-overflows",
        &[("EHLO", Answer::Reply("250-picky.example\r\n250 SIZE 99999999999999999999999999"))],
        "250 2.0.0 picky took it",
    ),
    fails(
        "tls-garbage",
        &[
            ("EHLO", Answer::Reply("250-picky.example\r\n250 STARTTLS")),
            ("STARTTLS", Answer::Raw(b"220 go\r\n250-injected\r\n250 CHUNKING\r\n")),
        ],
    ),
];

const LISTENER: &str = r#"
[listener.NAME]
listen = ["@NAME-listener"]
chain = "none"
route = "NAME"
relay_domains = ["example.com"]

[route.NAME]
upstreams = ["@NAME"]
tls = "opportunistic"
connect_timeout = "2s"
command_timeout = "2s"
data_timeout = "2s"
"#;

#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_taken() {
    let mut config = "[chain.none]\n".to_owned();
    let mut upstreams = Vec::new();
    for case in CASES {
        config.push_str(&LISTENER.replace("NAME", case.name));
        upstreams.push(Picky::start(case.rules).await);
    }
    let mut setup = Setup::new(&config);
    for (case, upstream) in CASES.iter().zip(&upstreams) {
        setup = setup.address(case.name, upstream.address());
    }
    let stage = Arc::new(setup.start().await);
    // All at once: most of them wait for a timeout.
    let mut checks = JoinSet::new();
    for (case, upstream) in CASES.iter().zip(upstreams) {
        let stage = Arc::clone(&stage);
        checks.spawn(async move { check(&stage, case, &upstream).await });
    }
    let failures: Vec<String> = checks.join_all().await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Whatever they said, each log line is one line, and says what it says without steering a terminal.
    let log = stage.proxy.log();
    assert!(!log.chars().any(|character| character.is_control() && character != '\n'), "{log}");
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
}

/// What is wrong, if anything.
async fn check(stage: &Stage, case: &Case, upstream: &Picky) -> Option<String> {
    let name = case.name;
    for attempt in ["first", "second"] {
        let mut client = stage.client(name).await;
        let heard = deliver(&mut client).await;
        // A failure may as well be the route's as the connection's.
        let is_failure = case.heard == "451 4.4." && heard.starts_with("451 4.3.");
        if !is_failure && !heard.starts_with(case.heard) {
            return Some(format!("{name}: the {attempt} client heard {heard:?}"));
        }
        // The transaction is over, or was none.
        let over = client.say("DATA").await;
        if !(over.starts_with("503") || over.starts_with("554 5.5.1")) {
            return Some(format!("{name}: after {heard:?}, DATA is answered {over:?}"));
        }
    }
    let lines = upstream.lines();
    let taken = lines.iter().filter(|heard| heard.line == ".").count();
    if case.is_taken && taken != 2 {
        return Some(format!("{name}: taken {taken} times"));
    }
    if !case.is_reusable {
        // Whoever gave a wrong answer is not asked anything after it but to end.
        let mut mails: Vec<usize> =
            lines.iter().filter(|heard| heard.line.starts_with("MAIL")).map(|heard| heard.connection).collect();
        let all = mails.len();
        mails.dedup();
        if mails.len() != all {
            return Some(format!("{name}: a connection was used again: {lines:?}"));
        }
    }
    None
}

/// A message to bob: the first reply that refuses, or that to the message.
async fn deliver(client: &mut Client) -> String {
    for command in ["MAIL FROM:<alice@sender.test>", "RCPT TO:<bob@example.com>", "DATA"] {
        let reply = client.say(command).await;
        if !reply.starts_with(['2', '3']) {
            return reply;
        }
    }
    client.send(small_message("x") + ".\r\n").await;
    client.reply().await
}

/// A reply that trickles in is a reply that did not come: what counts is when it is whole.
#[tokio::test]
async fn a_reply_that_trickles_in_has_an_end() {
    // Each byte in time, by itself.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = tokio::spawn(async move {
        let mut trickles = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            trickles.spawn(async move {
                use tokio::io::AsyncWriteExt as _;
                let mut pace = tokio::time::interval(std::time::Duration::from_millis(100));
                while stream.write_all(b"2").await.is_ok() {
                    pace.tick().await;
                }
            });
        }
    });
    let config = "[chain.none]\n".to_owned() + &LISTENER.replace("NAME", "trickle").replace("2s", "500ms");
    let stage = Setup::new(&config).address("trickle", address).start().await;
    let mut client = stage.client("trickle").await;
    expect(&deliver(&mut client).await, "451 4.4.1");
    upstream.abort();
}
