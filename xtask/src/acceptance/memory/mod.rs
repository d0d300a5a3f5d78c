//! A hundred large messages at once: all delivered as they were sent, and memory as it was promised.
//!
//! Every client keeps the end of its message back until all have come so far, so that the proxy holds all of them at
//! one moment. What is measured is the kernel's own record of the process's peak (VmHWM), from its start to its end.

mod content;
mod sender;
mod sink;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mailweir_testkit::certificates::{self, Authority};
use mailweir_testkit::dns::ZoneServer;
use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use self::content::Kind;
use self::sender::{Clients, Transport};
use self::sink::Sink;
use super::process::Process;
use super::stage::{Addresses, config, zone};
use super::{Outcome, Setting, scaled};

/// Sessions at once, each with one message.
const SESSIONS: u32 = 100;
/// Bytes of a message.
const MESSAGE: usize = 25_000_000;
/// Message bytes that the proxy may hold in memory, in MiB.
const MEMORY_BUDGET: u64 = 128;
/// What the process may take beyond that, in MiB, its program included.
const BASE: u64 = 100;

const FILTERS: [&str; 3] = ["auth", "surbl", "dlp"];

/// A run.
#[derive(Clone, Copy)]
struct Case {
    filters: &'static [&'static str],
    kind: Kind,
    transport: Transport,
}

const CASES: [Case; 6] = [
    Case { filters: &[], kind: Kind::Attachment, transport: Transport::Data },
    Case { filters: &FILTERS, kind: Kind::Attachment, transport: Transport::Data },
    Case { filters: &FILTERS, kind: Kind::Text, transport: Transport::Data },
    Case { filters: &FILTERS, kind: Kind::Encoded, transport: Transport::Data },
    Case { filters: &FILTERS, kind: Kind::Attachment, transport: Transport::Bdat },
    Case { filters: &FILTERS, kind: Kind::Attachment, transport: Transport::StartTls },
];

pub(super) async fn run(setting: &Setting) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for case in CASES {
        if setting.only.as_ref().is_some_and(|text| !case.command(setting).contains(text)) {
            continue;
        }
        println!("{} …", case.command(setting));
        outcomes.push(case.run(setting).await?);
    }
    Ok(outcomes)
}

impl Case {
    fn command(self, setting: &Setting) -> String {
        let sessions = scaled(SESSIONS, setting.scale, 10);
        let filters = match self.filters {
            [] => "no filters".to_owned(),
            filters => filters.join(", "),
        };
        format!(
            "{sessions} × {} MB at once, {:?}, {}, {filters}",
            MESSAGE / 1_000_000,
            self.transport,
            self.kind.name()
        )
    }

    async fn run(self, setting: &Setting) -> Result<Outcome> {
        let sessions = scaled(SESSIONS, setting.scale, 10) as usize;
        let rest = self.kind.rest(MESSAGE);
        let sink = Sink::start(rest.clone(), sessions, self.transport == Transport::Bdat).await?;
        let zone = ZoneServer::start(zone()?, "127.0.0.1:0".parse()?).await?;
        let mut authority = Authority::new()?;
        let certificate = authority.issue(&["mx.example.com"])?;
        let addresses = Addresses {
            inbound: ports::free()?,
            admin: ports::free()?,
            dns: zone.addr(),
            upstream: sink.address,
            clamd: None,
            plugins: &setting.plugins,
        };
        let mut text = config(&addresses, self.filters, MEMORY_BUDGET);
        if self.transport == Transport::StartTls {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[listener.inbound.tls]\nmode = \"opportunistic\"\ncertificate = {:?}\nkey = {:?}\n",
                certificate.certificate, certificate.key
            );
        }
        // Who has come as far as all must waits for the others.
        text = text.replace("connections_per_ip = 1000\n", "connections_per_ip = 1000\ndata_timeout = \"20m\"\n");
        let proxy = Mailweir::start(&setting.binary, &text, addresses.admin).await?;
        let process = Process::new(proxy.id().context("mailweir has ended")?);
        let (start, begin) = (process.peak()?, Instant::now());
        let tls = match self.transport {
            Transport::StartTls => Some(certificates::client_config(&authority.ca_file())?),
            Transport::Data | Transport::Bdat => None,
        };
        let all = Barrier::new(sessions);
        let server = addresses.inbound;
        let clients = Arc::new(Clients { server, transport: self.transport, rest, all, tls });
        let mut sending = JoinSet::new();
        for number in 0..sessions {
            let clients = Arc::clone(&clients);
            sending.spawn(async move { clients.send(number).await });
        }
        let mut wrong = Vec::new();
        while let Some(sent) = sending.join_next().await {
            if let Err(error) = sent? {
                wrong.push(format!("a client: {error:#}"));
            }
        }
        let (delivered, altered) = sink.result();
        if delivered != sessions {
            wrong.push(format!("{delivered} of {sessions} were delivered once and unaltered"));
        }
        wrong.extend(altered);
        let peak = process.peak()?;
        if peak > MEMORY_BUDGET + BASE {
            wrong.push(format!("{peak} MiB of memory, where {} are promised", MEMORY_BUDGET + BASE));
        }
        wrong.truncate(10);
        let spilled = proxy.metrics().await?.sum("mailweir_message_bytes_spilled_peak", &[]);
        let figures = vec![format!(
            "{delivered} delivered, all bytes equal; VmHWM {peak} MiB (at the start {start}), now {}; {:.0} MB spilled at \
             most; {:.1} s, {:.1} s CPU",
            process.breakdown()?,
            spilled / 1e6,
            begin.elapsed().as_secs_f64(),
            process.cpu_seconds()?,
        )];
        Ok(Outcome::new("memory", self.command(setting), wrong, figures))
    }
}
