//! What an upstream says, or does, before it has a message as a whole.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;

use mailweir_smtp::client::Client;
use mailweir_testkit::certificates::Authority;

use super::*;
use crate::message::Framing;
use crate::upstream::body::{BodyError, send};
use crate::upstream::connection::Connection;
use crate::upstream::tls::Tls;

/// What the server of a test does to its stream when it is told to.
type Act = fn(&mut dyn Peer);

trait Peer: Read + Write {
    fn hang_up(&mut self);
}

impl Peer for std::net::TcpStream {
    fn hang_up(&mut self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Peer for rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream> {
    fn hang_up(&mut self) {
        self.sock.hang_up();
    }
}

/// What becomes of a message whose server acts while it is being sent; and what the server has heard in the end. Its
/// act is over before the last piece is handed over, and the runtime has had no occasion to hear of it.
async fn sent_while(act: Act, tls: Option<Arc<rustls::ServerConfig>>) -> (Result<(), BodyError>, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = mpsc::channel::<()>();
    let (said, says) = mpsc::channel();
    let is_encrypted = tls.is_some();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // What is said is there when it has been said.
        stream.set_nodelay(true).unwrap();
        let mut stream: Box<dyn Peer> = match tls {
            None => Box::new(stream),
            Some(config) => Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream)),
        };
        // With TLS, this is what shakes hands.
        stream.flush().unwrap();
        asks.recv().unwrap();
        act(&mut *stream);
        said.send(()).unwrap();
        let mut all = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut all);
        String::from_utf8(all).unwrap()
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let host = Arc::new(UpstreamHost { host: "127.0.0.1".to_owned(), port: address.port() });
    let mut connection = if is_encrypted {
        let tls = Tls::new(ClientTls::Opportunistic, None).unwrap().unwrap();
        Connection::encrypted(host, Client::new(), tls.handshake("127.0.0.1", stream).await.unwrap())
    } else {
        Connection::new(host, stream)
    };
    connection.client.end_of_data();
    let rest = std::iter::once_with(|| {
        asked.send(()).unwrap();
        says.recv().unwrap();
        Ok(Bytes::from_static(b"x\r\n"))
    });
    let pieces = std::iter::once(Ok(Bytes::from_static(b"Subject: x\r\n\r\n"))).chain(rest);
    let sent = send(&mut connection, pieces, Framing::DotStuffed, Duration::from_secs(60)).await;
    drop(connection);
    (sent, server.join().unwrap())
}

/// A server that answers a message before it can have seen the end of it. That the end was handed to the operating
/// system before the answer was read makes the answer no truer.
#[tokio::test]
async fn an_answer_ahead_of_the_end_is_no_answer() {
    let mut authority = Authority::new().unwrap();
    let certificate = authority.issue(&["127.0.0.1"]).unwrap();
    for tls in [None, Some(certificate.server_config().unwrap())] {
        let is_encrypted = tls.is_some();
        let acts: [Act; 2] = [
            |peer| peer.write_all(b"250 2.0.0 lovely\r\n").unwrap(),
            |peer| peer.write_all(b"552 5.3.4 too much\r\n").unwrap(),
        ];
        for act in acts {
            let (sent, heard) = sent_while(act, tls.clone()).await;
            assert!(matches!(sent, Err(BodyError::Interrupted)), "TLS: {is_encrypted}: {sent:?}");
            assert!(!heard.contains(".\r\n"), "TLS: {is_encrypted}: the message was ended all the same");
        }
        // What TLS has to say for itself, session tickets for instance, is no objection.
        let (sent, heard) = sent_while(|peer| peer.flush().unwrap(), tls).await;
        assert!(sent.is_ok() && heard.ends_with("x\r\n.\r\n"), "TLS: {is_encrypted}: {sent:?}, {heard:?}");
    }
}

/// A server that has hung up does not get the end, so that there is no doubt whether it took the message.
#[tokio::test]
async fn nothing_is_ended_for_who_has_hung_up() {
    let mut authority = Authority::new().unwrap();
    let certificate = authority.issue(&["127.0.0.1"]).unwrap();
    for tls in [None, Some(certificate.server_config().unwrap())] {
        let is_encrypted = tls.is_some();
        let (sent, heard) = sent_while(|peer| peer.hang_up(), tls).await;
        assert!(matches!(sent, Err(BodyError::Broken(_))), "TLS: {is_encrypted}: {sent:?}");
        assert!(!heard.contains(".\r\n"), "TLS: {is_encrypted}");
    }
}
