//! What is found in texts, markup and messages.

use bytes::Bytes;

use super::*;
use crate::message::{DecodingLimits, Message, MessageLimits};

fn in_text(text: &str) -> Vec<String> {
    let mut found = Found::new(UrlSource::Text, None);
    plain::find(text, &mut found);
    found.urls.into_iter().map(|url| format!("{} {}", url.text, url.host)).collect()
}

fn hosts_in_html(html: &str) -> Vec<String> {
    let mut found = Found::new(UrlSource::Html, None);
    markup::find(html, &mut found);
    found.urls.into_iter().map(|url| url.host).collect()
}

#[test]
fn text() {
    for (text, expected) in [
        ("see http://bad.example/x.", &["http://bad.example/x bad.example"][..]),
        (
            "(http://bad.example/a_(b)) https://b.example!",
            &["http://bad.example/a_(b)) bad.example", "https://b.example b.example"],
        ),
        ("HTTP://Bad.Example", &["HTTP://Bad.Example bad.example"]),
        ("visit www.bad.example/x?y=1, now", &["www.bad.example/x?y=1 www.bad.example"]),
        ("bad.example.", &["bad.example bad.example"]),
        ("mail bob@bad.example today", &["bad.example bad.example"]),
        ("write to bad.com@two.example or bad.com+x@two.example", &["two.example two.example"]),
        ("see bad.com@ and foo.comm, parent.parent, a.txt, www.bad.nonesuch", &["www.bad.nonesuch www.bad.nonesuch"]),
        (
            "http://bad.example/\u{3053}\u{3002}two.example\u{4e2d}",
            &["http://bad.example/\u{3053} bad.example", "two.example two.example"],
        ),
        ("http://bad\u{3002}example/x\u{3002}", &["http://bad\u{3002}example/x bad.example"]),
        ("hxxp://bad.example/path", &["bad.example/path bad.example"]),
        ("file.txt 1.2.3 e.g. a..b ... :-) end", &[]),
        (
            "http://go.example/?u=http%3A%2F%2Fbad.example%2Fx",
            &["http://go.example/?u=http%3A%2F%2Fbad.example%2Fx go.example", "http://bad.example/x bad.example"],
        ),
        (
            "http://go.example/http://bad.example",
            &["http://go.example/http://bad.example go.example", "http://bad.example bad.example"],
        ),
        (
            "http://go.example/url?q=bad.example&x=1",
            &["http://go.example/url?q=bad.example&x=1 go.example", "bad.example bad.example"],
        ),
        (
            "http://go.example/?u=https%253A%252F%252Fbad.example",
            &["http://go.example/?u=https%253A%252F%252Fbad.example go.example", "https://bad.example bad.example"],
        ),
        ("http://good.example@bad.example/", &["http://good.example@bad.example/ bad.example"]),
        ("http://3232235777/ http://[::1]/", &["http://3232235777/ 192.168.1.1", "http://[::1]/ ::1"]),
        ("b\u{fc}cher.example", &["b\u{fc}cher.example xn--bcher-kva.example"]),
        ("b\u{ad}ad.ex\u{200b}ample", &["b\u{ad}ad.ex\u{200b}ample bad.example"]),
        ("\u{3053}\u{308c}bad.example\u{3092}\u{898b}\u{3066}", &["bad.example bad.example"]),
        ("http://bad.example\u{3092}\u{898b}\u{3066}", &["http://bad.example bad.example"]),
        ("http://\u{4f8b}\u{3048}.jp/", &["http://\u{4f8b}\u{3048}.jp/ xn--r8jz45g.jp"]),
        ("bad.example:8080/x", &["bad.example:8080/x bad.example"]),
        ("a:b.c http:// :// .", &[]),
        (
            "<http://bad.example>\"http://two.example\"",
            &["http://bad.example bad.example", "http://two.example two.example"],
        ),
    ] {
        assert_eq!(in_text(text), expected, "{text}");
    }
}

#[test]
fn markup() {
    for (html, expected) in [
        ("<a href=' http://ba\nd.exam\tple '>", &["bad.example"][..]),
        ("<a href=\"ht&#116;p&colon;//bad&period;example\">", &["bad.example"]),
        ("<img src=//bad.example/x.png><img src='\\\\two.example'>", &["bad.example", "two.example"]),
        ("<a href=http:\\\\bad.example>", &["bad.example"]),
        ("<form action=https://bad.example/f><input formaction='http://two.example'>", &["bad.example", "two.example"]),
        ("<td background=http://bad.example>", &["bad.example"]),
        ("<img srcset='http://a.example 1x, //b.example 2x'>", &["a.example", "b.example"]),
        ("<p style=\"background:URL( &quot;http://bad.example/a&quot; )\">", &["bad.example"]),
        ("<style>@import 'http://a.example/x'; b{c:url(//b.example)}</style>", &["a.example", "b.example"]),
        ("<p style='background:u\\72l(\\68ttp\\3a //bad.example)'>", &["bad.example"]),
        ("<meta http-equiv=refresh content=\"0;URL='http://bad.example'\">", &["bad.example"]),
        ("<base href=http://bad.example/><a href=x.html>", &["bad.example"]),
        ("<a href=www.bad.example>", &["www.bad.example"]),
        ("<a href=mailto:a@bad.example>", &["bad.example"]),
        ("<!-- <a href=http://bad.example> --><a href=cid:1@x><a href=#x>", &[]),
        ("<a href=http://go.example/?u=http%3a%2f%2fbad.example>", &["go.example", "bad.example"]),
        (
            "<script>location.href='http://bad.example/x'; a.link('https:\\/\\/two.example\\/y')</script>",
            &["bad.example", "two.example"],
        ),
        ("<a href='javascript:location=\"http://bad.example\"'>", &["bad.example"]),
    ] {
        assert_eq!(hosts_in_html(html), expected, "{html}");
    }
}

#[test]
fn messages() {
    let message = concat!(
        "Subject: =?utf-8?q?look_at_http=3A//subject=2Eexample?=\r\n",
        "From: \"a\" <a@from.example>\r\n",
        "List-Unsubscribe: <https://list.example/x>\r\n",
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n",
        "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhttp://te=\r\nxt.example/=3D\r\n",
        "--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "PGEgaHJlZj0iaHR0cDovL2h0bWwuZXhhbXBsZSI+d3d3Lmh0bWwuZXhhbXBsZTwvYT4=\r\n--b--\r\n",
    );
    let limits = MessageLimits {
        header_size: 65536,
        header_fields: 100,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    let message = Message::from_bytes(Bytes::from_static(message.as_bytes()), limits).unwrap();
    let urls = message.urls().unwrap();
    let found: Vec<_> = urls.iter().map(|url| (url.text.as_str(), url.source, url.part)).collect();
    assert_eq!(
        found,
        [
            ("http://subject.example", UrlSource::Header, None),
            ("from.example", UrlSource::Header, None),
            ("https://list.example/x", UrlSource::Header, None),
            ("http://text.example/=", UrlSource::Text, Some(1)),
            ("http://html.example", UrlSource::Html, Some(2)),
            ("www.html.example", UrlSource::Text, Some(2)),
        ]
    );
    assert_eq!(urls[4].host, "html.example");
}

#[test]
fn hostile_text_takes_linear_time() {
    for unit in [
        ".",
        ":",
        "a.",
        "http://",
        "http:",
        "://",
        "a.bc/",
        "x.com",
        "\u{4f8b}.",
        "http://a/?u=",
        "%25",
        "http://a/\u{3002}",
    ] {
        in_text(&unit.repeat(500_000 / unit.len()));
        in_text(&format!("http://a.example/{}", unit.repeat(100_000)));
    }
}

#[test]
fn no_host_is_hidden_behind_many() {
    use crate::{
        config::Excess,
        message::{Mark, MessageFault},
    };

    let message = |text: String, excess| {
        let decoding = DecodingLimits { excess, ..DecodingLimits::DEFAULT };
        let limits = MessageLimits { decoding, header_size: 1000, header_fields: 10, mime_parts: 10, mime_depth: 10 };
        Message::from_bytes(Bytes::from(format!("Subject: a\r\n\r\n{text}")), limits).unwrap()
    };
    let many = |hosts: usize| (0..hosts).map(|n| format!("http://a{n}.example/\r\n")).collect::<String>();
    let one = (0..30_000).map(|n| format!("http://a.example/{n}\r\n")).collect::<String>();
    let long = (0..2000).map(|n| format!("http://a.example/{n}{}\r\n", "x".repeat(1000))).collect::<String>();
    for decoys in [one, many(11_000), long] {
        let message = message(decoys + "http://evil.example/", Excess::Reject);
        assert!(message.urls().unwrap().iter().any(|url| url.host == "evil.example"));
        assert!(message.marks().is_empty());
    }
    let refused = message(many(30_000), Excess::Reject).urls().unwrap_err();
    assert!(matches!(refused, MessageFault::TooManyHosts(_)));
    assert!(refused.reply().to_string().starts_with("554 5.7.1 Message refused: "), "{}", refused.reply());
    let tagged = message(many(30_000), Excess::Tag);
    assert_eq!((tagged.urls().unwrap().len(), tagged.marks()), (20_000, vec![Mark::Excess]));
}
