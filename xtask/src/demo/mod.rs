//! `cargo xtask demo`: the product on one screen. Real messages go over sockets through the proxy with the example
//! chains, and a table shows what became of each.

mod cases;
mod client;
mod stage;

use std::path::Path;

use anyhow::{Result, bail};

use cases::{Case, Expected};
use stage::Stage;

pub(crate) use stage::build_mailweir;

/// Runs the demo; an error when anything went otherwise than it should.
pub(crate) fn run() -> Result<()> {
    crate::plugins::run(&crate::plugins::Options::default())?;
    let binary = build_mailweir()?;
    tokio::runtime::Runtime::new()?.block_on(play_all(&binary))
}

async fn play_all(binary: &Path) -> Result<()> {
    let stage = Stage::set(binary).await?;
    println!("\nmailweir listens on {} (inbound) and {} (outbound).\n", stage.inbound, stage.outbound);
    let cases = cases::all(&stage)?;
    let width = cases.iter().map(|case| case.what.len()).max().unwrap_or(0);
    let mut surprises = 0;
    for case in &cases {
        let (went, good) = play(&stage, case).await?;
        surprises += usize::from(!good);
        println!("{} {:width$}  {went}", if good { "ok  " } else { "FAIL" }, case.what);
    }
    let [exchange, encryption] = stage.delivered()?;
    println!(
        "\nThe mail server behind received {} message(s), the encryption gateway {}.",
        exchange.len(),
        encryption.len()
    );
    if (exchange.len(), encryption.len()) != (1, 1) {
        surprises += 1;
        println!("FAIL: it should be one each.");
    }
    if surprises > 0 {
        bail!("{surprises} of the demo's results are not what they should be; the proxy's log:\n{}", stage.log());
    }
    println!("\nTry one yourself: cargo run --bin mailweir -- --help; docs/config.md describes the configuration.");
    Ok(())
}

/// Sends one case's message; what happened in words, and whether it was expected.
async fn play(stage: &Stage, case: &Case) -> Result<(String, bool)> {
    if case.needs_clamd && !stage.has_clamd() {
        return Ok(("skipped: clamd is not installed".to_owned(), true));
    }
    let before = stage.delivered()?;
    let reply = client::send(case).await?;
    let after = stage.delivered()?;
    let new = [0, 1].map(|sink: usize| after[sink].len() - before[sink].len());
    let (good, note) = match case.expected {
        Expected::Refused(code) => (reply.starts_with(code) && new == [0, 0], String::new()),
        Expected::Encrypted => (reply.starts_with("250") && new == [0, 1], " -> encryption gateway".to_owned()),
        Expected::Authenticated => {
            let results = after[0].last().map(|message| authentication_results(message)).unwrap_or_default();
            let passes = ["spf=pass", "dkim=pass", "dmarc=pass"].iter().all(|pass| results.contains(pass));
            (reply.starts_with("250") && new == [1, 0] && passes, format!(" -> mail server; {results}"))
        }
    };
    Ok((format!("{reply}{note}"), good))
}

/// The outcome words of a delivered message's Authentication-Results field.
fn authentication_results(message: &str) -> String {
    let Some(start) = message.find("Authentication-Results:") else {
        return "no Authentication-Results".to_owned();
    };
    let field: String = message[start..]
        .lines()
        .enumerate()
        .take_while(|(number, line)| *number == 0 || line.starts_with([' ', '\t']))
        .map(|(_, line)| line)
        .collect();
    field
        .split(|separator: char| separator == ';' || separator.is_whitespace())
        .filter(|word| ["spf=", "dkim=", "dmarc="].iter().any(|method| word.starts_with(method)))
        .collect::<Vec<_>>()
        .join(" ")
}
