//! A mail server that takes everything but what it is told not to take, and remembers every command.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a line that begins so leads to; the first rule that fits applies. The end of a message is the line ".".
pub(crate) type Rule = (&'static str, Answer);

/// What is done in place of a 250.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// These lines, each the reply's last or not as it says itself.
    Reply(&'static str),
    /// Nothing: the connection is closed.
    HangUp,
}

/// The server; it ends when dropped.
pub(crate) struct Picky {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
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
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, rules, Arc::clone(&log)));
            }
        });
        Self { address, heard, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All lines heard that begin so: commands, and lines of messages.
    pub(crate) fn heard(&self, beginning: &str) -> Vec<String> {
        self.heard.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).cloned().collect()
    }
}

async fn serve(stream: TcpStream, rules: &[Rule], heard: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut reply = Some("220 picky.example ESMTP".to_owned());
    let mut in_data = false;
    while let Some(text) = reply {
        if stream.write_all(format!("{text}\r\n").as_bytes()).await.is_err() || text.starts_with("221") {
            return;
        }
        loop {
            let mut line = Vec::new();
            if !matches!(stream.read_until(b'\n', &mut line).await, Ok(count) if count > 0) {
                return;
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            heard.lock().unwrap().push(line.clone());
            if in_data && line != "." {
                continue;
            }
            reply = answer(&line, rules);
            in_data = reply.as_deref().is_some_and(|reply| reply.starts_with("354"));
            break;
        }
    }
}

fn answer(line: &str, rules: &[Rule]) -> Option<String> {
    if let Some((_, answer)) = rules.iter().find(|(beginning, _)| line.starts_with(beginning)) {
        return match answer {
            Answer::Reply(text) => Some((*text).to_owned()),
            Answer::HangUp => None,
        };
    }
    let text = match line.split(' ').next().unwrap_or_default() {
        "EHLO" => "250-picky.example\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        "." => "250 2.0.0 picky took it",
        _ => "250 2.0.0 fine",
    };
    Some(text.to_owned())
}
