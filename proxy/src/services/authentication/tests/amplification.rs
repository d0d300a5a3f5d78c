//! What one message can make us ask of others' DNS servers (RFC 7208 section 4.6.4).

use super::*;

/// SPF of alice@example.com from 192.0.2.1, and how many questions it took.
async fn spf(zone: Zone) -> (Outcome, String, u64) {
    let (server, authentication) = serve(zone).await;
    let evaluation = authentication.evaluation(Ipv4Addr::new(192, 0, 2, 1).into());
    evaluation.helo("client.example.com");
    evaluation.mail("alice@example.com");
    let result = evaluation.spf(Identity::MailFrom).await;
    (result.outcome, result.reason.clone(), server.queries())
}

#[tokio::test]
async fn spf_has_caps_on_lookups() {
    // Each includes the next two: a thousand, were they followed.
    let tree = (0..1100).fold(Zone::new().txt("example.com", "v=spf1 include:n1.example.com -all"), |zone, n| {
        let (left, right) = (2 * n + 1, 2 * n + 2);
        let record = format!("v=spf1 include:n{left}.example.com include:n{right}.example.com ?all");
        zone.txt(&format!("n{n}.example.com"), &record)
    });
    let cyclic = Zone::new().txt("example.com", "v=spf1 include:example.com -all");
    let redirects = Zone::new().txt("example.com", "v=spf1 redirect=example.com");
    let names = |count: usize| (0..count).map(|n| format!(" a:v{n}.example.com")).collect::<String>();
    let voids = Zone::new().txt("example.com", &format!("v=spf1{} -all", names(9)));
    let exchangers = (0..100).fold(Zone::new().txt("example.com", "v=spf1 mx -all"), |zone, n| {
        zone.mx("example.com", n, &format!("mx{n}.example.com")).a(&format!("mx{n}.example.com"), [198, 51, 100, 1])
    });
    for (name, zone, reason, most) in [
        ("a tree of includes", tree, "more than 10 lookups", 15),
        ("an include of itself", cyclic, "more than 10 lookups", 15),
        ("a redirect to itself", redirects, "more than 10 lookups", 15),
        ("names that are not there", voids, "more than 2 lookups found nothing", 15),
        ("a hundred exchangers", exchangers, "", 15),
    ] {
        let (outcome, found, queries) = spf(zone).await;
        assert_eq!(outcome, Outcome::PermError, "{name}: {found}");
        assert!(found.contains(reason), "{name}: {found}");
        assert!(queries <= most, "{name}: {queries} questions");
    }
    // A hundred names of one address: ten are looked at, and none that is beyond them counts.
    let reverse = (0..100).fold(Zone::new().txt("example.com", "v=spf1 ptr -all"), |zone, n| {
        zone.ptr("1.2.0.192.in-addr.arpa", &format!("h{n:02}.other.test"))
            .a(&format!("h{n:02}.other.test"), [192, 0, 2, 1])
    });
    let (outcome, reason, queries) = spf(reverse).await;
    assert_eq!(outcome, Outcome::Fail, "{reason}");
    assert!(queries <= 20, "{queries} questions");
}
