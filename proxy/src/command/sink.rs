//! `mailweir sink`: an SMTP server that accepts everything, or refuses as it is told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::arguments::SinkArguments;
use crate::sink::{Counts, Options, Received, Sink};

/// Messages waiting to be printed; when there are more, senders wait for the terminal.
const UNPRINTED: usize = 1024;

/// How to print.
#[derive(Debug, Clone, Copy)]
enum Format {
    Text,
    Json,
}

/// Serves until SIGTERM or SIGINT, or until as many messages were taken as asked for; then prints the counts. SIGUSR1
/// prints them meanwhile.
///
/// # Errors
///
/// When it cannot listen, or the certificate cannot be used.
pub async fn run(arguments: SinkArguments) -> anyhow::Result<()> {
    let (report, mut reports) = mpsc::channel(UNPRINTED);
    let format = if arguments.json { Format::Json } else { Format::Text };
    let (max, is_printing) = (arguments.max.unwrap_or(u64::MAX), arguments.print);
    let sink = Sink::start(options(arguments, report)?).await.context("cannot listen")?;
    for address in sink.addresses() {
        tracing::info!(%address, "sink listens");
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ask = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            biased;
            Some(received) = reports.recv(), if is_printing => print_message(&received, format)?,
            _ = ask.recv() => print_counts(sink.counts(), format)?,
            () = sink.taken(max) => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    print_counts(sink.counts(), format)
}

fn options(arguments: SinkArguments, report: mpsc::Sender<Received>) -> anyhow::Result<Options> {
    let tls = match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("{}", certificate.display()))?;
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{}", key.display()))?;
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(chain, key)?;
            Some(Arc::new(config))
        }
        _ => None,
    };
    Ok(Options {
        listen: arguments.listen,
        store: arguments.store,
        tempfail: arguments.tempfail,
        reject: arguments.reject,
        drop: arguments.drop,
        delay: Duration::from_millis(arguments.delay),
        without: arguments.without,
        tls,
        report: arguments.print.then_some(report),
        ..Options::default()
    })
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print_message(received: &Received, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string(received)?),
        Format::Text => {
            let Received { number, sender, recipients, size, .. } = received;
            println!("{number}: from <{sender}> to {}, {size} bytes", recipients.join(", "));
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print_counts(counts: Counts, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string(&counts)?),
        Format::Text => println!(
            "{} messages, {} bytes, {} recipients, {} connections, {} refused, {} dropped",
            counts.messages, counts.bytes, counts.recipients, counts.connections, counts.refused, counts.dropped
        ),
    }
    Ok(())
}
