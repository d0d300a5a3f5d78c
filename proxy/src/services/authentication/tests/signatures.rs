//! DKIM signatures, one tag or one key record at a time. They are made here, in simple form and from the RFC's text, with
//! nothing of what checks them.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const FROM: &str = "From: Joe <joe@example.com>\r\n";
const TO: &str = "To: x@example.net\r\n";
const BODY: &str = "Hello.\r\n";

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn public() -> String {
    STANDARD.encode(key().public_key())
}

/// The field with these tags over these fields and that body, in simple form.
fn sign(tags: &str, signed: &[&str], body: &str) -> String {
    let hash = STANDARD.encode(digest(&SHA256, body.as_bytes()));
    let field = format!("DKIM-Signature: {tags}; bh={hash}; b=");
    let data = digest(&SHA256, (signed.concat() + &field).as_bytes());
    field + &STANDARD.encode(key().sign(data.as_ref())) + "\r\n"
}

async fn server() -> (ZoneServer, Authentication) {
    let record = format!("v=DKIM1; k=ed25519; p={}", public());
    let names = ["s._domainkey.example.com", "xn--schlssel-95a._domainkey.xn--bcher-kva.example"];
    serve(names.iter().fold(Zone::new(), |zone, name| zone.txt(name, &record))).await
}

async fn check(authentication: &Authentication, text: &str) -> DkimResult {
    let evaluation = authentication.evaluation(Ipv4Addr::LOCALHOST.into());
    evaluation.dkim(&message(text)).await.unwrap()[0].clone()
}

#[tokio::test]
async fn one_tag_at_a_time() {
    use Outcome::{Fail, Pass, PermError};
    let (_server, authentication) = server().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |offset: i64| now.checked_add_signed(offset).unwrap();
    let base = "v=1; a=ed25519-sha256; d=example.com; s=s; h=from:to";
    let with = |more: &str| format!("{base}; {more}");
    let instead = |from: &str, to: &str| base.replacen(from, to, 1);
    for (tags, expected) in [
        (base.to_owned(), Pass),
        (with("zz=1; x_y=2"), Pass),
        (with("z-z=1"), PermError),
        (with("h=from"), PermError),
        (instead("v=1", "v=1.0"), PermError),
        (instead("v=1", "v=01"), PermError),
        (instead("v=1; ", ""), PermError),
        (instead("a=ed25519-sha256", "a=ED25519-SHA256"), Pass),
        (instead("a=ed25519-sha256", "a=rsa-sha1"), PermError),
        (instead("a=ed25519-sha256", "a=ed25519-sha512"), PermError),
        (instead("d=example.com", "d=EXAMPLE.com"), Pass),
        (instead("d=example.com", "d=com"), PermError),
        (instead("d=example.com", "d=example..com"), PermError),
        (instead("d=example.com", "d="), PermError),
        (instead("s=s", "s=S"), Pass),
        (instead("s=s", "s="), PermError),
        (instead("s=s", "s=absent"), PermError),
        (instead("d=example.com; s=s", "d=b\u{fc}cher.example; s=schl\u{fc}ssel"), Pass),
        (with("c=simple"), Pass),
        (with("c=simple/simple"), Pass),
        (with("c=Simple/Simple"), Pass),
        (with("c=simple/"), PermError),
        (with("c=nowsp"), PermError),
        (with("c="), PermError),
        (with("q=dns/txt"), Pass),
        (with("q=http : dns/txt"), Pass),
        (with("q=http"), PermError),
        (with("i=@example.com"), Pass),
        (with("i=joe@mail.example.com"), Pass),
        (with("i=a=40b=3B@Example.com"), Pass),
        (with("i=joe@\r\n\texample.com"), Pass),
        (with("i=@b\u{fc}cher.example"), PermError),
        (with("i=@notexample.com"), PermError),
        (with("i=@example.com.evil.example"), PermError),
        (with("i=@com"), PermError),
        (with("i=example.com"), PermError),
        (with("i=joe=4@example.com"), PermError),
        (with(&format!("t={now}")), Pass),
        (with(&format!("t={}", at(3600))), Pass),
        (with(&format!("t={}", at(2 * 86_400))), PermError),
        (with(&format!("x={}", at(3600))), Pass),
        (with(&format!("x={}", at(-3600))), Fail),
        (with(&format!("t={}; x={}", at(-10), at(-10))), PermError),
        (with("t=1; x=99999999999999999999999999"), Pass),
        (with("t=soon"), PermError),
        (with("t=-1"), PermError),
        (with("x="), PermError),
        (with("l=8"), Pass),
        (with("l=7"), Outcome::Policy),
        (with("l=0"), Outcome::Policy),
        (with("l=9"), PermError),
        (with("l=99999999999999999999999999"), PermError),
        (with("l=8 8"), PermError),
    ] {
        let text = sign(&tags, &[FROM, TO], BODY) + FROM + TO + "\r\n" + BODY;
        let result = check(&authentication, &text).await;
        assert_eq!(result.outcome, expected, "{tags}: {result:?}");
    }
}

#[tokio::test]
async fn which_fields_a_signature_covers() {
    use Outcome::{Fail, Pass, PermError, Policy};
    let (_server, authentication) = server().await;
    let spaced = "From : Joe <joe@example.com>\r\n";
    let folded = "Subject: a\r\n b\r\n";
    let (one, two) = ("X-A: 1\r\n", "X-A: 2\r\n");
    let tags = |names: &str| format!("v=1; a=ed25519-sha256; d=example.com; s=s; h={names}");
    for (names, signed, message, expected) in [
        ("from", &[FROM][..], &[FROM][..], Pass),
        (" FROM :\r\n\tTo ", &[FROM, TO], &[FROM, TO], Pass),
        ("from", &[spaced], &[spaced], Pass),
        ("from:subject", &[FROM, folded], &[folded, FROM], Pass),
        ("from:subject", &[FROM, folded], &["Subject: a b\r\n", FROM], Fail),
        ("to", &[TO], &[FROM, TO], PermError),
        ("from:", &[FROM], &[FROM], PermError),
        ("", &[], &[FROM], PermError),
        // From the bottom, and nothing when there are no more: oversigned fields cannot be added.
        ("from:x-a:x-a", &[FROM, two, one], &[FROM, one, two], Pass),
        ("from:x-a:x-a", &[FROM, one, two], &[FROM, one, two], Fail),
        ("from:x-a", &[FROM, two], &[FROM, one, two], Pass),
        ("from:from:to:to", &[FROM, TO], &[FROM, TO], Pass),
        ("from:from:to:to", &[FROM, TO], &[FROM, TO, TO], Fail),
        ("from:from", &[FROM], &["From: evil@example.com\r\n", FROM], Fail),
        ("from:x-none", &[FROM], &[FROM], Pass),
        ("from:x-none", &[FROM], &["X-None: 1\r\n", FROM], Fail),
        // Not oversigned, but there may be one only.
        ("from", &[FROM], &["From: evil@example.com\r\n", FROM], Policy),
        ("from:to", &[FROM, TO], &["to : evil@example.com\r\n", FROM, TO], Policy),
        (
            "from:content-type",
            &[FROM, "Content-Type: text/plain\r\n"],
            &["Content-Type: text/html\r\n", FROM, "Content-Type: text/plain\r\n"],
            Policy,
        ),
        // Another signature may be signed, its own field is not among them.
        ("from:dkim-signature", &[FROM, "DKIM-Signature: old\r\n"], &[FROM, "DKIM-Signature: old\r\n"], Pass),
        ("from:dkim-signature:dkim-signature", &[FROM], &[FROM], Pass),
    ] {
        let text = sign(&tags(names), signed, BODY) + &message.concat() + "\r\n" + BODY;
        let result = check(&authentication, &text).await;
        assert_eq!(result.outcome, expected, "{names} {message:?}: {result:?}");
    }
}

#[tokio::test]
async fn what_was_signed_and_what_is_not_a_signature() {
    use Outcome::{Fail, Pass, PermError};
    let (_server, authentication) = server().await;
    let good = sign("v=1; a=ed25519-sha256; d=example.com; s=s; h=from", &[FROM], BODY);
    let (tags, signature) = good.trim_end().rsplit_once("b=").unwrap();
    let bytes = STANDARD.decode(signature).unwrap();
    let folded = signature.as_bytes().chunks(20).fold(String::new(), |mut folded, chunk| {
        let _ = write!(folded, "\r\n\t {}", String::from_utf8_lossy(chunk));
        folded
    });
    for (signature, expected) in [
        (signature.to_owned(), Pass),
        (folded, Pass),
        (signature.trim_end_matches('=').to_owned(), Pass),
        (format!("{signature};"), Fail),
        (STANDARD.encode(&bytes[..63]), Fail),
        (STANDARD.encode([&bytes[..], b"x"].concat()), Fail),
        (STANDARD.encode([0; 64]), Fail),
        (STANDARD.encode(vec![1; 9000]), Fail),
        ("AA".to_owned(), Fail),
        ("????".to_owned(), PermError),
        (String::new(), PermError),
    ] {
        let text = format!("{tags}b={signature}\r\n{FROM}\r\n{BODY}");
        let result = check(&authentication, &text).await;
        assert_eq!(result.outcome, expected, "{signature}: {result:?}");
    }
    for (hash, expected) in [("AAAA", Fail), ("", PermError), ("*", PermError)] {
        let text = format!("DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=s; h=from; bh={hash}; b=AAAA\r\n");
        assert_eq!(check(&authentication, &(text + FROM + "\r\n" + BODY)).await.outcome, expected, "{hash}");
    }
}

#[tokio::test]
async fn appended_bytes_are_never_covered() {
    let (_server, authentication) = server().await;
    let part = "--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n--b--\r\n";
    let length = part.len();
    let tags = format!("v=1; a=ed25519-sha256; d=example.com; s=s; h=from; l={length}");
    let good = sign(&tags, &[FROM], part) + FROM + "\r\n" + part;
    assert_eq!(check(&authentication, &good).await.outcome, Outcome::Pass);
    // Empty lines at the end are not of the body.
    assert_eq!(check(&authentication, &format!("{good}\r\n\r\n")).await.outcome, Outcome::Pass);
    for appended in ["an epilogue\r\n", "x", " \r\n", "--b\r\nContent-Type: text/html\r\n\r\n<b>evil</b>\r\n--b--\r\n"]
    {
        let result = check(&authentication, &format!("{good}{appended}")).await;
        assert_eq!(result.outcome, Outcome::Policy, "{appended:?}: {result:?}");
    }
}

#[tokio::test]
async fn one_key_record_at_a_time() {
    use Outcome::{Fail, Neutral, Pass, PermError};
    let (server, _) = server().await;
    let tags = "v=1; a=ed25519-sha256; d=example.com; s=s; h=from";
    let good = sign(tags, &[FROM], BODY) + FROM + "\r\n" + BODY;
    let below = sign(&format!("{tags}; i=@mail.example.com"), &[FROM], BODY) + FROM + "\r\n" + BODY;
    let forged = good.replace("Joe <", "Jim <");
    let key = public();
    let short = STANDARD.encode([1; 31]);
    let records = |texts: &[&str]| texts.iter().map(|text| text.replace("KEY", &key)).collect::<Vec<_>>();
    for (texts, message, expected) in [
        (&["v=DKIM1; k=ed25519; p=KEY"][..], &good, Pass),
        (&["k=ed25519;p=KEY;"], &good, Pass),
        (&["K=ed25519; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=ed25519; n=some notes; g=*; zz=1; p=KEY"], &good, Pass),
        (&["v=DKIM1; k=ed25519; p= K E Y"], &good, PermError),
        (&["v=DKIM1; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=rsa; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=unknown; p=KEY"], &good, PermError),
        (&["v=DKIM2; k=ed25519; p=KEY"], &good, PermError),
        (&["v=dkim1; k=ed25519; p=KEY"], &good, PermError),
        (&["k=ed25519; v=DKIM1; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=ed25519; p="], &good, PermError),
        (&["v=DKIM1; k=ed25519"], &good, PermError),
        (&["v=DKIM1; k=ed25519; p=KEY; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=ed25519; p=SHORT"], &good, PermError),
        (&["v=DKIM1; k=ed25519; p=!"], &good, PermError),
        (&["v=DKIM1; k=ed25519; h=sha256; p=KEY"], &good, Pass),
        (&["v=DKIM1; k=ed25519; h=sha1 : sha256; p=KEY"], &good, Pass),
        (&["v=DKIM1; k=ed25519; h=sha1; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=ed25519; s=email; p=KEY"], &good, Pass),
        (&["v=DKIM1; k=ed25519; s=tlsrpt:*; p=KEY"], &good, Pass),
        (&["v=DKIM1; k=ed25519; s=tlsrpt; p=KEY"], &good, PermError),
        (&["v=DKIM1; k=ed25519; t=s; p=KEY"], &good, Pass),
        (&["v=DKIM1; k=ed25519; t=y:s; p=KEY"], &below, PermError),
        (&["v=DKIM1; k=ed25519; t=y; p=KEY"], &below, Pass),
        (&["v=DKIM1; k=ed25519; t=y; p=KEY"], &forged, Neutral),
        (&["v=DKIM1; k=ed25519; p=KEY"], &forged, Fail),
        (&["not a key", "v=DKIM1; k=ed25519; p=KEY"], &good, Pass),
        (&["v=DKIM1; p=", "v=DKIM1; k=rsa; p="], &good, PermError),
        (&[""], &good, PermError),
        (&[], &good, PermError),
    ] {
        let name = "s._domainkey.example.com";
        let texts: Vec<String> = records(texts).into_iter().map(|text| text.replace("SHORT", &short)).collect();
        let zone = texts.iter().fold(Zone::new(), |zone, text| zone.txt(name, text));
        server.replace(zone);
        // A resolver of its own, for nothing cached.
        let authentication = resolver(&server);
        let result = check(&authentication, message).await;
        assert_eq!(result.outcome, expected, "{texts:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_hundred_signatures_cost_what_ten_cost() {
    let (server, authentication) = server().await;
    let mut many = String::new();
    for index in 0..100 {
        let form = ["simple/simple", "relaxed/relaxed", "simple/relaxed", "relaxed/simple"][index % 4];
        let tags = format!("v=1; a=ed25519-sha256; d=example.com; s=s{index}; h=from; c={form}; l={}", index + 1);
        many += &sign(&tags, &[FROM], BODY);
    }
    let message = message(many + FROM + "\r\n" + BODY);
    let evaluation = authentication.evaluation(Ipv4Addr::LOCALHOST.into());
    let results = evaluation.dkim(&message).await.unwrap();
    assert_eq!(results.len(), 11);
    assert_eq!(results[10].outcome, Outcome::Policy);
    assert_eq!(results[10].reason, "90 more signatures are not checked");
    assert_eq!(authentication.counters().signatures_skipped(), 90);
    // Only the one whose l= is the body's length had its key looked up.
    assert_eq!(server.queries(), 1);
}
