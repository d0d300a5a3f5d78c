//! Finding an upstream that takes mail.

use super::*;

/// Upstreams that are no use, each in its own way.
const USELESS: [(&str, &str); 10] = [
    ("closes at once", "-- close"),
    ("half-closes", "-- half-close\n-- stall"),
    ("greets with 421", "S: 421 4.3.2 come back later\n-- end"),
    ("greets with 554", "S: 554 no service here\n-- end"),
    ("greets with 250", "S: 250 hello\n-- end"),
    ("does not speak SMTP", "S: SSH-2.0-OpenSSH_9.2\n-- end"),
    ("never stops greeting", "-- repeat 1000000 220-welcome\n-- stall"),
    ("sends NUL and stalls", "-- send \0\n-- close"),
    ("refuses EHLO for now", "S: 220 mx\nC: EHLO\nS: 450 busy\n-- end"),
    ("refuses EHLO and HELO", "S: 220 mx\nC: EHLO\nS: 500 what\nC: HELO\nS: 500 what\n-- end"),
];

#[tokio::test]
async fn the_next_host_is_tried_in_the_same_breath() {
    for (name, useless) in USELESS {
        let first = server(&[useless]).await;
        let second = server(&[&script(&[READY, ENVELOPE, TAKEN, "-- end"])]).await;
        let route = handle(route_to(&[first.address(), second.address()]));
        let reply = deliver(&route).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(reply.to_string(), "250 2.0.0 taken", "{name}");
        assert_eq!((first.connections(), second.connections()), (1, 1), "{name}");
        assert_eq!(route.failing_hosts(), 1, "{name}");
    }
}

#[tokio::test]
async fn no_host_is_451() {
    for (name, useless) in USELESS {
        let (_server, route) = route_with(&[useless]).await;
        let error = route.begin(&domain(), None).await.err().unwrap_or_else(|| panic!("{name}: connected"));
        assert_eq!(error.reply().to_string(), "451 4.4.1 The next mail server does not answer, try again", "{name}");
        assert!(!error.is_in_doubt());
    }
}

#[tokio::test]
async fn refused_connections_are_451() {
    let unused = mailweir_testkit::ports::free().unwrap();
    let route = handle(route_to(&[unused, unused]));
    assert_eq!(route.begin(&domain(), None).await.err().unwrap().reply().code(), 451);
}

#[tokio::test]
async fn a_silent_host_costs_one_connect_timeout() {
    let first = server(&["-- deaf"]).await;
    let second = server(&[&script(&[READY, "-- end"]), &script(&[READY, "-- end"])]).await;
    let mut config = route_to(&[first.address(), second.address()]);
    config.connect_timeout = Duration::from_millis(300);
    config.pool.idle = 0;
    let route = handle(config);
    drop(route.begin(&domain(), None).await.unwrap());
    // The second time it is known.
    drop(route.begin(&domain(), None).await.unwrap());
    assert_eq!((first.connections(), second.connections()), (1, 2));
}

#[tokio::test]
async fn names_that_do_not_exist_are_the_operators_mistake_and_no_bounce() {
    let mut config = route_to(&[]);
    config.upstreams = Upstreams::Hosts(vec![UpstreamHost { host: "no-such-host.invalid".to_owned(), port: 25 }]);
    assert_eq!(handle(config).begin(&domain(), None).await.err().unwrap().reply().code(), 451);
}

#[tokio::test]
async fn helo_where_ehlo_is_unknown() {
    let dialog = "S: 220 mx\nC: EHLO\nS: 502 what\nC: HELO proxy.example.test\nS: 250 mx\n\
                  C: MAIL FROM:<a@example.org>\n-- quiet\nS: 250 ok\nC: RCPT TO:<b@example.com>\n-- quiet\nS: 250 ok\n\
                  C: DATA\n-- quiet\nS: 354 go\n-- message\nS: 250 taken\n-- end";
    let (server, route) = route_with(&[dialog]).await;
    assert_eq!(deliver(&route).await.unwrap().to_string(), "250 taken");
    drop(route);
    server.finished(1).await.unwrap();
}

#[tokio::test]
async fn what_upstreams_have_in_common_is_learned() {
    let rich = "S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250-SIZE 1000\nS: 250-SMTPUTF8\nS: 250-STARTTLS\nS: 250 DSN\n-- end";
    let poor = "S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250-SIZE 500\nS: 250 SMTPUTF8\n-- end";
    let (first, second) = (server(&[rich]).await, server(&[poor]).await);
    let route = handle(route_to(&[first.address(), second.address()]));
    assert!(route.extensions().eight_bit_mime && !route.extensions().smtp_utf8, "assumed before the first contact");
    let held = route.begin(&domain(), None).await.unwrap();
    assert!(route.extensions().dsn);
    assert_eq!(route.extensions().size, Some(1000));
    route.probe().await;
    let common = route.extensions();
    assert!(common.smtp_utf8 && !common.dsn && !common.eight_bit_mime);
    assert_eq!(common.size, Some(500));
    drop(held);
}
