//! What an upstream answers, as the client behind us hears it: one reply, never a success that was none, never the end
//! of the client's own connection.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mailweir::upstream::for_client;
use mailweir_smtp::address::{ForwardPath, ReversePath};
use mailweir_smtp::client::{Client, ClientEvent};
use mailweir_smtp::parameter::{MailParameters, RcptParameters};
use mailweir_smtp::reply::{MAX_TEXT, Reply, ReplyParser};
use mailweir_smtp::server::{Event, Server, ServerPolicy};

fuzz_target!(|bytes: &[u8]| {
    let mut upstream = Client::new();
    for _ in 0..4 {
        upstream.mail(&ReversePath::Null, &MailParameters::default());
        upstream.rcpt(&ForwardPath::Postmaster, &RcptParameters::default());
        upstream.data();
        upstream.end_of_data();
    }
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(event)) = upstream.next(&mut input) {
        if let ClientEvent::Mail(reply) | ClientEvent::Rcpt(reply) | ClientEvent::Message(reply) = event {
            check(reply);
        }
    }
});

fn check(reply: Reply) {
    let mut client = BytesMut::from(&b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n"[..]);
    let mut server = Server::new(ServerPolicy::new("mx.example.com"));
    server.greet(Reply::new(220, "", "mx.example.com"));
    while let Some(event) = server.next(&mut client) {
        if let Event::Rcpt { .. } = event {
            break;
        }
        server.accept(Reply::new(250, "", "OK"));
    }
    server.output().clear();
    let (code, lines) = (reply.code(), reply.lines().len());
    let passed_on = for_client(reply);
    if passed_on.is_positive() {
        server.accept(passed_on)
    } else {
        server.refuse(passed_on)
    }
    assert!(server.next(&mut client).is_none());
    let heard = ReplyParser::default().next(server.output()).expect("well formed").expect("whole");
    assert!(server.output().is_empty(), "one reply");
    assert_eq!(heard.code(), if code == 421 { 451 } else { code });
    assert_eq!(heard.lines().len(), lines);
    assert!(heard.lines().iter().all(|line| line.len() <= MAX_TEXT && !line.contains('\0')));
}
