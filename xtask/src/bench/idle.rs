//! `cargo xtask bench idle`: what a server's memory grows by with each client that has greeted it and says no more.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mailweir_testkit::certificates;
use mailweir_testkit::tls::{self, ClientConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::contestant::{Contestant, Selection};
use super::scenario::Scenario;
use super::stage::Stage;

/// What can be said on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Connections to hold open; fewer with a server that has a process for each
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
}

/// Clients that come at the same time.
const AT_ONCE: usize = 64;
/// This share of the clients comes and goes before memory is looked at: what every server takes once is taken then.
const WARM_UP: u32 = 25;
/// The longest that a reply is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures and prints.
pub(super) async fn run(options: &Options) -> Result<()> {
    let contestants = options.selection.contestants()?;
    println!("{:14}  {:9}  {:>11}  {:>19}", "", "after", "connections", "bytes a connection");
    for contestant in &contestants {
        for scenario in [&Scenario::IDLE, &Scenario::IDLE_TLS] {
            if !contestant.peer.takes_part(scenario) {
                continue;
            }
            let connections = options.connections.min(contestant.peer.idle);
            let bytes = measure(contestant, scenario, connections).await;
            let bytes = bytes.with_context(|| format!("{}, {}", contestant.label, scenario.name))?;
            println!("{:14}  {:9}  {connections:>11}  {bytes:>19}", contestant.label, scenario.name);
        }
    }
    Ok(())
}

/// Bytes of a connection.
async fn measure(contestant: &Contestant, scenario: &'static Scenario, connections: u32) -> Result<u64> {
    let stage = Stage::set(scenario, PathBuf::new(), 1).await?;
    let server = stage.start(contestant).await?;
    let tls = match scenario.tls {
        true => Some(certificates::client_config(&stage.surroundings.authority_file())?),
        false => None,
    };
    drop(open(server.address, connections.div_ceil(WARM_UP), tls.as_ref()).await.with_context(|| server.log())?);
    server.wait_until_idle().await?;
    let before = server.tree.anonymous()?;
    let clients = open(server.address, connections, tls.as_ref()).await.with_context(|| server.log())?;
    server.wait_until_idle().await?;
    let after = server.tree.anonymous()?;
    drop(clients);
    server.stop()?;
    Ok(after.saturating_sub(before) / u64::from(connections))
}

/// A client's connection. It is closed when it is dropped.
trait Connection: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Connection for S {}

/// Clients that have said EHLO, after STARTTLS if there is a configuration for it.
async fn open(server: SocketAddr, count: u32, tls: Option<&Arc<ClientConfig>>) -> Result<Vec<Box<dyn Connection>>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let (gate, tls) = (Arc::clone(&gate), tls.cloned());
        clients.spawn(async move {
            let _turn = gate.acquire().await?;
            tokio::time::timeout(PATIENCE, greet(server, tls)).await.context("no reply")?
        });
    }
    clients.join_all().await.into_iter().collect()
}

async fn greet(server: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Connection>> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    reply(&mut stream, "220").await?;
    command(&mut stream, "EHLO client.bench-sender.com\r\n", "250").await?;
    let Some(config) = tls else { return Ok(Box::new(stream.into_inner())) };
    command(&mut stream, "STARTTLS\r\n", "220").await?;
    let mut stream = BufReader::new(tls::connect(&config, "mx.example.com", stream.into_inner()).await?);
    command(&mut stream, "EHLO client.bench-sender.com\r\n", "250").await?;
    Ok(Box::new(stream.into_inner()))
}

async fn command<S>(stream: &mut BufReader<S>, line: &str, expected: &str) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await?;
    reply(stream, expected).await
}

/// Reads a reply that has to begin with `expected`.
async fn reply<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, expected: &str) -> Result<()> {
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "closed by the server");
        ensure!(line.starts_with(expected), "{}", line.trim_end());
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
