//! The registrable domain against the vectors of the public-suffix list's own tests.

use std::fs;

use surbl::domain::Subject;

#[test]
fn vectors_of_the_public_suffix_list() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/testdata/psl/tests.txt");
    let Ok(text) = fs::read_to_string(path) else {
        eprintln!("skipped: {path} is not there");
        return;
    };
    let (mut checked, mut differing) = (0, Vec::new());
    for line in text.lines().filter(|line| !line.starts_with("//")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [host, expected] = words.as_slice() else { continue };
        // The host hands over A-labels in lower case; names with a dot in front never come.
        if !host.is_ascii() || host.starts_with('.') || *host == "null" || !host.contains('.') {
            continue;
        }
        checked += 1;
        let found = Subject::of_host(&host.to_lowercase(), &[]).map(|subject| subject.to_string());
        if found.as_deref().unwrap_or("null") != *expected {
            differing.push(format!("{host}: {found:?} instead of {expected}"));
        }
    }
    eprintln!("{checked} vectors");
    assert!(checked > 50, "{checked} vectors");
    assert!(differing.is_empty(), "{differing:#?}");
}
