//! What leaves for the upstream, byte by byte as it stood on the wire, read again by a strict server and by a lax one: the
//! same messages, and as many as the client was told were taken. Smuggling through a proxy needs them to differ.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mailweir::sink::Options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::client::{Client, expect, small_message};
use crate::filter::{Say, saying};
use crate::guests;
use crate::lax;
use crate::smuggling::{NEWLINES, SMUGGLED};
use crate::stage::{Setup, sink_with};

/// Passes connections on, and keeps what goes towards the server.
struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Tap {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                relays.spawn(relay(client, server, number, Arc::clone(&kept)));
            }
        });
        Self { address, connections, _tasks: tasks }
    }
}

async fn relay(client: TcpStream, server: SocketAddr, number: usize, kept: Arc<Mutex<Vec<Vec<u8>>>>) {
    let server = TcpStream::connect(server).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            // Kept before the server can answer it.
            kept.lock().unwrap()[number].extend_from_slice(&buffer[..count]);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    let _ = tokio::join!(there, back);
}

/// How a server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Lines end in CRLF.
    Strict,
    /// They end in CRLF, CR or LF, and NULs are not there.
    Lax,
}

impl Reader {
    /// The senders of the messages that a client's side of a connection holds.
    fn messages(self, mut wire: &[u8]) -> Vec<String> {
        let mut messages = Vec::new();
        let mut sender = None;
        while let Some((line, rest)) = self.line(wire) {
            wire = rest;
            let mut words = line.split(' ');
            match words.next().unwrap_or_default() {
                "EHLO" | "HELO" | "RCPT" | "NOOP" | "QUIT" | "RSET" => {}
                "MAIL" => sender = Some(line.clone()),
                "DATA" => {
                    // The last connection may have been cut off while its message was on its way.
                    let Some(end) = self.end(wire) else { break };
                    wire = &wire[end..];
                    messages.push(sender.take().unwrap_or_else(|| panic!("DATA without MAIL")));
                }
                "BDAT" => {
                    let size: usize = words.next().unwrap().parse().unwrap();
                    wire = &wire[size..];
                    if words.next() == Some("LAST") {
                        messages.push(sender.take().unwrap_or_else(|| panic!("BDAT without MAIL")));
                    }
                }
                _ => panic!("{self:?}: {} is no command of ours", line.escape_debug()),
            }
        }
        messages
    }

    fn line(self, wire: &[u8]) -> Option<(String, &[u8])> {
        let end = match self {
            Self::Strict => wire.windows(2).position(|pair| pair == b"\r\n")?,
            Self::Lax => wire.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?,
        };
        let rest = &wire[end + 1..];
        let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        Some((String::from_utf8_lossy(&wire[..end]).replace('\0', ""), rest))
    }

    fn end(self, wire: &[u8]) -> Option<usize> {
        match self {
            Self::Strict => lax::strict_end(wire),
            Self::Lax => {
                let (places, bytes): (Vec<usize>, Vec<u8>) =
                    wire.iter().copied().enumerate().filter(|(_, byte)| *byte != 0).unzip();
                lax::lax_end(&bytes).map(|end| places[end - 1] + 1)
            }
        }
    }
}

const LISTENER: &str = r#"
[listener.NAME]
listen = ["@NAME-listener"]
chain = "CHAIN"
route = "ROUTE"
relay_domains = ["example.com"]
bare_newline = "NEWLINES"
limits = { messages = 100000, errors = 100000 }
"#;

const ROUTES: &str = r#"
[chain.none]

[chain.edit]
plugins = ["edit"]

[plugin.edit]

[route.data]
upstreams = ["@data"]
tls = "off"

[route.bdat]
upstreams = ["@bdat"]
tls = "off"
"#;

/// Bodies that a filter puts in a message's place.
const BODIES: [&str; 8] = [
    "one\r\n.\r\nMAIL FROM:<eve@sender.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nevil\r\n",
    ".\r\nMAIL FROM:<eve@sender.test>\r\n",
    "one\n.\nMAIL FROM:<eve@sender.test>\n",
    "one\r.\rMAIL FROM:<eve@sender.test>\r",
    "one\n.\r\nMAIL FROM:<eve@sender.test>\r\n",
    "one\r\n.\nMAIL FROM:<eve@sender.test>\r\n",
    "one\r\n.\0\r\nMAIL FROM:<eve@sender.test>\r\n",
    "one\r\n.\r",
];

#[tokio::test]
async fn what_leaves_is_the_same_messages_to_every_reader() {
    let without = |keyword: &str| Options { without: vec![keyword.to_owned()], ..Options::default() };
    let (by_data, by_bdat) = (sink_with(without("CHUNKING")).await, sink_with(without("SIZE")).await);
    let (data_tap, bdat_tap) = (Tap::before(by_data.address()).await, Tap::before(by_bdat.address()).await);
    let mut config = ROUTES.to_owned();
    let mut listeners = Vec::new();
    let mut add = |name: String, chain: &str, route: &str, newlines: &str| {
        let listener = LISTENER.replace("NAME", &name).replace("CHAIN", chain);
        config.push_str(&listener.replace("ROUTE", route).replace("NEWLINES", newlines));
        listeners.push(name);
    };
    for route in ["data", "bdat"] {
        for newlines in ["reject", "normalize"] {
            for chain in ["none", "edit"] {
                add(format!("{chain}-{newlines}-{route}"), chain, route, newlines);
            }
        }
        for number in 0..BODIES.len() {
            let chain = format!("body{number}");
            add(format!("{chain}-{route}"), &chain, route, "reject");
        }
    }
    for number in 0..BODIES.len() {
        config.push_str(&format!("[chain.body{number}]\nplugins = [\"body{number}\"]\n[plugin.body{number}]\n"));
    }
    let mut setup = Setup::new(&config)
        .address("data", data_tap.address)
        .address("bdat", bdat_tap.address)
        .filter("edit", &guests::component("edit"));
    for (number, body) in BODIES.iter().enumerate() {
        setup = setup.filter(&format!("body{number}"), &saying(&[("end-of-message", Say::ReplaceBody(body))]));
    }
    let stage = setup.start().await;
    for route in ["data", "bdat"] {
        stage.wait_for_route(route).await;
    }

    let (mut taken, mut refused) = (0, 0);
    for listener in &listeners {
        let contents = if listener.starts_with("body") { vec![small_message("x")] } else { contents() };
        let mut client = stage.client(listener).await;
        for content in &contents {
            for framing in [Framing::Data, Framing::DataInPieces, Framing::Bdat, Framing::BdatInPieces] {
                let reply = send(&mut client, framing, content).await;
                match reply.starts_with("250") {
                    true => taken += 1,
                    false => refused += 1,
                }
                expect(&client.say("RCPT TO:<bob@example.com>").await, "503 5.5.1");
            }
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
    let count = |reader: Reader| {
        let mut senders = Vec::new();
        for tap in [&data_tap, &bdat_tap] {
            tap.connections.lock().unwrap().iter().for_each(|wire| senders.extend(reader.messages(wire)));
        }
        assert!(senders.iter().all(|line| line.starts_with("MAIL FROM:<alice@sender.test>")), "{reader:?}");
        senders.len()
    };
    assert_eq!((count(Reader::Strict), count(Reader::Lax)), (taken, taken));
    assert_eq!(by_data.count() + by_bdat.count(), taken as u64);
    // And when those servers relay by DATA in turn.
    for message in by_data.messages().into_iter().chain(by_bdat.messages()) {
        crate::dialogs::check_message(&message.content);
    }
}

/// Messages with an end of data that is none.
fn contents() -> Vec<String> {
    let mut contents = vec![small_message("x")];
    for after in NEWLINES.into_iter().filter(|after| !after.starts_with("\r\n")) {
        contents.push(format!(".{after}{SMUGGLED}"));
        contents.push(format!("Subject: x\r\n\r\n.{after}{SMUGGLED}"));
    }
    for before in NEWLINES {
        for after in NEWLINES {
            if !(before.ends_with("\r\n") && after.starts_with("\r\n")) {
                contents.push(format!("Subject: one\r\n\r\none{before}.{after}{SMUGGLED}"));
            }
        }
    }
    contents
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Data,
    DataInPieces,
    Bdat,
    BdatInPieces,
}

async fn send(client: &mut Client, framing: Framing, content: &str) -> String {
    expect(&client.say("MAIL FROM:<alice@sender.test>").await, "250");
    expect(&client.say("RCPT TO:<bob@example.com>").await, "250");
    let dot = content.find('.').unwrap();
    let (before, after) = content.split_at(dot);
    match framing {
        Framing::Data | Framing::DataInPieces => expect(&client.say("DATA").await, "354"),
        Framing::Bdat | Framing::BdatInPieces => {}
    }
    match framing {
        Framing::Data => client.send(format!("{content}.\r\n")).await,
        Framing::DataInPieces => {
            for piece in [before, ".", &after[1..], ".", "\r", "\n"] {
                client.send(piece).await;
            }
        }
        Framing::Bdat => client.send(format!("BDAT {} LAST\r\n{content}", content.len())).await,
        Framing::BdatInPieces => {
            client.send(format!("BDAT {}\r\n{before}BDAT 1\r\n.", before.len())).await;
            client.send(format!("BDAT {} LAST\r\n{}", after.len() - 1, &after[1..])).await;
            // Each chunk is answered, and the last reply is about the message: a refusal comes once and is repeated.
            let replies = [client.reply().await, client.reply().await, client.reply().await];
            return if replies.iter().all(|reply| reply.starts_with("250")) {
                replies[2].clone()
            } else {
                "5".to_owned()
            };
        }
    }
    client.reply().await
}
