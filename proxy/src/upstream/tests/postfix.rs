//! A real Postfix as upstream.

use mailweir_testkit::certificates::Authority;
use mailweir_testkit::postfix::{Options, Postfix};

use super::*;

async fn delivered(options: Options, tls: ClientTls, text: &str) -> Option<Vec<u8>> {
    let Some(postfix) = Postfix::start(&options).await.unwrap() else {
        eprintln!("skipped: no Postfix, or not root");
        return None;
    };
    let route = handle(config::Route { tls, ..route_to(&[postfix.address()]) });
    for count in 1..=3 {
        let mut delivery = route.begin(&domain(), None).await.unwrap();
        assert_eq!(delivery.is_encrypted(), tls == ClientTls::Opportunistic);
        let parameters = MailParameters::parse(b"BODY=8BITMIME RET=HDRS ENVID=x").unwrap();
        let replies = delivery.mail_and_rcpt(&sender(), &parameters, &recipients(&["b"])).await.unwrap();
        assert!(replies.iter().all(Reply::is_positive), "{replies:?}");
        let reply = delivery.message(&message(text.to_owned())).await.unwrap();
        assert!(reply.to_string().starts_with("250 2.0.0 Ok"), "{reply}");
        drop(delivery);
        assert_eq!(route.idle_connections(), 1, "after message {count}");
    }
    postfix.wait_for_messages(3, Duration::from_secs(30)).await.unwrap().pop()
}

fn text() -> String {
    let line = "a line of text\r\n.a dot\r\n..two\r\ncaf\u{e9}\r\n\r\n";
    format!("From: a@example.org\r\nSubject: test\r\n\r\n{}", line.repeat(1000))
}

fn check(stored: &[u8]) {
    let stored = String::from_utf8_lossy(stored);
    let (_, body) = stored.split_once("\n\n").unwrap();
    let text = text().replace("\r\n", "\n");
    let (_, expected) = text.split_once("\n\n").unwrap();
    assert_eq!(body, expected);
}

#[tokio::test]
async fn by_data() {
    let options =
        Options { parameters: vec!["smtpd_discard_ehlo_keywords = chunking".to_owned()], ..Options::default() };
    if let Some(stored) = delivered(options, ClientTls::Off, &text()).await {
        check(&stored);
    }
}

#[tokio::test]
async fn by_bdat_over_tls() {
    let mut authority = Authority::new().unwrap();
    let options =
        Options { certificate: Some(authority.issue(&["postfix.example.test"]).unwrap()), ..Options::default() };
    if let Some(stored) = delivered(options, ClientTls::Opportunistic, &text()).await {
        check(&stored);
    }
}
