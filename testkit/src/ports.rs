//! Free ports on the loopback interface, and waiting until something listens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpStream;

/// A port of 127.0.0.1 that was free a moment ago. Another process may take it before its user does; servers that can
/// bind port 0 themselves should.
///
/// # Errors
/// When no socket can be bound.
pub fn free() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a free port")?;
    Ok(listener.local_addr()?)
}

/// Waits until a connection to `address` succeeds.
///
/// # Errors
/// When it does not within `limit`.
pub async fn wait_until_open(address: SocketAddr, limit: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("nothing listens on {address} after {limit:?}"));
            }
            // There is no event to wait for: another process is starting.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
