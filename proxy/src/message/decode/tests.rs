//! The unpackers by themselves.

mod archives;

use std::io::Write as _;

use super::*;
use crate::config::Excess;
pub(in crate::message) use archives::{Entry, attribute, deflated, gzip, tar, tnef, uuencoded, zip, zip_with};

const LIMITS: DecodingLimits =
    DecodingLimits { size: 64 << 20, ratio: 1_000_000, entries: 100, depth: 8, excess: Excess::Reject };

fn unpacked_within(limits: DecodingLimits, bytes: Vec<u8>) -> (Vec<Found>, Result<(), Stop>) {
    let bytes = Bytes::from(bytes);
    let mut allowance = Allowance::new(&Budget::unlimited(), limits, bytes.len() as u64);
    let mut found = Vec::new();
    let kind = kind(&bytes).or_else(|| ends_as_zip(&bytes).then_some(Kind::Zip)).expect("an archive");
    let outcome = unpack(kind, &bytes, Some("own.gz"), &mut allowance, &mut found);
    (found, outcome)
}

/// Names, contents and states, in order.
fn unpacked(bytes: Vec<u8>) -> Vec<(String, String, State)> {
    let (found, outcome) = unpacked_within(LIMITS, bytes);
    outcome.unwrap();
    let shown = found.into_iter().map(|Found { name, bytes, state, .. }| {
        (name.unwrap_or_default(), String::from_utf8_lossy(&bytes).into_owned(), state)
    });
    shown.collect()
}

fn whole(name: &str, content: &str) -> (String, String, State) {
    (name.to_owned(), content.to_owned(), State::Whole)
}

#[test]
fn a_zip_as_programs_write_it() {
    let bytes = zip(&[
        Entry::stored("a.txt", b"one"),
        Entry::deflated("dir/", b""),
        Entry::deflated("dir/b.txt", b"two two two"),
        Entry::stored("empty", b""),
    ]);
    let expected = [whole("a.txt", "one"), whole("dir/b.txt", "two two two"), whole("empty", "")];
    assert_eq!(unpacked(bytes.clone()), expected);
    let with_prefix = [&b"MZ program PK\x03\x04 before"[..], &bytes].concat();
    assert_eq!(unpacked(with_prefix), expected);
    let with_suffix = [&bytes[..], b"some bytes after it"].concat();
    assert_eq!(unpacked(with_suffix), expected);
}

#[test]
fn a_zip_written_as_a_stream() {
    let entries = [
        Entry { is_described: true, ..Entry::deflated("a", b"one") },
        Entry { is_described: true, ..Entry::stored("b", b"two") },
        Entry { is_described: true, ..Entry::deflated("c", b"three") },
    ];
    assert_eq!(unpacked(zip(&entries)), [whole("a", "one"), whole("b", "two"), whole("c", "three")]);
}

#[test]
fn a_zip64() {
    let entries = [
        Entry { is_large: true, ..Entry::deflated("a", b"one") },
        Entry { is_large: true, ..Entry::stored("b", b"two") },
    ];
    assert_eq!(unpacked(zip(&entries)), [whole("a", "one"), whole("b", "two")]);
}

/// Each reading that a program might have of it is given.
#[test]
fn readings_of_a_zip_that_differ() {
    let name = |found: &[(String, String, State)]| found.iter().map(|found| found.0.clone()).collect::<Vec<_>>();
    // Not in the directory at all.
    let local_only = zip(&[Entry { is_listed: false, ..Entry::stored("hidden", b"evil") }, Entry::stored("a", b"one")]);
    assert_eq!(name(&unpacked(local_only)), ["hidden", "a"]);
    // Only in the directory: the local header stands in what another entry declares to be its data.
    let inner = zip_with(&[Entry::stored("inner", b"evil")], false);
    let nested = Entry { offset_of_next: Some(LOCAL_HEADER + "outer".len()), ..Entry::stored("outer", &inner) };
    let shared = zip(&[nested, Entry { is_written: false, ..Entry::stored("inner", b"evil") }]);
    assert!(unpacked(shared).contains(&whole("inner", "evil")));
    // A name for those who go by the directory, and another for the rest.
    let renamed = zip(&[Entry { listed_name: Some("a.exe"), ..Entry::stored("a.txt", b"one") }]);
    assert_eq!(unpacked(renamed), [whole("a.txt", "one"), whole("a.exe", "one")]);
    // A method for those who go by the directory, and another for the rest.
    let stored = deflated(b"deflated evil");
    let two_ways = zip(&[Entry { listed_method: Some(8), ..Entry::stored("a", &stored) }]);
    assert!(unpacked(two_ways).contains(&whole("a", "deflated evil")));
}

const LOCAL_HEADER: usize = 30;

/// Programs that go by the directory read what the local header says is encrypted.
#[test]
fn encryption_that_only_one_account_has() {
    let mut bytes = zip(&[Entry::stored("a", b"evil")]);
    bytes[6] |= 1;
    assert_eq!(unpacked(bytes), [("a".to_owned(), "evil".to_owned(), State::Encrypted), whole("a", "evil")]);
}

#[test]
fn ends_in_the_comment_hide_no_directory() {
    let inner = zip_with(&[Entry::deflated("inner", b"evil")], false);
    let nested = Entry { offset_of_next: Some(LOCAL_HEADER + "outer".len()), ..Entry::stored("outer", &inner) };
    let listed = Entry { is_written: false, ..Entry::deflated("inner", b"evil") };
    let mut bytes = zip(&[Entry { is_listed: false, ..nested }, listed]);
    let fake = [&b"PK\x05\x06"[..], &[0; 16], &[0xff; 2]].concat();
    bytes.extend_from_slice(&fake.repeat(40));
    assert!(unpacked(bytes).contains(&whole("inner", "evil")));
}

/// What a stored entry swallows that the directory does not list is read as well.
#[test]
fn entries_within_one_that_is_not_listed() {
    let inner = zip_with(&[Entry::deflated("inner", b"evil")], false);
    let outer = Entry { is_listed: false, ..Entry::stored("outer", &inner) };
    let found = unpacked(zip(&[outer, Entry::stored("a", b"one")]));
    assert!(found.contains(&whole("inner", "evil")), "{found:?}");
    let honest = unpacked(zip(&[Entry::stored("outer", &inner), Entry::stored("a", b"one")]));
    assert_eq!(honest.len(), 2);
}

/// Each entry of the directory costs, and the end of data is looked for once.
#[test]
fn reading_a_directory_is_counted() {
    let content = vec![b'.'; 1 << 20];
    let first = Entry { is_described: true, ..Entry::stored("a", &content) };
    let again = Entry { is_written: false, packed: Vec::new(), size: 0, flags: 1 << 3, ..first.clone() };
    let entries: Vec<_> = std::iter::once(first).chain(std::iter::repeat_n(again, 2000)).collect();
    let bytes = Bytes::from(zip(&entries));
    let unpack_with = |work: u64| {
        let mut allowance = Allowance { work, ..Allowance::new(&Budget::unlimited(), LIMITS, bytes.len() as u64) };
        let outcome = unpack(Kind::Zip, &bytes, None, &mut allowance, &mut Vec::new());
        (outcome, work - allowance.work)
    };
    let (outcome, used) = unpack_with(1 << 32);
    assert!(outcome.is_ok() && used < 2 << 20, "{used}");
    assert!(used > (1 << 20) + 2000 * 46, "{used}");
    assert!(matches!(unpack_with(used - 1).0, Err(Stop::Size(_))));
}

#[test]
fn what_cannot_be_unpacked_is_said_to_be_so() {
    let states = |bytes| unpacked(bytes).into_iter().map(|found| found.2).collect::<Vec<_>>();
    assert_eq!(states(zip(&[Entry { flags: 1, ..Entry::stored("a", b"secret") }])), [State::Encrypted]);
    assert_eq!(states(zip(&[Entry { method: 14, ..Entry::stored("a", b"lzma") }])), [State::Unsupported]);
    let long: Vec<u8> = (0..50_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut cut = zip(&[Entry::deflated("a", &long)]);
    cut.truncate(cut.len() / 2);
    let (found, outcome) = unpacked_within(LIMITS, cut);
    assert!(outcome.is_ok() && found[0].state == State::Damaged && long.starts_with(&found[0].bytes));
    assert!(found[0].bytes.len() > long.len() / 4);
}

#[test]
fn gzip_members_are_one_file() {
    let bytes = [gzip(Some("a.txt"), b"one "), vec![0; 7], gzip(None, b"two"), b"junk".to_vec()].concat();
    let tail = (String::new(), "junk".to_owned(), State::Damaged);
    assert_eq!(unpacked(bytes), [whole("a.txt", "one two"), tail]);
    let padded = [gzip(None, b"one"), vec![0; 700]].concat();
    assert_eq!(unpacked(padded), [whole("own", "one")]);
    assert_eq!(unpacked(gzip(None, b"x")), [whole("own", "x")]);
}

#[test]
fn tar_with_long_names() {
    let long = "d/".repeat(80) + "file.txt";
    let bytes = tar(&[("a.txt", b"one"), (&long, b"two"), ("b", b"")]);
    assert_eq!(unpacked(bytes), [whole("a.txt", "one"), whole(&long, "two"), whole("b", "")]);
    let gnu = [archives::tar_header("././@LongLink", long.len(), b'L'), archives::padded(long.as_bytes())].concat();
    let gnu = [gnu, tar(&[("short", b"three")])].concat();
    assert_eq!(unpacked(gnu), [whole(&long, "three")]);
    let mut cut = tar(&[("a", &[b'x'; 2000])]);
    cut.truncate(1000);
    assert_eq!(unpacked(cut), [("a".to_owned(), "x".repeat(488), State::Damaged)]);
}

#[test]
fn what_follows_a_tar_is_seen() {
    let followed = [tar(&[("a", b"one")]), b"something else".to_vec()].concat();
    let tail = (String::new(), "something else".to_owned(), State::Damaged);
    assert_eq!(unpacked(followed), [whole("a", "one"), tail]);
    assert_eq!(unpacked([tar(&[("a", b"one")]), vec![0; 9000]].concat()), [whole("a", "one")]);
}

/// Of long names the end is kept, which tells the kind of file.
#[test]
fn names_are_kept_within_bounds() {
    let long = "é".repeat(20_000) + "a.exe";
    let name = |found: Vec<(String, String, State)>| found.into_iter().next().unwrap().0;
    for archive in [zip(&[Entry::stored(&long, b"x")]), gzip(Some(&long), b"x"), tar(&[(&long, b"x")])] {
        let name = name(unpacked(archive));
        assert!(name.len() <= 1024 && name.ends_with("éa.exe") && name.starts_with('é'), "{name}");
    }
}

#[test]
fn what_tnef_says_of_attachments_is_kept_within_bounds() {
    use archives::{list, property};
    let long = "application/".to_owned() + &"a".repeat(1 << 20);
    for (id, is_name) in [(0x370e, false), (0x3707, true)] {
        // Beyond the free ones, names and types are charged.
        let mut properties = vec![property(0x001e, id, long.as_bytes())];
        properties.extend((0..150).map(|_| property(0x0102, 0x3701, b"x")));
        let bytes = Bytes::from(tnef(&[attribute(2, 0x9005, &list(&properties))]));
        let budget = Budget::unlimited();
        let limits = DecodingLimits { entries: 200, ..LIMITS };
        let mut allowance = Allowance::new(&budget, limits, bytes.len() as u64);
        let mut found = Vec::new();
        unpack(Kind::Tnef, &bytes, None, &mut allowance, &mut found).unwrap();
        let lengths =
            |found: &Found| (found.name.as_ref().map(String::len), found.media_type.as_ref().map(String::len));
        let expected = if is_name { (Some(1024), None) } else { (None, Some(1024)) };
        assert!(found.len() == 150 && found.iter().all(|found| lengths(found) == expected), "{id:x}");
        assert_eq!(budget.in_memory(), 50 * (512 + 1024));
    }
}

/// Values without content cost nothing but the reading of them, which is counted.
#[test]
fn values_of_tnef_are_counted() {
    use archives::list;
    let many = |id: u16, value: &[u8], count: usize| {
        let head = [0x1102u16.to_le_bytes(), id.to_le_bytes()].concat();
        let property = [head, u32::MAX.to_le_bytes().to_vec(), value.repeat(count)].concat();
        tnef(&[attribute(2, 0x9005, &list(&[property]))])
    };
    let (found, outcome) = unpacked_within(LIMITS, many(0x3701, &[0; 4], 1000));
    assert!(outcome.is_ok() && found.is_empty());
    // Data is not kept beyond the entries that are allowed.
    let (found, outcome) = unpacked_within(LIMITS, many(0x3701, b"\x01\0\0\0x\0\0\0", 1000));
    assert!(matches!(outcome, Err(Stop::Entries(100))) && found.is_empty());
    let bytes = Bytes::from(many(0x3701, &[0; 4], 1000));
    let mut allowance = Allowance { work: 3999, ..Allowance::new(&Budget::unlimited(), LIMITS, 0) };
    assert!(matches!(unpack(Kind::Tnef, &bytes, None, &mut allowance, &mut Vec::new()), Err(Stop::Size(_))));
}

#[test]
fn text_of_tnef_is_paid_for() {
    use archives::{list, property};
    let wide: Vec<u8> = "é".repeat(100_000).encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (kind, value) in [(0x001f, wide), (0x001e, vec![0xe9; 100_000])] {
        let bytes = Bytes::from(tnef(&[attribute(1, 0x9003, &list(&[property(kind, 0x1000, &value)]))]));
        let budget = Budget::unlimited();
        let mut allowance = Allowance::new(&budget, LIMITS, bytes.len() as u64);
        let mut found = Vec::new();
        unpack(Kind::Tnef, &bytes, None, &mut allowance, &mut found).unwrap();
        assert_eq!(found[0].bytes, "é".repeat(100_000));
        assert!(budget.in_memory() >= 200_000);
    }
}

#[test]
fn uuencoded_blocks() {
    let blocks = |text: &str| -> Vec<_> {
        let mut allowance = Allowance::new(&Budget::unlimited(), LIMITS, 0);
        let mut found = Vec::new();
        unpack_uuencoded(&Bytes::from(text.to_owned()), &mut allowance, &mut found).unwrap();
        let shown = found.into_iter().map(|Found { name, bytes, state, .. }| {
            (name.unwrap_or_default(), String::from_utf8_lossy(&bytes).into_owned(), state)
        });
        shown.collect()
    };
    let long = "a line of some length, ".repeat(10);
    let (one, two) = (uuencoded("a b.txt", long.as_bytes()), uuencoded("c", b"two"));
    assert_eq!(blocks(&format!("Hello\r\n\r\n{one}between\r\n{two}")), [whole("a b.txt", &long), whole("c", "two")]);
    let endless = one.replace("end\r\n", "") + "some words\r\n" + &two;
    assert_eq!(blocks(&endless), [("a b.txt".to_owned(), long.clone(), State::Damaged), whole("c", "two")]);
    let base64 = "begin-base64 644 x\r\naGVs\r\nbG8=\r\n====\r\n";
    assert_eq!(blocks(base64), [whole("x", "hello")]);
    for prose in
        ["begin 600 dollars\r\nand more", "begin\r\n", "begin 6\r\n", "beginning 644 a", "begin 644 x\r\n", "begin"]
    {
        assert_eq!(blocks(prose), [], "{prose}");
    }
}

#[test]
fn winmail_dat() {
    use archives::property;
    // The example of MS-OXRTFCP section 3.1.1.
    let compressed = b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\0\x0a\0rcpg125B2\x0a\xf3 hel\x09\0 bw\x05\xb0ld}\x0a\x80\x0f\xa0";
    let properties = [
        property(0x0003, 0x0e08, &[7, 0, 0, 0]),
        property(0x001f, 0x1000, &"body\0".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        property(0x0102, 0x1013, b"<p>html</p>"),
        property(0x0102, 0x1009, compressed),
    ];
    let inner = [&[0; 16][..], &tnef(&[attribute(1, 0x800c, b"inner body\0")])].concat();
    let bytes = tnef(&[
        attribute(1, 0x8004, b"subject\0"),
        attribute(1, 0x9003, &archives::list(&properties)),
        attribute(2, 0x9002, &[0; 14]),
        attribute(2, 0x8010, b"SHORT~1.TXT\0"),
        attribute(2, 0x800f, b"content"),
        attribute(2, 0x9005, &archives::list(&[property(0x001e, 0x3707, b"a long name.txt\0")])),
        attribute(2, 0x9002, &[0; 14]),
        attribute(2, 0x9005, &archives::list(&[property(0x000d, 0x3701, &inner)])),
    ]);
    let expected = [
        whole("", "subject"),
        whole("", "body"),
        whole("", "<p>html</p>"),
        whole("", "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"),
        whole("a long name.txt", "content"),
    ];
    let found = unpacked(bytes.clone());
    assert_eq!(found[..5], expected);
    assert_eq!(found.len(), 6);
    for cut in 0..bytes.len() {
        let mut allowance = Allowance::new(&Budget::unlimited(), LIMITS, bytes.len() as u64);
        unpack(Kind::Tnef, &Bytes::copy_from_slice(&bytes[..cut]), None, &mut allowance, &mut Vec::new()).unwrap();
    }
}

/// A program that reads on until memory ends would not come back from these.
#[test]
fn bombs_end_at_the_limits() {
    let megabyte = vec![0; 1 << 20];
    let zeros = gzip(None, &megabyte);
    let members = zeros.repeat(1024);
    assert!(matches!(unpacked_within(LIMITS, members).1, Err(Stop::Size(_))));

    // One stream of a gigabyte.
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&megabyte).unwrap();
    encoder.flush().unwrap();
    let block = encoder.get_ref().clone();
    let stream = [&b"\x1f\x8b\x08\0\0\0\0\0\0\0"[..], &block.repeat(1024)].concat();
    let (found, outcome) = unpacked_within(LIMITS, stream);
    assert!(matches!(outcome, Err(Stop::Size(_))));
    assert!(found[0].bytes.len() as u64 <= LIMITS.size, "what fitted is there to look at");

    // A ratio that is not allowed, though the size would be.
    let tight = DecodingLimits { ratio: 100, ..LIMITS };
    assert!(matches!(unpacked_within(tight, zeros.repeat(30)).1, Err(Stop::Size(_))));
    assert!(unpacked_within(tight, gzip(None, &megabyte)).1.is_ok(), "every message may have a little");

    // Entries that overlap in full: each is the same data.
    let one = Entry::deflated("0", &megabyte);
    let names: Vec<String> = (1..90).map(|n| n.to_string()).collect();
    let others = names.iter().map(|name| Entry { is_written: false, listed_name: Some(name), ..one.clone() });
    let overlapping = zip(&std::iter::once(one.clone()).chain(others).collect::<Vec<_>>());
    let (found, outcome) = unpacked_within(LIMITS, overlapping);
    assert!(outcome.is_ok());
    assert_eq!(found.len(), 90);
    assert_eq!(found[0].bytes.as_ptr(), found[89].bytes.as_ptr(), "unpacked once");

    // Entries that overlap as D. Fifield has them: each quotes the headers of those after it.
    let few = DecodingLimits { entries: 20, ..LIMITS };
    assert!(matches!(unpacked_within(few, archives::quoting(200, &megabyte)).1, Err(Stop::Entries(20))));
    assert!(matches!(unpacked_within(LIMITS, archives::quoting(99, &megabyte)).1, Err(Stop::Size(_))));

    let entries: Vec<_> = (0..101).map(|_| Entry::stored("a", b"")).collect();
    assert!(matches!(unpacked_within(LIMITS, zip(&entries)).1, Err(Stop::Entries(100))));
}

proptest::proptest! {
    #[test]
    fn nothing_panics(
        which in 0usize..4,
        at in proptest::collection::vec((0usize..400, proptest::num::u8::ANY), 0..20),
        cut in 0usize..400,
    ) {
        let honest = [
            zip(&[Entry::stored("a", b"one"), Entry { is_described: true, ..Entry::deflated("b", b"two") }]),
            zip(&[Entry { is_large: true, ..Entry::deflated("a", b"one") }]),
            gzip(Some("a"), b"one"),
            tar(&[("a", b"one")]),
        ];
        let mut bytes = honest[which].clone();
        for (place, byte) in at {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut).max(1));
        for kind in [Kind::Zip, Kind::Gzip, Kind::Tar] {
            let mut allowance = Allowance::new(&Budget::unlimited(), LIMITS, bytes.len() as u64);
            let mut found = Vec::new();
            let _ = unpack(kind, &Bytes::from(bytes.clone()), None, &mut allowance, &mut found);
        }
    }
}
