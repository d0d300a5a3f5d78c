//! Servers that behave, and servers that do not.

use super::*;

fn client() -> Client {
    let mut client = Client::new();
    let mut input = BytesMut::from(&b"220 mx ready\r\n"[..]);
    assert!(matches!(client.next(&mut input), Ok(Some(ClientEvent::Greeting(_)))));
    client
}

/// All that comes of `wire`.
fn hear(client: &mut Client, wire: &[u8]) -> Result<Vec<ClientEvent>, ClientError> {
    let mut input = BytesMut::from(wire);
    let mut events = Vec::new();
    while let Some(event) = client.next(&mut input)? {
        events.push(event);
    }
    Ok(events)
}

fn name() -> ClientName {
    ClientName::parse(b"client.example").unwrap()
}

#[test]
fn replies_answer_commands_in_order() {
    let mut client = client();
    client.mail(&ReversePath::Null, &MailParameters::default());
    client.rcpt(&ForwardPath::Postmaster, &RcptParameters::default());
    client.data();
    assert_eq!(&client.output().split()[..], b"MAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n");
    let heard = hear(&mut client, b"250 2.1.0 OK\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n554 5.5.1 none\r\n");
    assert_eq!(
        heard,
        Ok(vec![
            ClientEvent::Mail(Reply::new(250, "2.1.0", "OK")),
            ClientEvent::Rcpt(Reply::multi(550, "5.1.1", &["no", "such user"])),
            ClientEvent::Data(Reply::new(554, "5.5.1", "none")),
        ])
    );
}

#[test]
fn extensions_are_those_of_the_last_hello() {
    let mut client = client();
    client.hello(&name());
    hear(&mut client, b"250-mx\r\n250-SIZE 7\r\n250 DSN\r\n").unwrap();
    assert_eq!(*client.extensions(), Extensions { size: Some(7), dsn: true, ..Extensions::default() });
    client.hello(&name());
    hear(&mut client, b"502 5.5.1 no\r\n").unwrap();
    assert!(client.extensions().dsn);
    client.helo(&name());
    hear(&mut client, b"250-mx\r\n250 DSN\r\n").unwrap();
    assert_eq!(*client.extensions(), Extensions::default());
}

#[test]
fn replies_that_make_no_sense() {
    let unexpected = |code| Err(ClientError::UnexpectedReply { code });
    type Case = (fn(&mut Client), &'static [u8], Result<Vec<ClientEvent>, ClientError>);
    let cases: [Case; 8] = [
        (|client| client.data(), b"250 OK\r\n", unexpected(250)),
        (|client| client.data(), b"355 OK\r\n", unexpected(355)),
        (|client| client.end_of_data(), b"354 go on\r\n", unexpected(354)),
        (|client| client.start_tls(), b"250 OK\r\n", unexpected(250)),
        (|client| client.hello(&name()), b"354 go on\r\n", unexpected(354)),
        (|client| client.quit(), b"hello\r\n", Err(ClientError::Reply(ReplyError::Malformed))),
        (|client| client.bdat(1, BdatChunk::More), b"334 \r\n", unexpected(334)),
        (|_| {}, b"250 OK\r\n", Err(ClientError::UnsolicitedReply { code: 250 })),
    ];
    for (command, wire, expected) in cases {
        let mut client = client();
        command(&mut client);
        assert_eq!(hear(&mut client, wire), expected, "{}", wire.escape_ascii());
    }
}

#[test]
fn a_reply_ahead_of_its_command_is_unsolicited() {
    let mut client = client();
    client.mail(&ReversePath::Null, &MailParameters::default());
    let error = hear(&mut client, b"250 OK\r\n250 OK\r\n");
    assert_eq!(error, Err(ClientError::UnsolicitedReply { code: 250 }));
}

#[test]
fn a_server_may_say_good_bye() {
    let heard = hear(&mut client(), b"421 4.3.2 shutting down\r\n");
    assert_eq!(heard, Ok(vec![ClientEvent::Closing(Reply::new(421, "4.3.2", "shutting down"))]));
    let mut client = client();
    client.data();
    let heard = hear(&mut client, b"421 4.3.2 shutting down\r\n");
    assert_eq!(heard, Ok(vec![ClientEvent::Data(Reply::new(421, "4.3.2", "shutting down"))]));
}

#[test]
fn plaintext_after_starttls_is_an_attack() {
    let mut client = client();
    client.start_tls();
    let injected = hear(&mut client, b"220 go ahead\r\n250-evil\r\n");
    assert_eq!(injected, Err(ClientError::PlaintextInjection));

    // The same when it comes later, but before the handshake is done.
    let mut client = self::client();
    client.start_tls();
    assert!(hear(&mut client, b"220 go ahead\r\n").is_ok());
    assert_eq!(hear(&mut client, b""), Ok(vec![]));
    assert_eq!(hear(&mut client, b"2"), Err(ClientError::PlaintextInjection));

    // A refusal leaves the channel as it was.
    let mut client = self::client();
    client.start_tls();
    client.quit();
    assert_eq!(hear(&mut client, b"454 4.7.0 no\r\n221 2.0.0 bye\r\n").unwrap().len(), 2);
}

#[test]
fn replies_are_bounded() {
    let mut client = client();
    client.hello(&name());
    let flood = b"250-x\r\n".repeat(1000);
    assert_eq!(hear(&mut client, &flood), Err(ClientError::Reply(ReplyError::TooManyLines)));
}
