//! Clients that take longer to send a message than the upstream waits for it.

use super::*;

/// The whole dialog on a fresh connection.
fn good() -> String {
    script(&[READY, ENVELOPE, TAKEN, "-- end"])
}

#[tokio::test]
async fn a_connection_that_died_while_the_client_was_sending_is_replaced() {
    for death in [
        "-- close",
        "S: 421 4.4.2 idle for too long\n-- close",
        "-- send 421 4.4.2 half of an answ\n-- close",
        "C: DATA\n-- close",
        "C: DATA\nS: 421 4.4.2 idle for too long\n-- close",
        "C: RCPT\nS: 421 4.4.2 idle for too long\n-- close",
    ] {
        let (server, route) = route_with(&[&script(&[READY, ENVELOPE, death]), &good()]).await;
        let mut delivery = open(&route).await;
        if death.starts_with("C: RCPT") {
            delivery.rcpt(&recipients(&["c"])).await.unwrap();
        } else if !death.starts_with("C:") {
            server.finished(1).await.unwrap();
        }
        assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().to_string(), "250 2.0.0 taken", "{death}");
        assert_eq!((server.connections(), route.failing_hosts()), (2, 0), "{death}");
        drop((delivery, route));
        server.finished(2).await.unwrap();
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_data_is_asked_over_another_connection() {
    // So it looks when something in between has forgotten the connection.
    let server = server(&[&script(&[READY, ENVELOPE, "C: DATA\n-- stall"]), &good()]).await;
    let mut config = route_to(&[server.address()]);
    config.command_timeout = Duration::from_millis(300);
    assert_eq!(deliver(&handle(config)).await.unwrap().to_string(), "250 2.0.0 taken");
}

#[tokio::test]
async fn the_envelope_is_repeated_as_it_was_accepted() {
    let dialog = "C: MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME\nC: RCPT TO:<b@example.com>\n\
                  C: RCPT TO:<c@example.com>\nS: 250 ok\nS: 250 ok\nS: 550 no\n\
                  C: RCPT TO:<d@example.com>\nC: RCPT TO:<e@example.com>\nS: 450 no\nS: 250 ok\n-- close";
    // The other server cannot take as much.
    let again = "C: MAIL FROM:<a@example.org> SIZE=20\nC: RCPT TO:<b@example.com>\nC: RCPT TO:<e@example.com>\n\
                 -- quiet\nS: 250 ok\nS: 250 ok\nS: 250 ok\n";
    let ready = READY.replace("8BITMIME", "8BITMIME\nS: 250-SIZE 0");
    let poorer = READY.replace("8BITMIME", "SIZE 0");
    let (server, route) = route_with(&[&script(&[&ready, dialog]), &script(&[&poorer, again, TAKEN, "-- end"])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let parameters = MailParameters::parse(b"SIZE=20 BODY=8BITMIME RET=FULL").unwrap();
    delivery.mail_and_rcpt(&sender(), &parameters, &recipients(&["b", "c"])).await.unwrap();
    delivery.rcpt(&recipients(&["d", "e"])).await.unwrap();
    assert_eq!(delivery.accepted(), 2);
    server.finished(1).await.unwrap();
    assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().to_string(), "250 2.0.0 taken");
    drop((delivery, route));
    server.finished(2).await.unwrap();
}

#[tokio::test]
async fn content_is_checked_against_what_the_other_server_can_take() {
    let poorer = READY.replace("8BITMIME", "SIZE 0");
    let dialog = script(&[READY, ENVELOPE, "-- close"]);
    let (server, route) = route_with(&[&dialog, &script(&[&poorer, ENVELOPE, "-- end"])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let parameters = MailParameters::parse(b"BODY=8BITMIME").unwrap();
    delivery.mail_and_rcpt(&sender(), &parameters, &recipients(&["b"])).await.unwrap();
    server.finished(1).await.unwrap();
    let reply = delivery.message(&message("Subject: x\r\n\r\ncaf\u{e9}\r\n")).await.unwrap();
    assert_eq!((reply.code(), reply.enhanced()), (554, Some("5.6.3")));
    drop((delivery, route));
    server.finished(2).await.unwrap();
}

/// What comes of a message to `b` and `c` when they are accepted, the connection dies, and the second time the answers
/// are these.
async fn second_answers(answers: &str) -> Result<Reply, UpstreamError> {
    let envelope = "C: MAIL\nC: RCPT\nC: RCPT\nS: 250 ok\nS: 250 ok\nS: 250 ok\n-- close";
    let again = script(&[READY, "C: MAIL\nC: RCPT\nC: RCPT\n", answers, "-- end"]);
    let (server, route) = route_with(&[&script(&[READY, envelope]), &again]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b", "c"])).await.unwrap();
    server.finished(1).await.unwrap();
    let result = delivery.message(&message(MESSAGE)).await;
    drop((delivery, route));
    server.finished(2).await.unwrap();
    result
}

#[tokio::test]
async fn nobody_is_left_out_when_the_other_connection_refuses_some() {
    let lost = "451 4.4.2 The connection to the next mail server broke, try again";
    for (answers, expected) in [
        ("S: 550 no\nS: 503 x\nS: 503 x\n", "550 no"),
        ("S: 450 no\nS: 503 x\nS: 503 x\n", "450 no"),
        ("S: 250 ok\nS: 550 one\nS: 550 two\n", "550 one"),
        ("S: 250 ok\nS: 550 one\nS: 450 two\n", "450 two"),
        ("S: 250 ok\nS: 250 ok\nS: 450 two\n", "450 two"),
        // The client would take a 550 for all of them: it had better ask for each once more.
        ("S: 250 ok\nS: 550 one\nS: 250 ok\n", lost),
    ] {
        let reply = second_answers(answers).await.unwrap_or_else(|error| error.reply());
        assert_eq!(reply.to_string(), expected, "{answers}");
    }
}

#[tokio::test]
async fn it_is_tried_once_more_and_no_oftener() {
    for death in ["C: DATA\n-- close", "C: DATA\nS: 421 bye\n"] {
        let dying = script(&[READY, ENVELOPE, death]);
        let (server, route) = route_with(&[&dying, &dying, &good()]).await;
        let result = deliver(&route).await;
        assert_eq!(result.unwrap_or_else(|error| error.reply()).code(), 451);
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn what_may_have_been_taken_is_not_sent_again() {
    for death in [
        "C: DATA\nS: 354 go\n-- message\n-- close",
        "C: DATA\nS: 354 go\n-- message\nS: 421 bye\n",
        "C: DATA\nS: 354 go\n-- close",
        "C: DATA\nS: 250 what\n-- stall",
    ] {
        let (server, route) = route_with(&[&script(&[READY, ENVELOPE, death]), &good()]).await;
        let result = deliver(&route).await;
        assert_eq!(result.unwrap_or_else(|error| error.reply()).code(), 451, "{death}");
        assert_eq!(server.connections(), 1, "{death}");
    }
}

#[tokio::test]
async fn with_chunking_a_dead_connection_is_noticed_before_anything_is_sent() {
    let ready = READY.replace("8BITMIME", "CHUNKING");
    let length = MESSAGE.len();
    let chunk = format!("C: BDAT {length} LAST\n-- octets {length}\n");
    let good = script(&[&ready, ENVELOPE, &chunk, "S: 250 taken\n-- end"]);
    for death in ["-- close", "S: 421 4.4.2 idle for too long\n-- close", "S: 250 what\n-- close"] {
        let (server, route) = route_with(&[&script(&[&ready, ENVELOPE, death]), &good]).await;
        let mut delivery = open(&route).await;
        server.finished(1).await.unwrap();
        let result = delivery.message(&message(MESSAGE)).await;
        let is_nonsense = death.contains("250");
        assert_eq!(result.map_or(451, |reply| reply.code()), if is_nonsense { 451 } else { 250 }, "{death}");
        assert_eq!(server.connections(), if is_nonsense { 1 } else { 2 }, "{death}");
    }
    // Once the chunk has left, nobody can tell what became of it.
    let (server, route) = route_with(&[&script(&[&ready, ENVELOPE, &chunk, "-- close"]), &good]).await;
    assert!(deliver(&route).await.unwrap_err().is_in_doubt());
    assert_eq!(server.connections(), 1);
}
