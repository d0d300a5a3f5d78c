//! MAIL and RCPT.

use super::*;

#[tokio::test]
async fn pipelined_with_an_answer_for_each_recipient() {
    let dialog = "C: MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME\nC: RCPT TO:<b@example.com>\n\
                  C: RCPT TO:<c@example.com>\nC: RCPT TO:<d@example.com>\n-- quiet\n\
                  S: 250 ok\nS: 250 2.1.5 ok\nS: 550-5.1.1 nobody\nS: 550 5.1.1 here\nS: 452 4.2.2 full\n\
                  C: RCPT TO:<e@example.com>\nC: RCPT TO:<f@example.com>\nS: 251 forwarded\nS: 553 no\n\
                  C: DATA\nS: 354 go\n-- message\nS: 250 queued as 1234\n-- end";
    let ready = READY.replace("8BITMIME", "8BITMIME\nS: 250-SIZE 0");
    let (server, route) = route_with(&[&script(&[&ready, dialog])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let parameters = MailParameters::parse(b"SIZE=20 BODY=8BITMIME RET=FULL").unwrap();
    let replies = delivery.mail_and_rcpt(&sender(), &parameters, &recipients(&["b", "c", "d"])).await.unwrap();
    assert_eq!(texts(&replies), ["250 2.1.5 ok", "550 5.1.1 nobody 5.1.1 here", "452 4.2.2 full"]);
    let replies = delivery.rcpt(&recipients(&["e", "f"])).await.unwrap();
    assert_eq!(texts(&replies), ["251 forwarded", "553 no"]);
    assert_eq!(delivery.accepted(), 2);
    assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().to_string(), "250 queued as 1234");
    drop((delivery, route));
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn in_lock_step_where_pipelining_is_not_offered() {
    let dialog = "C: MAIL FROM:<a@example.org>\n-- quiet\nS: 250 ok\nC: RCPT TO:<b@\n-- quiet\nS: 550 no\n\
                  C: RCPT TO:<c@\n-- quiet\nS: 250 ok\nC: RCPT TO:<d@\n-- quiet\nS: 250 ok\n\
                  C: RSET\n-- quiet\nS: 250 ok\nC: MAIL FROM:<>\n-- quiet\nS: 550 no bounces\n-- end";
    let (server, route) = route_with(&[&script(&[READY_BARE, dialog])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let none = MailParameters::default();
    let replies = delivery.mail_and_rcpt(&sender(), &none, &recipients(&["b", "c"])).await.unwrap();
    assert_eq!(texts(&replies), ["550 no", "250 ok"]);
    assert_eq!(texts(&delivery.rcpt(&recipients(&["d"])).await.unwrap()), ["250 ok"]);
    let replies = delivery.mail_and_rcpt(&ReversePath::Null, &none, &recipients(&["b", "c"])).await.unwrap();
    assert_eq!(texts(&replies), ["550 no bounces", "550 no bounces"]);
    drop((delivery, route));
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_refused_mail_answers_every_recipient() {
    let dialog = "C: MAIL\nC: RCPT\nC: RCPT\nS: 451 4.7.1 later\nS: 503 no mail\nS: 503 no mail\n\
                  C: RSET\nC: MAIL\nC: RCPT\n-- quiet\nS: 250 ok\nS: 250 ok\nS: 250 ok\n-- end";
    let (server, route) = route_with(&[&script(&[READY, dialog])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let none = MailParameters::default();
    let replies = delivery.mail_and_rcpt(&sender(), &none, &recipients(&["b", "c"])).await.unwrap();
    assert_eq!(texts(&replies), ["451 4.7.1 later", "451 4.7.1 later"]);
    assert_eq!(delivery.accepted(), 0);
    let replies = delivery.mail_and_rcpt(&sender(), &none, &recipients(&["b"])).await.unwrap();
    assert_eq!(texts(&replies), ["250 ok"]);
    drop((delivery, route));
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_at_mail_is_carried_over_to_the_next_host() {
    for answer in ["S: 421 4.3.2 closing\n-- close", "-- close", "S: 999 what\n-- stall", "S: 354 what\n-- stall"] {
        let first = server(&[&script(&[READY, "C: MAIL\nC: RCPT\n", answer])]).await;
        let second = server(&[&script(&[READY, ENVELOPE, TAKEN, "-- end"])]).await;
        let route = handle(route_to(&[first.address(), second.address()]));
        assert_eq!(deliver(&route).await.unwrap().to_string(), "250 2.0.0 taken", "{answer}");
        assert_eq!(route.failing_hosts(), 1);
    }
}

#[tokio::test]
async fn a_421_with_no_host_left_reaches_the_client_as_451() {
    let (_server, route) =
        route_with(&[&script(&[READY, "C: MAIL\nC: RCPT\nS: 421-4.3.2 closing\nS: 421 4.3.2 now\n"])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let replies = delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b"])).await.unwrap();
    let closing = [Reply::multi(451, "4.3.2", &["closing", "now"])];
    assert_eq!(replies, closing);
    assert_eq!(delivery.rcpt(&recipients(&["c"])).await.unwrap(), closing);
    assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap(), closing[0]);
}

#[tokio::test]
async fn a_421_among_later_recipients_ends_the_transaction() {
    let dialog = "C: RCPT\nC: RCPT\nC: RCPT\nS: 250 ok\nS: 421 4.7.0 enough\n-- close";
    let (_server, route) = route_with(&[&script(&[READY, ENVELOPE, dialog])]).await;
    let mut delivery = open(&route).await;
    let replies = delivery.rcpt(&recipients(&["c", "d", "e"])).await.unwrap();
    assert_eq!(texts(&replies), ["250 ok", "451 4.7.0 enough", "451 4.7.0 enough"]);
    let error = delivery.message(&message(MESSAGE)).await.unwrap_err();
    assert_eq!((error.reply().code(), error.is_in_doubt()), (451, false));
}

#[tokio::test]
async fn a_thousand_recipients_do_not_deadlock() {
    // The server answers each before it reads the next, and more than socket buffers hold.
    let long = "x".repeat(400);
    let mut dialog = format!("{READY}C: MAIL\nS: 250 ok\n");
    for number in 0..2000 {
        dialog.push_str(&format!("C: RCPT TO:<r{number}-\nS: 250 {long}\n"));
    }
    let (server, route) = route_with(&[&dialog]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let names: Vec<String> = (0..2000).map(|number| format!("r{number}-{}", "y".repeat(50))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let replies = delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&names)).await.unwrap();
    assert!(replies.iter().all(Reply::is_positive));
    assert_eq!(delivery.accepted(), 2000);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn without_a_sender_nothing_is_said_on_a_connection_that_others_have_used() {
    // The transaction of whoever had the connection before is still open: a RCPT would add to its recipients, and DATA
    // would deliver to them.
    let before = script(&[READY, ENVELOPE, "-- end"]);
    let beyond = ReversePath::parse("\u{e9}@example.org".as_bytes()).unwrap();
    let (server, route) = route_with(&[&before]).await;
    drop(open(&route).await);
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let parameters = MailParameters::parse(b"SMTPUTF8").unwrap();
    let refused = "553 5.6.7 The next mail server cannot take such a sender address";
    let replies = delivery.mail_and_rcpt(&beyond, &parameters, &recipients(&["c"])).await.unwrap();
    assert_eq!(texts(&replies), [refused]);
    assert_eq!(texts(&delivery.rcpt(&recipients(&["d", "e"])).await.unwrap()), [refused, refused]);
    assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().to_string(), refused);
    assert_eq!((server.connections(), delivery.accepted()), (1, 0));
    drop((delivery, route));
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_mail_refused_by_the_upstream_refuses_later_recipients_too() {
    let dialog = "C: MAIL\nC: RCPT\nS: 451 4.7.1 later\nS: 503 no mail\n";
    let (server, route) = route_with(&[&script(&[READY, dialog, "-- end"])]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b"])).await.unwrap();
    assert_eq!(texts(&delivery.rcpt(&recipients(&["c"])).await.unwrap()), ["451 4.7.1 later"]);
    assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().to_string(), "451 4.7.1 later");
    drop((delivery, route));
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn after_a_message_there_is_no_transaction() {
    for answer in [TAKEN, "C: DATA\nS: 354 go\n-- message\nS: 550 no\n", "C: DATA\nS: 451 not now\n"] {
        let (server, route) = route_with(&[&script(&[READY, ENVELOPE, answer, "-- end"])]).await;
        let mut delivery = open(&route).await;
        delivery.message(&message(MESSAGE)).await.unwrap();
        assert_eq!(delivery.rcpt(&recipients(&["c"])).await.unwrap()[0].code(), 451);
        assert_eq!(delivery.message(&message(MESSAGE)).await.unwrap().code(), 451);
        drop((delivery, route));
        server.finished(1).await.unwrap();
    }
}

/// What Exchange 2019 says of itself to a server that it does not know.
#[tokio::test]
async fn exchange_gets_a_message_in_one_chunk_and_none_of_its_own_verbs() {
    let dialog = "S: 220 EX1.corp.example Microsoft ESMTP MAIL Service ready at Sat, 21 Nov 2026 12:00:00 +0100\n\
                  C: EHLO proxy.example.test\nS: 250-EX1.corp.example Hello [192.0.2.1]\nS: 250-SIZE 37748736\n\
                  S: 250-PIPELINING\nS: 250-DSN\nS: 250-ENHANCEDSTATUSCODES\nS: 250-X-ANONYMOUSTLS\n\
                  S: 250-AUTH NTLM\nS: 250-X-EXPS GSSAPI NTLM\nS: 250-8BITMIME\nS: 250-BINARYMIME\nS: 250-CHUNKING\n\
                  S: 250-XEXCH50\nS: 250-XRDST\nS: 250 XSHADOWREQUEST\n\
                  C: MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME\nC: RCPT TO:<b@example.com>\n\
                  S: 250 2.1.0 Sender OK\nS: 250 2.1.5 Recipient OK\n\
                  C: BDAT 20 LAST\n-- octets 20\n\
                  S: 250 2.6.0 <id> [InternalId=1] Queued mail for delivery\n-- end";
    let (server, route) = route_with(&[dialog]).await;
    let mut delivery = route.begin(&domain(), None).await.unwrap();
    let parameters = MailParameters::parse(b"SIZE=20 BODY=8BITMIME").unwrap();
    let replies = delivery.mail_and_rcpt(&sender(), &parameters, &recipients(&["b"])).await.unwrap();
    assert_eq!(texts(&replies), ["250 2.1.5 Recipient OK"]);
    let reply = delivery.message(&message(MESSAGE)).await.unwrap();
    assert_eq!(reply.to_string(), "250 2.6.0 <id> [InternalId=1] Queued mail for delivery");
    drop((delivery, route));
    server.finished(1).await.unwrap();
}
