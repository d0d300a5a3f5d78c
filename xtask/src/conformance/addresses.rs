//! The addresses of EmailValidator, as the sender and the recipient of a session.

use anyhow::Result;

use super::Setting;
use super::client::Connection;
use super::report::{Disagreement, Tally};
use super::server::Server;

pub(super) fn run(setting: &Setting) -> Result<Vec<Tally>> {
    const SUITE: &str = "addresses EmailValidator";
    let Some(lists) = setting.json("address_syntax/emailvalidator.json")? else { return Ok(Tally::skipped(SUITE)) };
    let listener = "relay_domains = [\"*\"]\ntrusted_networks = [\"127.0.0.0/8\"]\nlimits = { errors = 1000 }";
    let server = Server::start(setting, listener, "[chain.test]\n")?;
    let mut cases = 0;
    let mut disagreements = Vec::new();
    for (list, is_valid) in
        [("getValidEmails", true), ("getValidEmailsWithWarnings", true), ("getInvalidEmails", false)]
    {
        for address in lists[list].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str) {
            cases += 1;
            let mut connection = Connection::open(server.address)?;
            connection.reply()?;
            connection.command("EHLO client.example.com")?;
            let sender = connection.command(&format!("MAIL FROM:<{address}> SMTPUTF8"))?;
            connection.command("RSET")?;
            connection.command("MAIL FROM:<> SMTPUTF8")?;
            let recipient = connection.command(&format!("RCPT TO:<{address}>"))?;
            let replies = [sender, recipient];
            if replies.iter().any(|reply| reply.starts_with('2') != is_valid) {
                let expected =
                    if is_valid { "250, as sender and as recipient" } else { "501, as sender and as recipient" };
                let (case, expected) = (address.to_owned(), expected.to_owned());
                disagreements.push(Disagreement { case, expected, got: replies.join(" / ") });
            }
        }
    }
    Ok(vec![Tally::new(SUITE, cases, disagreements)])
}
