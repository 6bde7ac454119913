//! The records of all clients.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::{Failure, Record};

/// Every request of a load.
pub struct Report {
    records: Vec<Record>,
}

/// How long requests took; zeros if there were none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Report {
    /// Makes one from the clients' records, in any order.
    pub const fn new(records: Vec<Record>) -> Self {
        Self { records }
    }

    /// Every request.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many requests failed like this, on a new or a reused connection.
    pub fn failed(&self, failure: Failure, is_reused: bool) -> usize {
        let is_such =
            |record: &&Record| record.outcome == Err(failure) && record.is_reused == is_reused;
        self.records.iter().filter(is_such).count()
    }

    /// How many requests failed, in any way.
    pub fn failures(&self) -> usize {
        self.records.iter().filter(|record| record.outcome.is_err()).count()
    }

    /// How many connections that the kernel had accepted were not answered.
    pub fn losses(&self) -> usize {
        let failures = self.records.iter().filter_map(|record| record.outcome.err());
        failures.filter(|failure| failure.is_loss()).count()
    }

    /// How many requests were answered.
    pub fn answers(&self) -> usize {
        self.records.iter().filter(|record| record.outcome.is_ok()).count()
    }

    /// The failures by kind, as `3 refused, 1 reset-0`; empty if there were none.
    pub fn summary(&self) -> String {
        let count = |failure| self.failed(failure, false) + self.failed(failure, true);
        let counts = Failure::ALL.iter().map(|(failure, name)| (count(*failure), name));
        let words =
            counts.filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// How many generations answered.
    pub fn generations(&self) -> usize {
        let answers = self.records.iter().filter_map(|record| record.outcome.ok());
        answers.map(|answer| answer.generation).collect::<BTreeSet<_>>().len()
    }

    /// How long the answered requests took: those that were in progress in any of the `windows`,
    /// and the others.
    pub fn latency(&self, windows: &[Range<Instant>]) -> (Quantiles, Quantiles) {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for record in self.records.iter().filter(|record| record.outcome.is_ok()) {
            let end = record.start + record.latency;
            let is_inside =
                windows.iter().any(|window| record.start < window.end && end > window.start);
            if is_inside { &mut inside } else { &mut outside }.push(record.latency);
        }
        (Quantiles::of(inside), Quantiles::of(outside))
    }
}

impl Quantiles {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let Some(max) = latencies.last().copied() else { return Self::default() };
        // The smallest value that so many percent do not exceed.
        let at = |percent: usize| latencies[(latencies.len() * percent).div_ceil(100) - 1];
        Self { p50: at(50), p99: at(99), max }
    }
}

/// Shown as `p50/p99/max` in milliseconds.
impl fmt::Display for Quantiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        let text = format!("{:.2}/{:.2}/{:.2}", ms(self.p50), ms(self.p99), ms(self.max));
        out.pad(&text)
    }
}
