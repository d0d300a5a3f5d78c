//! Commands, addresses and parameters: what is taken can be written again, and nothing can hide in it.
#![no_main]

use std::fmt::Display;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mailweir_smtp::address::{
    ClientName, Domain, ForwardPath, MAX_DOMAIN, MAX_LOCAL_PART, MAX_MAILBOX, Mailbox, ReversePath,
};
use mailweir_smtp::command::Command;
use mailweir_smtp::parameter::{MailParameters, OriginalRecipient, RcptParameters, Xtext};
use mailweir_smtp::reply::ReplyParser;

fuzz_target!(|line: &[u8]| {
    command(line);
    // The parts on their own: what a fuzzer finds in them need not get past the rest of a line.
    if let Ok(mailbox) = Mailbox::parse(line) {
        assert_eq!(mailbox.as_str().as_bytes(), line);
        assert!(mailbox.as_str().len() <= MAX_MAILBOX);
        assert!(mailbox.local_part().len() <= MAX_LOCAL_PART);
        assert_eq!(format!("{}@{}", mailbox.local_part(), mailbox.domain()), mailbox.as_str());
        assert_eq!(mailbox.is_ascii(), line.is_ascii());
    }
    if let Ok(domain) = Domain::parse(line) {
        assert!(domain.as_str().len() <= MAX_DOMAIN);
        assert_eq!(domain.is_literal(), domain.as_str().starts_with('['));
        assert!(
            !domain.as_str().contains(|character: char| character.is_whitespace() || "@<>/\\\"".contains(character))
        );
    }
    for text in [
        Domain::parse(line).map(|text| text.to_string()).ok(),
        ClientName::parse(line).map(|text| text.to_string()).ok(),
        Xtext::parse(line).map(|text| text.as_str().to_owned()).ok(),
        OriginalRecipient::parse(line).map(|text| text.as_str().to_owned()).ok(),
    ] {
        text.iter().for_each(|text| check_text(text, false));
        assert!(text.is_none_or(|text| text.as_bytes() == line));
    }
    round_trip(ReversePath::parse(line).ok(), |command| matches!(command, Command::Mail { .. }), "MAIL FROM:");
    round_trip(ForwardPath::parse(line).ok(), |command| matches!(command, Command::Rcpt { .. }), "RCPT TO:");
    if let Ok(parameters) = MailParameters::parse(line) {
        check_text(&parameters.to_string(), true);
        assert_eq!(MailParameters::parse(parameters.to_string().as_bytes()), Ok(parameters));
    }
    if let Ok(parameters) = RcptParameters::parse(line) {
        check_text(&parameters.to_string(), true);
        assert_eq!(RcptParameters::parse(parameters.to_string().as_bytes()), Ok(parameters));
    }
});

fn command(line: &[u8]) {
    let command = match Command::parse(line) {
        Ok(command) => command,
        Err(error) => {
            let mut wire = BytesMut::new();
            error.reply().write_to(&mut wire);
            assert_eq!(ReplyParser::default().next(&mut wire), Ok(Some(error.reply())));
            assert!(wire.is_empty() && error.reply().is_permanent());
            return;
        }
    };
    let written = match &command {
        Command::Hello { name, extended: true } => format!("EHLO {name}"),
        Command::Hello { name, extended: false } => format!("HELO {name}"),
        Command::Mail { path, parameters } => format!("MAIL FROM:{path}{parameters}"),
        Command::Rcpt { path, parameters } => format!("RCPT TO:{path}{parameters}"),
        Command::Bdat { size, last: true } => format!("BDAT {size} LAST"),
        Command::Bdat { size, last: false } => format!("BDAT {size}"),
        _ => return,
    };
    check_text(&written, true);
    assert_eq!(Command::parse(written.as_bytes()), Ok(command), "{written}");
}

/// A path that was taken stays the same in a command of ours.
fn round_trip<T: Display>(path: Option<T>, is_right: impl Fn(&Command) -> bool, verb: &str) {
    let Some(path) = path else { return };
    let line = format!("{verb}{path}");
    check_text(&line, true);
    let command = Command::parse(line.as_bytes());
    assert!(command.as_ref().is_ok_and(is_right), "{line}: {command:?}");
}

/// Nothing that could end or reorder a line.
fn check_text(text: &str, spaces: bool) {
    let is_bad = |character: char| {
        character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || (character == ' ' && !spaces)
    };
    assert!(!text.contains(is_bad), "{text:?}");
}
