//! Access lists: refuses mail by its envelope sender, by a recipient, or by its subject. A small filter that has a word
//! in three phases.

use mailweir_filter::prelude::*;

/// Addresses, or domains, which stand for all addresses and subdomains of theirs. Case does not matter.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Access {
    /// Nothing is taken from these.
    senders: Vec<String>,
    /// Nothing is taken for these.
    recipients: Vec<String>,
    /// What a Subject field may not contain, in text.
    subjects: Vec<String>,
}

impl Filter for Access {
    type Config = Self;

    fn configure(mut config: Self) -> Result<(Self, Plan), String> {
        for (key, list) in [
            ("senders", &mut config.senders),
            ("recipients", &mut config.recipients),
            ("subjects", &mut config.subjects),
        ] {
            if list.iter().any(|entry| entry.trim().is_empty()) {
                return Err(format!("{key}: an entry is empty, which nothing should match"));
            }
            let is_odd = |entry: &&String| key != "subjects" && !is_address_or_domain(entry);
            if let Some(entry) = list.iter().find(is_odd) {
                return Err(format!(
                    "{key}: {entry:?} is no address and no domain, such as joe@example.com or example.com"
                ));
            }
            list.iter_mut().for_each(|entry| *entry = entry.to_lowercase());
        }
        Ok((config, Plan::new().on_mail().on_rcpt().on_headers()))
    }

    fn on_mail(&mut self, _session: &Session, sender: &[u8]) -> Decision {
        match listed(&self.senders, sender) {
            None => Decision::pass(),
            Some(entry) => Decision::reject("5.7.1", "nothing is taken from this sender").because(entry),
        }
    }

    fn on_rcpt(&mut self, _session: &Session, recipient: &[u8]) -> Decision {
        match listed(&self.recipients, recipient) {
            None => Decision::pass(),
            Some(entry) => Decision::reject("5.7.1", "nothing is taken for this recipient").because(entry),
        }
    }

    fn on_headers(&mut self, mail: &Mail) -> Decision {
        for subject in mail.header_text("Subject") {
            let subject = subject.to_lowercase();
            if let Some(entry) = self.subjects.iter().find(|entry| subject.contains(entry.as_str())) {
                return Decision::reject("5.7.1", "nothing is taken with this subject").because(entry);
            }
        }
        Decision::pass()
    }
}

fn is_address_or_domain(entry: &str) -> bool {
    let is_odd = |character: char| character.is_whitespace() || "<>\"\\".contains(character);
    !entry.starts_with(['@', '.']) && !entry.ends_with(['@', '.']) && !entry.contains(is_odd)
}

/// The entry that an address is under.
fn listed<'a>(list: &'a [String], address: &[u8]) -> Option<&'a str> {
    let address = unquoted(&String::from_utf8_lossy(address)).to_lowercase();
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let is_under = |entry: &str| {
        address == entry || domain.strip_suffix(entry).is_some_and(|above| above.is_empty() || above.ends_with('.'))
    };
    list.iter().map(String::as_str).find(|entry| is_under(entry))
}

/// A quoted local part (RFC 5321 section 4.1.2) without its quotes: "joe"@example.com is joe@example.com.
fn unquoted(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
    let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return address.to_owned();
    };
    let mut plain = String::with_capacity(address.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    format!("{plain}@{domain}")
}

mailweir_filter::export!(Access);

#[cfg(test)]
mod tests {
    use mailweir_filter::testing::Harness;

    use super::*;

    const LISTS: &str = r#"{
        "senders": ["spam.example", "Joe@example.com"],
        "recipients": ["list@receiver.example"],
        "subjects": ["you have won"]
    }"#;

    #[test]
    fn who_stands_on_a_list() {
        let list = ["spam.example".to_owned(), "joe@example.com".to_owned()];
        for (address, is_listed) in [
            ("a@spam.example", true),
            ("a@Mail.SPAM.example", true),
            ("JOE@example.com", true),
            ("a@nospam.example", false),
            ("jane@example.com", false),
            ("spam.example@elsewhere.example", false),
            ("", false),
            ("\"joe\"@example.com", true),
            ("\"j\\o\\e\"@Example.com", true),
            ("\"joe\\", false),
            ("\"jane@spam.example\"@example.com", false),
            ("\u{fc}@spam.example", true),
        ] {
            assert_eq!(listed(&list, address.as_bytes()).is_some(), is_listed, "{address}");
        }
        assert_eq!(listed(&list, b"\xff@spam.example"), Some("spam.example"));
    }

    #[test]
    fn each_phase_has_its_list() {
        for (sender, recipient, subject, passes) in [
            ("jane@example.com", "bob@receiver.example", "lunch", true),
            ("x@spam.example", "bob@receiver.example", "lunch", false),
            ("jane@example.com", "LIST@receiver.example", "lunch", false),
            ("jane@example.com", "bob@receiver.example", "=?utf-8?q?You_have_WON!?=", false),
        ] {
            let harness = Harness::new::<Access>(LISTS).unwrap().mail_from(sender).rcpt(recipient);
            let outcome = harness.run(format!("Subject: {subject}\n\nAt noon?\n"));
            assert_eq!(outcome.verdict == Verdict::Pass, passes, "{sender} {recipient} {subject}");
        }
    }

    #[test]
    fn an_entry_that_nothing_or_everything_matches_is_an_error() {
        let error = Harness::new::<Access>(r#"{ "subjects": [" "] }"#).unwrap_err();
        assert_eq!(error, "subjects: an entry is empty, which nothing should match");
        for entry in ["@at.example", ".dot.example", " space.example", "<a@b.example>", "a@"] {
            let error = Harness::new::<Access>(format!(r#"{{ "senders": ["{entry}"] }}"#)).unwrap_err();
            assert!(error.starts_with(&format!("senders: \"{entry}\" is no address")), "{error}");
        }
    }
}
