//! What stands in `[plugin.dlp.config]`, and its checks. Every error names the rule and says how to mend it.

use mailweir_filter::Reply;
use serde::Deserialize;

use crate::detector::Detector;

/// The host cuts a reply there.
const MAX_REPLY: usize = 400;

/// The configuration as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// In order; of two rules with an equally severe action the first wins.
    pub rules: Vec<RuleConfig>,
    /// What becomes of a message with more candidates than the host hands out.
    #[serde(default)]
    pub incomplete: Incomplete,
}

/// What becomes of a message that could not be searched to its end. Whoever wants to hide data among thousands of decoys
/// can bring this about, so it is refused unless the operator says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Incomplete {
    /// Refuse for now: the sender tries again, and the operator can look into it.
    TempFail,
    /// Refuse.
    #[default]
    Reject,
    /// Keep in the quarantine.
    Quarantine,
    /// Only set the tag `dlp-incomplete`.
    Tag,
}

/// One rule as written: what to find, how much of it, and what to do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Shown in reasons and tags.
    pub name: String,
    /// Detectors of numbers and addresses.
    #[serde(default)]
    pub detect: Vec<Detector>,
    /// Words and phrases, in any script; case does not matter.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Whether keywords count only as whole words.
    #[serde(default = "yes")]
    pub whole_word: bool,
    /// Regular expressions, in the syntax of Rust's `regex` crate.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// Sensitivity labels in header fields.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// Distinct matches from which on the rule applies.
    #[serde(default = "one")]
    pub minimum: u32,
    /// What happens then.
    pub action: ActionConfig,
}

/// A header field that marks a message. With neither `equals` nor `contains`, its presence is enough.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// The field's name.
    pub header: String,
    /// The whole value, without regard to case and surrounding space.
    pub equals: Option<String>,
    /// A part of the value, without regard to case.
    pub contains: Option<String>,
}

/// An action as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionConfig {
    /// Refuse, with an optional RFC 3463 code before the text.
    Reject(String),
    /// Keep in the quarantine for this reason.
    Quarantine(String),
    /// Deliver through this route.
    Route(String),
    /// Deliver to this address as well.
    AddRecipient(String),
    /// Set a tag of this name.
    Tag(String),
}

/// A checked action. The order is the severity, the mildest first.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Tag(String),
    AddRecipient(String),
    Route(String),
    Quarantine(String),
    Reject(Reply),
}

impl Action {
    /// What wins over what when several rules apply.
    pub fn severity(&self) -> u8 {
        match self {
            Self::Tag(_) => 0,
            Self::AddRecipient(_) => 1,
            Self::Route(_) => 2,
            Self::Quarantine(_) => 3,
            Self::Reject(_) => 4,
        }
    }
}

/// Check what serde cannot.
///
/// # Errors
///
/// The rule, the key, what is wrong with it, and what would be right.
pub fn check(config: &Config) -> Result<(), String> {
    if config.rules.is_empty() {
        return Err("rules: there is none; add a [[plugin.NAME.config.rules]] with name, detect and action".to_owned());
    }
    for (index, rule) in config.rules.iter().enumerate() {
        if rule.name.trim().is_empty() {
            return Err(format!("rules[{index}].name: is empty; give the rule a name for the log"));
        }
        if config.rules[..index].iter().any(|other| other.name == rule.name) {
            return Err(format!("rules[{index}].name: \"{}\" is the name of an earlier rule too", rule.name));
        }
        check_rule(rule).map_err(|problem| format!("rule \"{}\": {problem}", rule.name))?;
    }
    Ok(())
}

fn check_rule(rule: &RuleConfig) -> Result<(), String> {
    if rule.detect.is_empty() && rule.keywords.is_empty() && rule.patterns.is_empty() && rule.labels.is_empty() {
        return Err("finds nothing; give it detect, keywords, patterns or labels".to_owned());
    }
    if rule.minimum == 0 {
        return Err("minimum: is 0; the rule would apply to every message; use 1 or more".to_owned());
    }
    if rule.keywords.iter().any(|keyword| keyword.trim().is_empty()) {
        return Err("keywords: one of them is empty; remove it".to_owned());
    }
    if rule.patterns.iter().any(String::is_empty) {
        return Err("patterns: one of them is empty and would match everywhere; remove it".to_owned());
    }
    for label in &rule.labels {
        let is_name =
            !label.header.is_empty() && label.header.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !is_name {
            return Err(format!("labels: \"{}\" is not the name of a header field", label.header.escape_debug()));
        }
        if label.equals.is_some() && label.contains.is_some() {
            return Err(format!("labels: {} has both equals and contains; choose one", label.header));
        }
    }
    rule.action.check().map(drop)
}

impl ActionConfig {
    /// The action, when its text can be used.
    ///
    /// # Errors
    ///
    /// What is wrong, for the operator.
    pub fn check(&self) -> Result<Action, String> {
        let filled = |key: &str, text: &str| match text.trim() {
            "" => Err(format!("action.{key}: is empty")),
            _ if text.chars().any(char::is_control) => {
                Err(format!("action.{key}: has a line break or another control character"))
            }
            text => Ok(text.to_owned()),
        };
        Ok(match self {
            Self::Reject(text) => Action::Reject(reply(&filled("reject", text)?)?),
            Self::Quarantine(reason) => Action::Quarantine(filled("quarantine", reason)?),
            Self::Route(name) => Action::Route(filled("route", name)?),
            Self::AddRecipient(address) => Action::AddRecipient(recipient(&filled("add_recipient", address)?)?),
            Self::Tag(name) => Action::Tag(filled("tag", name)?),
        })
    }
}

/// "5.7.1 text", or the text alone for 5.7.1.
fn reply(text: &str) -> Result<Reply, String> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let is_code = |word: &str| {
        let mut numbers = word.split('.');
        let is_number = |part: Option<&str>| {
            part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        (is_number(numbers.next()) && is_number(numbers.next()) && is_number(numbers.next()))
            && numbers.next().is_none()
    };
    let (enhanced, text) = if is_code(first) { (first, rest.trim()) } else { ("5.7.1", text) };
    if !enhanced.starts_with("5.") {
        return Err(format!(
            "action.reject: {enhanced} is not a code of a refusal; it must begin with 5, such as 5.7.1"
        ));
    }
    if text.is_empty() {
        return Err(format!("action.reject: a text for the sender must follow {enhanced}"));
    }
    if text.len() > MAX_REPLY {
        return Err(format!("action.reject: the text has {} bytes; {MAX_REPLY} are allowed", text.len()));
    }
    Ok(Reply::new(550, enhanced, text))
}

fn recipient(address: &str) -> Result<String, String> {
    let is_address = address.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !address.contains(['<', '>', ' ', ',']);
    if is_address {
        Ok(address.to_owned())
    } else {
        Err(format!("action.add_recipient: \"{address}\" is not an address; write it as local@domain, without <>"))
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_a_code_and_a_text() {
        assert_eq!(reply("5.7.0 no cards"), Ok(Reply::new(550, "5.7.0", "no cards")));
        assert_eq!(reply("no cards"), Ok(Reply::new(550, "5.7.1", "no cards")));
        assert_eq!(reply("5.7 rules"), Ok(Reply::new(550, "5.7.1", "5.7 rules")));
        assert!(reply("4.7.1 later").is_err_and(|problem| problem.contains("must begin with 5")));
        assert!(reply("5.7.1").is_err());
        assert!(reply(&"x".repeat(401)).is_err());
    }

    #[test]
    fn an_address_is_plain() {
        assert!(recipient("audit@example.com").is_ok());
        for text in ["audit", "<audit@example.com>", "a@b, c@d", "@b", "a@"] {
            assert!(recipient(text).is_err(), "{text}");
        }
    }
}
