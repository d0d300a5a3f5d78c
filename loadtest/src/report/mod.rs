//! Results, for people and for programs.

pub(crate) mod model;
pub(crate) mod live;
mod output;
mod figures;
mod table;
mod html;

pub(crate) use figures::latency;
use html::html;
pub(crate) use output::Output;
use table::table;

/// The command line that this process was started with, as it can be typed again.
pub(crate) fn command_line() -> String {
    let quoted = |word: String| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./:,@+%~".contains(letter);
        if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    std::iter::once("mailweir-load".to_owned())
        .chain(std::env::args().skip(1).map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The time, for [`model::Results::began`].
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
