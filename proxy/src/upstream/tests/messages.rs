//! The message itself, and its answer.

use super::*;

/// What comes of a message after a script's steps that follow the envelope.
async fn outcome(steps: &str) -> Result<Reply, UpstreamError> {
    let (_server, route) = route_with(&[&script(&[READY, ENVELOPE, steps])]).await;
    deliver(&route).await
}

#[tokio::test]
async fn the_answer_is_handed_on_word_for_word() {
    let cases = [
        ("C: DATA\nS: 354 go\n-- message\nS: 250 2.0.0 Ok: queued as 4XyZ\n", "250 2.0.0 Ok: queued as 4XyZ"),
        ("C: DATA\nS: 354 go\n-- message\nS: 550-5.7.1 spam\nS: 550 5.7.1 really\n", "550 5.7.1 spam 5.7.1 really"),
        ("C: DATA\nS: 354 go\n-- message\nS: 451 4.3.0 disk\n", "451 4.3.0 disk"),
        ("C: DATA\nS: 354 go\n-- message\nS: 421 4.3.2 closing\n", "451 4.3.2 closing"),
        ("C: DATA\nS: 451 4.7.1 greylisted\n", "451 4.7.1 greylisted"),
        ("C: DATA\nS: 554 no\n", "554 no"),
        ("C: DATA\nS: 421 no\n", "451 no"),
    ];
    for (steps, expected) in cases {
        assert_eq!(outcome(steps).await.unwrap().to_string(), expected, "{steps}");
    }
}

#[tokio::test]
async fn without_a_proper_answer_it_is_451_and_never_250() {
    let cases = [
        ("C: DATA\n-- close", false),
        ("C: DATA\nS: 250 ok\n-- stall", false),
        ("C: DATA\nS: 220 ok\n-- stall", false),
        ("C: DATA\nS: 354 go\n-- close", false),
        ("C: DATA\n-- inject 354 go|250 already\n-- stall", false),
        ("C: DATA\nS: 354 go\n-- message\n-- close", true),
        ("C: DATA\nS: 354 go\n-- message\n-- half-close\n-- stall", true),
        ("C: DATA\nS: 354 go\n-- message\n-- send 250 half of an answ\n-- close", true),
        ("C: DATA\nS: 354 go\n-- message\nS: 354 again\n-- stall", true),
        ("C: DATA\nS: 354 go\n-- message\nS: 250-first\nS: 550 then\n-- stall", true),
        ("C: DATA\nS: 354 go\n-- message\n-- repeat 100000 250-and\n-- stall", true),
        ("C: DATA\nS: 354 go\n-- message\nS: nonsense\n-- stall", true),
    ];
    for (steps, in_doubt) in cases {
        let error = outcome(steps).await.err().unwrap_or_else(|| panic!("{steps}: a reply"));
        assert_eq!(error.reply().code(), 451, "{steps}");
        // Whether a close is seen before or after the last byte was written is the network's to say.
        if !steps.ends_with("354 go\n-- close") {
            assert_eq!(error.is_in_doubt(), in_doubt, "{steps}: {error}");
        }
    }
}

#[tokio::test]
async fn silence_after_the_dot_is_in_doubt() {
    let server = server(&[&script(&[READY, ENVELOPE, "C: DATA\nS: 354 go\n-- message\n-- stall"])]).await;
    let mut config = route_to(&[server.address()]);
    config.data_timeout = Duration::from_millis(100);
    let error = deliver(&handle(config)).await.unwrap_err();
    assert!(error.is_in_doubt());
    assert_eq!(error.reply().to_string(), "451 4.4.2 The connection to the next mail server broke, try again");
}

/// 10 MB, more than any socket buffer holds.
fn large() -> Message {
    message(["Subject: x\r\n\r\n".to_owned(), format!("{}\r\n", "x".repeat(98)).repeat(100_000)].concat())
}

#[tokio::test]
async fn an_objection_midway_is_the_answer() {
    for (ending, expected) in [
        ("S: 552 5.3.4 too much\n-- deaf", "552 5.3.4 too much"),
        ("S: 552 5.3.4 too much\n-- stall", "552 5.3.4 too much"),
        ("S: 421 4.3.2 closing\n-- deaf", "451 4.3.2 closing"),
        (
            "-- send 552-5.3.4 too\n-- send  \nS:  much\nS: 552 5.3.4 indeed\n-- deaf",
            "552 5.3.4 too  much 5.3.4 indeed",
        ),
    ] {
        let (_server, route) =
            route_with(&[&script(&[READY, ENVELOPE, "C: DATA\nS: 354 go\n-- octets 5000\n", ending])]).await;
        let mut delivery = open(&route).await;
        assert_eq!(delivery.message(&large()).await.unwrap().to_string(), expected, "{ending}");
        drop(delivery);
        if ending.ends_with("deaf") {
            assert_eq!(route.idle_connections(), 0, "{ending}");
        }
    }
}

#[tokio::test]
async fn praise_midway_is_no_acceptance() {
    let (_server, route) =
        route_with(&[&script(&[READY, ENVELOPE, "C: DATA\nS: 354 go\n-- octets 5000\nS: 250 lovely\n-- deaf"])]).await;
    let error = open(&route).await.message(&large()).await.unwrap_err();
    assert_eq!((error.reply().code(), error.is_in_doubt()), (451, false));
}

#[tokio::test]
async fn a_server_that_stops_reading_runs_into_the_timeout() {
    let server = server(&[&script(&[READY, ENVELOPE, "C: DATA\nS: 354 go\n-- octets 5000\n-- deaf"])]).await;
    let mut config = route_to(&[server.address()]);
    config.command_timeout = Duration::from_millis(300);
    let error = open(&handle(config)).await.message(&large()).await.unwrap_err();
    assert_eq!((error.reply().code(), error.is_in_doubt()), (451, false));
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let (server, route) = route_with(&[&script(&[READY, ENVELOPE, TAKEN, "-- end"])]).await;
    let message = large();
    assert!(open(&route).await.message(&message).await.unwrap().is_positive());
    let heard = server.heard(0);
    assert_eq!(heard.last().unwrap().len() as u64, message.size());
}

#[tokio::test]
async fn data_is_stuffed_and_ends_with_a_line() {
    for (sent, expected) in [
        ("a: b\r\n\r\n.a\r\n..b\r\n\r\n.\r\n", "a: b\r\n\r\n..a\r\n...b\r\n\r\n..\r\n"),
        ("no: newline\r\n\r\nat the end", "no: newline\r\n\r\nat the end\r\n"),
        ("", ""),
    ] {
        let (server, route) = route_with(&[&script(&[READY, ENVELOPE, TAKEN, "-- end"])]).await;
        let sent = message(sent);
        assert!(open(&route).await.message(&sent).await.unwrap().is_positive());
        assert_eq!(server.heard(0).last().unwrap(), expected);
    }
}

#[tokio::test]
async fn chunking_takes_a_plain_message_as_it_is() {
    let ready = READY.replace("8BITMIME", "CHUNKING");
    let text = "a: b\r\n\r\n.\r\n.plain\r\n\r\nwithout a newline at the end";
    let dialog =
        format!("{ready}{ENVELOPE}C: BDAT {} LAST\n-- octets {}\nS: 250 taken\n-- end", text.len(), text.len());
    let (server, route) = route_with(&[&dialog]).await;
    let mut delivery = open(&route).await;
    let sent = message(text);
    assert_eq!(delivery.message(&sent).await.unwrap().to_string(), "250 taken");
    assert_eq!(sent.size(), text.len() as u64);
    drop((delivery, route));
    server.finished(1).await.unwrap();
    assert_eq!(server.heard(0).last().unwrap(), text);
}

#[tokio::test]
async fn content_that_the_upstream_cannot_take() {
    let ready = READY.replace("8BITMIME", "SIZE 50");
    let parameters = MailParameters::parse(b"BODY=8BITMIME SMTPUTF8").unwrap();
    for (text, expected) in [
        ("Subject: x\r\n\r\nascii\r\n", "250 2.0.0 taken"),
        (
            "Subject: x\r\n\r\ncaf\u{e9}\r\n",
            "554 5.6.3 The next mail server cannot take such content, and it is not converted",
        ),
        ("Subject: \u{e9}\r\n\r\nx\r\n", "550 5.6.9 The next mail server cannot take a header in UTF-8"),
        (
            &format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(50)),
            "552 5.3.4 The message is too large for the next mail server",
        ),
    ] {
        let (_server, route) = route_with(&[&script(&[&ready, ENVELOPE, TAKEN, "-- end"])]).await;
        let mut delivery = route.begin(&domain(), None).await.unwrap();
        delivery.mail_and_rcpt(&sender(), &parameters, &recipients(&["b"])).await.unwrap();
        assert_eq!(delivery.message(&message(text.to_owned())).await.unwrap().to_string(), expected);
        // Refused by us: the upstream knows nothing of it, and the connection is as good as before.
        drop(delivery);
        assert_eq!(route.idle_connections(), 1);
    }
}

#[tokio::test]
async fn no_recipient_no_message() {
    let (_server, route) = route_with(&[&script(&[READY, "C: MAIL\nC: RCPT\nS: 250 ok\nS: 550 nobody\n-- end"])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b"])).await.unwrap();
    assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().to_string(), "554 5.5.1 No valid recipients");
}
