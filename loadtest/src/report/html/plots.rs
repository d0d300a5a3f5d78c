//! Which plots there are.

use super::super::figures::{count, latency, memory, rate};
use super::super::model::{Phase, Process, Results, Run, Second};
use super::chart::{Axis, Chart, Line, STYLES};
use super::scale::Scale;

/// The phases worth a curve, most telling first.
const CURVES: [Phase; 8] = [
    Phase::Intended,
    Phase::Message,
    Phase::EndOfData,
    Phase::Mail,
    Phase::Rcpt,
    Phase::Late,
    Phase::Tls,
    Phase::Connect,
];

/// Of a second that is cut short at the end of a run, the least to be shown: less says nothing of a rate.
const LEAST_SECOND: f64 = 0.3;

/// Of one run.
pub(super) fn run(index: usize, run: &Run) -> Vec<Chart<'static>> {
    let mut charts = Vec::new();
    charts.extend(percentiles(index, run));
    if run.timeline.len() > 1 {
        charts.push(rates(index, run));
        charts.extend(latencies(index, run));
        charts.push(connections(index, run));
    }
    charts
}

fn percentiles(index: usize, run: &Run) -> Option<Chart<'static>> {
    let of = |phase: &Phase| run.latency.iter().find(|latency| latency.phase == *phase && latency.count > 0);
    let lines: Vec<Line> = CURVES
        .iter()
        .filter_map(of)
        .map(|latency| Line { name: latency.phase.label().to_owned(), points: latency.percentiles.clone() })
        .collect();
    let percentiles = lines.iter().flat_map(|line| line.points.iter().map(|(percentile, _)| *percentile));
    let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let (x, y) = (Scale::nines(percentiles), Scale::logarithmic(values));
    (!lines.is_empty()).then(|| Chart {
        id: format!("percentiles-{index}"),
        title: "Latency by percentile",
        description: "The latency within which a share of all stayed, for each phase. The table of phases below holds the figures."
            .to_owned(),
        x: Axis { name: "percentile", scale: x, tick: |_| String::new() },
        y: Axis { name: "latency", scale: y, tick: latency },
        lines,
    })
}

/// Each second's end, and how long it was.
fn seconds(run: &Run) -> impl Iterator<Item = (f64, f64, &Second)> {
    let ends = run.timeline.iter().skip(1).map(|second| second.second).chain([run.seconds]);
    let seconds = run.timeline.iter().zip(ends).map(|(second, end)| (end, end - second.second, second));
    seconds.filter(|(_, length, _)| *length > LEAST_SECOND)
}

fn time_axis(end: f64) -> Axis<'static> {
    Axis { name: "seconds", scale: Scale::span(end), tick: |value| format!("{}", (value * 1000.0).round() / 1000.0) }
}

fn rates(index: usize, run: &Run) -> Chart<'static> {
    let taken = seconds(run).map(|(end, length, second)| (end, second.sent as f64 / length)).collect();
    let mut lines = vec![Line { name: "taken".to_owned(), points: taken }];
    if run.timeline.iter().any(|second| second.failed > 0) {
        let failed = seconds(run).map(|(end, length, second)| (end, second.failed as f64 / length)).collect();
        lines.push(Line { name: "refused or lost".to_owned(), points: failed });
    }
    if let Some(offered) = run.offered_per_second {
        lines.push(Line { name: "offered at most".to_owned(), points: vec![(0.0, offered), (run.seconds, offered)] });
    }
    let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    Chart {
        id: format!("rates-{index}"),
        title: "Messages a second",
        description: format!("On average {} messages a second were taken.", rate(run.messages_per_second)),
        x: time_axis(run.seconds),
        y: Axis { name: "messages/s", scale: Scale::linear(values), tick: rate },
        lines,
    }
}

fn latencies(index: usize, run: &Run) -> Option<Chart<'static>> {
    let line = |name: &str, of: fn(&Second) -> Option<f64>| Line {
        name: name.to_owned(),
        points: seconds(run).filter_map(|(end, _, second)| Some((end, of(second)?))).collect(),
    };
    let mut lines = vec![
        line("median", |second| second.p50),
        line("99th percentile", |second| second.p99),
        line("largest", |second| second.max),
    ];
    lines.retain(|line| !line.points.is_empty());
    let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let scale = Scale::logarithmic(values);
    (!lines.is_empty()).then(|| Chart {
        id: format!("latencies-{index}"),
        title: "Latency over time",
        description: "Of the messages taken in each second: median, 99th percentile and largest latency.".to_owned(),
        x: time_axis(run.seconds),
        y: Axis { name: "latency", scale, tick: latency },
        lines,
    })
}

fn connections(index: usize, run: &Run) -> Chart<'static> {
    let points = seconds(run).map(|(end, _, second)| (end, second.connections as f64)).collect();
    let most = run.timeline.iter().map(|second| second.connections).max().unwrap_or(0);
    Chart {
        id: format!("connections-{index}"),
        title: "Open connections",
        description: format!("At most {} at once.", count(most)),
        x: time_axis(run.seconds),
        y: Axis { name: "connections", scale: Scale::linear([most as f64].into_iter()), tick: rate },
        lines: vec![Line { name: "open".to_owned(), points }],
    }
}

/// Of the processes that were watched.
pub(super) fn processes(results: &Results) -> Vec<Chart<'static>> {
    let watched: Vec<&Process> =
        results.processes.iter().filter(|process| process.samples.len() > 1).take(STYLES).collect();
    if watched.is_empty() {
        return Vec::new();
    }
    let end = watched.iter().flat_map(|process| process.samples.last()).map(|sample| sample.second);
    let end = end.fold(0.0, f64::max);
    let mut charts = Vec::new();
    let memories: Vec<Line> = watched
        .iter()
        .map(|process| Line {
            name: process.name.clone(),
            points: process.samples.iter().map(|sample| (sample.second, sample.memory as f64)).collect(),
        })
        .collect();
    let most = memories.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value)).fold(0.0, f64::max);
    charts.push(Chart {
        id: "memory".to_owned(),
        title: "Memory over time",
        description: format!("Resident memory; at most {}.", memory(most)),
        x: time_axis(end),
        y: Axis { name: "resident", scale: Scale::binary(most), tick: memory },
        lines: memories,
    });
    let cores: Vec<Line> = watched
        .iter()
        .map(|process| Line {
            name: process.name.clone(),
            points: process.samples.iter().skip(1).map(|sample| (sample.second, sample.cpu)).collect(),
        })
        .collect();
    let values = cores.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    charts.push(Chart {
        id: "cpu".to_owned(),
        title: "Processor over time",
        description: "Cores that each process kept busy, kernel included.".to_owned(),
        x: time_axis(end),
        y: Axis { name: "cores", scale: Scale::linear(values), tick: rate },
        lines: cores,
    });
    charts
}
