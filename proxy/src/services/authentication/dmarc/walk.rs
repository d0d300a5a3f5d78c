//! The DNS tree walk (RFC 9989 section 4.10): the records from a name up to the top, and whose domain the name is.

use super::record::{Record, Suffix};
use crate::services::authentication::lookups::Lookups;
use crate::services::dns::Error;

/// A name with more than this and one label is cut to this many after the first query, so that there are at most eight.
const LABELS: usize = 7;

/// The records found on the way up, the longest name first.
pub(super) struct Walk {
    start: String,
    records: Vec<(String, Record)>,
    /// What ended the walk before its end: whose domain the name is then is not known.
    pub(super) trouble: Option<Error>,
}

impl Walk {
    pub(super) async fn up(lookups: &Lookups, start: &str) -> Self {
        let mut walk = Self { start: start.to_owned(), records: Vec::new(), trouble: None };
        for name in targets(start) {
            match lookup(lookups, name).await {
                Ok(None) => {}
                Ok(Some(record)) => {
                    let is_last = record.suffix != Suffix::Unknown;
                    walk.records.push((name.to_owned(), record));
                    if is_last {
                        break;
                    }
                }
                Err(error) => {
                    walk.trouble = Some(error);
                    break;
                }
            }
        }
        walk
    }

    /// Section 4.10.2. Only a walk without trouble knows it.
    pub(super) fn organizational_domain(&self) -> &str {
        for (name, record) in &self.records {
            match record.suffix {
                Suffix::No => return name,
                Suffix::Yes if *name != self.start => return one_below(&self.start, name),
                Suffix::Yes | Suffix::Unknown => {}
            }
        }
        self.records.last().map_or(&self.start, |(name, _)| name)
    }

    /// The record that applies to the name the walk began at, and where it stands (section 4.10.1): its own, its
    /// organization's, or the public suffix's.
    ///
    /// # Errors
    /// When the record of the name itself is not there and another could not be looked up.
    pub(super) fn policy(&self) -> Result<Option<(&str, &Record)>, &Error> {
        let at = |wanted: &str| self.records.iter().find(|(name, _)| name == wanted);
        let suffix = || self.records.iter().find(|(_, record)| record.suffix == Suffix::Yes);
        let found = match (at(&self.start), &self.trouble) {
            (None, Some(trouble)) => return Err(trouble),
            (own, _) => own.or_else(|| at(self.organizational_domain())).or_else(suffix),
        };
        Ok(found.map(|(name, record)| (name.as_str(), record)))
    }
}

/// The one record at `_dmarc.name`; several are none.
async fn lookup(lookups: &Lookups, name: &str) -> Result<Option<Record>, Error> {
    match lookups.txt(&format!("_dmarc.{name}")).await {
        Ok(answer) => {
            let mut records = answer.values.iter().filter_map(|text| Record::parse(text));
            Ok(records.next().filter(|_| records.next().is_none()))
        }
        Err(error) if error.is_temporary() => Err(error),
        Err(_) => Ok(None),
    }
}

/// The names to ask at, the longest first.
fn targets(start: &str) -> impl Iterator<Item = &str> {
    let parents = std::iter::successors(Some(start), |name| name.split_once('.').map(|(_, parent)| parent));
    parents.enumerate().filter(|(index, name)| *index == 0 || name.split('.').count() <= LABELS).map(|(_, name)| name)
}

/// The name one label longer than `suffix` on the way to `name`.
fn one_below<'a>(name: &'a str, suffix: &str) -> &'a str {
    let rest = name.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')).unwrap_or_default();
    &name[rest.rfind('.').map_or(0, |dot| dot + 1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of section 4.10, and names of seven to nine labels.
    #[test]
    fn at_most_eight_names_are_asked_at() {
        let asked = targets("a.b.c.d.e.f.g.h.i.j.mail.example.com").collect::<Vec<_>>();
        assert_eq!(
            asked,
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ]
        );
        for (name, count) in [("com", 1), ("a.b.c.d.e.f.g", 7), ("a.b.c.d.e.f.g.h", 8), ("a.b.c.d.e.f.g.h.i", 8)] {
            assert_eq!(targets(name).count(), count, "{name}");
        }
    }

    #[test]
    fn whose_domain_a_name_is() {
        for (start, records, organization, at) in [
            (
                "a.mail.example.com",
                &[("mail.example.com", "u"), ("example.com", "u")][..],
                "example.com",
                "example.com",
            ),
            ("a.mail.example.com", &[("mail.example.com", "n")], "mail.example.com", "mail.example.com"),
            ("a.mail.example.com", &[("com", "y")], "example.com", "com"),
            (
                "giant.bank.example",
                &[("giant.bank.example", "u"), ("bank.example", "y")],
                "giant.bank.example",
                "giant.bank.example",
            ),
            ("bank.example", &[("bank.example", "y")], "bank.example", "bank.example"),
            ("mail.mega.bank.example", &[("bank.example", "y")], "mega.bank.example", "bank.example"),
            ("a.example.com", &[("a.example.com", "u"), ("example.com", "u")], "example.com", "a.example.com"),
            ("example.com", &[], "example.com", ""),
        ] {
            let record = |psd: &&str| Record::parse(format!("v=DMARC1; p=none; psd={psd}").as_bytes()).unwrap();
            let records = records.iter().map(|(name, psd)| ((*name).to_owned(), record(psd))).collect();
            let walk = Walk { start: start.to_owned(), records, trouble: None };
            assert_eq!(walk.organizational_domain(), organization, "{start}");
            assert_eq!(walk.policy().unwrap().map_or("", |(name, _)| name), at, "{start}");
        }
    }
}
