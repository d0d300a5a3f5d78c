//! `[dkim.NAME]`: a key, whom it signs for, and what of a message.

use std::sync::Arc;

use toml::de::DeValue;

use super::Context;
use crate::config::error::Problem;
use crate::config::table::Table;
use crate::config::types::{CanonicalForm, CanonicalForms, Dkim};
use crate::config::{resolve, value};
use crate::message::is_field_name;
use crate::signing::{KeyError, SigningKey};

/// RFC 6376 section 5.4.1, the fields of MIME that say how a body is shown, and List-Unsubscribe-Post (RFC 8058
/// section 4). Each is signed as often as a message has it.
const HEADERS: [&str; 29] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Content-Disposition",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// What a message has once, and what changes how it is read or answered when another is added (RFC 6376 section 8.15).
const OVERSIGN: [&str; 10] = [
    "From",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// The largest list that a message without any repetition can be signed with.
const NAMES: usize = 64;

pub(super) fn dkim(table: Table<'_>, context: &Context<'_>) -> Option<Dkim> {
    let key = table.required("key", "write key = \"FILE.pem\", the private key", |value| key(value, context));
    let selector =
        table.required("selector", "write selector = \"2026a\", as in 2026a._domainkey.example.com", selector);
    let domains = table.list("domains", "[\"example.com\"]", domain);
    if !table.has("domains") {
        table.error("domains", Problem::new("required, and missing", "write domains = [\"example.com\"]"));
    } else if table.is_empty_list("domains") {
        table.error("domains", Problem::new("must not be empty", "write domains = [\"example.com\"]"));
    }
    let subdomains = table.optional("subdomains", value::boolean).unwrap_or(false);
    let headers = names(&table, "headers", |_| true);
    if headers.as_ref().is_some_and(|names| !names.iter().any(|name| name.eq_ignore_ascii_case("From"))) {
        let remedy = "add \"From\"; a signature without it says nothing (RFC 6376 section 5.4)";
        table.error("headers", Problem::new("does not have \"From\"", remedy));
    }
    if headers.as_ref().is_some_and(|names| names.len() > NAMES) {
        table.error("headers", Problem::new("is too long", format!("list at most {NAMES} names")));
    }
    let headers = headers.unwrap_or_else(|| HEADERS.map(str::to_owned).to_vec());
    let is_signed = |name: &str| headers.iter().any(|signed| signed.eq_ignore_ascii_case(name));
    let oversign = names(&table, "oversign", is_signed);
    let by_default = || OVERSIGN.into_iter().filter(|name| is_signed(name)).map(str::to_owned).collect();
    let oversign = oversign.unwrap_or_else(by_default);
    let canonicalization = table.optional("canonicalization", value::one_of(&FORMS)).unwrap_or(RELAXED);
    let expiry = table.optional("expiry", |value| {
        let expiry = value::duration(value)?;
        if expiry.as_secs() < 3600 {
            let remedy = "write at least \"1h\"; a message may wait for days in a queue";
            return Err(Problem::new("is too short", remedy));
        }
        Ok(expiry)
    });
    let required = table.optional("required", value::boolean).unwrap_or(false);
    table.finish();
    let (key, selector, domains) = (key?, selector?, domains?);
    Some(Dkim { key, selector, domains, subdomains, headers, oversign, canonicalization, expiry, required })
}

/// Field names, each once.
fn names(table: &Table<'_>, key: &'static str, is_signed: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    table.list(key, "[\"From\", \"Subject\"]", |value| {
        let name = field_name(value)?;
        if !is_signed(&name) {
            return Err(Problem::new(format!("{name:?} is not in headers"), "add it there, or remove it here"));
        }
        if names.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            return Err(Problem::new(format!("{name:?} is listed twice"), "list each name once"));
        }
        names.push(name);
        Ok(())
    })?;
    Some(names)
}

const RELAXED: CanonicalForms = CanonicalForms { header: CanonicalForm::Relaxed, body: CanonicalForm::Relaxed };
const FORMS: [(&str, CanonicalForms); 4] = [
    ("relaxed/relaxed", RELAXED),
    ("relaxed/simple", CanonicalForms { header: CanonicalForm::Relaxed, body: CanonicalForm::Simple }),
    ("simple/relaxed", CanonicalForms { header: CanonicalForm::Simple, body: CanonicalForm::Relaxed }),
    ("simple/simple", CanonicalForms { header: CanonicalForm::Simple, body: CanonicalForm::Simple }),
];

fn key(value: &DeValue<'_>, context: &Context<'_>) -> Result<Arc<SigningKey>, Problem> {
    let path = resolve(context.directory, value::string(value)?);
    SigningKey::read(&path).map(Arc::new).map_err(|error| {
        let remedy = match error {
            KeyError::Read(_) => "relative paths begin where the configuration file is",
            _ => "make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out FILE.pem",
        };
        Problem::new(format!("{} {error}", path.display()), remedy)
    })
}

/// One or more labels below `_domainkey` (RFC 6376 section 3.1).
fn selector(value: &DeValue<'_>) -> Result<String, Problem> {
    let text = value::string(value)?;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 128 || !text.split('.').all(is_label) {
        let remedy = "write labels of letters, digits and hyphens, such as \"2026a\"";
        return Err(Problem::new(format!("{text:?} is not a selector"), remedy));
    }
    Ok(text.to_ascii_lowercase())
}

fn domain(value: &DeValue<'_>) -> Result<String, Problem> {
    match value::mail_domain(value)?.as_str() {
        "*" => Err(Problem::new("\"*\" is no domain", "list the domains whose DNS has this key")),
        domain => Ok(domain.to_owned()),
    }
}

fn field_name(value: &DeValue<'_>) -> Result<String, Problem> {
    let name = value::string(value)?;
    if !is_field_name(name.as_bytes()) || name.contains(';') {
        return Err(Problem::new(format!("{name:?} is not a field name"), "write a name such as \"Subject\""));
    }
    let lower = name.to_ascii_lowercase();
    // What changes on the way, and what signatures are about themselves (RFC 6376 section 5.4.1, RFC 8617
    // section 4.1.2).
    if lower.starts_with("arc-")
        || ["return-path", "received", "dkim-signature", "authentication-results"].contains(&&*lower)
    {
        return Err(Problem::new(format!("{name:?} cannot be signed"), "remove it"));
    }
    Ok(name.to_owned())
}
