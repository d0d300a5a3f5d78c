//! Filters from a line of text: `mail: tag a; end: quarantine why` is one that sets a tag in MAIL and wants the message
//! kept in the end. It is called in the phases that it has something to say in, and counts its calls as events.
//!
//! What can be said: `pass`, `accept`, `reject`, `tempfail`, `discard`, `disconnect`, `quarantine REASON`, `tarpit MS`,
//! `route NAME`, `tag VALUE`, `trap`, `nothing` (in the body phase), and at the end edits, several with `+` between them:
//! `add Subject TEXT`, `insert Subject TEXT`, `replace Subject TEXT`, `remove Subject`, `rcpt+ A`, `rcpt- A`, `sender A`,
//! `body TEXT`.

use std::fmt::Write as _;

/// The module text of a guest, and its data.
struct Module {
    functions: String,
    data: Vec<u8>,
}

/// Where edits stand, and their size: a discriminant and at most 20 bytes.
const EDITS: usize = 1536;
const EDIT: usize = 24;
const TAG: usize = 1280;

/// The text of the guest with this script.
pub(crate) fn guest(script: &str) -> String {
    let mut module = Module { functions: String::new(), data: Vec::new() };
    let mut phases = String::new();
    let mut edits = "";
    for line in script.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let (phase, said) = line.split_once(": ").unwrap();
        let phase = if phase == "end" { "end-of-message" } else { phase };
        write!(phases, " {phase}").unwrap();
        if module.phase(phase, said) {
            edits = ";; edits\n";
        }
    }
    let body = if phases.contains("body") { ";; body: push-raw\n" } else { "" };
    let data: String = module.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        ";; phases:{phases}\n{body}{edits}\
         (import \"mailweir:filter/observe@0.1.0\" \"count\" (func $count (param i32 i32 i32)))\n\
         (data (i32.const 0) \"{data}\")\n{}",
        module.functions
    )
}

impl Module {
    /// The function of a phase; whether it edits.
    fn phase(&mut self, phase: &str, said: &str) -> bool {
        let (name, parameters) = match phase {
            "connect" => ("on-connect", "(param i32) (result i32)"),
            "abort" => ("on-abort", "(param i32)"),
            "headers" => ("on-headers", "(param $self i32) (param $mail i32) (result i32)"),
            "end-of-message" => ("on-end", "(param $self i32) (param $mail i32) (result i32)"),
            "helo" | "mail" | "rcpt" | "body" => (&*format!("on-{phase}"), "(param i32 i32 i32) (result i32)"),
            _ => panic!("{phase}"),
        };
        let (event, length) = self.text(&phase.replace('-', "_"));
        let mut code = format!("(call $count (i32.const {event}) (i32.const {length}) (i32.const 1))\n");
        if parameters.contains("$mail") {
            code.push_str("(call $drop-mail (local.get $mail))\n");
        }
        let mut edits = 0;
        if phase != "abort" {
            // on-body returns an option: the decision stands behind its discriminant.
            let decision = if phase == "body" { 1028 } else { 1024 };
            code.push_str("(memory.fill (i32.const 1024) (i32.const 0) (i32.const 128))\n");
            if phase == "body" && said != "nothing" {
                code.push_str("(i32.store8 (i32.const 1024) (i32.const 1))\n");
            }
            for part in said.split(" + ") {
                if self.decide(&mut code, decision, part) {
                    continue;
                }
                self.edit(&mut code, EDITS + edits * EDIT, part);
                edits += 1;
            }
            if edits > 0 {
                store(&mut code, decision + 48, EDITS);
                store(&mut code, decision + 52, edits);
            }
            code.push_str("(i32.const 1024)");
        }
        writeln!(self.functions, "(func ${name} {parameters}\n{code})").unwrap();
        edits > 0
    }

    /// What goes into a decision; whether it is one.
    fn decide(&mut self, code: &mut String, at: usize, said: &str) -> bool {
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        let discriminant = match word {
            "nothing" | "pass" | "tag" => 0,
            "accept" => 1,
            "reject" => 2,
            "tempfail" => 3,
            "discard" => 4,
            "disconnect" => 5,
            "quarantine" => 6,
            "tarpit" => 7,
            "route" => 8,
            "trap" => {
                code.push_str("(unreachable)\n");
                return true;
            }
            _ => return false,
        };
        writeln!(code, "(i32.store8 (i32.const {at}) (i32.const {discriminant}))").unwrap();
        match word {
            "reject" | "disconnect" => writeln!(code, "(i32.store16 (i32.const {}) (i32.const 550))", at + 4).unwrap(),
            "tempfail" => writeln!(code, "(i32.store16 (i32.const {}) (i32.const 450))", at + 4).unwrap(),
            "quarantine" | "route" => self.point(code, at + 4, rest),
            "tarpit" => store(code, at + 4, rest.parse().unwrap()),
            "tag" => {
                self.point(code, TAG, "tag");
                self.point(code, TAG + 8, rest);
                store(code, at + 40, TAG);
                store(code, at + 44, 1);
            }
            _ => {}
        }
        true
    }

    fn edit(&mut self, code: &mut String, at: usize, said: &str) {
        let (word, rest) = said.split_once(' ').unwrap();
        let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let discriminant = match word {
            "add" => {
                self.point(code, at + 4, name);
                self.point(code, at + 12, value);
                0
            }
            "insert" => {
                store(code, at + 4, 0);
                self.point(code, at + 8, name);
                self.point(code, at + 16, value);
                1
            }
            "remove" => {
                self.point(code, at + 4, name);
                store(code, at + 12, 0);
                2
            }
            "replace" => {
                self.point(code, at + 4, name);
                store(code, at + 12, 0);
                self.point(code, at + 16, value);
                3
            }
            "rcpt+" => 4,
            "rcpt-" => 5,
            "sender" => 6,
            "body" => 7,
            _ => panic!("{said}"),
        };
        match word {
            "rcpt+" | "rcpt-" | "sender" => self.point(code, at + 4, rest),
            "body" => self.point(code, at + 4, &format!("{rest}\r\n")),
            _ => {}
        }
        writeln!(code, "(i32.store8 (i32.const {at}) (i32.const {discriminant}))").unwrap();
    }

    /// Writes where a text stands.
    fn point(&mut self, code: &mut String, at: usize, text: &str) {
        let (start, length) = self.text(text);
        store(code, at, start);
        store(code, at + 4, length);
    }

    /// A text among the data: where, and how long.
    fn text(&mut self, text: &str) -> (usize, usize) {
        let start = self.data.len();
        self.data.extend_from_slice(text.as_bytes());
        assert!(self.data.len() <= 1024, "too much data");
        (start, text.len())
    }
}

fn store(code: &mut String, at: usize, number: usize) {
    writeln!(code, "(i32.store (i32.const {at}) (i32.const {number}))").unwrap();
}
