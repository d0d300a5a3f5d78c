//! SMTP without IO: commands, replies, extensions, data framing, and the state machines of both sides.
//!
//! Bytes and decisions go in, events and bytes come out. Nothing here reads a clock, a socket or a file, so that the
//! same machines serve a proxy, a load generator, a fuzzer, and each other in memory.
//!
//! The [`server::Server`] is given the bytes a client sent and says what they ask for; its user decides, and writes
//! [`server::Server::output`] to the socket. The [`client::Client`] is the other half. Both are *pull* style: the
//! user owns the input buffer, calls `next` until it returns nothing, writes the output, reads more.
//!
//! ```
//! use bytes::BytesMut;
//! use mailweir_smtp::reply::Reply;
//! use mailweir_smtp::server::{Event, Server, ServerPolicy};
//!
//! let mut server = Server::new(ServerPolicy::new("mx.example.com"));
//! server.greet(Reply::new(220, "", "mx.example.com ESMTP"));
//! let mut input = BytesMut::from(&b"EHLO client.example\r\n"[..]);
//! let Some(Event::Hello { name, .. }) = server.next(&mut input) else { panic!("EHLO is answered by us") };
//! server.accept(Reply::new(250, "", &format!("mx.example.com greets {name}")));
//! assert!(server.next(&mut input).is_none(), "nothing left to do until more bytes come");
//! assert!(server.output().starts_with(b"220 mx.example.com ESMTP\r\n250"));
//! ```
//!
//! Modules, in the order in which they build on each other:
//! [`address`], [`reply`], [`xclient`], [`extension`], [`parameter`], [`command`], [`mod@line`], [`data`], [`server`],
//! [`client`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod reply;
pub mod xclient;
pub mod extension;
pub mod parameter;
pub mod command;
pub mod line;
pub mod data;
pub mod server;
pub mod client;
