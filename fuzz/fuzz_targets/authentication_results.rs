//! Authentication-Results fields of others: those that could be taken for ours are known, whatever surrounds the name.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../plugins/auth/src/punycode.rs"]
mod punycode;

#[path = "../../plugins/auth/src/forged.rs"]
mod forged;

fuzz_target!(|value: &[u8]| {
    let names = ["mx.example.com".to_owned(), "other.example".to_owned()];
    let claims = |value: &[u8]| forged::claims(value, &names);
    claims(value);
    let ours = |before: &[u8], after: &[u8]| [before, b"mx.example.com", after].concat();
    assert!(claims(&ours(b"", &[b";".as_slice(), value].concat())));
    assert!(claims(&ours(b" (comment) ", b" 1; none")));
    // A comment or a quoted string that ends does not hide what follows it.
    let harmless: Vec<u8> =
        value.iter().copied().filter(|octet| octet.is_ascii_alphanumeric() || *octet == b' ').collect();
    assert!(claims(&ours(&[b"(".as_slice(), &harmless, b";)"].concat(), b"; none")));
    assert!(claims(&ours(&[harmless.as_slice(), b" "].concat(), b"; none")));
});
