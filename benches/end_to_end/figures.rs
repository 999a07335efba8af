//! What a run measured, as data: every other file makes figures or shows them.

use std::time::Duration;

use serde::Serialize;

/// No ratio is shown whose interquartile range is more than this part of its median.
pub(crate) const SPREAD_MAX: f64 = 0.05;

/// One round: one load sent to one contender.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Round {
    /// Requests answered as expected.
    pub(crate) requests: u64,
    /// Requests answered otherwise, or not at all.
    pub(crate) failures: u64,
    pub(crate) took: Duration,
    /// Processor time of the contender's own process, all threads.
    pub(crate) cpu: Duration,
    /// What those threads waited for a processor while they could have run.
    pub(crate) waited: Duration,
    /// Resident memory of the process at the round's end, in bytes.
    pub(crate) resident_bytes: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// A load's rounds with one contender, in the order they were run: the n-th rounds of all
/// contenders were run one after the other.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) contender: String,
    pub(crate) rounds: Vec<Round>,
}

/// Everything that was measured with one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    /// Names it in figures' files: `small-get-64`.
    pub(crate) load: String,
    pub(crate) title: String,
    /// What is compared.
    pub(crate) measure: Measure,
    pub(crate) series: Vec<Series>,
}

/// What of a round is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Measure {
    /// Processor time per request.
    CpuPerRequest,
    /// What the contender added to the 99th percentile of the origin's own answers.
    AddedP99,
}

/// A single figure of a scenario that has no rounds to compare: bytes per connection, a share.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The scenario: `100,000 connectors`.
    pub(crate) scenario: String,
    /// What was measured: `start`.
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What it is compared with, in words: `nginx: 31 KiB`.
    pub(crate) beside: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) tables: Vec<Table>,
    pub(crate) findings: Vec<Finding>,
}

/// The median of some values and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) upper_quartile: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (values.len().checked_sub(1)? as f64);
            let (below, above) = (
                values[place.floor() as usize],
                values[place.ceil() as usize],
            );
            Some(below + (above - below) * place.fract())
        };
        Some(Self {
            median: at(0.5)?,
            lower_quartile: at(0.25)?,
            upper_quartile: at(0.75)?,
        })
    }

    /// The interquartile range as a part of the median.
    pub(crate) fn relative(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / self.median
    }

    pub(crate) fn is_too_noisy(&self) -> bool {
        self.relative() > SPREAD_MAX
    }
}

impl Round {
    /// Microseconds of processor time per request.
    pub(crate) fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }
}

impl Table {
    /// The ratios of `contender` to `other`, of each pair of rounds that were run one after the
    /// other: what the machine does besides falls on both alike.
    pub(crate) fn ratio(&self, contender: &str, other: &str) -> Option<Spread> {
        let of = |name: &str| self.series.iter().find(|series| series.contender == name);
        let (one, other) = (of(contender)?, of(other)?);
        let pairs = one.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.map(|(one, other)| self.value(one) / self.value(other)))
    }

    /// What of `round` is compared.
    pub(crate) fn value(&self, round: &Round) -> f64 {
        match self.measure {
            Measure::CpuPerRequest => round.cpu_per_request(),
            Measure::AddedP99 => round.p99.as_secs_f64() * 1e6,
        }
    }
}
