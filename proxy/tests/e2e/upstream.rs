//! A mail server that takes everything but what it is told not to take, and remembers every command.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a line that begins so leads to; the first rule that fits applies. The end of a message is the line ".", and
/// [`CONNECTED`] stands for the line that nobody says before the greeting.
pub(crate) type Rule = (&'static str, Answer);

/// The place of the greeting.
pub(crate) const CONNECTED: &str = "<connected>";

/// What is done in place of a 250.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// These lines, each the reply's last or not as it says itself.
    Reply(&'static str),
    /// Exactly these bytes.
    Raw(&'static [u8]),
    /// These bytes over and over, for as long as they are taken.
    Flood(&'static [u8]),
    /// Not a word, and nothing more is read.
    Silence,
    /// Exactly these bytes, and the end of what the server says; it goes on reading.
    HalfClose(&'static [u8]),
    /// Exactly these bytes, and then the connection is closed.
    Parting(&'static [u8]),
    /// Nothing: the connection is closed.
    HangUp,
}

/// The server; it ends when dropped.
pub(crate) struct Picky {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    _tasks: JoinSet<()>,
}

/// A line, and on which connection it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) connection: usize,
    pub(crate) line: String,
}

impl Picky {
    pub(crate) async fn start(rules: &'static [Rule]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&heard);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, number, rules, Arc::clone(&log)));
                number += 1;
            }
        });
        Self { address, heard, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All lines heard that begin so: commands, and lines of messages.
    pub(crate) fn heard(&self, beginning: &str) -> Vec<String> {
        self.lines().into_iter().map(|heard| heard.line).filter(|line| line.starts_with(beginning)).collect()
    }

    /// All lines heard.
    pub(crate) fn lines(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, connection: usize, rules: &[Rule], heard: Arc<Mutex<Vec<Heard>>>) {
    let mut stream = BufReader::new(stream);
    let mut answer = answer(CONNECTED, rules);
    let mut in_data = false;
    loop {
        if !say(&mut stream, answer).await {
            return;
        }
        loop {
            let mut line = Vec::new();
            if !matches!(stream.read_until(b'\n', &mut line).await, Ok(count) if count > 0) {
                return;
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            heard.lock().unwrap().push(Heard { connection, line: line.clone() });
            if in_data && line != "." {
                continue;
            }
            answer = self::answer(&line, rules);
            in_data = match answer {
                Answer::Reply(text) => text.starts_with("354"),
                Answer::Raw(bytes) | Answer::HalfClose(bytes) => bytes.starts_with(b"354"),
                _ => false,
            };
            break;
        }
    }
}

/// Whether the connection goes on.
async fn say(stream: &mut BufReader<TcpStream>, answer: Answer) -> bool {
    match answer {
        Answer::Reply(text) => {
            stream.write_all(format!("{text}\r\n").as_bytes()).await.is_ok() && !text.starts_with("221")
        }
        Answer::Raw(bytes) => stream.write_all(bytes).await.is_ok(),
        Answer::Flood(bytes) => {
            let many = bytes.repeat(1 + (64 * 1024) / bytes.len());
            while stream.write_all(&many).await.is_ok() {}
            false
        }
        Answer::Silence => std::future::pending().await,
        Answer::HalfClose(bytes) => stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok(),
        Answer::Parting(bytes) => {
            let _ = stream.write_all(bytes).await;
            false
        }
        Answer::HangUp => false,
    }
}

fn answer(line: &str, rules: &[Rule]) -> Answer {
    if let Some((_, answer)) = rules.iter().find(|(beginning, _)| line.starts_with(beginning)) {
        return *answer;
    }
    Answer::Reply(match line.split(' ').next().unwrap_or_default() {
        CONNECTED => "220 picky.example ESMTP",
        "EHLO" => "250-picky.example\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        "." => "250 2.0.0 picky took it",
        _ => "250 2.0.0 fine",
    })
}
