//! Test data of other projects, read where it lies: dot reader cases, dialogs and a fuzz corpus of chasquid, dialogs of
//! Apache James, addresses of EmailValidator. Reply texts are those servers' own, so only the class of a code counts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use mailweir_smtp::address::Mailbox;
use mailweir_smtp::data::{BareNewline, DataScanner, DotUnstuffer, MessageFault, Scanned};
use mailweir_smtp::server::{ServerPolicy, TlsPolicy};
use serde_json::Value;
use support::{Answers, Driver, shared_testdata};

#[test]
fn dot_reader_of_chasquid() {
    let Some(path) = shared_testdata("smtp_dialogs/chasquid_dotreader.json") else { return };
    let cases: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 22);
    for case in cases {
        let input = case["input"].as_str().unwrap();
        // Its reader hands out lines with LF, and counts them so; a CRLF is two octets here.
        let limit = case["max"].as_u64().unwrap();
        let expected = case["want_lf"].as_str().unwrap().replace('\n', "\r\n");
        let outcome = read_data(input.as_bytes(), u64::MAX);
        match case["err"].as_str() {
            None => assert_eq!(outcome, Some(Ok(expected.into_bytes())), "{case}"),
            // It counts the final dot too; a message that is as large as the limit passes here.
            Some("errMessageTooLarge") if input == "abc\r\n.\r\n" => assert_eq!(limit, 5),
            Some("errMessageTooLarge") => {
                assert_eq!(read_data(input.as_bytes(), limit), Some(Err(MessageFault::TooLarge)), "{case}");
            }
            // The fault is told at the real end of the data, which not all of the cases have.
            Some("errInvalidLineEnding") => {
                let whole = [input.as_bytes(), b"\r\n.\r\n"].concat();
                assert_eq!(read_data(&whole, u64::MAX), Some(Err(MessageFault::BareNewline)), "{case}");
            }
            Some("io.ErrUnexpectedEOF") => assert_eq!(outcome, None, "{case}"),
            Some(other) => panic!("{other}"),
        }
    }
}

/// The content of the message that `input` holds, unstuffed; `None` without an end.
fn read_data(input: &[u8], limit: u64) -> Option<Result<Vec<u8>, MessageFault>> {
    let mut scanner = DataScanner::new(BareNewline::Reject, limit);
    let mut input = BytesMut::from(input);
    let mut wire = Vec::new();
    loop {
        match scanner.next(&mut input)? {
            Scanned::Piece(piece) => wire.extend_from_slice(&piece),
            Scanned::End(Ok(_)) => return Some(Ok(DotUnstuffer::default().pieces(&wire).collect::<Vec<_>>().concat())),
            Scanned::End(Err(fault)) => return Some(Err(fault)),
        }
    }
}

/// What is different here, and why.
fn is_our_own_way(file: &str, line: &str) -> Option<&'static str> {
    match (file, line) {
        (name, _) if name.contains("auth") => Some("AUTH is not implemented"),
        ("bad_data.cmy", "554 5.6.0 Error parsing message") => Some("header fields are not this crate's business"),
        _ => None,
    }
}

#[test]
fn dialogs_of_chasquid() {
    let Some(folder) = shared_testdata("smtp_dialogs/chasquid") else { return };
    let mut played = 0;
    for path in files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "cmy")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if is_our_own_way(&name, "").is_some() {
            continue;
        }
        let new_driver = || {
            let mut policy = ServerPolicy::new("mx.example.com");
            policy.message_size = 1024 * 1024;
            policy.max_line = 1000;
            Driver::new(policy, Answers::new())
        };
        let mut driver = new_driver();
        let mut replies = 0;
        for line in fs::read_to_string(&path).unwrap().lines() {
            if line.contains("_connect ") {
                driver = new_driver();
                replies = 0;
            } else if let Some(text) = line.strip_prefix("c ->") {
                driver.feed(format!("{}\r\n", text.strip_prefix(' ').unwrap_or(text)).as_bytes());
            } else if let Some(expression) = line.strip_prefix("c ~> ") {
                driver.feed(&evaluate(expression));
            } else if let Some(expected) = line.strip_prefix("c <") {
                let expected = expected.split_once(' ').unwrap().1;
                let code = driver.codes().get(replies).copied();
                let class = |code: u16| code / 100;
                let agrees = code.is_some_and(|code| class(code) == class(expected[..3].parse().unwrap()));
                assert!(agrees || is_our_own_way(&name, expected).is_some(), "{name}: {expected}: {code:?}");
                replies += 1;
            }
        }
        let verify = path.with_extension("cmy.verify");
        if let Ok(content) = fs::read_to_string(verify) {
            let wire = driver.messages().pop().unwrap().to_vec();
            let arrived = DotUnstuffer::default().pieces(&wire).collect::<Vec<_>>().concat();
            assert_eq!(String::from_utf8(arrived).unwrap(), content.replace('\n', "\r\n"), "{name}");
        }
        played += 1;
    }
    assert_eq!(played, 14);
}

/// The Python expressions that its dialogs use: `'text' * 3`, `('a' * 2 + 'b') * 3`.
fn evaluate(expression: &str) -> Vec<u8> {
    if let Some((inner, count)) = expression.strip_prefix('(').and_then(|rest| rest.split_once(") * ")) {
        return evaluate(inner).repeat(count.parse().unwrap());
    }
    let terms = expression.split(" + ").map(|term| match term.split_once(" * ") {
        Some((text, count)) => evaluate(text).repeat(count.parse().unwrap()),
        None => term.trim_matches('\'').replace("\\r", "\r").replace("\\n", "\n").into_bytes(),
    });
    terms.collect::<Vec<_>>().concat()
}

#[test]
fn dialogs_of_james() {
    let Some(folder) = shared_testdata("smtp_dialogs/james_mpt") else { return };
    let mut played = 0;
    for path in files(folder) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("AUTH LOGIN\nS:") {
            continue;
        }
        let mut policy = ServerPolicy::new("mydomain.tld");
        policy.tls = TlsPolicy::Offered;
        let mut driver = Driver::new(policy, Answers::new());
        let mut expected = Vec::new();
        for line in text.lines() {
            match line.split_once(':') {
                Some(("C", text)) => {
                    let text = text.strip_prefix(' ').unwrap_or(text).replace("\\r", "\r").replace("\\n", "\n");
                    driver.feed(format!("{text}\r\n").as_bytes());
                }
                // One for each reply: not the first of several lines, nor those between.
                Some(("S", text)) if !text.starts_with(" 250-") && text != " 250.*" => {
                    expected.push(text.trim_start()[..1].parse::<u16>().unwrap());
                }
                _ => {}
            }
        }
        if name == "starttls_with_injection.test" {
            // It refuses such a STARTTLS; here the handshake goes on without what came before it.
            expected = vec![2, 2, 2];
        }
        let classes: Vec<u16> = driver.codes().iter().map(|code| code / 100).collect();
        assert_eq!(classes, expected, "{name}");
        played += 1;
    }
    assert_eq!(played, 6);
}

#[test]
fn fuzz_corpus_of_chasquid() {
    let Some(folder) = shared_testdata("smtp_dialogs/chasquid_fuzz") else { return };
    let files = files(folder);
    assert_eq!(files.len(), 11);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let quoted = text.split_once("[]byte(\"").unwrap().1;
        let session = quoted.trim_end().trim_end_matches("\")").replace("\\n", "\n");
        for session in [session.clone(), session.replace('\n', "\r\n")] {
            let play = |size: usize| {
                let mut driver = Driver::new(ServerPolicy::new("mx.example.com"), Answers::new());
                session.as_bytes().chunks(size).for_each(|bytes| driver.feed(bytes));
                driver.happenings
            };
            assert_eq!(play(1), play(usize::MAX), "{}", path.display());
        }
    }
}

#[test]
fn addresses_of_email_validator() {
    let Some(path) = shared_testdata("address_syntax/emailvalidator.json") else { return };
    let lists: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let addresses = |list: &str| -> Vec<String> {
        lists[list].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned()).collect()
    };
    // RFC 5322 has comments and white space, SMTP does not.
    let wider = ["fab\\ ien@symfony.com", "example((example))@fakedfake.co.uk"];
    for address in addresses("getValidEmails") {
        let expected = !wider.contains(&address.as_str());
        assert_eq!(Mailbox::parse(address.as_bytes()).is_ok(), expected, "{address}");
    }
    let fine = ["example@example", "\"example\"@invalid.example.com"];
    for address in addresses("getValidEmailsWithWarnings") {
        let expected = fine.contains(&address.as_str());
        assert_eq!(Mailbox::parse(address.as_bytes()).is_ok(), expected, "{address:?}");
    }
    // RFC 6531 lets any UTF-8 into a local part, box drawing too.
    let narrower = ["examp\u{2551}le@symfony.com"];
    for address in addresses("getInvalidEmails") {
        let expected = narrower.contains(&address.as_str());
        assert_eq!(Mailbox::parse(address.as_bytes()).is_ok(), expected, "{address}");
    }
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
