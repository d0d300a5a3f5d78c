//! Filters that say in each phase what a test wants them to say.

use std::fmt::Write as _;

use crate::guests;

/// A phase, and what the filter says in it.
pub(crate) type Line<'a> = (&'static str, Say<'a>);

/// A verdict, or something else to do.
#[derive(Clone, Copy)]
pub(crate) enum Say<'a> {
    Accept,
    Reject(u16, &'a str),
    TempFail(u16, &'a str),
    Discard,
    Disconnect(u16, &'a str),
    Quarantine(&'a str),
    Tarpit(u32),
    Route(&'a str),
    /// In the rcpt phase: this route for recipients that begin with this letter, `pass` for others.
    RouteIf(char, &'a str),
    /// At the end of the message.
    AddRecipients(&'a [&'a str]),
    RemoveRecipient(&'a str),
    ChangeSender(&'a str),
    ReplaceBody(&'a str),
    Trap,
    Loop,
    /// Memory without end.
    Hog,
}

/// A filter that says these things; it asks for these phases and no others.
pub(crate) fn saying(lines: &[Line<'_>]) -> Vec<u8> {
    let phases: Vec<&str> = lines.iter().map(|(phase, _)| *phase).collect();
    let mut text = format!(";; phases: {}\n", phases.join(" "));
    if phases.contains(&"end-of-message") {
        text.push_str(";; edits\n");
    }
    if phases.contains(&"body") {
        text.push_str(";; body: push-raw\n");
    }
    for (index, (phase, say)) in lines.iter().enumerate() {
        // A quarter of the free memory each.
        let at = index * 240;
        let (function, parameters, before) = match *phase {
            "connect" => ("$on-connect", "(param i32)", ""),
            "helo" => ("$on-helo", "(param i32 i32 i32)", ""),
            "mail" => ("$on-mail", "(param i32 i32 i32)", ""),
            "rcpt" => ("$on-rcpt", "(param i32 i32 i32)", ""),
            "headers" => ("$on-headers", "(param i32 i32)", "(call $drop-mail (local.get 1)) "),
            "body" => ("$on-body", "(param i32 i32 i32)", ""),
            "end-of-message" => ("$on-end", "(param i32 i32)", "(call $drop-mail (local.get 1)) "),
            other => panic!("{other}"),
        };
        let (data, code) = say.code(at);
        writeln!(text, "(data (i32.const {at}) \"{}\")", escaped(&data)).unwrap();
        // `on-body` returns an option: the decision stands four bytes later, behind a 1.
        let code = if *phase == "body" {
            format!(
                "{code} (memory.copy (i32.const 1028) (i32.const 1024) (i32.const 60)) (i32.store (i32.const 1024) (i32.const 1))"
            )
        } else {
            code
        };
        writeln!(text, "(func {function} {parameters} (result i32) {before}{code} (i32.const 1024))").unwrap();
    }
    guests::component_of("e2e", &text)
}

impl Say<'_> {
    /// The filter's data, which is at this address, and the code that leaves a decision at 1024.
    fn code(self, at: usize) -> (Vec<u8>, String) {
        let store = |offset: usize, value: usize| format!("(i32.store (i32.const {offset}) (i32.const {value}))");
        let pass = "(drop (call $pass))".to_owned();
        let plain = |verdict: usize| (Vec::new(), format!("{pass} {}", store(1024, verdict)));
        let reply = |verdict: usize, code: u16, text: &str| {
            let call = format!(
                "(drop (call $reply (i32.const {verdict}) (i32.const {code}) (i32.const {at}) (i32.const {})))",
                text.len()
            );
            (text.as_bytes().to_vec(), call)
        };
        let string = |verdict: usize, text: &str| {
            let code = format!("{pass} {} {} {}", store(1024, verdict), store(1028, at), store(1032, text.len()));
            (text.as_bytes().to_vec(), code)
        };
        match self {
            Say::Accept => plain(1),
            Say::Reject(code, text) => reply(2, code, text),
            Say::TempFail(code, text) => reply(3, code, text),
            Say::Discard => plain(4),
            Say::Disconnect(code, text) => reply(5, code, text),
            Say::Quarantine(reason) => string(6, reason),
            Say::Tarpit(millis) => (Vec::new(), format!("{pass} {} {}", store(1024, 7), store(1028, millis as usize))),
            Say::Route(name) => string(8, name),
            Say::RouteIf(letter, name) => {
                let (data, code) = string(8, name);
                let condition = format!("(i32.eq (i32.load8_u (local.get 1)) (i32.const {}))", u32::from(letter));
                (data, format!("(if {condition} (then {code}) (else {pass}))"))
            }
            Say::AddRecipients(addresses) => edits(at, addresses.iter().map(|address| (4, *address))),
            Say::RemoveRecipient(address) => edits(at, [(5, address)]),
            Say::ChangeSender(address) => edits(at, [(6, address)]),
            Say::ReplaceBody(body) => edits(at, [(7, body)]),
            Say::Trap => (Vec::new(), "(unreachable)".to_owned()),
            Say::Loop => (Vec::new(), "(loop $again (br $again))".to_owned()),
            Say::Hog => (
                Vec::new(),
                "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)"
                    .to_owned(),
            ),
        }
    }
}

/// Edits with one list of bytes each, at 1536 and behind.
fn edits<'a>(at: usize, edits: impl IntoIterator<Item = (usize, &'a str)>) -> (Vec<u8>, String) {
    let mut data = Vec::new();
    let mut code = "(drop (call $pass))".to_owned();
    let mut count = 0;
    for (kind, text) in edits {
        let edit = 1536 + count * 24;
        for (offset, value) in [(0, kind), (4, at + data.len()), (8, text.len())] {
            write!(code, " (i32.store (i32.const {}) (i32.const {value}))", edit + offset).unwrap();
        }
        data.extend_from_slice(text.as_bytes());
        count += 1;
    }
    write!(code, " (i32.store (i32.const 1072) (i32.const 1536)) (i32.store (i32.const 1076) (i32.const {count}))")
        .unwrap();
    (data, code)
}

/// Bytes as a string of WebAssembly text.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
