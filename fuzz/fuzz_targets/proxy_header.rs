//! The PROXY protocol: a header is read to its end and not an octet further, however it arrives.
#![no_main]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use libfuzzer_sys::fuzz_target;
use mailweir::listener::proxy_protocol::read;
use mailweir_fuzz::{Cut, run, split_settings};
use tokio::io::{AsyncRead, ReadBuf};

/// Hands out one piece at a time.
struct Pieces<'a> {
    pieces: Vec<&'a [u8]>,
    taken: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(piece) = self.pieces.last().copied() else { return Poll::Ready(Ok(())) };
        let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.taken += now.len();
        self.pieces.pop();
        if !later.is_empty() {
            self.pieces.push(later);
        }
        Poll::Ready(Ok(()))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([cut], bytes)) = split_settings(data) else { return };
    let (client, taken) = parse(vec![bytes]);
    let mut pieces: Vec<&[u8]> = Cut::new(cut).pieces(bytes).collect();
    pieces.reverse();
    assert_eq!(parse(pieces), (client, taken));
    let Ok(client) = client else { return };
    let header = &bytes[..taken];
    assert!(if header.starts_with(b"PROXY ") { header.ends_with(b"\r\n") && taken <= 107 } else { taken >= 16 });
    if let Some(client) = client {
        let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        let header = format!("PROXY {family} {0} {0} {1} 25\r\n", client.ip(), client.port());
        let (again, taken) = parse(vec![header.as_bytes()]);
        assert_eq!((again, taken), (Ok(Some(client)), header.len()), "{header}");
    }
});

fn parse(pieces: Vec<&[u8]>) -> (Result<Option<SocketAddr>, io::ErrorKind>, usize) {
    let mut stream = Pieces { pieces, taken: 0 };
    let client = run(read(&mut stream)).map_err(|error| error.kind());
    (client.map(|client| client.map(|client| SocketAddr::new(client.ip(), client.port()))), stream.taken)
}
