//! What the samples of a profile were spent on, by part of the proxy: tables from folded stacks.
//!
//! A sample belongs to the part of the innermost function that is known to be of one, so that a copy made for the upstream is
//! the upstream's, and a hash made for a filter is the host's. What the kernel did is counted with the part that asked for it,
//! and once more by system call.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A part: its name, and what names of functions that belong to it begin with.
struct Part {
    name: &'static str,
    functions: &'static [&'static str],
}

/// Where more than one fits, the first counts.
const PARTS: &[Part] = &[
    Part { name: "the filters' own code", functions: &["filter ", "[perf-"] },
    Part {
        name: "what filters ask the host for",
        functions: &[
            "mailweir::host::interfaces",
            "mailweir::host::resources",
            "mailweir::services",
            "mailweir::message::mime",
            "mailweir::message::scan",
            "mailweir::message::url",
            "mailweir::message::text",
            "mailweir::message::decode",
        ],
    },
    Part {
        name: "sandboxes made, configured, dropped",
        functions: &[
            "mailweir::host::sandbox",
            "mailweir::host::snapshot",
            "mailweir::chain::seat::Seat::retire",
            "wasmtime::runtime::component::instance",
            "wasmtime::runtime::instance",
            "wasmtime::runtime::store",
            "wasmtime::runtime::vm::instance",
            "wasmtime::runtime::vm::cow",
            "wasmtime::runtime::vm::component",
            "wasmtime::runtime::vm::sys",
        ],
    },
    Part {
        name: "calls between host and filters",
        functions: &["mailweir::host", "mailweir::chain", "wasmtime::runtime::component::func"],
    },
    Part {
        name: "log",
        functions: &["mailweir::logging", "mailweir::session::report", "tracing", "tracing_core", "tracing_subscriber"],
    },
    Part { name: "upstream", functions: &["mailweir::upstream", "mailweir_smtp::client"] },
    Part {
        name: "commands and content parsed, replies written",
        functions: &["mailweir_smtp", "mailweir::session::lines"],
    },
    Part { name: "the message kept and edited", functions: &["mailweir::message"] },
    Part {
        name: "envelope, Received field, and the way of a message",
        functions: &[
            "mailweir::session::received",
            "mailweir::session::transaction",
            "mailweir::session::recipients",
            "mailweir::session::concluding",
            "mailweir::session::delivering",
            "mailweir::session::destination",
            "mailweir::session::keeping",
            "mailweir::session::offering",
            "mailweir::session::outcome",
            "mailweir::session::outgoing",
        ],
    },
    Part { name: "reading from the client and writing to it", functions: &["mailweir::session::stream"] },
    Part { name: "the rest of the session", functions: &["mailweir::session", "mailweir"] },
];

/// Where none of these is on the stack: between two tasks, or on a stack that perf could not unwind so far.
const OTHERWISE: &[Part] = &[
    Part { name: "calls between host and filters", functions: &["wasmtime", "wasmtime_internal_fiber"] },
    Part { name: "runtime: waiting for sockets, waking tasks", functions: &["tokio", "mio"] },
];

/// Samples of one part.
#[derive(Debug, Default, Clone, Copy)]
struct Samples {
    user: u64,
    kernel: u64,
}

/// Two tables in Markdown: by part, and by system call.
pub(super) fn table(folded: &str) -> String {
    let mut parts: BTreeMap<&str, Samples> = BTreeMap::new();
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    let mut all = 0;
    for (stack, count) in folded.lines().filter_map(|line| line.rsplit_once(' ')) {
        let Ok(count) = count.parse::<u64>() else { continue };
        all += count;
        // The first is the thread.
        let frames: Vec<&str> = stack.split(';').skip(1).collect();
        let call = system_call(&frames);
        let part = part_of(&frames);
        let samples = parts.entry(part).or_default();
        *if in_kernel(&frames) { &mut samples.kernel } else { &mut samples.user } += count;
        if let Some(call) = call {
            *calls.entry(call).or_default() += count;
        }
    }
    let mut text = "| part | all | user space | kernel |\n|---|---|---|---|\n".to_owned();
    let share = |count: u64| percent(count, all);
    let mut rows: Vec<(&str, Samples)> = parts.into_iter().collect();
    rows.sort_by_key(|(_, samples)| std::cmp::Reverse(samples.user + samples.kernel));
    for (name, Samples { user, kernel }) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {} | {} | {} |", share(user + kernel), share(user), share(kernel));
    }
    text.push_str("\n| system call | with all that it did |\n|---|---|\n");
    let mut calls: Vec<(&str, u64)> = calls.into_iter().collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (call, count) in calls.into_iter().filter(|(_, count)| count * 200 >= all) {
        let _ = writeln!(text, "| `{call}` | {} |", share(count));
    }
    text
}

/// The name of the part that a stack belongs to.
fn part_of(frames: &[&str]) -> &'static str {
    let is_in = |part: &Part, frame: &str| part.functions.iter().any(|path| is_of(frame, path));
    let innermost =
        |parts: &'static [Part]| frames.iter().rev().find_map(|frame| parts.iter().find(|part| is_in(part, frame)));
    innermost(PARTS).or_else(|| innermost(OTHERWISE)).map_or("not known to be of any", |part| part.name)
}

/// Whether a function is below this path: by its own name, or as a method of a type or trait that is.
fn is_of(frame: &str, path: &str) -> bool {
    let mut from = 0;
    while let Some(found) = frame.get(from..).and_then(|rest| rest.find(path)) {
        let (begin, end) = (from + found, from + found + path.len());
        let before = frame[..begin].chars().next_back();
        let after = frame[end..].chars().next();
        let begins = before.is_none_or(|letter| !letter.is_alphanumeric() && !matches!(letter, ':' | '_'));
        let ends = path.ends_with([' ', '-']) || after.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
        if begins && ends {
            return true;
        }
        from = end;
    }
    false
}

/// The name of the system call in which a stack ends, from the kernel's first function that is not the same for all.
fn system_call<'a>(frames: &[&'a str]) -> Option<&'a str> {
    let mut inside = frames.iter().skip_while(|frame| **frame != "do_syscall_64").skip(1);
    let name = inside.find(|frame| **frame != "x64_sys_call")?;
    let prefixes = ["__x64_sys_", "ksys_", "__do_sys_", "do_", "__sys_"];
    Some(prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name))
}

/// Whether the innermost function is the kernel's: below a system call, or an interrupt.
fn in_kernel(frames: &[&str]) -> bool {
    let entries = ["entry_SYSCALL_64_after_hwframe", "do_syscall_64", "asm_", "ret_from_fork"];
    frames.iter().any(|frame| frame.ends_with("_[k]") || entries.iter().any(|entry| frame.starts_with(entry)))
}

fn percent(count: u64, all: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let share = count as f64 * 100.0 / all.max(1) as f64;
    format!("{share:.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_go_to_the_innermost_part() {
        let folded = "\
worker-0;mailweir::session::Session::run;mailweir::upstream::connection::Connection::send;writev;\
entry_SYSCALL_64_after_hwframe;do_syscall_64;__x64_sys_writev;tcp_sendmsg 20
worker-0;mailweir::upstream::send;tokio::runtime::io::poll;entry_SYSCALL_64_after_hwframe;do_syscall_64;do_writev 10
worker-0;mailweir::session::Session::run;mailweir::upstream::connection::Connection::send;memcpy 10
worker-0;filter dlp 25
worker-0;filter dlp;<mailweir::host::context::Context as mailweir::host::interfaces::message::X>::read;memcpy 5
worker-1;core::ptr::drop_in_place<wasmtime::runtime::store::StoreOpaque>;mi_free 20
worker-1;strange 10
";
        let expected = "\
| part | all | user space | kernel |
|---|---|---|---|
| upstream | 40.0 % | 10.0 % | 30.0 % |
| the filters' own code | 25.0 % | 25.0 % | 0.0 % |
| sandboxes made, configured, dropped | 20.0 % | 20.0 % | 0.0 % |
| not known to be of any | 10.0 % | 10.0 % | 0.0 % |
| what filters ask the host for | 5.0 % | 5.0 % | 0.0 % |

| system call | with all that it did |
|---|---|
| `writev` | 30.0 % |
";
        assert_eq!(table(folded), expected);
    }

    #[test]
    fn names_are_compared_as_paths() {
        assert!(is_of("<mailweir::upstream::pool::Pool as core::ops::Drop>::drop", "mailweir::upstream"));
        assert!(is_of("core::ptr::drop_in_place<mailweir::host::sandbox::State>", "mailweir::host::sandbox"));
        assert!(!is_of("mailweir::upstreams::x", "mailweir::upstream"));
        assert!(!is_of("other::mailweir::upstream::x", "mailweir::upstream"));
        assert!(is_of("filter auth", "filter ") && !is_of("mailweir::filter", "filter "));
    }
}
