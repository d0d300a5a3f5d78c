//! One connection to the sink.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::{Bytes, BytesMut};
use mailweir_smtp::reply::Reply;
use mailweir_smtp::server::{Event, Framing, MessageFault, MessageSummary, Server, ServerPolicy, TlsPolicy};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::store::{self, Content};
use super::{Keep, Received, Shared};

/// Read at once; and what the server machine leaves in the input while a message arrives fits in.
const INPUT_BUFFER: usize = 64 * 1024;

/// Why the conversation stopped.
enum Stopped {
    /// For good.
    Closed,
    /// STARTTLS was accepted.
    Handshake,
}

struct Session {
    shared: Arc<Shared>,
    server: Server,
    input: BytesMut,
    received: Received,
    content: Option<Content>,
}

/// Serves a connection to its end. Errors are the client's business.
pub(super) async fn serve(stream: TcpStream, client: SocketAddr, shared: Arc<Shared>) {
    if let Err(error) = Session::new(client, shared).run(stream).await {
        tracing::debug!(%client, %error, "connection lost");
    }
}

impl Session {
    fn new(client: SocketAddr, shared: Arc<Shared>) -> Self {
        let options = &shared.options;
        let mut policy = ServerPolicy::new(&options.hostname);
        policy.message_size = options.message_size;
        policy.bare_newline = options.bare_newline;
        policy.max_recipients = usize::MAX;
        policy.max_errors = usize::MAX;
        policy.max_junk_commands = usize::MAX;
        if shared.offer.start_tls {
            policy.tls = TlsPolicy::Offered;
        }
        let mut server = Server::new(policy);
        server.set_offer(shared.offer.clone());
        server.greet(Reply::new(220, "", &format!("{} ESMTP", options.hostname)));
        Self {
            server,
            input: BytesMut::with_capacity(INPUT_BUFFER),
            received: Received::from(client),
            content: None,
            shared,
        }
    }

    async fn run(mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if let Stopped::Closed = self.converse(&mut stream).await? {
            return Ok(());
        }
        let Some(tls) = self.shared.options.tls.clone() else { return Ok(()) };
        let mut stream = TlsAcceptor::from(tls).accept(stream).await?;
        self.server.tls_established(&mut self.input);
        self.received.encrypted = true;
        self.converse(&mut stream).await?;
        stream.shutdown().await
    }

    async fn converse(&mut self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Stopped> {
        loop {
            while let Some(event) = self.server.next(&mut self.input) {
                match event {
                    Event::Close => {
                        stream.write_all(&self.server.output().split()).await?;
                        return Ok(Stopped::Closed);
                    }
                    Event::StartTls => {
                        self.server.accept(Reply::new(220, "2.0.0", "Ready"));
                        stream.write_all(&self.server.output().split()).await?;
                        return Ok(Stopped::Handshake);
                    }
                    Event::MessageEnd(result) => {
                        if !self.message_end(result).await? {
                            return Ok(Stopped::Closed);
                        }
                    }
                    event => self.answer(event),
                }
            }
            let output = self.server.output();
            if !output.is_empty() {
                stream.write_all(output).await?;
                output.clear();
                stream.flush().await?;
            }
            self.input.reserve(INPUT_BUFFER);
            if stream.read_buf(&mut self.input).await? == 0 {
                return Ok(Stopped::Closed);
            }
        }
    }

    fn answer(&mut self, event: Event) {
        match event {
            Event::Hello { name, .. } => {
                self.received.helo = name.to_string();
                self.server.accept(Reply::new(250, "", &self.shared.options.hostname));
            }
            Event::Mail { path, parameters } => {
                self.received.sender = path.as_str().to_owned();
                self.received.parameters = parameters.to_string().trim_start().to_owned();
                self.received.recipients.clear();
                self.server.accept(Reply::new(250, "2.1.0", "Ok"));
            }
            Event::Rcpt { path, .. } => {
                self.received.recipients.push(path.as_str().to_owned());
                self.server.accept(Reply::new(250, "2.1.5", "Ok"));
            }
            Event::MessageBegin { framing } => {
                self.content = self.is_content_wanted().then(|| Content::new(framing == Framing::DotStuffed));
                self.server.accept_message();
            }
            Event::MessageChunk(chunk) => {
                if let Some(content) = &mut self.content {
                    content.push(chunk);
                }
            }
            Event::Reset => self.content = None,
            // Handled by the caller.
            Event::XClient(_) => self.server.refuse(Reply::new(502, "5.5.1", "Command not implemented")),
            Event::StartTls | Event::Close | Event::MessageEnd(_) => {}
        }
    }

    fn is_content_wanted(&self) -> bool {
        self.shared.options.store.is_some() || self.shared.options.keep == Keep::Messages
    }

    /// Answers a message; says whether to go on.
    async fn message_end(&mut self, result: Result<MessageSummary, MessageFault>) -> io::Result<bool> {
        let options = &self.shared.options;
        let content = self.content.take();
        if !options.delay.is_zero() {
            tokio::time::sleep(options.delay).await;
        }
        let draw = fastrand::f64();
        let refusal = match result {
            Err(fault) => Some(fault.reply()),
            Ok(_) if draw < options.drop => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                return Ok(false);
            }
            Ok(_) if draw < options.drop + options.reject => Some(Reply::new(550, "5.7.1", "Refused as configured")),
            Ok(_) if draw < options.drop + options.reject + options.tempfail => {
                Some(Reply::new(451, "4.3.0", "Refused as configured, for now"))
            }
            Ok(_) => None,
        };
        if let Some(refusal) = refusal {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            self.server.refuse(refusal);
            return Ok(true);
        }
        self.received.size = result.map_or(0, |summary| summary.bytes);
        self.take(content).await?;
        Ok(true)
    }

    async fn take(&mut self, content: Option<Content>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let options = &shared.options;
        if content.is_some() || options.report.is_some() {
            let content = content.map(Content::into_bytes).unwrap_or_default();
            let received = Received { number, content, ..self.received.clone() };
            if let Some(directory) = &options.store {
                store::write(directory, &received).await?;
            }
            if let Some(report) = &options.report {
                // Whoever listened may have had enough.
                let _ = report.send(received.clone()).await;
            }
            if options.keep == Keep::Messages {
                shared.kept.lock().unwrap_or_else(PoisonError::into_inner).push(received);
            }
        }
        shared.bytes.fetch_add(self.received.size, Ordering::Relaxed);
        shared.recipients.fetch_add(self.received.recipients.len() as u64, Ordering::Relaxed);
        // Last, and before the client hears of it: who waits for this count finds everything else.
        shared.messages.fetch_add(1, Ordering::Release);
        shared.arrived.notify_waiters();
        self.server.accept(Reply::new(250, "2.0.0", &format!("Ok: message {number}")));
        Ok(())
    }
}

impl From<SocketAddr> for Received {
    fn from(client: SocketAddr) -> Self {
        Self {
            number: 0,
            client,
            helo: String::new(),
            encrypted: false,
            sender: String::new(),
            parameters: String::new(),
            recipients: Vec::new(),
            size: 0,
            content: Bytes::new(),
        }
    }
}
