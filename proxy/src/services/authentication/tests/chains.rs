//! ARC chains beyond the published suite, made here from the RFC's text.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const MAIL: &str = "From: Joe <joe@example.com>\r\n";
const BODY: &str = "Hello.\r\n";

/// How the sets differ from good ones.
struct Chain {
    sets: usize,
    /// For ARC-Authentication-Results, after the instance.
    results: &'static str,
    /// More tags for each ARC-Message-Signature and ARC-Seal.
    signature: &'static str,
    /// h= of each ARC-Message-Signature, and the relaxed form of those fields.
    signed: (&'static str, &'static str),
    seal: &'static str,
    /// cv= of the first seal and of the others.
    first: &'static str,
    later: &'static str,
}

const FROM: (&str, &str) = ("from", "from:Joe <joe@example.com>\r\n");
const GOOD: Chain = Chain {
    sets: 3,
    results: "mx.example; spf=pass",
    signature: "",
    signed: FROM,
    seal: "",
    first: "none",
    later: "pass",
};

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn signed(field: &str, before: &str) -> String {
    let data = digest(&SHA256, format!("{before}{field}").as_bytes());
    STANDARD.encode(key().sign(data.as_ref()).as_ref())
}

impl Chain {
    /// The fields, the newest set first. Names and values are written so that the relaxed form is as it stands.
    fn fields(&self) -> Vec<String> {
        let hash = STANDARD.encode(digest(&SHA256, BODY.as_bytes()));
        let (mut sealed, mut sets) = (String::new(), Vec::new());
        for instance in 1..=self.sets {
            let results = format!("arc-authentication-results:i={instance}; {}\r\n", self.results);
            let tags = "a=ed25519-sha256; d=example.org; s=s";
            let field = format!(
                "arc-message-signature:i={instance}; {tags}; c=relaxed/relaxed; h={}; bh={hash}{}; b=",
                self.signed.0, self.signature
            );
            let signature = format!("{field}{}\r\n", signed(&field, self.signed.1));
            let status = if instance == 1 { self.first } else { self.later };
            let field = format!("arc-seal:i={instance}; {tags}; cv={status}{}; b=", self.seal);
            let seal = format!("{field}{}\r\n", signed(&field, &format!("{sealed}{results}{signature}")));
            sealed += &format!("{results}{signature}{seal}");
            sets.insert(0, format!("{seal}{signature}{results}"));
        }
        sets
    }
}

async fn check(fields: &[String]) -> ArcResult {
    check_above(fields, MAIL).await
}

/// The chain above other fields than those that it was made for.
async fn check_above(fields: &[String], mail: &str) -> ArcResult {
    let record = format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key().public_key()));
    let (_server, authentication) = serve(Zone::new().txt("s._domainkey.example.org", &record)).await;
    let evaluation = authentication.evaluation(Ipv4Addr::LOCALHOST.into());
    let text = format!("{}{mail}\r\n{BODY}", fields.concat());
    ArcResult::clone(&*evaluation.arc(&message(text)).await.unwrap())
}

#[tokio::test]
async fn chains_and_what_breaks_them() {
    use Outcome::{Fail, Pass};
    for (chain, expected, reason) in [
        (Chain { ..GOOD }, Pass, ""),
        (Chain { sets: 1, ..GOOD }, Pass, ""),
        (Chain { sets: 50, ..GOOD }, Pass, ""),
        (Chain { sets: 51, ..GOOD }, Fail, "without a valid i="),
        // What follows the instance is no tag list.
        (Chain { results: "mx.example; spf=pass (see; i=9); x=\"; i=2\"", ..GOOD }, Pass, ""),
        (Chain { results: "none", ..GOOD }, Pass, ""),
        (Chain { first: "pass", ..GOOD }, Fail, "cv= is not none"),
        (Chain { sets: 1, first: "pass", ..GOOD }, Fail, "cv= is not none"),
        (Chain { later: "none", ..GOOD }, Fail, "cv= is not pass"),
        (Chain { later: "fail", ..GOOD }, Fail, "cv= is not pass"),
        (Chain { sets: 2, later: "fail", ..GOOD }, Fail, "the chain was broken before"),
        (Chain { sets: 1, first: "fail", ..GOOD }, Fail, "the chain was broken before"),
        (Chain { seal: "; h=from", ..GOOD }, Fail, "has an h= tag"),
        (Chain { seal: "; t=1; zz=1", ..GOOD }, Pass, ""),
        (Chain { seal: "; cv=pass", ..GOOD }, Fail, "without a valid i="),
        (Chain { signature: "; l=8", ..GOOD }, Pass, ""),
        (Chain { signature: "; l=7", ..GOOD }, Fail, "l= covers 7 of 8 bytes"),
        (Chain { signature: "; l=0", ..GOOD }, Fail, "l= covers 0 of 8 bytes"),
        (Chain { signature: "; x=1", ..GOOD }, Fail, "expired"),
    ] {
        let result = check(&chain.fields()).await;
        assert_eq!(result.outcome, expected, "{result:?}");
        assert!(result.reason.contains(reason), "{reason:?}: {result:?}");
        assert!(expected != Pass || result.sealers.len() == chain.sets, "{result:?}");
    }
}

/// RFC 6376 sections 5.4 and 8.15, on which RFC 8617 section 4.1.2 builds.
#[tokio::test]
async fn a_chain_speaks_for_the_author_whom_it_signs() {
    let good = check(&GOOD.fields()).await;
    assert_eq!((good.outcome, good.signs_author), (Outcome::Pass, true), "{good:?}");
    let without = check(&Chain { signed: ("subject", ""), ..GOOD }.fields()).await;
    assert_eq!((without.outcome, without.signs_author), (Outcome::Fail, false), "{without:?}");
    assert!(without.reason.contains("From is not signed"), "{without:?}");
    // The published suite has it pass. It vouches for nobody.
    let empty = check(&Chain { signed: ("", ""), ..GOOD }.fields()).await;
    assert_eq!((empty.outcome, empty.signs_author, empty.sealers.len()), (Outcome::Pass, false, 3), "{empty:?}");
    let added = check_above(&GOOD.fields(), &format!("From: Eve <eve@evil.example>\r\n{MAIL}")).await;
    assert_eq!(added.outcome, Outcome::Fail, "{added:?}");
    assert!(added.reason.contains("an unsigned From field was added"), "{added:?}");
}

#[tokio::test]
async fn sets_that_do_not_fit_together() {
    let good = GOOD.fields();
    let without =
        |index: usize| good.iter().enumerate().filter(move |(at, _)| *at != index).map(|(_, set)| set.clone());
    let changed = |from: &str, to: &str| good.iter().map(|set| set.replacen(from, to, 1)).collect::<Vec<_>>();
    let part = |set: &str, name: &str| set.split_inclusive("\r\n").filter(|f| !f.starts_with(name)).collect::<String>();
    for (what, fields, reason) in [
        ("a gap", without(1).collect::<Vec<_>>(), "not complete"),
        ("no beginning", without(2).collect(), "not complete"),
        ("a set twice", good.iter().cloned().chain([good[0].clone()]).collect(), "not complete"),
        ("no results", vec![part(&good[0], "arc-auth"), good[1].clone(), good[2].clone()], "not complete"),
        ("no signature", vec![part(&good[0], "arc-mess"), good[1].clone(), good[2].clone()], "not complete"),
        ("no seal", vec![part(&good[0], "arc-seal"), good[1].clone(), good[2].clone()], "not complete"),
        ("instance 0", changed("results:i=1;", "results:i=0;"), "without a valid i="),
        ("instance 51", changed("results:i=3;", "results:i=51;"), "without a valid i="),
        ("instance +1", changed("results:i=1;", "results:i=+1;"), "without a valid i="),
        ("no instance", changed("results:i=1; ", "results:"), "without a valid i="),
        ("instance second", changed("results:i=1; mx", "results:mx; i=1"), "without a valid i="),
        ("other results", changed("results:i=1; mx", "results:i=1; my"), "ARC-Seal 3: signature"),
        ("another first seal", changed("arc-seal:i=1; a=", "arc-seal:i=1; t=1; a="), "ARC-Seal 3: signature"),
    ] {
        let result = check(&fields).await;
        assert_eq!(result.outcome, Outcome::Fail, "{what}: {result:?}");
        assert!(result.reason.contains(reason), "{what}: {result:?}");
    }
    // The order of the sets in the message does not matter.
    let reversed: Vec<String> = good.iter().rev().cloned().collect();
    assert_eq!(check(&reversed).await.outcome, Outcome::Pass);
}
