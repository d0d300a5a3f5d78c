//! Parameters, beyond what the dialogs show: writing, and what an offer covers.

use super::*;

#[test]
fn parameters_are_written_as_they_are_read() {
    let lines = [
        "",
        " SIZE=0",
        " SIZE=18446744073709551615 BODY=BINARYMIME SMTPUTF8 RET=FULL ENVID=a+2Bb",
        " BODY=7BIT RET=HDRS",
    ];
    for line in lines {
        assert_eq!(MailParameters::parse(line.as_bytes()).unwrap().to_string(), line);
    }
    let lines = [
        "",
        " NOTIFY=NEVER",
        " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+2Bb@example.com",
        " NOTIFY=DELAY ORCPT=utf-8;jörg\\x{2B}@example.com",
    ];
    for line in lines {
        assert_eq!(RcptParameters::parse(line.as_bytes()).unwrap().to_string(), line);
    }
}

#[test]
fn a_size_beyond_64_bits_is_the_largest() {
    assert_eq!(MailParameters::parse(b"SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
    assert_eq!(MailParameters::parse(b"SIZE=999999999999999999999"), Err(ParameterError::Malformed));
}

#[test]
fn nothing_hides_in_an_original_recipient() {
    let good = ["rfc822;a@b", "rfc822;a+20b@c", "utf-8;ü@ü", "utf-8;\\x{2B}\\x{5C}", "x-500;+41", "rfc822;"];
    for text in good {
        assert!(OriginalRecipient::parse(text.as_bytes()).is_ok(), "{text}");
    }
    let bad = [
        "",
        "a@b",
        ";a@b",
        "rfc 822;a",
        "rfc822;a b",
        "rfc822;a+0",
        "rfc822;a+",
        "rfc822;a+7F",
        "rfc822;ü",
        "utf-8;a\\b",
        "utf-8;\\x{}",
        "utf-8;\\x{0}",
        "utf-8;\\x{85}",
        "utf-8;\\x{D800}",
        "utf-8;\\x{41",
        "utf-8;\\x{+41}",
        "utf-8;a+0D",
        "utf-8;a=b",
        "utf-8;a\u{2028}",
    ];
    for text in bad {
        assert_eq!(OriginalRecipient::parse(text.as_bytes()), Err(ParameterError::Malformed), "{text}");
    }
}

#[test]
fn an_offer_covers_what_it_names() {
    let all = Extensions {
        size: Some(0),
        eight_bit_mime: true,
        smtp_utf8: true,
        chunking: true,
        binary_mime: true,
        dsn: true,
        ..Extensions::default()
    };
    let cases = [
        ("SIZE=1", Extensions { size: None, ..all.clone() }),
        ("BODY=7BIT", Extensions { eight_bit_mime: false, ..all.clone() }),
        ("BODY=BINARYMIME", Extensions { binary_mime: false, ..all.clone() }),
        ("BODY=BINARYMIME", Extensions { chunking: false, ..all.clone() }),
        ("SMTPUTF8", Extensions { smtp_utf8: false, ..all.clone() }),
        ("RET=FULL", Extensions { dsn: false, ..all.clone() }),
        ("ENVID=x", Extensions { dsn: false, ..all.clone() }),
    ];
    for (text, lacking) in cases {
        let parameters = MailParameters::parse(text.as_bytes()).unwrap();
        assert_eq!(parameters.check_offered(&all), Ok(()), "{text}");
        assert_eq!(parameters.check_offered(&lacking), Err(ParameterError::NotOffered), "{text}");
    }
    assert_eq!(MailParameters::default().check_offered(&Extensions::default()), Ok(()));
    assert_eq!(RcptParameters::default().check_offered(&Extensions::default()), Ok(()));
}
