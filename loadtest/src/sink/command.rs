//! `mailweir-load sink`.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Account, Sink, SinkArguments};
use crate::report::live::{Glance, Goal, Live, Loudness};
use crate::report::model::SinkCounts;

/// How often a sink looks whether it took as many messages as it was asked for.
const LOOK: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, or until as many messages were taken as asked for; then prints the counts. SIGUSR1
/// prints them meanwhile.
///
/// # Errors
///
/// When it cannot listen, store, or use the certificate, or cannot print.
pub(crate) fn run(arguments: &SinkArguments) -> anyhow::Result<()> {
    let sink = Sink::start(&arguments.listen, &arguments.behaviour)?;
    for address in sink.addresses() {
        let _ = writeln!(std::io::stderr(), "mailweir-load: sink listens on {address}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(watch(&sink, arguments))?;
    print(&sink.stop()?, arguments.json.as_deref())
}

async fn watch(sink: &Sink, arguments: &SinkArguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ask = signal(SignalKind::user_defined1())?;
    let loudness = if arguments.quiet { Loudness::Quiet } else { Loudness::Usual };
    let goal = arguments.max.map_or(Goal::None, |max| Goal::Messages(max.get()));
    let mut live = Live::new(goal, loudness);
    let mut before = SinkCounts::default();
    let mut seconds = tokio::time::interval_at(tokio::time::Instant::now() + SECOND, SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = ask.recv() => print(&sink.account(), arguments.json.as_deref())?,
            _ = seconds.tick() => {
                let now = sink.counts();
                live.show(&glance(&before, &now));
                before = now;
            }
            () = tokio::time::sleep(LOOK), if arguments.max.is_some() => {
                if arguments.max.is_some_and(|max| sink.messages() >= max.get()) {
                    break;
                }
            }
        }
    }
    live.finish();
    Ok(())
}

fn glance(before: &SinkCounts, now: &SinkCounts) -> Glance {
    let seconds = (now.seconds - before.seconds).max(1e-3);
    Glance {
        elapsed: Duration::from_secs_f64(now.seconds),
        messages: now.messages,
        failed: now.tempfailed + now.rejected + now.dropped + now.failures,
        messages_per_second: (now.messages - before.messages) as f64 / seconds,
        bytes_per_second: (now.bytes - before.bytes) as f64 / seconds,
        connections: now.open_connections,
        p99: None,
    }
}

fn print(account: &Account, json: Option<&Path>) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match json {
        Some(path) if path == Path::new("-") => {
            serde_json::to_writer(&mut output, account)?;
            writeln!(output)?;
        }
        Some(path) => {
            // Renamed, so that nobody reads half of it.
            let part = path.with_extension("part");
            std::fs::write(&part, serde_json::to_vec(account)?)
                .and_then(|()| std::fs::rename(&part, path))
                .with_context(|| format!("{}", path.display()))?;
            output.write_all(text(account).as_bytes())?;
        }
        None => output.write_all(text(account).as_bytes())?,
    }
    output.flush().context("writing the counts")
}

fn text(account: &Account) -> String {
    let counts = &account.counts;
    let SinkCounts { messages, bytes, connections, open_connections, tls, .. } = counts;
    let SinkCounts { tempfailed, rejected, dropped, delayed, errors, failures, .. } = counts;
    let mut text = format!(
        "taken        {messages} messages, {:.2} MB in {:.1} s\n\
         connections  {connections}, {open_connections} open, {tls} with TLS\n\
         on purpose   {tempfailed} × 4xx, {rejected} × 5xx, {dropped} dropped, {delayed} delayed\n\
         mistakes     {errors} by clients, {failures} of storing or handshakes\n",
        *bytes as f64 / 1e6,
        counts.seconds,
    );
    for (run, seen) in &account.received.runs {
        text += &format!(
            "proof        run {run}: {} messages, {} doubled, {} altered\n",
            seen.numbers.len(),
            seen.doubled.len(),
            seen.altered.len()
        );
    }
    if account.received.unmarked > 0 {
        text += &format!("proof        {} messages without\n", account.received.unmarked);
    }
    text
}
