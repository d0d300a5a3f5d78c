//! An SMTP client that says what it is told, on a thread of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; the greeting is the first reply.
    pub(super) fn open(server: SocketAddr) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "cases run on threads of their own, not on workers of a runtime")]
        let stream = TcpStream::connect(server).with_context(|| server.to_string())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, reader })
    }

    /// Sends octets as they are.
    pub(super) fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).context("the connection is closed")
    }

    /// The last line of the next reply.
    pub(super) fn reply(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).context("no reply came")?;
            ensure!(read > 0, "the connection was closed");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }

    /// Nothing more will be sent.
    pub(super) fn finish(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// A command and its reply.
    pub(super) fn command(&mut self, command: &str) -> Result<String> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }
}

/// Sends a message of plain lines; the last reply: the first that refuses, or the one to the message.
pub(super) fn deliver(server: SocketAddr, content: &[u8]) -> Result<String> {
    let mut connection = Connection::open(server)?;
    let mut reply = connection.reply()?;
    for command in ["EHLO client.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"] {
        if !reply.starts_with('2') {
            return Ok(reply);
        }
        reply = connection.command(command)?;
    }
    if !reply.starts_with('3') {
        return Ok(reply);
    }
    connection.send(&stuffed(content))?;
    connection.send(b".\r\n")?;
    reply = connection.reply()?;
    connection.command("QUIT")?;
    Ok(reply)
}

/// RFC 5321 section 4.5.2.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [if line.starts_with(b".") { &b"."[..] } else { b"" }, line]).flatten().copied().collect()
}
