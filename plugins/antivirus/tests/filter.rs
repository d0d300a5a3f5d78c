//! The filter against scripted answers of the scanner.

use antivirus::Antivirus;
use mailweir_filter::Verdict;
use mailweir_filter::antivirus::ScanResult;
use mailweir_filter::testing::{Harness, Outcome};

const MESSAGE: &str = "Subject: hi\n\nbody\n";

fn run(config: &str, result: ScanResult) -> Outcome {
    Harness::new::<Antivirus>(config).expect("a configuration").antivirus(result).run(MESSAGE)
}

#[test]
fn a_clean_message_passes() {
    let outcome = run("{}", ScanResult::Clean);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(outcome.tag("antivirus"), Some("clean"));
}

#[test]
fn an_infected_message_is_refused_with_the_signature() {
    let outcome = run("{}", ScanResult::Infected("Eicar-Test-Signature".to_owned()));
    assert_eq!(outcome.reply().as_deref(), Some("554 5.7.0 the message contains Eicar-Test-Signature"));
    assert_eq!(outcome.reasons(), ["infected: Eicar-Test-Signature"]);
    assert_eq!(outcome.tag("antivirus"), Some("infected"));
}

#[test]
fn or_quarantined_or_dropped() {
    let infected = || ScanResult::Infected("Eicar".to_owned());
    let quarantined = run(r#"{"infected":"quarantine"}"#, infected());
    assert_eq!(quarantined.verdict, Verdict::Quarantine("infected: Eicar".to_owned()));
    assert_eq!(run(r#"{"infected":"discard"}"#, infected()).verdict, Verdict::Discard);
}

#[test]
fn a_failed_scan_is_not_clean() {
    let failed = || ScanResult::Failed("no route to /run/clamav/clamd.ctl".to_owned());
    let outcome = run("{}", failed());
    assert_eq!(outcome.reply().as_deref(), Some("451 4.7.0 the message cannot be scanned now, try again later"));
    assert_eq!(outcome.reasons(), ["not scanned: no route to /run/clamav/clamd.ctl"]);
    assert_eq!(
        run(r#"{"failed":"reject"}"#, failed()).reply().as_deref(),
        Some("554 5.7.0 the message cannot be scanned")
    );
    let passed = run(r#"{"failed":"pass"}"#, failed());
    assert_eq!((passed.verdict.clone(), passed.tag("antivirus")), (Verdict::Pass, Some("failed")));
}

#[test]
fn a_hostile_signature_name_stays_one_line() {
    let name = format!("Evil\r\n250 ok\0\u{202e}{}", "x".repeat(10_000));
    let reply = run("{}", ScanResult::Infected(name)).reply().expect("a refusal");
    assert!(reply.starts_with("554 5.7.0 the message contains Evil??250 ok??xxx"), "{reply}");
    assert!(reply.len() < 200);
    let reply = run("{}", ScanResult::Infected("\n".to_owned())).reply().expect("a refusal");
    assert_eq!(reply, "554 5.7.0 the message contains ?");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (config, expected) in [
        (
            r#"{"infected":"delete"}"#,
            "infected: unknown variant `delete`, expected one of `reject`, `quarantine`, `discard`",
        ),
        (r#"{"failed":"accept"}"#, "failed: unknown variant `accept`, expected one of `tempfail`, `reject`, `pass`"),
        (r#"{"infect":"reject"}"#, "unknown field `infect`, expected `infected` or `failed`"),
    ] {
        let error = Harness::new::<Antivirus>(config).expect_err(config);
        assert!(error.contains(expected), "{error}");
    }
}
