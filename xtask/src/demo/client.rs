//! A client that says exactly what a case tells it to, and no more.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cases::Case;

/// No answer in this demo takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a case's message; the last reply: the first that refuses, or the one to the message.
pub(super) async fn send(case: &Case) -> Result<String> {
    let mut connection = BufReader::new(TcpStream::connect(case.server).await?);
    let mut reply = read_reply(&mut connection).await?;
    for command in [
        "EHLO mx.sender.test\r\n".to_owned(),
        format!("MAIL FROM:<{}>\r\n", case.sender),
        format!("RCPT TO:<{}>\r\n", case.recipient),
        "DATA\r\n".to_owned(),
    ] {
        if !reply.starts_with('2') {
            return Ok(reply);
        }
        connection.write_all(command.as_bytes()).await?;
        reply = read_reply(&mut connection).await?;
    }
    if !reply.starts_with('3') {
        return Ok(reply);
    }
    connection.write_all(&case.content).await?;
    connection.write_all(b".\r\n").await?;
    let reply = read_reply(&mut connection).await?;
    connection.write_all(b"QUIT\r\n").await?;
    read_reply(&mut connection).await?;
    Ok(reply)
}

/// The last line of the next reply.
async fn read_reply(connection: &mut BufReader<TcpStream>) -> Result<String> {
    loop {
        let mut line = String::new();
        let read = timeout(PATIENCE, connection.read_line(&mut line)).await.context("no reply came")??;
        if read == 0 {
            bail!("the connection was closed without a reply");
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.trim_end().to_owned());
        }
    }
}
