//! XCLIENT.

use mailweir_smtp::xclient::XClient;

use super::*;

/// A connection to an upstream that offers XCLIENT.
const READY_XCLIENT: &str =
    "S: 220 mx\nC: EHLO proxy.example.test\nS: 250-mx\nS: 250-XCLIENT NAME ADDR HELO\nS: 250 PIPELINING\n";
/// What follows when a client is introduced.
const ANN: &str = "C: XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 HELO=ann.test\n-- quiet\nS: 220 mx\n\
                   C: EHLO ann.test\nS: 250-mx\nS: 250-XCLIENT NAME ADDR HELO\nS: 250 PIPELINING\n";
const BOB: &str = "C: XCLIENT NAME=bob.test ADDR=IPV6:2001:db8::b HELO=bob.test\n-- quiet\nS: 220 mx\n\
                   C: EHLO bob.test\nS: 250-mx\nS: 250-XCLIENT NAME ADDR HELO\nS: 250 PIPELINING\n";

fn ann() -> Arc<XClient> {
    Arc::new(XClient::parse(b"NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=7 HELO=ann.test PROTO=ESMTP").unwrap())
}

fn bob() -> Arc<XClient> {
    Arc::new(XClient::parse(b"NAME=bob.test ADDR=IPV6:2001:db8::b PORT=8 HELO=bob.test PROTO=ESMTP").unwrap())
}

async fn deliver_for(route: &Arc<RouteHandle>, client: Option<&Arc<XClient>>) -> Vec<String> {
    let mut delivery = route.begin(&domain(), client).await.unwrap();
    let replies = delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b"])).await.unwrap();
    let mut said = texts(&replies);
    if replies[0].is_positive() {
        said.push(delivery.message(&message(MESSAGE)).await.unwrap().to_string());
    }
    said
}

const DELIVERED: [&str; 2] = ["250 recipient", "250 2.0.0 taken"];

#[tokio::test]
async fn a_connection_is_introduced_when_it_changes_hands_and_only_then() {
    let dialog = script(&[READY_XCLIENT, ANN, ENVELOPE, TAKEN, ENVELOPE, TAKEN, BOB, ENVELOPE, TAKEN, "-- end"]);
    let (server, route) = route_with(&[&dialog]).await;
    for client in [ann(), ann(), bob()] {
        assert_eq!(deliver_for(&route, Some(&client)).await, DELIVERED);
    }
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn an_unknown_client_does_not_inherit_the_name_of_the_one_before() {
    let nobody = "C: XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE]\nS: 220 mx\n\
                  C: EHLO proxy.example.test\nS: 250-mx\nS: 250 XCLIENT ADDR\n";
    let in_step = "C: MAIL\nS: 250 sender\nC: RCPT\nS: 250 recipient\n";
    let dialog = script(&[READY_XCLIENT, ANN, ENVELOPE, TAKEN, nobody, in_step, TAKEN, "-- end"]);
    let (server, route) = route_with(&[&dialog]).await;
    assert_eq!(deliver_for(&route, Some(&ann())).await, DELIVERED);
    assert_eq!(deliver_for(&route, None).await, DELIVERED);
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn an_open_transaction_is_reset_first() {
    let refused = "C: MAIL\nC: RCPT\nS: 250 sender\nS: 550 recipient\n";
    let dialog = script(&[READY_XCLIENT, ANN, refused, "C: RSET\nS: 250 ok\n", BOB, ENVELOPE, TAKEN, "-- end"]);
    let (server, route) = route_with(&[&dialog]).await;
    assert_eq!(deliver_for(&route, Some(&ann())).await, ["550 recipient"]);
    assert_eq!(deliver_for(&route, Some(&bob())).await, DELIVERED);
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_client_that_the_upstream_turns_away_is_told_so_and_the_next_is_not() {
    let away = "C: XCLIENT\nS: 554 5.7.1 listed\n";
    let not_that_name = "C: XCLIENT\nS: 220 mx\nC: EHLO ann.test\nS: 550 5.7.1 no such name\n";
    let dialog = script(&[READY_XCLIENT, away, not_that_name, BOB, ENVELOPE, TAKEN, "-- end"]);
    let (server, route) = route_with(&[&dialog]).await;
    assert_eq!(deliver_for(&route, Some(&ann())).await, ["554 5.7.1 listed"]);
    assert_eq!(deliver_for(&route, Some(&ann())).await, ["550 5.7.1 no such name"]);
    assert_eq!(deliver_for(&route, Some(&bob())).await, DELIVERED);
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_can_no_longer_be_introduced_is_not_used_for_another() {
    let last = "C: XCLIENT\nS: 220 mx\nC: EHLO ann.test\nS: 250-mx\nS: 250 PIPELINING\n";
    let first = script(&[READY_XCLIENT, last, ENVELOPE, TAKEN, "-- end"]);
    let second = script(&[READY_XCLIENT, BOB, ENVELOPE, TAKEN, "-- end"]);
    let (server, route) = route_with(&[&first, &second]).await;
    assert_eq!(deliver_for(&route, Some(&ann())).await, DELIVERED);
    assert_eq!(deliver_for(&route, Some(&bob())).await, DELIVERED);
    drop(route);
    server.finished(2).await.unwrap();
}

/// Bob's mail must not go in Ann's name when the upstream understands what is said of her and not what is said of him.
#[tokio::test]
async fn a_connection_that_still_speaks_for_another_is_given_up() {
    for failure in [
        "C: XCLIENT\nS: 501 5.5.4 Bad\n-- end",
        "C: XCLIENT\nS: 220 mx\nC: EHLO\nS: 550 no\nC: XCLIENT\nS: 502 no\n-- end",
    ] {
        let first = script(&[READY_XCLIENT, ANN, ENVELOPE, TAKEN, failure]);
        let second = script(&[READY_XCLIENT, BOB, ENVELOPE, TAKEN, "-- end"]);
        let (server, route) = route_with(&[&first, &second]).await;
        assert_eq!(deliver_for(&route, Some(&ann())).await, DELIVERED);
        let mut heard = deliver_for(&route, Some(&bob())).await;
        if heard == ["550 no"] {
            heard = deliver_for(&route, Some(&bob())).await;
        }
        assert_eq!(heard, DELIVERED, "{failure}");
        drop(route);
        server.finished(2).await.unwrap();
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_understand_is_talked_to_as_ever() {
    let dialog = script(&[READY_XCLIENT, "C: XCLIENT\nS: 501 5.5.4 Bad HELO\n", ENVELOPE, TAKEN, "-- end"]);
    let (server, route) = route_with(&[&dialog]).await;
    assert_eq!(deliver_for(&route, Some(&ann())).await, DELIVERED);
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn nothing_is_said_where_it_is_switched_off_or_not_offered() {
    for ready in [READY, &READY_XCLIENT.replace("NAME ADDR HELO", "NAME HELO")] {
        let without = script(&[ready, ENVELOPE, TAKEN, "-- end"]);
        let (plain, route) = route_with(&[&without]).await;
        assert_eq!(deliver_for(&route, Some(&ann())).await, DELIVERED);
        drop(route);
        plain.finished(1).await.unwrap();
    }

    let with = script(&[READY_XCLIENT, ENVELOPE, TAKEN, "-- end"]);
    let offering = server(&[&with]).await;
    let route = handle(config::Route { xclient: false, ..route_to(&[offering.address()]) });
    assert_eq!(deliver_for(&route, Some(&ann())).await, DELIVERED);
    drop(route);
    offering.finished(1).await.unwrap();
}
