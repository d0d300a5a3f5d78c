//! What servers need around them, the same for all: a DNS server, one that tells nginx where to go, a certificate, and
//! messages that the generator cannot make.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use mailweir_testkit::certificates::{Authority, ServerCertificate};
use mailweir_testkit::dns::ZoneServer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::message::Sender;
use super::scenario::Content;

/// All of it; gone when it is dropped.
pub(super) struct Surroundings {
    pub(super) certificate: ServerCertificate,
    pub(super) auth_http: SocketAddr,
    sender: Sender,
    messages: TempDir,
    zone: ZoneServer,
    authority: Authority,
    _tasks: JoinSet<()>,
}

impl Surroundings {
    /// Starts everything; nginx is sent to `upstream`.
    ///
    /// # Errors
    /// When a port cannot be bound or a key not made.
    pub(super) async fn set(upstream: SocketAddr) -> Result<Self> {
        let sender = Sender::new()?;
        let zone = ZoneServer::start(sender.zone()?, "127.0.0.1:0".parse()?).await?;
        let mut authority = Authority::new()?;
        let certificate = authority.issue(&["mx.example.com", "127.0.0.1"])?;
        for file in [&certificate.certificate, &certificate.key] {
            readable(file)?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let auth_http = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_questions(listener, upstream));
        let messages = tempfile::Builder::new().prefix("mailweir-bench-messages-").tempdir()?;
        Ok(Self { certificate, auth_http, sender, messages, zone, authority, _tasks: tasks })
    }

    /// Where names are resolved.
    pub(super) fn dns(&self) -> SocketAddr {
        self.zone.addr()
    }

    /// What a client must trust.
    pub(super) fn authority_file(&self) -> PathBuf {
        self.authority.ca_file()
    }

    /// DNS queries so far.
    pub(super) fn queries(&self) -> u64 {
        self.zone.queries()
    }

    /// The message as a file; none when the generator makes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn message(&self, content: Content) -> Result<Option<PathBuf>> {
        let message = match content {
            Content::Generated(_) => return Ok(None),
            Content::Plain(size) => self.sender.plain(size as usize),
            Content::Signed(size) => self.sender.signed(size as usize)?,
        };
        let file = self.messages.path().join("message.eml");
        std::fs::write(&file, message)?;
        Ok(Some(file))
    }
}

/// Some servers read their certificates as users of their own.
fn readable(file: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(directory) = file.parent() {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644))?)
}

/// Tells whoever asks that all is well, and where to go (ngx_mail_auth_http_module).
async fn answer_questions(listener: TcpListener, upstream: SocketAddr) {
    let mut questions = JoinSet::new();
    let answer = format!(
        "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {}\r\nAuth-Port: {}\r\n\r\n",
        upstream.ip(),
        upstream.port()
    );
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    questions.spawn(answer_question(stream, answer.clone()));
                }
            }
            Some(_) = questions.join_next() => {}
        }
    }
}

async fn answer_question(mut stream: TcpStream, answer: String) {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut question).await {
            Ok(length) if length > 0 => {}
            _ => return,
        }
    }
    // One that does not wait for its answer is not our concern.
    let _ = stream.write_all(answer.as_bytes()).await;
}
