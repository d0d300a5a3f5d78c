//! The resolver against a real server in this process.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use hickory_resolver::proto::dnssec::TrustAnchors;
use mailweir_testkit::dns::{Spoilt, Zone, ZoneKey, ZoneServer};

use super::*;

async fn serve(zone: Zone) -> (ZoneServer, Dns) {
    let server = ZoneServer::start(zone, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let dns = Dns::new(&config::Dns {
        resolvers: vec![server.addr()],
        dnssec: config::Dnssec::Off,
        timeout: Duration::from_millis(400),
        cache_size: 1000,
    });
    (server, dns.unwrap())
}

#[tokio::test]
async fn every_type_is_read() {
    let zone = Zone::new()
        .a("host.example", [192, 0, 2, 1])
        .aaaa("host.example", Ipv6Addr::LOCALHOST)
        .txt("text.example", "one")
        .txt("text.example", &"x".repeat(3000))
        .mx("example", 20, "b.Example")
        .mx("example", 10, "a.example")
        .mx("null.example", 0, ".")
        .ptr("1.2.0.192.in-addr.arpa", "Host.Example")
        .cname("alias.example", "host.example");
    let (_server, dns) = serve(zone).await;
    let addresses = dns.addresses("Host.Example.").await.unwrap().values;
    assert_eq!(*addresses, [IpAddr::from([192, 0, 2, 1]), Ipv6Addr::LOCALHOST.into()]);
    assert_eq!(dns.ipv4("alias.example").await.unwrap().values.len(), 1);
    let mut texts: Vec<usize> = dns.txt("text.example").await.unwrap().values.iter().map(Bytes::len).collect();
    texts.sort_unstable();
    assert_eq!(texts, [3, 3000]);
    let hosts: Vec<String> = dns.mx("example").await.unwrap().values.iter().map(|mx| mx.host.clone()).collect();
    assert_eq!(hosts, ["a.example", "b.example"]);
    assert_eq!(dns.mx("null.example").await.unwrap().values[0].host, ".");
    assert_eq!(*dns.ptr([192, 0, 2, 1].into()).await.unwrap().values, ["host.example"]);
}

#[tokio::test]
async fn absence_silence_and_failure_are_told_apart() {
    let zone = Zone::new().txt("a.b.example", "x").silent("slow.example").servfail("broken.example");
    let (_server, dns) = serve(zone).await;
    assert_eq!(dns.txt("nothing.example").await, Err(Error::NoName));
    assert_eq!(dns.txt("b.example").await, Err(Error::NoRecord));
    assert_eq!(dns.ipv4("a.b.example").await, Err(Error::NoRecord));
    let begun = Instant::now();
    assert_eq!(dns.txt("slow.example").await, Err(Error::Timeout));
    assert!(begun.elapsed() < Duration::from_secs(2));
    let begun = Instant::now();
    assert_eq!(dns.txt("slow.example").await, Err(Error::Timeout));
    assert!(begun.elapsed() < Duration::from_millis(100), "silence is remembered");
    assert!(matches!(dns.txt("broken.example").await, Err(Error::Failure(_))));
    for name in ["", ".", "a..b", "tab\t.example", &"x".repeat(64), &"abc.".repeat(80)] {
        assert!(matches!(dns.txt(name).await, Err(Error::Invalid(_))), "{name:?}");
    }
    assert_eq!(dns.addresses("nothing.example").await, Err(Error::NoName));
}

#[tokio::test]
async fn an_answer_is_asked_for_once() {
    let (server, dns) = serve(Zone::new().a("host.example", [192, 0, 2, 1])).await;
    let mut together = JoinSet::new();
    for _ in 0..50 {
        let dns = dns.clone();
        together.spawn(async move { (dns.ipv4("host.example").await, dns.ipv4("no.example").await) });
    }
    while let Some(answers) = together.join_next().await {
        let (found, missing) = answers.unwrap();
        assert!(found.is_ok());
        assert_eq!(missing, Err(Error::NoName));
    }
    assert_eq!(server.queries(), 2);
}

#[tokio::test]
async fn a_question_given_up_does_not_block_the_next() {
    let (_server, dns) = serve(Zone::new().silent("slow.example")).await;
    let impatient = tokio::time::timeout(Duration::from_millis(50), dns.txt("slow.example")).await;
    assert!(impatient.is_err());
    assert_eq!(dns.txt("slow.example").await, Err(Error::Timeout));
}

#[tokio::test]
async fn block_lists_are_asked_all_at_once() {
    let mut zone = Zone::new();
    let queries: Vec<String> = (0..100).map(|index| format!("d{index}.bl.example")).collect();
    for (index, query) in queries.iter().enumerate().filter(|(index, _)| index % 2 == 0) {
        zone = zone.a(query, [127, 0, 0, u8::try_from(index).unwrap()]);
    }
    let (_server, dns) = serve(zone).await;
    for _ in 0..2 {
        let results = dns.dnsbl(&queries).await;
        for (index, result) in results.iter().enumerate() {
            match index % 2 {
                0 => assert_eq!(
                    *result.as_ref().unwrap().values,
                    [Ipv4Addr::new(127, 0, 0, u8::try_from(index).unwrap())]
                ),
                _ => assert_eq!(*result, Err(Error::NoName)),
            }
        }
    }
    assert_eq!(dns.dnsbl(&["not..a.name".to_owned()]).await.len(), 1);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let server = ZoneServer::start(Zone::new(), (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let config = config::Dns {
        resolvers: vec![server.addr()],
        dnssec: config::Dnssec::Off,
        timeout: Duration::from_secs(2),
        cache_size: 20,
    };
    let dns = Dns::new(&config).unwrap();
    for index in 0..200 {
        let _ = dns.ipv4(&format!("n{index}.example")).await;
    }
    assert!(dns.cached() <= 40, "{}", dns.cached());
}

/// A resolver that validates, with a signed zone and the key to it, or with another key.
async fn serve_signed(zone: Zone, is_trusted: bool) -> (ZoneServer, Dns) {
    let key = ZoneKey::generate().unwrap();
    let mut anchors = TrustAnchors::empty();
    match is_trusted {
        true => anchors.insert(key.public()),
        false => anchors.insert(ZoneKey::generate().unwrap().public()),
    };
    let server = ZoneServer::start_signed(zone, key, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let config = config::Dns {
        resolvers: vec![server.addr()],
        dnssec: config::Dnssec::Validate,
        timeout: Duration::from_secs(2),
        cache_size: 1000,
    };
    (server, Dns::with_trust_anchors(&config, anchors).unwrap())
}

#[tokio::test]
async fn validated_answers_say_whether_they_are_signed() {
    let zone = Zone::new()
        .txt("_dmarc.example.com", "v=DMARC1; p=reject")
        .a("mail.example.com", [192, 0, 2, 1])
        .cname("alias.example.com", "mail.example.com")
        .mx("example.com", 10, "mail.example.com")
        .unsigned("plain.example")
        .txt("text.plain.example", "x")
        .cname("out.example.com", "text.plain.example");
    let (_server, dns) = serve_signed(zone, true).await;
    assert_eq!(dns.txt("_dmarc.example.com").await.unwrap().dnssec, Dnssec::Secure);
    assert_eq!(dns.mx("example.com").await.unwrap().dnssec, Dnssec::Secure);
    assert_eq!(dns.ipv4("alias.example.com").await.unwrap().dnssec, Dnssec::Secure);
    // Proven absences are answers as well.
    assert_eq!(dns.ipv6("mail.example.com").await, Err(Error::NoRecord));
    assert_eq!(dns.ipv4("nothing.example.com").await, Err(Error::NoName));
    assert_eq!(dns.txt("text.plain.example").await.unwrap().dnssec, Dnssec::Insecure);
    // A chain is as good as its weakest link.
    assert_eq!(dns.txt("out.example.com").await.unwrap().dnssec, Dnssec::Insecure);
}

#[tokio::test]
async fn bogus_answers_are_errors() {
    let zone = Zone::new()
        .txt("wrong.example.com", "x")
        .spoil("wrong.example.com", Spoilt::Wrong)
        .txt("missing.example.com", "x")
        .spoil("missing.example.com", Spoilt::Missing)
        .txt("expired.example.com", "x")
        .spoil("expired.example.com", Spoilt::Expired)
        .cname("alias.example.com", "good.example.com")
        .spoil("alias.example.com", Spoilt::Wrong)
        .txt("good.example.com", "x");
    let (_server, dns) = serve_signed(zone.clone(), true).await;
    assert!(dns.txt("good.example.com").await.is_ok());
    for name in ["wrong", "missing", "expired", "alias"] {
        let answer = dns.txt(&format!("{name}.example.com")).await;
        assert!(matches!(answer, Err(Error::Failure(_))), "{name}: {answer:?}");
        assert!(answer.is_err_and(|error| error.is_temporary()), "{name}");
    }
    // Absences that are not proven: no signature holds for whom another key is the root's.
    let (_server, dns) = serve_signed(zone.clone(), false).await;
    for name in ["good.example.com", "nothing.example.com"] {
        let answer = dns.txt(name).await;
        assert!(matches!(answer, Err(Error::Failure(_))), "{name}: {answer:?}");
    }
    // Nobody looks without dnssec = "validate".
    let (_server, dns) = serve(zone).await;
    assert_eq!(dns.txt("wrong.example.com").await.unwrap().dnssec, Dnssec::Indeterminate);
}
