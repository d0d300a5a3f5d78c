//! Edits: a table of cases, and what they share and keep.

use serde_json::Value;

use super::*;
use crate::verdict::Edit;

fn edit(case: &Value) -> Edit {
    let text = |at: usize| case[at].as_str().unwrap().to_owned();
    let number = |at: usize| usize::try_from(case[at].as_u64().unwrap()).unwrap();
    let value = |at: usize| text(at).into_bytes();
    match case[0].as_str().unwrap() {
        "add" => Edit::AddHeader { name: text(1), value: value(2) },
        "insert" => Edit::InsertHeader { position: number(1), name: text(2), value: value(3) },
        "remove" => Edit::RemoveHeader { name: text(1), occurrence: number(2) },
        "replace" => Edit::ReplaceHeader { name: text(1), occurrence: number(2), value: value(3) },
        "body" => Edit::ReplaceBody(value(1)),
        "sender" => Edit::ChangeSender(text(1)),
        other => panic!("no such edit: {other}"),
    }
}

#[test]
fn the_table() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../testdata/edits.json")).unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let original = message(case["message"].as_str().unwrap().to_owned());
        let edits: Vec<Edit> = case["edits"].as_array().unwrap().iter().map(edit).collect();
        match original.edited(&edits) {
            Ok(edited) => {
                let expected = case["result"].as_str().unwrap_or_else(|| panic!("{name}: it was applied"));
                assert_eq!(String::from_utf8(joined(edited.chunks())).unwrap(), expected, "{name}");
                assert_eq!(joined(edited.wire(Framing::DotStuffed)), stuffed(expected.as_bytes()), "{name}");
                assert_eq!(&edited.contiguous().unwrap()[..], expected.as_bytes(), "{name}");
                let again = message(expected.to_owned());
                assert_eq!(edited.headers().raw(), again.headers().raw(), "{name}: read the same by the next");
                assert_eq!(edited.body_offset(), again.body_offset(), "{name}");
            }
            Err(error) => {
                let expected = case["error"].as_str().unwrap_or_else(|| panic!("{name}: {error}"));
                assert!(error.to_string().starts_with(expected), "{name}: {error}");
            }
        }
    }
}

fn add(name: &str, value: impl Into<Vec<u8>>) -> Edit {
    Edit::AddHeader { name: name.to_owned(), value: value.into() }
}

#[test]
fn a_field_on_top_is_the_same_alone_and_among_others() {
    let insert = |value: &str| Edit::InsertHeader { position: 0, name: "X".to_owned(), value: value.into() };
    for original in
        ["", "A: 1", "A: 1\r\n", "A: 1\r\n\t2\r\nB : 3\r\n\r\nbody\r\n", "\r\nbody", "From x y\r\nA: 1\r\n\r\n"]
    {
        let original = message(original);
        for value in ["1", "1\r\n 2", "1\r\n2", "", "x\n"] {
            let [alone, among] =
                [vec![insert(value)], vec![Edit::ChangeSender(String::new()), insert(value)]].map(|edits| {
                    let edited = original.edited(&edits).map_err(|error| error.reason.to_string());
                    edited.map(|edited| (joined(edited.chunks()), edited.headers().raw().clone(), edited.body_offset()))
                });
            assert_eq!(alone, among, "{value:?}");
        }
    }
}

#[test]
fn long_values_are_folded() {
    let original = message("A: 1\r\n\r\n");
    let words = "word ".repeat(1000);
    let edited = original.edited(&[add("X", words.trim_end())]).unwrap();
    let lines: Vec<_> = edited.headers().raw().split(|&byte| byte == b'\n').map(<[u8]>::len).collect();
    assert!(lines.iter().all(|&length| length <= 999), "998 and a CR");
    assert_eq!(edited.header_text("X"), [words.trim_end()]);
    let error = original.edited(&[add("X", "x".repeat(1000))]).unwrap_err();
    assert!(matches!(error.reason, EditFault::Line(_)));
    assert!(original.edited(&[add("X", " ".repeat(1000))]).is_err());
}

#[test]
fn the_body_and_what_was_found_in_it_are_shared() {
    let bytes = Bytes::from_static(b"A: 1\r\n\r\nhttp://one.example\r\n");
    let original = message(bytes.clone());
    let parts = original.mime().unwrap();
    let edited = original.edited(&[add("Subject", "http://two.example")]).unwrap();
    let pieces: Vec<_> = edited.wire(Framing::Plain).map(|piece| piece.unwrap()).collect();
    assert_eq!(pieces.last().unwrap().as_ptr(), bytes[8..].as_ptr());
    assert!(Arc::ptr_eq(&edited.mime().unwrap(), &parts));
    let hosts: Vec<_> = edited.urls().unwrap().iter().map(|url| url.host.clone()).collect();
    assert_eq!(hosts, ["two.example", "one.example"]);
    let retyped = edited.edited(&[add("Content-Type", "text/html")]).unwrap();
    assert_eq!(retyped.mime().unwrap().parts()[0].content_type(), "text/html");
    assert_eq!(edited.mime().unwrap().parts()[0].content_type(), "text/plain");
}

#[test]
fn an_edited_dot_stuffed_message_keeps_its_body_pieces() {
    let budget = Budget::new(1 << 20, 0, &std::env::temp_dir());
    let mut incoming = Incoming::new(&budget, Framing::DotStuffed, LIMITS);
    let chunk = Bytes::from_static(b"A: 1\r\n\r\n..dot\r\ntext\r\n");
    runtime().block_on(incoming.push(chunk.clone())).unwrap();
    let edited = incoming.finish().unwrap().edited(&[add(".B", "2")]).unwrap();
    let pieces: Vec<_> = edited.wire(Framing::DotStuffed).map(|piece| piece.unwrap()).collect();
    assert_eq!(pieces.concat(), b"A: 1\r\n..B: 2\r\n\r\n..dot\r\ntext\r\n");
    assert_eq!(pieces.last().unwrap().as_ptr(), chunk[8..].as_ptr());
    assert_eq!(joined(edited.chunks()), b"A: 1\r\n.B: 2\r\n\r\n.dot\r\ntext\r\n");
    drop((edited, pieces));
    assert_eq!(budget.in_memory(), 0);
}
