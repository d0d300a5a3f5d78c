//! One measurement, and several of them put together.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::server::Server;
use super::stage::Stage;

/// What messages cost in one server, once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// CPU time of a message, in microseconds.
    pub(super) cost: f64,
    /// The kernel's share in it, from 0 to 1.
    pub(super) system: f64,
    /// Messages a second, generator and sink on the same machine.
    pub(super) rate: f64,
    /// DNS queries that a message made necessary.
    pub(super) queries: f64,
}

/// How long a server has for what is left to do after the last message, such as closing connections.
const SETTLE: Duration = Duration::from_millis(50);

/// Sends messages through a server and reads its clocks before and after.
///
/// # Errors
/// When not every message arrived, or more did.
pub(super) async fn take(server: &Server, stage: &Stage, messages: u32) -> Result<Sample> {
    let Stage { scenario, sink, surroundings, generator } = stage;
    let (taken, asked) = (sink.count(), surroundings.queries());
    let before = server.tree.cpu()?;
    let duration = generator.send(scenario, server.address, messages).await.with_context(|| server.log())?;
    sink.wait_for(taken + u64::from(messages)).await.with_context(|| server.log())?;
    tokio::time::sleep(SETTLE).await;
    let used = server.tree.cpu()?.since(before);
    Ok(Sample {
        cost: used.total.as_secs_f64() * 1e6 / f64::from(messages),
        system: used.system_share(),
        rate: f64::from(messages) / duration.as_secs_f64(),
        queries: (surroundings.queries() - asked) as f64 / f64::from(messages),
    })
}

/// The samples of one server in one scenario, a round each.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(pub(super) Vec<Sample>);

impl Samples {
    pub(super) fn cost(&self) -> Option<f64> {
        median(self.0.iter().map(|sample| sample.cost))
    }

    pub(super) fn rate(&self) -> Option<f64> {
        median(self.0.iter().map(|sample| sample.rate))
    }

    pub(super) fn queries(&self) -> Option<f64> {
        median(self.0.iter().map(|sample| sample.queries))
    }

    pub(super) fn system(&self) -> Option<f64> {
        median(self.0.iter().map(|sample| sample.system))
    }

    /// What this costs in units of the other: the median of the rounds' ratios, because two samples of one round were taken
    /// one right after the other.
    pub(super) fn ratio_to(&self, other: &Self) -> Option<f64> {
        median(self.0.iter().zip(&other.0).map(|(one, other)| one.cost / other.cost))
    }

    pub(super) fn json(&self) -> Value {
        let list = |of: fn(&Sample) -> f64| self.0.iter().map(of).collect::<Vec<_>>();
        json!({
            "cpu_us": self.cost(),
            "system_share": self.system(),
            "messages_per_second": self.rate(),
            "dns_queries": self.queries(),
            "rounds": { "cpu_us": list(|sample| sample.cost), "messages_per_second": list(|sample| sample.rate) },
        })
    }
}

/// The middle one, or the mean of the two in the middle; none of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(costs: &[f64]) -> Samples {
        Samples(costs.iter().map(|&cost| Sample { cost, system: 0.5, rate: 1000.0, queries: 0.0 }).collect())
    }

    #[test]
    fn medians_are_in_the_middle() {
        for (values, expected) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0], Some(5.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[4.0, 1.0, 2.0, 100.0], Some(3.0)),
        ] {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn ratios_are_those_of_a_round() {
        // The machine was half as fast in the second round: that says nothing about either.
        assert_eq!(samples(&[30.0, 60.0, 30.0]).ratio_to(&samples(&[20.0, 40.0, 10.0])), Some(1.5));
        assert_eq!(samples(&[30.0]).ratio_to(&samples(&[])), None);
    }
}
