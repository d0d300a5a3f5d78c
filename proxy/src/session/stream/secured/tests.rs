//! TLS with clients that a load generator does not resemble.

use std::io::{Read as _, Write as _};

use mailweir_testkit::certificates::{Authority, client_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A client that writes and reads when it is told to.
struct Client {
    tls: ClientConnection,
    plaintext: Vec<u8>,
    socket: TcpStream,
}

impl Client {
    /// Sends all that TLS has to say, in pieces of this size.
    async fn flush(&mut self, piece: usize) {
        let mut ciphertext = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut ciphertext).unwrap();
        }
        for piece in ciphertext.chunks(piece) {
            self.socket.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    /// Reads once.
    async fn receive(&mut self) {
        let mut ciphertext = vec![0; 64 * 1024];
        let count = self.socket.read(&mut ciphertext).await.unwrap();
        let mut rest = &ciphertext[..count];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            self.tls.process_new_packets().unwrap();
            let _ = self.tls.reader().read_to_end(&mut self.plaintext);
        }
    }

    /// As much plaintext.
    async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.plaintext.len() < count {
            self.receive().await;
        }
        std::mem::take(&mut self.plaintext)
    }
}

/// Whom the certificate is for.
const NAME: &str = "mx.example";

/// What both sides of a handshake need, kept so that sessions resume.
struct Setting {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

fn setting() -> Setting {
    let mut authority = Authority::new().unwrap();
    let certificate = authority.issue(&[NAME]).unwrap();
    let files =
        crate::config::Certificate { certificate: certificate.certificate.clone(), key: certificate.key.clone() };
    let server = listener::CertificateStore::default().server_config(&files).unwrap();
    Setting { server, client: client_config(&authority.ca_file()).unwrap() }
}

impl Setting {
    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// After a handshake that came in pieces of this size; with its end comes what the client has to say.
    async fn connect(&self, piece: usize, first: &[u8]) -> (Client, Secured) {
        let (socket, stream) = Self::sockets().await;
        let tls = ClientConnection::new(Arc::clone(&self.client), ServerName::try_from(NAME).unwrap()).unwrap();
        let mut client = Client { tls, plaintext: Vec::new(), socket };
        let accept = tokio::spawn(Secured::accept(stream, Arc::clone(&self.server)));
        client.flush(piece).await;
        while client.tls.is_handshaking() {
            client.receive().await;
        }
        client.tls.writer().write_all(first).unwrap();
        client.flush(piece).await;
        (client, accept.await.unwrap().unwrap())
    }
}

async fn read(stream: &mut Secured, input: &mut BytesMut, room: usize) -> usize {
    std::future::poll_fn(|context| stream.poll_read(context, input, room)).await.unwrap()
}

async fn flush(stream: &mut Secured) {
    std::future::poll_fn(|context| stream.poll_flush(context)).await.unwrap();
}

#[tokio::test]
async fn ciphertext_may_come_in_any_pieces() {
    let setting = setting();
    let said: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
    for (piece, size) in [(1, 5_000), (7, 20_000), (1000, 100_000), (100_000, 100_000)] {
        let (mut client, mut stream) = setting.connect(piece, b"").await;
        let said = &said[..size];
        client.tls.set_buffer_limit(None);
        client.tls.writer().write_all(said).unwrap();
        let sending = async {
            client.flush(piece).await;
            client.read(size).await
        };
        let receiving = async {
            let mut input = BytesMut::new();
            while input.len() < size {
                assert_ne!(read(&mut stream, &mut input, 64 * 1024).await, 0);
            }
            assert_eq!(input, said, "in pieces of {piece}");
            assert!(stream.incoming.is_empty(), "nothing is held when everything has come");
            stream.encrypt(&input).unwrap();
            flush(&mut stream).await;
            assert_eq!(stream.outgoing.capacity(), 0);
        };
        let (echoed, ()) = tokio::join!(sending, receiving);
        assert_eq!(echoed, said, "in pieces of {piece}");
    }
}

#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_read() {
    let (_client, mut stream) = setting().connect(usize::MAX, b"EHLO c\r\n").await;
    let mut input = BytesMut::new();
    assert_eq!(read(&mut stream, &mut input, 8 * 1024).await, 8);
    assert_eq!(&input[..], b"EHLO c\r\n");
    assert_eq!(stream.server_name(), Some(NAME));
}

#[tokio::test]
async fn a_ticket_leaves_with_the_first_reply_and_is_good() {
    let setting = setting();
    let (mut client, mut stream) = setting.connect(usize::MAX, b"").await;
    assert_eq!(client.tls.handshake_kind(), Some(HandshakeKind::Full));
    assert!(!stream.outgoing.is_empty());
    stream.encrypt(b"250 mx\r\n").unwrap();
    assert!(stream.flush_now().unwrap());
    assert_eq!(client.read(8).await, b"250 mx\r\n");
    let (client, _stream) = setting.connect(usize::MAX, b"").await;
    assert_eq!(client.tls.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn a_buffer_is_of_the_size_of_what_came() {
    const SIZE: usize = 1024 * 1024;
    let (mut client, mut stream) = setting().connect(usize::MAX, b"").await;
    client.tls.set_buffer_limit(None);
    client.tls.writer().write_all(&vec![b'x'; SIZE]).unwrap();
    let sending = tokio::spawn(async move {
        client.flush(usize::MAX).await;
        client
    });
    let (mut input, mut size, mut buffers) = (BytesMut::new(), 0, 0);
    while size < SIZE {
        size += read(&mut stream, &mut input, 64 * 1024).await;
        buffers += input.capacity();
        input = BytesMut::new();
    }
    sending.await.unwrap();
    assert!(buffers <= SIZE + SIZE / 20, "{buffers} bytes for {SIZE}");
}

#[tokio::test]
async fn the_end_is_told_and_heard() {
    let (mut client, mut stream) = setting().connect(usize::MAX, b"").await;
    stream.encrypt(b"221 bye\r\n").unwrap();
    stream.say_end().unwrap();
    assert!(stream.flush_now().unwrap());
    assert_eq!(client.read(9).await, b"221 bye\r\n");
    assert!(client.tls.process_new_packets().unwrap().peer_has_closed());
    client.tls.send_close_notify();
    client.flush(usize::MAX).await;
    let mut input = BytesMut::new();
    assert_eq!(read(&mut stream, &mut input, 8 * 1024).await, 0);

    // An end that TLS does not vouch for is none.
    let (client, mut stream) = setting().connect(usize::MAX, b"").await;
    drop(client);
    let end = std::future::poll_fn(|context| stream.poll_read(context, &mut input, 1)).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_is_no_tls_is_answered_with_an_alert() {
    for (said, name) in
        [(&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"[..], "no hello"), (b"EHLO mx.example\r\n", "no TLS")]
    {
        let (mut client, stream) = Setting::sockets().await;
        client.write_all(said).await.unwrap();
        assert!(Secured::accept(stream, setting().server).await.is_err(), "{name}");
        let mut alert = Vec::new();
        client.read_to_end(&mut alert).await.unwrap();
        assert_eq!(alert.first(), Some(&0x15), "{name}: {alert:?}");
    }
}

#[tokio::test]
async fn a_record_that_was_changed_ends_the_connection() {
    let (mut client, mut stream) = setting().connect(usize::MAX, b"").await;
    client.tls.writer().write_all(b"MAIL FROM:<>\r\n").unwrap();
    let mut ciphertext = Vec::new();
    client.tls.write_tls(&mut ciphertext).unwrap();
    let last = ciphertext.len() - 1;
    ciphertext[last] ^= 1;
    client.socket.write_all(&ciphertext).await.unwrap();
    let mut input = BytesMut::new();
    let read = std::future::poll_fn(|context| stream.poll_read(context, &mut input, 8 * 1024)).await;
    assert!(read.is_err() && input.is_empty());
    assert!(stream.encrypt(b"421 \r\n").is_err());
    // It is told so, and what comes after that is not looked at.
    flush(&mut stream).await;
    let mut alert = [0; 5];
    client.socket.read_exact(&mut alert).await.unwrap();
    let read = std::future::poll_fn(|context| stream.poll_read(context, &mut input, 8 * 1024)).await;
    assert!(read.is_err() && input.is_empty());
}
