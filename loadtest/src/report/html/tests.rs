//! The page is whole, needs nothing, and shows hostile text as text.

use super::super::model::{Failure, Messages, Process, ProcessSample, Replies, Second, SinkCounts};
use super::*;

const HOSTILE: &str = "<script>alert(\"1\")</script>'--></style>&lt;\u{0}\u{1b}[31m\u{202e}]]>";

fn histogram(values: impl Iterator<Item = u64>) -> hdrhistogram::Histogram<u64> {
    let mut histogram = hdrhistogram::Histogram::new(3).unwrap();
    values.for_each(|value| histogram.record(value).unwrap());
    histogram
}

/// Results with all there can be in them.
fn results() -> Results {
    let latency = |phase, factor: u64| Latency::new(phase, &histogram((1..=10_000).map(|value| value * factor)));
    let second = |second: u32| Second {
        second: f64::from(second),
        sent: 1000 + u64::from(second),
        failed: u64::from(second % 2),
        bytes: 4_096_000,
        connections: 10,
        p50: Some(120.0),
        p99: (second != 3).then_some(1500.0),
        max: Some(20_000.0),
    };
    let run = Run {
        name: format!("run {HOSTILE}"),
        load: format!("open loop {HOSTILE}"),
        seconds: 10.0,
        sessions: 10,
        connections: 12,
        messages: Messages { requested: 10_010, sent: 10_000, refused: 4, lost: 5, abandoned: 1 },
        bytes: 40_960_000,
        messages_per_second: 1000.0,
        bytes_per_second: 4_096_000.0,
        offered_per_second: Some(1100.0),
        replies: Replies { positive: 30_000, intermediate: 10_000, transient: 4, permanent: 0 },
        failures: vec![
            Failure {
                phase: Some(Phase::Mail),
                code: Some(451),
                error: None,
                count: 4,
                example: format!("451 {HOSTILE}"),
            },
            Failure { phase: None, code: None, error: Some(HOSTILE.to_owned()), count: 5, example: String::new() },
        ],
        latency: Phase::ALL.into_iter().map(|phase| latency(phase, 100 + phase as u64)).collect(),
        timeline: (0..10).map(second).collect(),
        handshakes: Some(crate::report::model::Handshakes { full: 1, resumed: 2 }),
        held: Some(crate::report::model::Held { wanted: 3, opened: 3, stayed: 2 }),
        proof: Some(crate::proof::Verdict {
            acknowledged: 10_000,
            arrived: 10_000,
            ..crate::proof::Verdict::default()
        }),
        servers: vec![crate::report::model::ServerUse { name: format!("used {HOSTILE}"), ..Default::default() }],
        ..Run::default()
    };
    let sample = |second: u32| ProcessSample {
        second: f64::from(second),
        cpu: 0.5 + f64::from(second % 3) / 10.0,
        memory: 30_000_000 + u64::from(second) * 100_000,
    };
    Results {
        description: format!("about {HOSTILE}"),
        command: format!("mailweir-load send {HOSTILE}"),
        began: "2026-01-01T00:00:00Z".to_owned(),
        seconds: 12.5,
        runs: vec![run.clone(), Run { name: "second".to_owned(), timeline: Vec::new(), ..run }],
        processes: vec![Process {
            name: format!("server {HOSTILE}"),
            cpu_seconds: 4.2,
            cpu_per_message: Some(420.0),
            peak_memory: 31_000_000,
            samples: (0..12).map(sample).collect(),
        }],
        sink: Some(SinkCounts { messages: 10_000, distinct: 10_000, ..SinkCounts::default() }),
        claims: vec![
            Claim { claim: format!("nothing is lost {HOSTILE}"), passed: true, found: HOSTILE.to_owned() },
            Claim { claim: "it is fast".to_owned(), passed: false, found: "it is not".to_owned() },
        ],
        ..Results::new(&format!("title {HOSTILE}"))
    }
}

/// Names of elements, and attributes; panics when it is not well-formed XML.
fn parse(page: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    let (mut open, mut elements, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(begin) = rest.find('<') {
        check_text(&rest[..begin]);
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut said) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name:?} is an element");
        while !said.trim().is_empty() {
            let (key, value) = said.trim_start().split_once("=\"").expect("a quoted attribute");
            let (value, following) = value.split_once('"').expect("an attribute ends");
            check_text(value);
            attributes.push((key.to_owned(), value.to_owned()));
            said = following;
        }
        elements.push(name.to_owned());
        if !is_empty {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest:?}");
    (elements, attributes)
}

fn check_text(text: &str) {
    for piece in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| piece.starts_with(entity));
        assert!(known, "&{piece}");
    }
    assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{text:?}");
}

#[test]
fn the_page_is_well_formed_and_stands_alone() {
    for results in
        [results(), Results::new("nothing at all"), Results { runs: vec![Run::default()], ..Results::new("") }]
    {
        let page = html(&results);
        let (elements, attributes) = parse(&page);
        for forbidden in ["script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "image", "use"] {
            assert!(!elements.iter().any(|element| element == forbidden), "{forbidden}");
        }
        for (key, value) in &attributes {
            assert!(!key.starts_with("on") && !["src", "href", "style", "action"].contains(&key.as_str()), "{key}");
            assert!(!value.contains("://") && !value.contains("url("), "{key}={value}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
        let mut ids: Vec<&str> = attributes.iter().filter(|(key, _)| key == "id").map(|(_, id)| id.as_str()).collect();
        let referred =
            attributes.iter().filter(|(key, _)| key == "aria-labelledby").flat_map(|(_, ids)| ids.split(' '));
        for id in referred {
            assert!(ids.contains(&id), "{id}");
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "ids are unique");
    }
}

#[test]
fn hostile_text_is_text() {
    let page = html(&results());
    assert!(!page.contains("<script") && !page.contains("]]>") && !page.contains("alert(\"1"));
    assert!(!page.contains('\u{0}') && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
    let shown = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;--&gt;&lt;/style&gt;&amp;lt;\u{fffd}\u{fffd}[31m\u{fffd}]]&gt;";
    for place in [
        "title ",
        "about ",
        "run ",
        "open loop ",
        "451 ",
        "nothing is lost ",
        "server ",
        "used ",
        "mailweir-load send ",
    ] {
        assert!(page.contains(&format!("{place}{shown}")), "{place}");
    }
}

#[test]
fn everything_is_shown() {
    let page = html(&results());
    let charts = [
        "Latency by percentile",
        "Messages a second",
        "Latency over time",
        "Open connections",
        "Memory over time",
        "Processor over time",
    ];
    for text in charts.into_iter().chain([
        "1 of 2 claims failed",
        "✗ FAILED</b>it is fast<span>it is not</span>",
        "<th scope=\"row\">end of data</th><td class=\"n\">10,000</td>",
        "2026-01-01T00:00:00Z, 12.5 s",
        "29.6 MiB",
    ]) {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(
        page.matches("<figure>").count(),
        4 + 1 + 2,
        "plots of a run with a timeline, of one without, of processes"
    );
    assert!(html(&Results::new("empty")).contains("✓ Every message was taken"));
}

#[test]
fn json_holds_it_all() {
    let results = results();
    let json = serde_json::to_string(&results).unwrap();
    let read: Results = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert_eq!(read.runs[0].latency, results.runs[0].latency);
    assert_eq!(html(&read), html(&results));
    // What an older or a sparing writer leaves out.
    let sparing = serde_json::json!({"format": "mailweir-load/1", "title": "", "seconds": 1.0, "runs": []});
    let read: Results = serde_json::from_value(sparing).unwrap();
    assert_eq!(read, Results { seconds: 1.0, ..Results::new("") });
}
