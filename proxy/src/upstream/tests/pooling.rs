//! Connections used again.

use super::*;

#[tokio::test]
async fn one_connection_serves_as_many_messages_as_configured() {
    let two = script(&[READY, ENVELOPE, TAKEN, ENVELOPE, TAKEN, "-- end"]);
    let server = server(&[&two, &two, &two]).await;
    let mut config = route_to(&[server.address()]);
    config.pool.reuse = 2;
    let route = handle(config);
    for _ in 0..5 {
        deliver(&route).await.unwrap();
    }
    assert_eq!((server.connections(), route.idle_connections()), (3, 1));
    server.finished(2).await.unwrap();
}

#[tokio::test]
async fn no_more_are_kept_than_configured() {
    let ready = script(&[READY, "-- end"]);
    let server = server(&[&ready, &ready, &ready]).await;
    let mut config = route_to(&[server.address()]);
    config.pool.idle = 2;
    let route = handle(config);
    let (one, two, three) = (
        route.begin(&domain(), None).await.unwrap(),
        route.begin(&domain(), None).await.unwrap(),
        route.begin(&domain(), None).await.unwrap(),
    );
    drop((one, two, three));
    assert_eq!(route.idle_connections(), 2);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn idle_connections_expire() {
    let server = server(&[&script(&[READY, "-- end"])]).await;
    let mut config = route_to(&[server.address()]);
    config.pool.idle_timeout = Duration::from_millis(100);
    let route = handle(config);
    drop(route.begin(&domain(), None).await.unwrap());
    server.finished(1).await.unwrap();
    assert_eq!(route.idle_connections(), 0);
}

#[tokio::test]
async fn a_connection_that_died_is_replaced_before_anyone_notices() {
    let again = script(&[READY, ENVELOPE, TAKEN, "-- end"]);
    // Closed while idle; closed with a word; closed only when MAIL comes, as when both cross on the wire.
    for death in [
        "-- close",
        "S: 421 4.4.2 idle for too long\n-- close",
        "C: MAIL\nC: RCPT\n-- close",
        "C: MAIL\nC: RCPT\nS: 421 bye\n",
    ] {
        let (server, route) = route_with(&[&script(&[READY, ENVELOPE, TAKEN, death]), &again]).await;
        deliver(&route).await.unwrap();
        if death.starts_with("C:") {
            assert_eq!(route.idle_connections(), 1);
        } else {
            server.finished(1).await.unwrap();
        }
        assert_eq!(deliver(&route).await.unwrap().to_string(), "250 2.0.0 taken", "{death}");
        assert_eq!((server.connections(), route.failing_hosts()), (2, 0), "{death}");
    }
}

#[tokio::test]
async fn the_next_user_resets_an_abandoned_transaction() {
    let dialog = "C: RSET\nC: MAIL\nC: RCPT\n-- quiet\nS: 250 reset\nS: 250 ok\nS: 250 ok\n";
    let (server, route) = route_with(&[&script(&[READY, ENVELOPE, dialog, TAKEN, ENVELOPE, TAKEN, "-- end"])]).await;
    drop(open(&route).await);
    deliver(&route).await.unwrap();
    // After a message there is nothing to reset.
    deliver(&route).await.unwrap();
    assert_eq!(server.connections(), 1);
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn an_exchange_given_up_halfway_closes_the_connection() {
    let (server, route) = route_with(&[&script(&[READY, ENVELOPE, "C: DATA\n-- end"])]).await;
    let mut delivery = open(&route).await;
    let message = message(MESSAGE);
    let abandoned = tokio::time::timeout(Duration::from_millis(100), delivery.message(&message)).await;
    assert!(abandoned.is_err());
    drop(delivery);
    assert_eq!(route.idle_connections(), 0);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_reload_keeps_the_connections_of_routes_that_stay() {
    let server = server(&[&script(&[READY, ENVELOPE, TAKEN, ENVELOPE, TAKEN, "-- end"])]).await;
    let config = route_to(&[server.address()]);
    let old = handle(config.clone());
    deliver(&old).await.unwrap();
    let settings = old.settings().clone();
    let routes = [("test".to_owned(), config)].into();
    let first = Routes::new(&routes, &settings, None).unwrap();
    drop(old);
    let second = Routes::new(&routes, &settings, Some(&first)).unwrap();
    assert!(first.route("test").unwrap().shares_with(&second.route("test").unwrap()));
    let mut changed = routes.clone();
    changed.get_mut("test").unwrap().pool.idle = 1;
    let third = Routes::new(&changed, &settings, Some(&second)).unwrap();
    assert!(!second.route("test").unwrap().shares_with(&third.route("test").unwrap()));
}

/// A route to servers with these scripts that may have one connection.
fn narrow(servers: &[&ScriptedServer]) -> config::Route {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address()).collect();
    config::Route { max_connections: 1, ..route_to(&addresses) }
}

#[tokio::test]
async fn no_more_connections_than_configured() {
    let server = server(&[&script(&[READY, ENVELOPE, TAKEN, ENVELOPE, TAKEN, "-- end"])]).await;
    let route = handle(config::Route { connect_timeout: Duration::from_millis(300), ..narrow(&[&server]) });
    let mut first = open(&route).await;
    let error = route.begin(&domain(), None).await.err().unwrap();
    assert_eq!(error.reply().to_string(), "451 4.3.2 Too many connections to the next mail server, try again");
    // One that waits gets the connection as soon as it is free.
    let finishing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.message(&message(MESSAGE)).await.unwrap();
        drop(first);
    };
    let (second, ()) = tokio::join!(deliver(&route), finishing);
    assert_eq!(second.unwrap().to_string(), "250 2.0.0 taken");
    assert_eq!((server.connections(), route.idle_connections()), (1, 1));
}

#[tokio::test]
async fn idle_connections_give_way() {
    let ready = script(&[READY, "-- end"]);
    let (first, second) = (server(&[&ready]).await, server(&[&ready]).await);
    let route = handle(narrow(&[&first, &second]));
    drop(route.begin(&domain(), None).await.unwrap());
    assert_eq!(route.idle_connections(), 1);
    route.failed(&UpstreamHost { host: "127.0.0.1".to_owned(), port: first.address().port() });
    let _held = route.begin(&domain(), None).await.unwrap();
    assert_eq!((first.connections(), second.connections(), route.idle_connections()), (1, 1, 0));
    first.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_broke_does_not_stand_in_the_way_of_its_replacement() {
    for death in ["C: DATA\n-- close", "C: MAIL\nC: RCPT\n-- close", "-- close"] {
        let envelope = if death.contains("MAIL") { "" } else { ENVELOPE };
        let good = script(&[READY, ENVELOPE, TAKEN, "-- end"]);
        let first = server(&[&script(&[READY, envelope, death]), &good]).await;
        let second = server(&[&good]).await;
        let route = handle(narrow(&[&first, &second]));
        assert_eq!(deliver(&route).await.unwrap().to_string(), "250 2.0.0 taken", "{death}");
        drop(route.begin(&domain(), None).await.unwrap());
    }
}

#[tokio::test]
async fn the_probe_keeps_to_the_limit() {
    let ready = script(&[READY, "-- end"]);
    let (first, second) = (server(&[&ready]).await, server(&[&ready]).await);
    let route = handle(narrow(&[&first, &second]));
    route.probe().await;
    assert_eq!((first.connections(), second.connections(), route.idle_connections()), (1, 1, 1));
}
