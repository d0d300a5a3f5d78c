//! Mail exchangers out of a real DNS exchange.

use mailweir_testkit::dns::{Zone, ZoneServer};

use super::super::destination::Destination;
use super::*;

fn zone() -> Zone {
    Zone::new()
        .mx("sorted.test", 20, "b.sorted.test")
        .mx("sorted.test", 10, "a.sorted.test")
        .a("implicit.test", [192, 0, 2, 1])
        .mx("null.test", 0, ".")
        .mx("ours.test", 10, "proxy.example.test")
        .mx("ours.test", 20, "b.ours.test")
        .mx("hollow.test", 10, "nowhere.hollow.test")
        .servfail("broken.test")
}

async fn dns() -> (ZoneServer, Dns) {
    let server = ZoneServer::start(zone(), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let config = config::Dns {
        resolvers: vec![server.addr()],
        dnssec: Dnssec::Off,
        timeout: Duration::from_secs(5),
        cache_size: 16,
    };
    (server, Dns::new(&config).unwrap())
}

#[tokio::test]
async fn the_domain_says_where() {
    let (_server, dns) = dns().await;
    let destination = Destination::new(&Upstreams::Mx);
    for (domain, expected) in [
        ("sorted.test", "a.sorted.test:25 b.sorted.test:25"),
        ("implicit.test", "implicit.test:25"),
        ("[192.0.2.7]", "192.0.2.7:25"),
        ("[IPv6:2001:db8::7]", "2001:db8::7:25"),
        ("null.test", "556 5.1.10"),
        ("ours.test", "554 5.4.6"),
        ("absent.test", "550 5.1.2"),
        ("broken.test", "451 4.4.3"),
    ] {
        let domain = Domain::parse(domain.as_bytes()).unwrap();
        let found = match destination.hosts(&domain, &dns, "proxy.example.test").await {
            Ok(hosts) => {
                let hosts = hosts.iter().map(|host| format!("{}:{}", host.host, host.port));
                hosts.collect::<Vec<_>>().join(" ")
            }
            Err(error) => {
                let reply = error.reply();
                format!("{} {}", reply.code(), reply.enhanced().unwrap_or_default())
            }
        };
        assert_eq!(found, expected, "{domain}");
    }
}

#[tokio::test]
async fn exchangers_without_an_address_are_none() {
    let (_server, dns) = dns().await;
    let route = config::Route { upstreams: Upstreams::Mx, ..route_to(&[]) };
    let settings = Settings { hostname: "proxy.example.test".to_owned(), dns, observer: Arc::new(Unobserved) };
    let routes = Routes::new(&[("mx".to_owned(), route)].into(), &settings, None).unwrap();
    let route = routes.route("mx").unwrap();
    assert!(route.depends_on_domain());
    let error = route.begin(&Domain::parse(b"hollow.test").unwrap(), None).await.err().unwrap();
    assert_eq!(error.reply().code(), 550, "{error}");
}
