//! The PROXY protocol, versions 1 and 2: who the client behind a load balancer is.
//!
//! Exactly the header's bytes are read, so that what follows it (TLS, say) is left untouched in the socket.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The 12 bytes that a version 2 header begins with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest version 1 header, CRLF included.
const V1_MAX: usize = 107;

/// The longest version 2 header that we read: addresses and a few type-length-values.
const V2_MAX: usize = 2048;

/// Reads a header. `None`: the peer speaks for itself (LOCAL or UNKNOWN: a health check).
///
/// # Errors
///
/// An IO error, or `InvalidData` when what came is not a header.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        read_v2_rest(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        read_v1_rest(stream, &mut header).await?;
    } else {
        return Err(invalid("the connection does not begin with a PROXY protocol header"));
    }
    match HeaderResult::parse(&header) {
        HeaderResult::V1(Ok(header)) => Ok(v1_client(&header.addresses)),
        HeaderResult::V2(Ok(header)) => Ok(v2_client(&header)),
        HeaderResult::V1(Err(error)) => Err(invalid(&error.to_string())),
        HeaderResult::V2(Err(error)) => Err(invalid(&error.to_string())),
    }
}

async fn read_v2_rest(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    header.extend_from_slice(&fixed);
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > V2_MAX {
        return Err(invalid("the PROXY protocol header is too long"));
    }
    let start = header.len();
    header.resize(start + length, 0);
    stream.read_exact(&mut header[start..]).await?;
    Ok(())
}

/// A version 1 header says nowhere how long it is, so it is read a byte at a time: it is short, and comes once a connection.
async fn read_v1_rest(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\r\n") {
        if header.len() == V1_MAX {
            return Err(invalid("the PROXY protocol header does not end"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn v1_client(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v1::Addresses::Tcp6(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn v2_client(header: &v2::Header<'_>) -> Option<SocketAddr> {
    if header.command == v2::Command::Local {
        return None;
    }
    match header.addresses {
        v2::Addresses::IPv4(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v2::Addresses::IPv6(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let result = read(&mut bytes).await;
        (result, bytes.len())
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest() {
        let (client, left) = parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 4025 25\r\nEHLO x\r\n").await;
        assert_eq!(client.unwrap(), Some("192.0.2.7:4025".parse().unwrap()));
        assert_eq!(left, 8);
        let (client, left) = parse(b"PROXY TCP6 2001:db8::7 2001:db8::1 4025 25\r\n\x16").await;
        assert_eq!(client.unwrap(), Some("[2001:db8::7]:4025".parse().unwrap()));
        assert_eq!(left, 1);
        let mut version2 = V2_SIGNATURE.to_vec();
        version2.extend_from_slice(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xb9, 0, 25]);
        version2.extend_from_slice(b"EHLO");
        let (client, left) = parse(&version2).await;
        assert_eq!(client.unwrap(), Some("192.0.2.7:4025".parse().unwrap()));
        assert_eq!(left, 4);
    }

    #[tokio::test]
    async fn a_health_check_speaks_for_itself() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n").await.0.unwrap(), None);
        let mut local = V2_SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 0]);
        assert_eq!(parse(&local).await.0.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut huge = V2_SIGNATURE.to_vec();
        huge.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        for bytes in [b"EHLO client.example\r\n".as_slice(), b"PROXY TCP4 999.1.1.1 1.1.1.1 1 1\r\n", &huge, &endless] {
            assert_eq!(parse(bytes).await.0.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(parse(b"PROXY TCP4 192").await.0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
