//! Where the code of filters lies, for perf: with `MAILWEIR_PERF_MAP=on` in the environment, /tmp/perf-PID.map has a line for
//! each filter that was loaded, and samples within its code bear its name. Without, nothing is done.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use wasmtime::component::Component;

/// perf wants the file where others may write too: it is not theirs to choose where a link leads, or that nobody reads.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Tells of a filter that was loaded, if that is wanted.
pub(super) fn tell(name: &str, component: &Component) {
    if std::env::var_os("MAILWEIR_PERF_MAP").is_none_or(|value| value != "on") {
        return;
    }
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let code = component.image_range();
    let line = line(name, code.start.addr(), code.end.addr());
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(FLAGS).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        tracing::warn!(plugin = name, path, %error, "perf is not told where a filter's code is");
    }
}

/// Address and length in hexadecimal digits, and a name.
fn line(name: &str, start: usize, end: usize) -> String {
    format!("{start:x} {:x} filter {name}\n", end.saturating_sub(start))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_as_perf_wants_it() {
        assert_eq!(super::line("dlp", 0x7fb9_d080_0000, 0x7fb9_d081_2340), "7fb9d0800000 12340 filter dlp\n");
    }
}
