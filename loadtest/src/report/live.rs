//! The line that says how a measurement is going, on standard error.
//!
//! On a terminal it changes each second. Elsewhere, as in a log, there is one line every ten seconds; or none, when nobody wants it.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::latency;
use super::model::Second;
use crate::load::Observer;

/// Between lines that stay.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// So many messages.
    Messages(u64),
    /// So much time.
    Time(Duration),
    /// It goes on until it is ended.
    None,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loudness {
    Quiet,
    /// As much as there is a use for.
    Usual,
}

/// The last second, and all so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Glance {
    pub(crate) elapsed: Duration,
    /// Messages answered so far.
    pub(crate) messages: u64,
    /// Of these, or besides, what failed.
    pub(crate) failed: u64,
    /// In the last second.
    pub(crate) messages_per_second: f64,
    /// In the last second.
    pub(crate) bytes_per_second: f64,
    /// Open now.
    pub(crate) connections: u64,
    /// Of the last second, in microseconds.
    pub(crate) p99: Option<f64>,
}

/// The line.
pub(crate) struct Live {
    goal: Goal,
    form: Form,
}

enum Form {
    Silent,
    Lines { next: Duration },
    Bar(ProgressBar),
}

impl Live {
    pub(crate) fn new(goal: Goal, loudness: Loudness) -> Self {
        let form = match loudness {
            Loudness::Quiet => Form::Silent,
            Loudness::Usual if std::io::stderr().is_terminal() => Form::Bar(bar(goal)),
            Loudness::Usual => Form::Lines { next: LINES_EVERY },
        };
        Self { goal, form }
    }

    /// To be called each second.
    pub(crate) fn show(&mut self, glance: &Glance) {
        match &mut self.form {
            Form::Silent => {}
            Form::Bar(bar) => {
                match self.goal {
                    Goal::Messages(_) => bar.set_position(glance.messages),
                    Goal::Time(_) => bar.set_position(whole_milliseconds(glance.elapsed)),
                    Goal::None => bar.tick(),
                }
                bar.set_message(says(glance));
            }
            Form::Lines { next } => {
                if glance.elapsed >= *next {
                    *next = glance.elapsed + LINES_EVERY;
                    let line = format!(
                        "{:>4.0} s  {}  {}",
                        glance.elapsed.as_secs_f64(),
                        progress(self.goal, glance),
                        says(glance)
                    );
                    // Nothing can be done about a closed standard error.
                    let _ = writeln!(std::io::stderr(), "{}", line.replace("    ", "  ").trim_end());
                }
            }
        }
    }

    /// Makes room for the result.
    pub(crate) fn finish(self) {
        if let Form::Bar(bar) = self.form {
            bar.finish_and_clear();
        }
    }
}

/// What all loads of a measurement are doing, in one line.
pub(crate) struct Watch {
    live: Live,
    began: Instant,
    messages: u64,
    failed: u64,
    /// Of each load, the last second and when it was told of.
    loads: BTreeMap<String, (Instant, Pace)>,
}

/// What one load does in a second.
#[derive(Debug, Clone, Copy)]
struct Pace {
    messages: f64,
    bytes: f64,
    connections: u64,
    p99: Option<f64>,
}

/// A load that was not heard of for so long is over.
const SILENCE: Duration = Duration::from_millis(2500);

impl Watch {
    pub(crate) fn new(goal: Goal, loudness: Loudness) -> Self {
        Self { live: Live::new(goal, loudness), began: Instant::now(), messages: 0, failed: 0, loads: BTreeMap::new() }
    }

    /// Makes room for the result.
    pub(crate) fn finish(self) {
        self.live.finish();
    }

    fn heard(&mut self, now: Instant, load: &str, second: &Second) {
        let before = self.loads.get(load).map_or(self.began, |(before, _)| *before);
        let seconds = (now - before).as_secs_f64().max(1e-3);
        let pace = Pace {
            messages: second.sent as f64 / seconds,
            bytes: second.bytes as f64 / seconds,
            connections: second.connections,
            p99: second.p99,
        };
        self.messages += second.sent + second.failed;
        self.failed += second.failed;
        self.loads.insert(load.to_owned(), (now, pace));
        self.loads.retain(|_, (heard, _)| now - *heard < SILENCE);
    }

    fn glance(&self, now: Instant) -> Glance {
        let mut glance =
            Glance { elapsed: now - self.began, messages: self.messages, failed: self.failed, ..Glance::default() };
        for (_, pace) in self.loads.values() {
            glance.messages_per_second += pace.messages;
            glance.bytes_per_second += pace.bytes;
            glance.connections += pace.connections;
            // Of several loads, the worst.
            glance.p99 = glance.p99.into_iter().chain(pace.p99).reduce(f64::max);
        }
        glance
    }
}

impl Observer for Watch {
    fn second(&mut self, load: &str, second: &Second) {
        let now = Instant::now();
        self.heard(now, load, second);
        self.live.show(&self.glance(now));
    }
}

fn bar(goal: Goal) -> ProgressBar {
    let (length, template) = match goal {
        Goal::Messages(messages) => (Some(messages), "{elapsed:>4} {bar:24} {percent:>3} %  {msg}"),
        Goal::Time(time) => (Some(whole_milliseconds(time)), "{elapsed:>4} {bar:24} {percent:>3} %  {msg}"),
        Goal::None => (None, "{elapsed:>4} {spinner}  {msg}"),
    };
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    // The template is one of ours; the usual style does as well.
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"),
    );
    bar
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn progress(goal: Goal, glance: &Glance) -> String {
    let share = match goal {
        Goal::Messages(messages) => glance.messages as f64 / messages.max(1) as f64,
        Goal::Time(time) => glance.elapsed.as_secs_f64() / time.as_secs_f64().max(1e-3),
        Goal::None => return format!("{} messages", glance.messages),
    };
    format!("{:>3.0} %", 100.0 * share.min(1.0))
}

fn says(glance: &Glance) -> String {
    let mut text = format!(
        "{:>6.0} messages/s  {:>7.2} MB/s  {:>5} connections",
        glance.messages_per_second,
        glance.bytes_per_second / 1e6,
        glance.connections
    );
    if let Some(p99) = glance.p99 {
        text += &format!("  p99 {}", latency(p99));
    }
    if glance.failed > 0 {
        text += &format!("  {} failed", glance.failed);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_added_up() {
        let mut watch = Watch::new(Goal::None, Loudness::Quiet);
        let at = |seconds| watch.began + Duration::from_secs(seconds);
        let (first, second, late) = (at(1), at(2), at(4));
        let heard = Second { sent: 100, failed: 1, bytes: 5000, connections: 3, p99: Some(7.0), ..Second::default() };
        watch.heard(first, "a", &heard);
        watch.heard(second, "a", &Second { p99: Some(2.0), ..heard });
        watch.heard(second, "b", &heard);
        let expected = Glance {
            elapsed: Duration::from_secs(2),
            messages: 303,
            failed: 3,
            messages_per_second: 150.0,
            bytes_per_second: 7500.0,
            connections: 6,
            p99: Some(7.0),
        };
        assert_eq!(watch.glance(second), expected);
        watch.heard(late, "b", &heard);
        assert_eq!(watch.glance(late).connections, 6, "a was silent for a moment");
        watch.heard(late + Duration::from_secs(1), "b", &heard);
        assert_eq!(watch.glance(late).connections, 3, "a is over");
    }

    #[test]
    fn the_line_says_what_matters() {
        let glance = Glance {
            elapsed: Duration::from_secs(5),
            messages: 250,
            failed: 3,
            messages_per_second: 1234.4,
            bytes_per_second: 5e6,
            connections: 10,
            p99: Some(1500.0),
        };
        assert_eq!(says(&glance), "  1234 messages/s     5.00 MB/s     10 connections  p99 1.50 ms  3 failed");
        for (goal, text) in [
            (Goal::Messages(1000), " 25 %"),
            (Goal::Time(Duration::from_secs(10)), " 50 %"),
            (Goal::Time(Duration::from_secs(4)), "100 %"),
            (Goal::None, "250 messages"),
        ] {
            assert_eq!(progress(goal, &glance), text);
        }
    }
}
